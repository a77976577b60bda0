"""What calls Python code from the core, and how a process ends."""

from __future__ import annotations

import os
import sys

from ._native import after_fork_in_child, close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How long `os._exit` may deliver: ten seconds, less what giving up and ending the threads takes.
_EXIT_SECONDS = 9.5


def start(dispatcher: Any, hub: Any) -> None:
    """Starts the dispatcher: a greenlet where there is a hub, otherwise a thread."""
    from . import _greenlets

    if hub is not None:
        hub.spawn(_serve_in_greenlet, dispatcher, hub)
        return
    native_start = _greenlets.native_start()
    if native_start is not None:
        native_start(_serve, (dispatcher,))
        return
    import threading

    thread = threading.Thread(target=_serve, args=(dispatcher,), name="carbon-events", daemon=True)
    thread.start()


def _serve(dispatcher: Any) -> None:
    try:
        while (news := dispatcher.wait()) is not None:
            try:
                _tell(*news)
            except BaseException:
                # SystemExit, say: this thread is not a callback's to end.
                _log_exception()
    finally:
        dispatcher.end()


def _serve_in_greenlet(dispatcher: Any, hub: Any) -> None:
    try:
        while (news := dispatcher.poll()) is not None:
            if any(news):
                _tell(*news)
            else:
                hub.wait(dispatcher.fileno(), dispatcher.awaits())
    finally:
        # A program may kill all its greenlets.
        dispatcher.end()


def _tell(calls: Any, lines: Any, dropped: int) -> None:
    """Writes log lines and calls callbacks back."""
    import logging

    for level, target, text in lines:
        logging.getLogger(target).log(level, "%s", text)
    if dropped:
        logging.getLogger("carbon_events").warning("%d lines of the log were dropped", dropped)
    ended: BaseException | None = None
    for function, argument in calls:
        try:
            function(argument)
        except Exception:
            _log_exception()
        except BaseException as error:
            # The end of this greenlet, say: what waits for the others must not wait for ever.
            ended = error
    if ended is not None:
        raise ended


def _log_exception() -> None:
    import logging

    logging.getLogger("carbon_events").exception("a callback raised")


def shutdown(within: float | None = None) -> None:
    """Delivers what was accepted, at the interpreter's exit or within some seconds."""
    errors, news = close_all(within)
    _tell(*news)
    for error in errors:
        print(f"carbon_events: {error}", file=sys.stderr, flush=True)


_os_exit = os._exit
#: Whether `os._exit` delivers first.
_delivers = False
#: The thread that is in it.
_exiting: int | None = None


def _exit_after_delivery(status: int) -> None:
    """As without carbon_events, once what this process' producers accepted is delivered or given up:
    within ten seconds.

    Children of Celery, of multiprocessing and of a bare `os.fork` end with it, without atexit. A call
    inside of a call, by a signal handler say, ends the process at once.
    """
    global _exiting
    import threading

    try:
        if _exiting != threading.get_ident():
            _exiting = threading.get_ident()
            shutdown(_EXIT_SECONDS)
    finally:
        _os_exit(status)


def deliver_before_exit() -> None:
    """Has `os._exit` deliver first, from the process' first producer on."""
    global _delivers, _os_exit
    if not _delivers:
        _delivers, _os_exit = True, os._exit
        _exit_after_delivery.__name__ = _exit_after_delivery.__qualname__ = "_exit"
        os._exit = _exit_after_delivery  # type: ignore[assignment]


class _AfterFork:
    """Kept by multiprocessing, which wants something to hold a weak reference to."""


_after_fork = _AfterFork()


def _in_child() -> None:
    global _exiting
    _exiting = None
    after_fork_in_child()
    _close_with_multiprocessing()


def _close_with_multiprocessing() -> None:
    """Delivers at the end of a child of multiprocessing, which may end without atexit."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # A child clears its own list of last things first, and then runs what is registered here.
        util.register_after_fork(_after_fork, _finalize_with_multiprocessing)  # type: ignore[attr-defined]


def _finalize_with_multiprocessing(_: object) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, shutdown, exitpriority=0)


os.register_at_fork(after_in_child=_in_child)
_close_with_multiprocessing()
_process = sys.modules.get("multiprocessing.process")
if _process is not None and _process.parent_process() is not None:  # type: ignore[attr-defined]
    # Imported by a child that has begun already.
    _finalize_with_multiprocessing(None)

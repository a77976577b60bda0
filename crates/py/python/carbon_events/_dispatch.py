"""Runs callbacks and logging for the core, and delivers records at the end of the process."""

from __future__ import annotations

import os
import sys

from ._native import after_fork_in_child, close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How long `os._exit` waits for deliveries: ten seconds, less the time to stop the threads.
_EXIT_SECONDS = 9.5


def start(dispatcher: Any, hub: Any) -> None:
    """Starts the dispatcher: a greenlet if there is a hub, otherwise a thread."""
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
        while (pending := dispatcher.wait()) is not None:
            try:
                _run(*pending)
            except BaseException:
                # A callback must not end this thread, for example by SystemExit.
                _log_exception()
    finally:
        dispatcher.end()


def _serve_in_greenlet(dispatcher: Any, hub: Any) -> None:
    try:
        while (pending := dispatcher.poll()) is not None:
            if any(pending):
                _run(*pending)
            else:
                hub.wait(dispatcher.fileno(), dispatcher.awaits())
    finally:
        # The program may kill all greenlets.
        dispatcher.end()


def _run(calls: Any, lines: Any, dropped: int) -> None:
    """Writes log lines and runs callbacks."""
    import logging

    for level, target, text in lines:
        logging.getLogger(target).log(level, "%s", text)
    if dropped:
        logging.getLogger("carbon_events").warning("%d log lines were dropped", dropped)
    ended: BaseException | None = None
    for function, argument in calls:
        try:
            function(argument)
        except Exception:
            _log_exception()
        except BaseException as error:
            # For example the end of this greenlet. The other callbacks still run.
            ended = error
    if ended is not None:
        raise ended


def _log_exception() -> None:
    import logging

    logging.getLogger("carbon_events").exception("a callback raised")


def shutdown(within: float | None = None) -> None:
    """Delivers the accepted records of all producers, for up to `within` seconds, and closes them."""
    errors, pending = close_all(within)
    _run(*pending)
    for error in errors:
        print(f"carbon_events: {error}", file=sys.stderr, flush=True)


_os_exit = os._exit
#: Whether `os._exit` is replaced.
_replaced = False
#: The thread that runs the replacement.
_exiting: int | None = None


def _exit_after_delivery(status: int) -> None:
    """Ends the process once its accepted records are delivered or failed, within ten seconds.

    Children of Celery, multiprocessing and a plain `os.fork` call it instead of running atexit. A
    nested call, for example by a signal handler, ends the process at once.
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
    """Replaces `os._exit`, so that it delivers first. Called for a process' first producer."""
    global _replaced, _os_exit
    if not _replaced:
        _replaced, _os_exit = True, os._exit
        _exit_after_delivery.__name__ = _exit_after_delivery.__qualname__ = "_exit"
        os._exit = _exit_after_delivery  # type: ignore[assignment]


class _AfterFork:
    """The object that multiprocessing keeps a weak reference to."""


_after_fork = _AfterFork()


def _in_child() -> None:
    global _exiting
    _exiting = None
    after_fork_in_child()
    _close_with_multiprocessing()


def _close_with_multiprocessing() -> None:
    """Delivers at the end of a multiprocessing child, which may end without atexit."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # A child clears its finalizers first, and then runs what is registered here.
        util.register_after_fork(_after_fork, _finalize_with_multiprocessing)  # type: ignore[attr-defined]


def _finalize_with_multiprocessing(_: object) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, shutdown, exitpriority=0)


os.register_at_fork(after_in_child=_in_child)
_close_with_multiprocessing()
_process = sys.modules.get("multiprocessing.process")
if _process is not None and _process.parent_process() is not None:  # type: ignore[attr-defined]
    # Imported in a child that already runs.
    _finalize_with_multiprocessing(None)

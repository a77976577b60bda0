"""The thread that calls back and logs, started with the first producer or consumer."""

from __future__ import annotations

import os
import sys

from ._native import after_fork_in_child, close_all, wait_for_news


def start() -> None:
    """Starts the thread; called once a process."""
    import threading

    threading.Thread(target=_run, name="carbon-events", daemon=True).start()


def _run() -> None:
    import logging

    logger = logging.getLogger("carbon_events")
    while (news := wait_for_news()) is not None:
        calls, lines, dropped = news
        for level, target, text in lines:
            logging.getLogger(target).log(level, "%s", text)
        if dropped:
            logger.warning("%d lines of the log were dropped", dropped)
        for function, argument in calls:
            try:
                function(argument)
            except Exception:
                logger.exception("a callback raised")


def shutdown() -> None:
    """Delivers what was accepted, at the interpreter's exit."""
    for error in close_all():
        print(f"carbon_events: {error}", file=sys.stderr)


class _AfterFork:
    """Kept by multiprocessing, which wants something to hold a weak reference to."""


_after_fork = _AfterFork()


def _in_child() -> None:
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

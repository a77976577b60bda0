"""gevent and eventlet: what a patched program needs so that no call stops its greenlets."""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Gevent:
    """gevent's hub of this thread."""

    @staticmethod
    def is_patched() -> bool:
        monkey: Any = sys.modules.get("gevent.monkey")
        return monkey is not None and (
            monkey.is_module_patched("time") or monkey.is_module_patched("threading")
        )

    @staticmethod
    def exists() -> bool:
        """Whether greenlets run in this thread, and the caller is one of them."""
        from gevent import getcurrent
        from gevent._hub_local import get_hub_if_exists

        hub = get_hub_if_exists()
        return hub is not None and getcurrent() is not hub

    @staticmethod
    def create() -> None:
        import gevent

        gevent.get_hub()

    @staticmethod
    def sleep(seconds: float) -> None:
        import gevent

        gevent.sleep(seconds)

    @staticmethod
    def spawn(function: Callable[..., None], *arguments: Any) -> None:
        import gevent

        gevent.spawn(function, *arguments)

    @staticmethod
    def wait(descriptor: int, expected: bool) -> None:
        """Waits until a descriptor is readable; the program may end meanwhile unless that is
        expected."""
        import gevent

        hub = gevent.get_hub()
        watcher = hub.loop.io(descriptor, 1, ref=expected)
        try:
            hub.wait(watcher)
        finally:
            watcher.close()

    @staticmethod
    def native_start() -> Callable[..., Any]:
        from gevent import monkey

        start: Callable[..., Any] = monkey.get_original("_thread", "start_new_thread")
        return start


class _Eventlet:
    """eventlet's hub of this thread."""

    @staticmethod
    def is_patched() -> bool:
        patcher: Any = sys.modules.get("eventlet.patcher")
        return patcher is not None and bool(
            patcher.is_monkey_patched("time") or patcher.is_monkey_patched("thread")
        )

    @staticmethod
    def exists() -> bool:
        """Whether greenlets run in this thread, and the caller is one of them."""
        from eventlet import getcurrent, hubs

        hub = getattr(hubs._threadlocal, "hub", None)
        return hub is not None and getcurrent() is not hub.greenlet

    @staticmethod
    def create() -> None:
        from eventlet import hubs

        hubs.get_hub()

    @staticmethod
    def sleep(seconds: float) -> None:
        import eventlet

        eventlet.sleep(seconds)

    @staticmethod
    def spawn(function: Callable[..., None], *arguments: Any) -> None:
        import eventlet

        eventlet.spawn_n(function, *arguments)

    @staticmethod
    def wait(descriptor: int, expected: bool) -> None:
        """Waits until a descriptor is readable."""
        from eventlet import hubs

        hubs.trampoline(descriptor, read=True)

    @staticmethod
    def native_start() -> Callable[..., Any]:
        from eventlet import patcher

        start: Callable[..., Any] = patcher.original("_thread").start_new_thread
        return start


_LIBRARIES = (_Gevent, _Eventlet)


def is_patched() -> bool:
    """Whether one of them has patched the program by now."""
    return any(library.is_patched() for library in _LIBRARIES)


def current() -> int:
    """A number of the running greenlet."""
    if not is_patched():
        return 0
    from greenlet import getcurrent

    return id(getcurrent())


def reader() -> int:
    """A number of the running greenlet that no other one ever has."""
    if not is_patched():
        return 0
    from greenlet import getcurrent

    from ._readers import number_of

    return number_of(getcurrent())


def of_this_thread() -> Any:
    """What runs the greenlets of this thread; `None` where there are none, or where the caller is
    the hub itself, which cannot wait for anything."""
    for library in _LIBRARIES:
        if library.is_patched() and library.exists():
            return library
    return None


def of_main_thread() -> Any:
    """What runs the greenlets of the main thread, if the caller is in it."""
    if sys.platform == "linux" and threading.get_native_id() != os.getpid():
        return None
    for library in _LIBRARIES:
        if library.is_patched():
            library.create()
    return of_this_thread()


def native_start() -> Callable[..., Any] | None:
    """Starts a thread of the system's, where that is not what `threading` does."""
    for library in _LIBRARIES:
        if library.is_patched():
            return library.native_start()
    return None

"""Support for gevent and eventlet: in a patched program, blocking calls let other greenlets run."""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Gevent:
    """gevent's hub in this thread."""

    @staticmethod
    def is_patched() -> bool:
        monkey: Any = sys.modules.get("gevent.monkey")
        return monkey is not None and (
            monkey.is_module_patched("time") or monkey.is_module_patched("threading")
        )

    @staticmethod
    def exists() -> bool:
        """Whether the caller is a greenlet and not the hub."""
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
        """Waits until a descriptor is readable. Keeps the program alive if that is expected."""
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
    """eventlet's hub in this thread."""

    @staticmethod
    def is_patched() -> bool:
        patcher: Any = sys.modules.get("eventlet.patcher")
        return patcher is not None and bool(
            patcher.is_monkey_patched("time") or patcher.is_monkey_patched("thread")
        )

    @staticmethod
    def exists() -> bool:
        """Whether the caller is a greenlet and not the hub."""
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
    """Whether gevent or eventlet has patched the program."""
    return any(library.is_patched() for library in _LIBRARIES)


def current() -> int:
    """The id of the running greenlet. It may be reused once the greenlet has ended."""
    if not is_patched():
        return 0
    from greenlet import getcurrent

    return id(getcurrent())


def reader() -> int:
    """The unique number of the running greenlet."""
    if not is_patched():
        return 0
    from greenlet import getcurrent

    from ._readers import number_of

    return number_of(getcurrent())


def of_this_thread() -> Any:
    """The library that runs the greenlets of this thread. `None` without greenlets, and in the hub,
    which cannot wait."""
    for library in _LIBRARIES:
        if library.is_patched() and library.exists():
            return library
    return None


def of_main_thread() -> Any:
    """The library that runs the greenlets of the main thread; `None` in other threads."""
    if sys.platform == "linux" and threading.get_native_id() != os.getpid():
        return None
    for library in _LIBRARIES:
        if library.is_patched():
            library.create()
    return of_this_thread()


def native_start() -> Callable[..., Any] | None:
    """The function that starts an operating system thread, if `threading` is patched."""
    for library in _LIBRARIES:
        if library.is_patched():
            return library.native_start()
    return None

"""Which end of the bridge belongs to a loop."""

from __future__ import annotations

import asyncio
import functools
import weakref

from ._native import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ports: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Port] = weakref.WeakKeyDictionary()


def port_of(loop: asyncio.AbstractEventLoop) -> Port:
    """The port of a running loop."""
    port = _ports.get(loop)
    if port is None:
        port = Port()
        loop.add_reader(port.fileno(), port.drain)
        _ports[loop] = port
    return port


class _InLine(asyncio.Future):  # type: ignore[type-arg]
    """The future of a record that waits for capacity. Cancelled then, it takes the record out at once:
    a callback would come a turn later, when the record may be accepted."""

    leave: Callable[[], None] = staticmethod(lambda: None)

    def cancel(self, msg: Any = None) -> bool:
        self.leave()
        return super().cancel(msg)


def in_line(loop: asyncio.AbstractEventLoop, port: Port, number: int) -> asyncio.Future[Any]:
    """The future of the record with that number in line."""
    future = _InLine(loop=loop)
    future.leave = functools.partial(port.leave, number)
    return future

"""Which end of the bridge belongs to a loop."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections import deque

from ._native import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any

    _Callback = tuple[Context, Callable[[asyncio.Future[Any]], object], asyncio.Future[Any]]

_ports: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Port] = weakref.WeakKeyDictionary()


def port_of(loop: asyncio.AbstractEventLoop) -> Port:
    """The port of a running loop."""
    port = _ports.get(loop)
    if port is None:
        port = Port()
        loop.add_reader(port.fileno(), _drain, port, deque())
        _ports[loop] = port
    return port


def _drain(port: Port, ready: deque[_Callback]) -> None:
    """Gives futures their outcomes, and calls their callbacks in the same turn of the loop.

    A future would put each callback on the loop, which takes longer than the rest of a send. They run
    as the loop would run them: in their context, after all outcomes are set, and those that are left go
    on in the next turn where one ends the loop or runs it in itself.
    """
    for future, report, error in port.drain():
        if future.done():
            # Cancelled.
            continue
        # Awaited by one; more keep their order with those of other futures.
        callbacks = future._callbacks
        if callbacks is not None and len(callbacks) == 1:
            callback, context = callbacks[0]
            future.remove_done_callback(callback)
            ready.append((context, callback, future))
        if error is None:
            future.set_result(report)
        else:
            future.set_exception(error)
    if len(ready) > 1:
        port.notify()
    while ready:
        context, callback, future = ready.popleft()
        try:
            context.run(callback, future)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:
            message = {"message": f"Exception in callback {callback!r}", "exception": raised, "future": future}
            future.get_loop().call_exception_handler(message)


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

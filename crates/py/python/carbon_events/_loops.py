"""The port of each event loop, through which outcomes arrive."""

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
    """Returns the port of a running event loop."""
    port = _ports.get(loop)
    if port is None:
        port = Port()
        loop.add_reader(port.fileno(), _drain, port, deque())
        _ports[loop] = port
    return port


def _drain(port: Port, ready: deque[_Callback]) -> None:
    """Sets the outcomes of futures and runs their callbacks in the same turn of the loop.

    A future would schedule each callback, which takes longer than the rest of a send. The callbacks
    run as the loop would run them: in their context, after all outcomes are set. If one stops the
    loop or runs it recursively, the others run in the next turn.
    """
    for future, report, error in port.drain():
        if future.done():
            # Cancelled.
            continue
        # Several callbacks keep their order with those of other futures: the loop runs them.
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
    """The future of a record that waits for capacity. Cancelling it removes the record at once: a
    callback would run a turn later, when the record may be in the queue."""

    leave: Callable[[], None] = staticmethod(lambda: None)

    def cancel(self, msg: Any = None) -> bool:
        self.leave()
        return super().cancel(msg)


def in_line(loop: asyncio.AbstractEventLoop, port: Port, number: int) -> asyncio.Future[Any]:
    """Returns the future of the waiting record with this number."""
    future = _InLine(loop=loop)
    future.leave = functools.partial(port.leave, number)
    return future

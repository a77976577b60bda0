"""Which end of the bridge belongs to the running loop."""

from __future__ import annotations

import asyncio
import weakref

from ._native import Port

_ports: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Port] = weakref.WeakKeyDictionary()


def current() -> tuple[asyncio.AbstractEventLoop, Port]:
    """The running loop and its port."""
    loop = asyncio.get_running_loop()
    port = _ports.get(loop)
    if port is None:
        port = Port()
        loop.add_reader(port.fileno(), port.drain)
        _ports[loop] = port
    return loop, port

"""Which end of the bridge belongs to a loop."""

from __future__ import annotations

import asyncio
import weakref

from ._native import Port

_ports: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Port] = weakref.WeakKeyDictionary()


def port_of(loop: asyncio.AbstractEventLoop) -> Port:
    """The port of a running loop."""
    port = _ports.get(loop)
    if port is None:
        port = Port()
        loop.add_reader(port.fileno(), port.drain)
        _ports[loop] = port
    return port

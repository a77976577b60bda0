"""Producers: one for threads, one for asyncio."""

from __future__ import annotations

from collections.abc import Mapping

from . import _native
from ._native import ProducerBase
from ._settings import texts
from .errors import QueueFullError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any


class _Producer(ProducerBase):
    """What both have in common."""

    def __new__(cls, **options: Any) -> Any:
        return super().__new__(cls, *texts(options))

    def _send_many(self, items: Any, record: Any) -> Any:
        if isinstance(items, list):
            return _native.send_many(self, items, record)
        if isinstance(items, Mapping):
            if record is None:
                raise TypeError("columns need the class of their record: send_many(columns, DataQualityEvent)")
            columns = {
                name: column if isinstance(column, list) else list(column)
                for name, column in items.items()
            }
            return _native.send_columns(self, record, columns)
        if hasattr(items, "__arrow_c_stream__"):
            if record is None:
                raise TypeError("a table needs the class of its record: send_many(table, DataQualityEvent)")
            return _native.send_table(self, record, items)
        return _native.send_many(self, list(items), record)

    def __repr__(self) -> str:
        stats = self.stats()
        counts = ", ".join(f"{name}={count}" for name, count in stats.items())
        return f"<{type(self).__name__} {counts}>"


class EventProducer(_Producer):
    """Sends events from any thread."""

    def send_many(self, items: Any, record: Any = None) -> Any:
        """Sends many events in one call, waiting while the queue is full."""
        return self._send_many(items, record)

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEventProducer(_Producer):
    """Sends events from asyncio's tasks; never blocks the loop."""

    def send(self, event: Any, **options: Any) -> Any:
        """Sends an event; await what it gives for the delivery report."""
        try:
            return self.try_send(event, **options)
        except QueueFullError:
            return _Waiting(self, event, options)

    async def send_many(self, items: Any, record: Any = None) -> Any:
        """Sends many events; the loop goes on while the queue is full."""
        return await _in_thread(self._send_many, items, record)

    async def flush(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Waits until everything that was accepted is settled."""
        await _in_thread(super().flush, timeout)

    async def close(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Delivers what was accepted, and ends."""
        await _in_thread(super().close, timeout)

    async def __aenter__(self) -> AsyncEventProducer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _in_thread(function: Any, *arguments: Any) -> Any:
    """What blocks, on a thread of the loop's."""
    import asyncio

    return await asyncio.to_thread(function, *arguments)


class _Waiting:
    """A record that found the queue full and is accepted once there is room."""

    #: How often the queue is looked at, in seconds.
    _LOOK = 0.005

    def __init__(self, producer: AsyncEventProducer, event: Any, options: dict[str, Any]) -> None:
        import asyncio

        self._sending = asyncio.ensure_future(self._send(producer, event, options))

    async def _send(self, producer: AsyncEventProducer, event: Any, options: dict[str, Any]) -> Any:
        import asyncio
        import time

        deadline = time.monotonic() + producer.block_timeout
        while True:
            try:
                delivery = producer.try_send(event, **options)
            except QueueFullError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(self._LOOK)
            else:
                return await delivery

    def __await__(self) -> Generator[Any, None, Any]:
        return self._sending.__await__()

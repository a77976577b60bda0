"""The producers, for threads and for asyncio."""

from __future__ import annotations

from . import _native
from ._native import ProducerBase
from ._settings import texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Producer(ProducerBase):
    """The common part of both producers."""

    def __new__(cls, **options: Any) -> Any:
        return super().__new__(cls, *texts(options))

    def _send_many(self, items: Any, record: Any) -> Any:
        if isinstance(items, list):
            return _native.send_many(self, items, record)
        from collections.abc import Mapping

        if isinstance(items, Mapping):
            if record is None:
                raise TypeError("columns need an event class: send_many(columns, DataQualityEvent)")
            columns = {
                name: column if isinstance(column, list) else list(column)
                for name, column in items.items()
            }
            return _native.send_columns(self, record, columns)
        if hasattr(items, "__arrow_c_stream__"):
            if record is None:
                raise TypeError("a table needs an event class: send_many(table, DataQualityEvent)")
            return _native.send_table(self, record, items)
        return _native.send_many(self, list(items), record)

    def __repr__(self) -> str:
        stats = self.stats()
        counts = ", ".join(f"{name}={count}" for name, count in stats.items())
        return f"<{type(self).__name__} {counts}>"


class EventProducer(_Producer):
    """Sends events from any thread."""

    def send_many(self, items: Any, record: Any = None) -> Any:
        """Sends many events in one call. Waits while the queue is full."""
        return self._send_many(items, record)

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEventProducer(_Producer):
    """Sends events from asyncio tasks, without blocking the event loop."""

    send = ProducerBase.send_async

    async def send_many(self, items: Any, record: Any = None) -> Any:
        """Sends many events on a thread of the loop's executor, which waits while the queue is full."""
        return await _in_thread(self._send_many, items, record)

    async def flush(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Waits until every accepted record is delivered or failed."""
        await _in_thread(super().flush, timeout)

    async def close(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Delivers the accepted records and closes the producer."""
        await _in_thread(super().close, timeout)

    async def __aenter__(self) -> AsyncEventProducer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _in_thread(function: Any, *arguments: Any) -> Any:
    """Runs a blocking function on a thread of the loop's executor."""
    import asyncio

    return await asyncio.to_thread(function, *arguments)

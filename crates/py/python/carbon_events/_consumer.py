"""The consumers, for threads and for asyncio."""

from __future__ import annotations

from ._native import ConsumerBase
from ._readers import of_task
from ._settings import texts
from .errors import ClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GenericAlias = type(list[int])  # importing `types` is slow


class _Consumer(ConsumerBase):
    __class_getitem__ = classmethod(_GenericAlias)

    def __new__(cls, topics: Any = None, /, **options: Any) -> Any:
        topics = options.pop("topics", None) if topics is None else topics
        if topics is not None:
            several = [topics] if isinstance(topics, (str, type)) else topics
            # An event class is replaced by its topic.
            options["topics"] = [getattr(topic, "TOPIC", topic) for topic in several]
        return super().__new__(cls, *texts(options))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class EventConsumer(_Consumer):
    """Reads events one by one or in batches."""

    def __enter__(self) -> EventConsumer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.acknowledge()
        self.close()

    def acknowledge(self) -> None:
        """Acknowledges the records that this thread has received, without reading on."""
        self.acknowledge_received()


class AsyncEventConsumer(_Consumer):
    """Reads events in asyncio tasks."""

    def __aiter__(self) -> _Records:
        return _Records(self, of_task())

    # Plain functions return the coroutines, so that the calling task is the reader, and not one that
    # `asyncio.wait_for` creates.
    def __anext__(self) -> Any:
        return self._next_record(of_task())

    async def _next_record(self, reader: int | None) -> Any:
        reader = reader or of_task() or 0
        record = self.next_in_hand(reader)
        while record is None:
            try:
                fetched = await self.fetch_async(reader)
            except ClosedError:
                raise StopAsyncIteration from None
            if fetched is None:
                raise StopAsyncIteration
            self.iterate(reader, fetched)
            record = self.next_in_hand(reader)
        return record

    def next_batch(self) -> Any:  # type: ignore[override]
        """Returns the next records; with `detect_end`, an empty list at the end."""
        return self._next_batch(of_task())

    async def _next_batch(self, reader: int | None) -> Any:
        self.end_iteration()
        # If the task is cancelled here, the next read returns the batch.
        fetched = await self.fetch_async(reader or of_task() or 0)
        return [] if fetched is None else fetched.records()

    def acknowledge(self) -> None:
        """Acknowledges the records that this task has received, without reading on."""
        self.acknowledge_received(of_task())

    async def commit(self, what: Any = None) -> None:  # type: ignore[override]
        """Commits offsets and waits for the broker's answer."""
        await self.commit_async(what)

    async def close(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Commits what is acknowledged and leaves the group."""
        await self.close_async(timeout)

    async def __aenter__(self) -> AsyncEventConsumer:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.acknowledge()
        await self.close()


class _Records:
    """The iterator of one `async for`. The task that started it receives the records."""

    __slots__ = ("_consumer", "_reader")

    def __init__(self, consumer: AsyncEventConsumer, reader: int | None) -> None:
        self._consumer, self._reader = consumer, reader

    def __aiter__(self) -> _Records:
        return self

    def __anext__(self) -> Any:
        return self._consumer._next_record(self._reader)

"""Consumers: one for threads, one for asyncio."""

from __future__ import annotations

from ._native import ConsumerBase
from ._settings import texts
from .errors import ClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GenericAlias = type(list[int])  # `types` is long to import


class _Consumer(ConsumerBase):
    __class_getitem__ = classmethod(_GenericAlias)

    def __new__(cls, topics: Any = None, /, **options: Any) -> Any:
        topics = options.pop("topics", None) if topics is None else topics
        if topics is not None:
            several = [topics] if isinstance(topics, (str, type)) else topics
            # A record's class stands for its topic.
            options["topics"] = [getattr(topic, "TOPIC", topic) for topic in several]
        return super().__new__(cls, *texts(options))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class EventConsumer(_Consumer):
    """Reads events, record by record or batch by batch."""

    def __enter__(self) -> EventConsumer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEventConsumer(_Consumer):
    """Reads events in asyncio's tasks."""

    def __aiter__(self) -> AsyncEventConsumer:
        return self

    async def __anext__(self) -> Any:
        record = self.next_in_hand()
        while record is None:
            try:
                found = await self.fetch_async()
            except ClosedError:
                raise StopAsyncIteration from None
            if not found:
                raise StopAsyncIteration
            record = self.next_in_hand()
        return record

    async def next_batch(self) -> Any:  # type: ignore[override]
        """The next batch as a list; empty when everything has been read, with `detect_end`."""
        return await self.next_batch_async()

    async def commit(self, what: Any = None) -> None:  # type: ignore[override]
        """Commits offsets and waits for the answer."""
        await self.commit_async(what)

    async def close(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Commits what was handled and leaves the group."""
        await self.close_async(timeout)

    async def __aenter__(self) -> AsyncEventConsumer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

# The types of `_consumer.py`.
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeAlias

from typing_extensions import Self, TypeVar, Unpack

from ._native import ConsumerBase, Record
from ._options import ConsumerOptions
from .events import Event

E = TypeVar("E", bound=Event, default=Event)
Topics: TypeAlias = str | Iterable[str | type[Event]]
#: Topic, partition, and the offset of the next record to read.
Place: TypeAlias = tuple[str, int, int]

class EventConsumer(ConsumerBase, Generic[E]):
    """Reads events one by one or in batches.

    A record is acknowledged when the thread that received it asks for the next record, and a batch
    when that thread asks for the next batch. Only acknowledged records are committed. Leaving
    `with` without an exception acknowledges the last record or batch; an exception, `close` and
    other threads do not.

        with EventConsumer(AuditAPICallEvent, group_id="audit") as consumer:
            for record in consumer:
                if not record.tombstone:
                    print(record.key, record.event.status_code)

    Topics may be given as event classes; the records are then typed as these events.
    """

    def __new__(
        cls,
        topics: type[E] | Iterable[type[E]] | Topics | None = None,
        /,
        **options: Unpack[ConsumerOptions],
    ) -> Self:
        """A setting that is not given comes from the environment, then from its default.

        Raises:
            InvalidConfigError: a setting is unknown or invalid, or there is no topic or no group.
        """

    def __iter__(self) -> Iterator[Record[E]]: ...
    def __next__(self) -> Record[E]: ...
    def next_record(self, timeout: float | None = None) -> Record[E] | None:
        """Returns the next record, or `None` if none arrives within `timeout` seconds; without a
        timeout, waits for as long as it takes. With `detect_end`, also returns `None` at the end."""

    def next_batch(self, timeout: float | None = None) -> list[Record[E]]:
        """Returns the next records, or an empty list if none arrive within `timeout` seconds; without
        a timeout, waits for as long as it takes. With `detect_end`, also returns an empty list at
        the end."""

    def commit(
        self,
        what: Record[E] | list[Record[E]] | Place | None = None,
        *,
        timeout: float = 10.0,
    ) -> None:
        """Commits offsets and waits up to `timeout` seconds for the broker's answer.

        Args:
            what: a record or records to commit, or the offset to read next; by default everything
                that is acknowledged.
        """

    def acknowledge(self) -> None:
        """Acknowledges the records that this thread has received, without reading on. Use it
        before leaving a loop early without an error."""

    def seek(self, to: Record[E] | Place, *, timeout: float = 10.0) -> None:
        """Continues reading at a record or an offset."""

    def assignment(self) -> list[tuple[str, int]]:
        """The assigned partitions: topic and partition."""

    def at_end(self) -> bool:
        """With `detect_end`: whether the end of every assigned partition was reached."""

    def metrics(self) -> str:
        """This consumer's metrics in the Prometheus text format, lag included."""

    def close(self, timeout: float | None = None) -> None:
        """Commits what is acknowledged and leaves the group. Waits up to `timeout` seconds, by
        default `close_timeout_ms`. Acknowledges nothing itself.

        Raises:
            EventTimeoutError: the broker did not answer in time. Leaving goes on in the background.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

class AsyncEventConsumer(ConsumerBase, Generic[E]):
    """Reads events in asyncio tasks.

    Acknowledges like `EventConsumer`, with tasks instead of threads: the task that calls
    `next_batch` or starts `async for` receives the records. After a cancelled read, the next read
    returns the same batch.

        async with AsyncEventConsumer(AuditAPICallEvent, group_id="audit") as consumer:
            async for record in consumer:
                if not record.tombstone:
                    print(record.key, record.event.status_code)
    """

    def __new__(
        cls,
        topics: type[E] | Iterable[type[E]] | Topics | None = None,
        /,
        **options: Unpack[ConsumerOptions],
    ) -> Self:
        """Like `EventConsumer`."""

    def __aiter__(self) -> AsyncIterator[Record[E]]: ...
    async def __anext__(self) -> Record[E]: ...
    async def next_batch(self) -> list[Record[E]]:
        """Returns the next records. With `detect_end`, returns an empty list once the end of every
        assigned partition was reached."""

    async def commit(self, what: Record[E] | list[Record[E]] | Place | None = None) -> None:
        """Like `EventConsumer.commit`, without a timeout of its own."""

    def acknowledge(self) -> None:
        """Acknowledges the records that this task has received, without reading on."""

    def seek(self, to: Record[E] | Place, *, timeout: float = 10.0) -> None:
        """Continues reading at a record or an offset. Blocks the event loop meanwhile."""

    def assignment(self) -> list[tuple[str, int]]:
        """The assigned partitions: topic and partition."""

    def at_end(self) -> bool:
        """With `detect_end`: whether the end of every assigned partition was reached."""

    def metrics(self) -> str:
        """This consumer's metrics in the Prometheus text format, lag included."""

    async def close(self, timeout: float | None = None) -> None:
        """Like `EventConsumer.close`."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

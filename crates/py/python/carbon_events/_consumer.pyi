# The consumers as editors and type checkers see them.
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeAlias

from typing_extensions import Self, TypeVar, Unpack

from ._native import ConsumerBase, Record
from ._options import ConsumerOptions
from .events import Event

E = TypeVar("E", bound=Event, default=Event)
Topics: TypeAlias = str | Iterable[str | type[Event]]
#: A topic, a partition, and the offset of the next record to read.
Place: TypeAlias = tuple[str, int, int]

class EventConsumer(ConsumerBase, Generic[E]):
    """Reads events, record by record or batch by batch.

    A record is acknowledged, and its offset may be committed, when the thread that received it asks
    for the next one; a batch when that thread asks for the next batch. Leaving `with` without an
    exception acknowledges what is in hand; leaving it with one, `close` and other threads do not.

        with EventConsumer(AuditAPICallEvent, group_id="audit") as consumer:
            for record in consumer:
                if not record.tombstone:
                    print(record.key, record.event.status_code)

    Made of event classes, it reads their topics and its records are typed by them.
    """

    def __new__(
        cls,
        topics: type[E] | Iterable[type[E]] | Topics | None = None,
        /,
        **options: Unpack[ConsumerOptions],
    ) -> Self:
        """Settings not given come from the environment, else they are the defaults.

        Raises:
            InvalidConfigError: a setting is unknown or refused, or there is no topic or no group.
        """

    def __iter__(self) -> Iterator[Record[E]]: ...
    def __next__(self) -> Record[E]: ...
    def next_record(self, timeout: float | None = None) -> Record[E] | None:
        """The next record, or `None` where none came within `timeout` seconds."""

    def next_batch(self, timeout: float | None = None) -> list[Record[E]]:
        """The next records, or none where none came within `timeout` seconds."""

    def commit(
        self,
        what: Record[E] | list[Record[E]] | Place | None = None,
        *,
        timeout: float = 10.0,
    ) -> None:
        """Commits offsets and waits for the answer.

        Args:
            what: up to and with a record or records, or a place; without one, all that is
                acknowledged.
        """

    def acknowledge(self) -> None:
        """Acknowledges what this thread has received, without reading on: for a loop that is left
        early and without an error. The offsets are committed as usual."""

    def seek(self, to: Record[E] | Place, *, timeout: float = 10.0) -> None:
        """Goes on reading at a record, or at a place."""

    def assignment(self) -> list[tuple[str, int]]:
        """The partitions that are ours."""

    def at_end(self) -> bool:
        """With `detect_end`: whether everything has been read that there is."""

    def metrics(self) -> str:
        """Prometheus' text of what this consumer counts, its lag included."""

    def close(self, timeout: float | None = None) -> None:
        """Commits what is acknowledged and leaves the group, within `timeout` seconds. Acknowledges
        nothing itself.

        Raises:
            EventTimeoutError: time is up. Leaving goes on in the background.
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
    """Reads events in asyncio's tasks.

    As `EventConsumer`, with tasks in place of threads: the one that calls `next_batch` or begins
    `async for` receives the records. A read that is cancelled leaves its batch to the next read.

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
        """As `EventConsumer`."""

    def __aiter__(self) -> AsyncIterator[Record[E]]: ...
    async def __anext__(self) -> Record[E]: ...
    async def next_batch(self) -> list[Record[E]]:
        """The next records; none when everything has been read, with `detect_end`."""

    async def commit(self, what: Record[E] | list[Record[E]] | Place | None = None) -> None:
        """As `EventConsumer.commit`."""

    def acknowledge(self) -> None:
        """As `EventConsumer.acknowledge`, for this task."""

    def seek(self, to: Record[E] | Place, *, timeout: float = 10.0) -> None:
        """Goes on reading at a record, or at a place."""

    def assignment(self) -> list[tuple[str, int]]:
        """The partitions that are ours."""

    def at_end(self) -> bool:
        """With `detect_end`: whether everything has been read that there is."""

    def metrics(self) -> str:
        """Prometheus' text of what this consumer counts, its lag included."""

    async def close(self, timeout: float | None = None) -> None:
        """As `EventConsumer.close`."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

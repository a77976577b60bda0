# The producers as editors and type checkers see them.
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from typing_extensions import Self, Unpack

from ._native import Deliveries, Delivery, DeliveryReport, ProducerBase
from ._options import ProducerOptions
from .events import Event

Headers: TypeAlias = (
    Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]]
)

class ArrowTable(Protocol):
    """Anything with the Arrow PyCapsule interface, such as a table of pyarrow or Polars."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

Items: TypeAlias = (
    Iterable[Event | Mapping[str, Any]] | Mapping[str, Sequence[Any]] | ArrowTable
)

class EventProducer(ProducerBase):
    """Sends events from any thread.

    No connection is made before the first record. Safe to share between threads; a child process
    after a fork starts its own. What was accepted is delivered by `close`, at the end of `with`, or
    at the interpreter's exit.

        with EventProducer(service_name="billing") as producer:
            delivery = producer.send(AuditAPICallEvent(...))
            print(delivery.result(timeout=10).offset)
    """

    def __new__(cls, **options: Unpack[ProducerOptions]) -> Self:
        """Settings not given come from the environment, else they are the defaults.

        Raises:
            InvalidConfigError: a setting is unknown or its value is refused.
        """

    def send(
        self,
        event: Event,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """Sends an event; waits while the queue is full, for up to `block_timeout_ms`.

        Args:
            event: any of the twelve; it goes to the topic of its record.
            key: instead of the event's own.
            headers: by name, or pairs where names repeat.
            partition: instead of the key's.
            on_delivery: called with the handle, on a thread of the library's.

        Raises:
            QueueFullError: there was no room in time.
            RecordTooLargeError: more than `message.max.bytes`.
            ClosedError: the producer was closed.
        """

    def try_send(
        self,
        event: Event,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """As `send`; raises `QueueFullError` at once where the queue is full or others are in line."""

    def send_raw(
        self,
        topic: str,
        value: str | bytes | None,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """Sends bytes to any topic; without a value a tombstone."""

    def send_many(self, items: Items, record: type[Event] | None = None) -> Deliveries:
        """Sends many events in one call.

        Args:
            items: events; or dicts of `record`'s fields, columns by field, or a table.
            record: the class of the records that are not given as events.

        Raises:
            InvalidEventError: `context` has the `index` of the item; those before it were sent.
        """

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was accepted is settled, for up to `timeout` seconds.

        Raises:
            EventTimeoutError: `context` has the number of `records` still on their way.
        """

    def close(self, timeout: float | None = None) -> None:
        """Delivers what was accepted within `timeout` seconds, or `close_timeout_ms`, and ends.

        Raises:
            AbortedError: `context` has the number of `records` that were given up.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

class AsyncEventProducer(ProducerBase):
    """Sends events from asyncio's tasks; never blocks the loop.

    Works with any loop that has `add_reader`, several at once too.

        async with AsyncEventProducer(service_name="billing") as producer:
            report = await producer.send(AuditAPICallEvent(...))
    """

    def __new__(cls, **options: Unpack[ProducerOptions]) -> Self:
        """As `EventProducer`."""

    def send(
        self,
        event: Event,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Future[DeliveryReport]:
        """Sends an event; a future of the running loop for the delivery report.

        Where the queue is full, the record waits in line for up to `block_timeout_ms`: records are
        accepted in the order of their sends. Cancelling takes a record out of the line, which is not
        sent then; it does not recall one that was accepted.

        Raises:
            RuntimeError: no event loop runs in this thread; nothing was sent then.
        """

    def try_send(
        self,
        event: Event,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Delivery:
        """As `send`; raises `QueueFullError` at once where the queue is full or others are in line."""

    def send_many(
        self, items: Items, record: type[Event] | None = None
    ) -> Awaitable[Deliveries]:
        """As `EventProducer.send_many`, on a thread of the loop's."""

    async def flush(self, timeout: float | None = None) -> None:
        """As `EventProducer.flush`."""

    async def close(self, timeout: float | None = None) -> None:
        """As `EventProducer.close`."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

# The types of `_producer.py`.
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
    """An object with the Arrow PyCapsule interface, such as a pyarrow or Polars table."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

Items: TypeAlias = (
    Iterable[Event | Mapping[str, Any]] | Mapping[str, Sequence[Any]] | ArrowTable
)

class EventProducer(ProducerBase):
    """Sends events from any thread.

    Connects on the first send. One producer may be shared between threads; after a fork, the child
    process starts its own connection. `close`, the end of `with` and the interpreter's exit deliver
    the records that were accepted.

        with EventProducer(service_name="billing") as producer:
            delivery = producer.send(AuditAPICallEvent(...))
            print(delivery.result(timeout=10).offset)
    """

    def __new__(cls, **options: Unpack[ProducerOptions]) -> Self:
        """A setting that is not given comes from the environment, then from its default.

        Raises:
            InvalidConfigError: a setting is unknown or its value is invalid.
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
        """Sends an event to its topic. Waits up to `block_timeout_ms` while the queue is full.

        Args:
            event: an event of `carbon_events.events`.
            key: replaces the event's own key.
            headers: a mapping, or pairs if names repeat.
            partition: replaces the partition that the key hashes to.
            on_delivery: called with the handle, on a thread of the library.

        Raises:
            QueueFullError: the queue stayed full for `block_timeout_ms`.
            RecordTooLargeError: the record is larger than `message.max.bytes`.
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
        """Like `send`, but does not wait: raises `QueueFullError` if the queue is full or other
        records wait for it."""

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
        """Sends bytes to any topic. A `value` of `None` is a tombstone."""

    def send_many(self, items: Items, record: type[Event] | None = None) -> Deliveries:
        """Sends many events in one call. Waits while the queue is full.

        Args:
            items: events, dicts of fields, a mapping of field names to columns, or an Arrow table.
            record: the event class. Required unless `items` are events.

        Raises:
            InvalidEventError: `context` has the `index` of the item. The items before it were sent.
        """

    def flush(self, timeout: float | None = None) -> None:
        """Waits until every accepted record is delivered or failed, for up to `timeout` seconds;
        without a timeout, for as long as it takes.

        Raises:
            EventTimeoutError: `context` has the number of `records` still in flight.
        """

    def close(self, timeout: float | None = None) -> None:
        """Delivers the accepted records and closes the producer. Waits up to `timeout` seconds, by
        default `close_timeout_ms`; the records that are left then fail.

        Raises:
            AbortedError: `context` has the number of `records` that failed this way.
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
    """Sends events from asyncio tasks, without blocking the event loop.

    Works with every event loop that has `add_reader`, and with several loops at once.

        async with AsyncEventProducer(service_name="billing") as producer:
            report = await producer.send(AuditAPICallEvent(...))
    """

    def __new__(cls, **options: Unpack[ProducerOptions]) -> Self:
        """Like `EventProducer`."""

    def send(
        self,
        event: Event,
        *,
        key: str | bytes | None = None,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Callable[[Delivery], object] | None = None,
    ) -> Future[DeliveryReport]:
        """Sends an event. Returns a future for its delivery report.

        While the queue is full, the record waits for up to `block_timeout_ms`. Records enter the
        queue in the order of their sends. Cancelling the future removes a record that still waits;
        a record that is in the queue is sent.

        Raises:
            RuntimeError: no event loop runs in this thread. Nothing was sent.
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
        """Like `send`, but does not wait: raises `QueueFullError` if the queue is full or other
        records wait for it."""

    def send_many(
        self, items: Items, record: type[Event] | None = None
    ) -> Awaitable[Deliveries]:
        """Like `EventProducer.send_many`, on a thread of the event loop's executor."""

    async def flush(self, timeout: float | None = None) -> None:
        """Like `EventProducer.flush`."""

    async def close(self, timeout: float | None = None) -> None:
        """Like `EventProducer.close`."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

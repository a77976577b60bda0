# The native module. `carbon_events` re-exports its public names.
from asyncio import Future
from collections.abc import Callable, Generator, Mapping
from typing import Any, Generic, final

from typing_extensions import Self, TypeVar

from .errors import EventError
from .events import (
    AuditAdminOperationEvent as AuditAdminOperationEvent,
)
from .events import (
    AuditAPICallEvent as AuditAPICallEvent,
)
from .events import (
    AuditDataAccessEvent as AuditDataAccessEvent,
)
from .events import (
    AuditUserActionEvent as AuditUserActionEvent,
)
from .events import (
    ConfigChangeEvent as ConfigChangeEvent,
)
from .events import (
    DataIngestionEvent as DataIngestionEvent,
)
from .events import (
    DataLineageEvent as DataLineageEvent,
)
from .events import (
    DataQualityEvent as DataQualityEvent,
)
from .events import (
    DataTransformationEvent as DataTransformationEvent,
)
from .events import (
    DeploymentEvent as DeploymentEvent,
)
from .events import (
    Event as Event,
)
from .events import (
    SecurityEvent as SecurityEvent,
)
from .events import (
    ServiceHealthEvent as ServiceHealthEvent,
)

__version__: str

@final
class DeliveryReport:
    """Where the broker wrote a record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int:
        """From 0."""

    @property
    def offset(self) -> int:
        """The offset in the partition; -1 with `acks=0`."""

    @property
    def timestamp(self) -> int:
        """The record's timestamp in milliseconds UTC."""

    def __hash__(self) -> int: ...

@final
class Delivery:
    """The delivery of one accepted record. It can be waited for, awaited, or given a callback.

    It completes exactly once, within `delivery_timeout_ms`: delivered or failed. Dropping the
    handle, or cancelling the task that awaits it, does not stop the record.
    """

    def done(self) -> bool:
        """Whether the record is delivered or failed."""

    def result(self, timeout: float | None = None) -> DeliveryReport:
        """Waits up to `timeout` seconds for the delivery; without a timeout, until it completes.

        Raises:
            EventError: why the delivery failed.
            EventTimeoutError: `timeout` has passed. The record may still be delivered.
        """

    def exception(self, timeout: float | None = None) -> EventError | None:
        """Like `result`, but returns the error instead of raising it; `None` if delivered."""

    def add_done_callback(self, callback: Callable[[Delivery], object], /) -> None:
        """Calls `callback` with this handle once the record is delivered or failed.

        The callback runs on a thread of the library. An exception in it is logged.
        """

    def __await__(self) -> Generator[Any, None, DeliveryReport]: ...

@final
class Deliveries:
    """The deliveries of one `send_many`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Delivery: ...
    def done(self) -> bool:
        """Whether every record is delivered or failed."""

    def result(self, timeout: float | None = None) -> int:
        """Waits for all deliveries, for up to `timeout` seconds. Returns their number.

        Raises:
            EventError: the error of the first record that failed; `context` has its `index`.
            EventTimeoutError: `timeout` has passed.
        """

    def errors(self) -> list[tuple[int, EventError]]:
        """The index and error of each record that has failed so far."""

    def __await__(self) -> Generator[Any, None, int]: ...

E_co = TypeVar("E_co", bound=Event, covariant=True, default=Event)

@final
class Record(Generic[E_co]):
    """A record that was read: an event, a tombstone, or undecodable."""

    __match_args__ = ("topic", "event")

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int | None:
        """The record's own timestamp in milliseconds UTC."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """The headers in the order in which they were written. Names may repeat."""

    def header(self, name: str) -> bytes | None:
        """The value of the last header with this name."""

    @property
    def event(self) -> E_co:
        """The event; `None` for a tombstone.

        The type leaves out the `None`, because tombstones occur on compacted topics only. Check
        `tombstone` first on those.

        Raises:
            UndecodableError: the value cannot be decoded.
            IncompatibleSchemaError: the writer's schema does not resolve to this version's.
        """

    @property
    def error(self) -> EventError | None:
        """Why the record is undecodable; `None` for an event or a tombstone."""

    @property
    def value(self) -> bytes | None:
        """The bytes of an undecodable record; `None` for an event or a tombstone."""

    @property
    def tombstone(self) -> bool:
        """Whether the record is a tombstone: it has no value, event or error. On a compacted topic
        it deletes the records with its key."""

class ProducerBase:
    def __new__(cls, options: dict[str, str], properties: dict[str, str]) -> Self: ...
    def stats(self) -> dict[str, int]: ...
    def metrics(self) -> str: ...
    @property
    def close_timeout(self) -> float: ...

class Fetched:
    def records(self) -> list[Record]: ...

class ConsumerBase:
    def __new__(cls, options: dict[str, str], properties: dict[str, str]) -> Self: ...
    def iterate(self, reader: int, fetched: Fetched) -> None: ...
    def next_in_hand(self, reader: int) -> Record | None: ...
    def end_iteration(self) -> None: ...
    def acknowledge_received(self, task: int | None = None) -> None: ...

class Port:
    def fileno(self) -> int: ...
    def drain(self) -> list[tuple[Future[Any], Any, BaseException | None]]: ...
    def notify(self) -> None: ...
    def leave(self, id: int) -> None: ...

class DropInProducer:
    @property
    def delivered(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def writes_json(self) -> bool: ...
    def __new__(cls, config: dict[str, Any]) -> Self: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def use_registry(self, url: str) -> None: ...
    def produce(
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        partition: int = -1,
        callback: Callable[[Any, Any], object] | None = None,
        on_delivery: Callable[[Any, Any], object] | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None: ...
    def poll(self, timeout: float | None = None) -> int: ...
    def flush(self, timeout: float | None = None) -> int: ...
    def close(self, timeout: float = 0.0) -> None: ...

class PlatformBase:
    def __new__(cls, nodes: int = 1, topic_prefix: str = "") -> Self: ...
    @property
    def topic_prefix(self) -> str:
        """The prefix of the platform's topic names."""

    @property
    def bootstrap_servers(self) -> str:
        """The broker's addresses."""

    @property
    def schema_registry_url(self) -> str:
        """The registry's address."""

    def create_topic(self, name: str, partitions: int) -> None: ...
    def broker_down(self) -> None:
        """Closes every connection and refuses new ones until `broker_up`."""

    def broker_up(self) -> None:
        """Accepts connections again. The records are kept."""

    def broker_delay(self, seconds: float) -> None:
        """Delays each answer; 0 ends the delay."""

    def broker_fail(self, api: str, error: str, count: int) -> None:
        """Answers the next requests of a kind (`PRODUCE`, `FETCH`, …) with an error
        (`NOT_LEADER`, `REQUEST_TIMED_OUT`, `DISCONNECT`, …)."""

    def topic_fail(self, topic: str, error: str | None) -> None:
        """Answers metadata requests for a topic with an error; `None` ends it."""

    def registry_down(self) -> None: ...
    def registry_up(self) -> None: ...
    def registry_fail(self, calls: int, status: int) -> None:
        """Answers the registry's next calls with an HTTP status."""

    def environment(self) -> dict[str, str]:
        """The environment variables that connect a service to this platform."""

    def stop(self) -> None: ...

def send_many(producer: ProducerBase, items: list[Any], record: Any) -> Deliveries: ...
def send_columns(
    producer: ProducerBase, record: Any, columns: dict[str, list[Any]]
) -> Deliveries: ...
def send_table(producer: ProducerBase, record: Any, table: Any) -> Deliveries: ...
def connection_properties(options: dict[str, str], client_id: str) -> dict[str, Any]: ...
def holds_secret(property: str) -> bool: ...
def protect_json(topic: str, value: bytes) -> bytes: ...
def install_drop_in(
    cls: type[Any],
    methods: list[str],
    attributes: list[str],
    typed_json: type[bytes],
    protected: tuple[type[bytes], ...],
    reports: Any,
) -> None: ...
def try_api_call(producer: Any, /, *values: Any) -> bool: ...
def try_data_ingestion(producer: Any, /, *values: Any) -> bool: ...
def try_data_quality(producer: Any, /, *values: Any) -> bool: ...
def try_service_health(producer: Any, /, *values: Any) -> bool: ...
def event_to_json(event: Event) -> str: ...
def event_to_avro(event: Event) -> bytes: ...
def event_from_json_text(record: Any, text: bytes) -> Any: ...
def event_from_avro(record: Any, body: bytes) -> Any: ...
def event_fields(record: Any) -> list[str]: ...
def event_schema(record: Any) -> str: ...
def keep_hashes_of(text: type[str]) -> None: ...
def after_fork_in_child() -> None: ...
def close_all(within: float | None = None) -> tuple[list[str], tuple[Any, Any, int]]: ...

"""Drop-in replacement for the `event_producer` module based on confluent-kafka.

New code should use `carbon_events.EventProducer`: it has typed events, delivery handles and asyncio.
"""

from __future__ import annotations

import atexit as _atexit
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

from carbon_events import _dispatch, _native
from carbon_events._native import DropInProducer as Producer

from . import _reports
from ._names import EventType, Topic

_atexit.register(_dispatch.shutdown)

logger: logging.Logger = logging.getLogger(__name__)


@dataclass
class BaseEvent:
    """The fields that every event has."""

    event_id: str
    event_type: str
    timestamp: int
    source: str
    version: str = "1.0.0"
    correlation_id: str | None = None
    causation_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields that are not `None`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass
class DataIngestionEvent(BaseEvent):
    """A batch of records was brought into a dataset."""

    dataset_name: str = ""
    record_count: int = 0
    size_bytes: int = 0
    format: str = ""
    location: str = ""
    status: str = ""
    metadata: dict[str, str] | None = None


@dataclass
class ServiceHealthEvent(BaseEvent):
    """A service reported its health."""

    service_name: str = ""
    namespace: str = ""
    health_status: str = ""
    latency_ms: int = 0
    error_rate: float = 0.0
    message: str | None = None


@dataclass
class AuditAPICallEvent(BaseEvent):
    """An API call was answered."""

    service: str = ""
    endpoint: str = ""
    method: str = ""
    status_code: int = 0
    latency_ms: int = 0
    request_size_bytes: int = 0
    response_size_bytes: int = 0
    user_id: str | None = None
    api_key: str | None = field(default=None, repr=False)
    ip_address: str = ""
    error_message: str | None = None


class _TypedEvent(dict[str, Any]):
    """The event of a typed call. With a registry it is written as Avro."""


class _TypedJson(bytes):
    """The JSON of a typed event."""


class _Protected(bytes):
    """JSON with its sensitive values protected for its topic."""

    topic: str


class _ProtectedTypedJson(_TypedJson):
    """The JSON of a typed event, with its sensitive values protected."""

    topic: str


class _Config(dict[str, Any]):
    """The low-level producer's configuration. Its `repr` hides secrets."""

    #: The properties that the caller did not set.
    ours: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return repr(
            {
                name: "[redacted]" if _native.holds_secret(str(name)) else value
                for name, value in self.items()
            }
        )


def _plain(value: Any) -> Any:
    """Converts a value that JSON has no type for."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _json_of(event: Any, *, avro: bool) -> bytes:
    """The JSON of an event."""
    if not isinstance(event, _TypedEvent):
        return json.dumps(event, default=_plain).encode()
    try:
        return _TypedJson(json.dumps(event, default=_plain).encode())
    except TypeError as error:
        if avro:
            raise TypeError(f"{_invalid_field(event)}: {error}") from None
        raise


def _protected(topic: Any, value: bytes) -> bytes:
    """The JSON with its sensitive values protected, for a replaced low-level producer."""
    kind: type[Any] = _ProtectedTypedJson if isinstance(value, _TypedJson) else _Protected
    topic = topic if isinstance(topic, str) else ""
    protected: bytes = kind(_native.protect_json(topic, value))
    protected.topic = topic  # type: ignore[attr-defined]
    return protected


def _invalid_field(event: _TypedEvent) -> str:
    """The field that JSON cannot represent."""
    for name, value in event.items():
        try:
            json.dumps(value, default=_plain)
        except TypeError:
            return f"{event.get('eventType')}.{name}"
    return str(event.get("eventType"))


class EventProducer:
    """Sends the platform's events.

    The constructor does not connect. The first event does, and so does the first one after `close`.
    One producer may be shared between threads and used in forked children.

    Every event goes through `produce`, `_produce`, `string_serializer` and `producer.produce`. Each
    may be overridden or replaced.
    """

    #: The low-level producer. A test may replace it.
    producer: Any
    bootstrap_servers: str
    #: The registry's URL, or `None` if events are written as JSON.
    schema_registry: str | None = None
    source_service: str = "unknown-service"
    _delivered = 0
    _failed = 0

    def __init__(
        self,
        bootstrap_servers: str | None = None,
        schema_registry_url: str | None = None,
        source_service: str = "unknown-service",
        security_protocol: str | None = None,
        ssl_ca_location: str | None = None,
        ssl_certificate_location: str | None = None,
        ssl_key_location: str | None = None,
        ssl_key_password: str | None = None,
        additional_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.source_service = source_service
        self._delivered = 0
        self._failed = 0
        given = {
            "bootstrap_servers": bootstrap_servers,
            "security_protocol": security_protocol,
            "ssl_ca_location": ssl_ca_location,
            "ssl_certificate_location": ssl_certificate_location,
            "ssl_key_location": ssl_key_location,
            "ssl_key_password": ssl_key_password,
        }
        config = _Config(
            _native.connection_properties(
                {name: str(value) for name, value in given.items() if value},
                f"{source_service}-producer",
            )
        )
        self.bootstrap_servers = config["bootstrap.servers"]
        chosen = dict(additional_config or {})
        config.ours = frozenset(config.keys() - chosen.keys())
        config.update(chosen)
        self.producer = Producer(config)
        self.schema_registry = (
            schema_registry_url or os.environ.get("KAFKA_SCHEMA_REGISTRY_URL") or None
        )
        if self.schema_registry and isinstance(self.producer, _native.DropInProducer):
            self.producer.use_registry(self.schema_registry)
        logger.info(
            "producer of %s created, brokers %s (%s)",
            source_service,
            self.bootstrap_servers,
            config.get("security.protocol") or "PLAINTEXT",
        )

    @property
    def delivery_count(self) -> int:
        """The number of events that the broker acknowledged."""
        return self._delivered + self._native_count("delivered")

    @delivery_count.setter
    def delivery_count(self, count: int) -> None:
        self._delivered = count - self._native_count("delivered")

    @property
    def error_count(self) -> int:
        """The number of events that were rejected or not delivered."""
        return self._failed + self._native_count("failed")

    @error_count.setter
    def error_count(self, count: int) -> None:
        self._failed = count - self._native_count("failed")

    def _native_count(self, name: str) -> int:
        producer = getattr(self, "producer", None)
        return getattr(producer, name) if isinstance(producer, _native.DropInProducer) else 0

    def _refused(self, topic: Any, error: BaseException) -> None:
        """Counts and logs a rejected event."""
        self._failed += 1
        logger.error("an event for %s was rejected: %s", topic, error)

    def _delivery_callback(self, err: Any, msg: Any) -> None:
        """Counts a delivery. An override is called with the error and message of each record."""
        if err:
            self._failed += 1
            logger.error("an event was not delivered: %s", err)
        else:
            self._delivered += 1

    def string_serializer(self, key: Any, ctx: Any = None) -> bytes | None:
        """The bytes of a key."""
        encoded: bytes | None = None if key is None else key.encode("utf_8")
        return encoded

    def _create_base_event(self, event_type: EventType | str, **fields: Any) -> dict[str, Any]:
        """Creates the envelope as a dict, with `fields` added."""
        return {
            "eventId": str(uuid.uuid4()),
            "eventType": event_type.value if isinstance(event_type, Enum) else event_type,
            "timestamp": int(time.time() * 1000),
            "source": self.source_service,
            "version": "1.0.0",
            **fields,
        }

    def produce_data_ingestion_event(
        self,
        dataset_name: str,
        record_count: int,
        size_bytes: int,
        location: str,
        status: str = "SUCCESS",
        format: str = "parquet",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Sends a `DataIngestionEvent`."""
        metadata = metadata or {}
        if _native.try_data_ingestion(
            self,
            dataset_name,
            record_count,
            size_bytes,
            location,
            status,
            format,
            metadata,
        ):
            return
        event = self._create_base_event(
            EventType.DATA_INGESTION,
            datasetName=dataset_name,
            recordCount=record_count,
            sizeBytes=size_bytes,
            format=format,
            location=location,
            status=status,
            metadata=metadata,
        )
        self.produce(Topic.DATA_INGESTION.value, dataset_name, _TypedEvent(event))

    def produce_service_health_event(
        self,
        service_name: str,
        namespace: str,
        health_status: str,
        latency_ms: int,
        error_rate: float,
        message: str | None = None,
    ) -> None:
        """Sends a `ServiceHealthEvent`."""
        if _native.try_service_health(
            self,
            service_name,
            namespace,
            health_status,
            latency_ms,
            error_rate,
            message,
        ):
            return
        event = self._create_base_event(
            EventType.SERVICE_HEALTH,
            serviceName=service_name,
            namespace=namespace,
            healthStatus=health_status,
            latencyMs=latency_ms,
            errorRate=error_rate,
            message=message,
        )
        self.produce(Topic.SYSTEM_HEALTH.value, service_name, _TypedEvent(event))

    def produce_api_call_event(
        self,
        service: str,
        endpoint: str,
        method: str,
        status_code: int,
        latency_ms: int,
        request_size: int,
        response_size: int,
        user_id: str | None = None,
        ip_address: str = "unknown",
        error_message: str | None = None,
    ) -> None:
        """Sends an `AuditAPICallEvent`."""
        if _native.try_api_call(
            self,
            service,
            endpoint,
            method,
            status_code,
            latency_ms,
            request_size,
            response_size,
            user_id,
            ip_address,
            error_message,
        ):
            return
        event = self._create_base_event(
            EventType.API_CALL,
            service=service,
            endpoint=endpoint,
            method=method,
            statusCode=status_code,
            latencyMs=latency_ms,
            requestSizeBytes=request_size,
            responseSizeBytes=response_size,
            userId=user_id,
            ipAddress=ip_address,
            errorMessage=error_message,
        )
        self.produce(Topic.AUDIT_API_CALLS.value, service, _TypedEvent(event))

    def produce_data_quality_event(
        self,
        dataset_name: str,
        check_type: str,
        check_name: str,
        result: str,
        score: float,
        failed_records: int,
        total_records: int,
        message: str | None = None,
    ) -> None:
        """Sends a `DataQualityEvent`."""
        if _native.try_data_quality(
            self,
            dataset_name,
            check_type,
            check_name,
            result,
            score,
            failed_records,
            total_records,
            message,
        ):
            return
        event = self._create_base_event(
            EventType.DATA_QUALITY,
            datasetName=dataset_name,
            checkType=check_type,
            checkName=check_name,
            result=result,
            score=score,
            failedRecords=failed_records,
            totalRecords=total_records,
            message=message,
        )
        self.produce(Topic.DATA_QUALITY.value, dataset_name, _TypedEvent(event))

    def produce_market_data(
        self, commodity: str, price: float, volume: float, timestamp: Any, **kwargs: Any
    ) -> None:
        """Sends a commodity price to `market-data`, as JSON."""
        fields = {
            "commodity": commodity,
            "price": price,
            "volume": volume,
            "eventTimestamp": timestamp,
            **kwargs,
        }
        event = self._create_base_event(EventType.DATA_INGESTION)
        event.update(fields)
        self.produce(Topic.MARKET_DATA.value, commodity, event)

    def produce_custom_event(self, topic: str, key: str | None, event: Mapping[str, Any]) -> None:
        """Sends a dict to any topic, as JSON."""
        self.produce(topic, key, event)

    def produce(self, topic: str | Topic, key: str | None, event: Mapping[str, Any]) -> None:
        """Sends a dict to any topic, as JSON."""
        self._produce(topic, key, event)

    def _produce(self, topic: str | Topic, key: str | None, event: Mapping[str, Any]) -> None:
        """Sends an event through the low-level producer."""
        producer = self.producer
        avro = isinstance(producer, _native.DropInProducer) and not producer.writes_json
        try:
            name = topic.value if isinstance(topic, Enum) else topic
            key_bytes = self.string_serializer(key)
            value = _json_of(event, avro=avro)
            if type(producer) is not _native.DropInProducer:
                value = _protected(name, value)
            producer.produce(
                topic=name,
                key=key_bytes,
                value=value,
                on_delivery=self._delivery_callback,
            )
            producer.poll(0)
        except Exception as error:
            self._refused(topic, error)
            raise

    def flush(self, timeout: float = 10.0) -> int:
        """Waits for all deliveries, for up to `timeout` seconds. Returns how many are missing."""
        left: int = self.producer.flush(timeout)
        if isinstance(left, int) and left > 0:
            logger.warning("%d events are not delivered yet", left)
        return left

    def close(self) -> None:
        """Delivers the events, for up to 10 seconds. Sending again is allowed; the connection stays
        open for some seconds."""
        self.flush()
        producer = self.producer
        if isinstance(producer, _native.DropInProducer):
            producer.close()
        logger.info("closed: %d delivered, %d errors", self.delivery_count, self.error_count)

    def get_stats(self) -> dict[str, int]:
        """The numbers of delivered and failed events."""
        return {"delivered": self.delivery_count, "errors": self.error_count}

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

_native.install_drop_in(
    EventProducer,
    ["produce", "_produce", "_create_base_event", "_delivery_callback", "string_serializer"],
    # In the order of `__init__`.
    [
        "source_service",
        "_delivered",
        "_failed",
        "bootstrap_servers",
        "producer",
        "schema_registry",
    ],
    _TypedJson,
    (_Protected, _ProtectedTypedJson),
    _reports,
)


def get_event_producer(service_name: str) -> EventProducer:
    """Creates a producer with the environment's settings."""
    return EventProducer(source_service=service_name)


__all__ = [
    "AuditAPICallEvent",
    "BaseEvent",
    "DataIngestionEvent",
    "EventProducer",
    "EventType",
    "Producer",
    "ServiceHealthEvent",
    "Topic",
    "get_event_producer",
]

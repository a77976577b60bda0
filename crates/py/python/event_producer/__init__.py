"""The event producer that services import: the calls they know, on the core of `carbon_events`.

New code is better off with `carbon_events.EventProducer`: typed events, delivery handles, asyncio.
"""

from __future__ import annotations

import atexit as _atexit
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from carbon_events import _dispatch, _native
from carbon_events._native import DropInProducer as Producer

_atexit.register(_dispatch.shutdown)

logger: logging.Logger = logging.getLogger(__name__)


class EventType(Enum):
    """The events' names."""

    DATA_INGESTION = "DataIngestionEvent"
    DATA_QUALITY = "DataQualityEvent"
    DATA_LINEAGE = "DataLineageEvent"
    DATA_TRANSFORMATION = "DataTransformationEvent"
    SERVICE_HEALTH = "ServiceHealthEvent"
    DEPLOYMENT = "DeploymentEvent"
    CONFIG_CHANGE = "ConfigChangeEvent"
    SECURITY = "SecurityEvent"
    USER_ACTION = "AuditUserActionEvent"
    API_CALL = "AuditAPICallEvent"
    DATA_ACCESS = "AuditDataAccessEvent"
    ADMIN_OPERATION = "AuditAdminOperationEvent"


class Topic(Enum):
    """The topics' names."""

    DATA_INGESTION = "data-ingestion"
    DATA_QUALITY = "data-quality"
    DATA_LINEAGE = "data-lineage"
    DATA_TRANSFORMATION = "data-transformation"
    SYSTEM_HEALTH = "system-health"
    DEPLOYMENT_EVENTS = "deployment-events"
    CONFIG_CHANGES = "config-changes"
    SECURITY_EVENTS = "security-events"
    AUDIT_USER_ACTIONS = "audit-user-actions"
    AUDIT_API_CALLS = "audit-api-calls"
    AUDIT_DATA_ACCESS = "audit-data-access"
    AUDIT_ADMIN_OPS = "audit-admin-operations"
    MARKET_DATA = "market-data"


@dataclass(kw_only=True)
class BaseEvent:
    """What all events have."""

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


@dataclass(kw_only=True)
class DataIngestionEvent(BaseEvent):
    """A batch of records was brought into a dataset."""

    dataset_name: str
    record_count: int
    size_bytes: int
    format: str
    location: str
    status: str
    metadata: dict[str, str] | None = None


@dataclass(kw_only=True)
class ServiceHealthEvent(BaseEvent):
    """A service reported its health."""

    service_name: str
    namespace: str
    health_status: str
    latency_ms: int
    error_rate: float
    message: str | None = None


@dataclass(kw_only=True)
class AuditAPICallEvent(BaseEvent):
    """An API call was answered."""

    service: str
    endpoint: str
    method: str
    status_code: int
    latency_ms: int
    request_size_bytes: int
    response_size_bytes: int
    user_id: str | None = None
    api_key: str | None = None
    ip_address: str = ""
    error_message: str | None = None


class _TypedEvent(dict[str, Any]):
    """The event of a typed call on its way through `produce`, which may write it as Avro."""


class EventProducer(_native.DropInBase):
    """Produces the platform's events.

    Making one neither connects nor fails where nothing runs; the first event starts it, and so does
    the first one after `close`. Safe to share between threads, and to use in forked children.
    """

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
        config = _native.connection_properties(
            {name: str(value) for name, value in given.items() if value},
            f"{source_service}-producer",
        )
        self.bootstrap_servers: str = config["bootstrap.servers"]
        config.update(additional_config or {})
        #: A service's tests may put another in its place.
        self.producer: Any = Producer(config)
        #: The registry's URL, or `None` where events leave as JSON.
        self.schema_registry: str | None = (
            schema_registry_url or os.environ.get("KAFKA_SCHEMA_REGISTRY_URL") or None
        )
        if self.schema_registry and isinstance(self.producer, _native.DropInProducer):
            self.producer.use_registry(self.schema_registry)

    @property
    def delivery_count(self) -> int:
        """How many events the brokers have acknowledged."""
        return self._delivered + self._native_count("delivered")

    @delivery_count.setter
    def delivery_count(self, count: int) -> None:
        self._delivered = count - self._native_count("delivered")

    @property
    def error_count(self) -> int:
        """How many events were not delivered, or not taken."""
        return self._failed + self._native_count("failed")

    @error_count.setter
    def error_count(self, count: int) -> None:
        self._failed = count - self._native_count("failed")

    def _native_count(self, name: str) -> int:
        producer = getattr(self, "producer", None)
        return getattr(producer, name) if isinstance(producer, _native.DropInProducer) else 0

    def _delivery_callback(self, err: Any, msg: Any) -> None:
        """Counts a delivery of a low-level producer that is not the library's own."""
        if err:
            self.error_count += 1
            logger.error("an event was not delivered: %s", err)
        else:
            self.delivery_count += 1

    def _create_base_event(self, event_type: EventType | str, **fields: Any) -> dict[str, Any]:
        """The fields that all events have, and any others."""
        return {
            "eventId": str(uuid.uuid4()),
            "eventType": event_type.value if isinstance(event_type, Enum) else event_type,
            "timestamp": int(time.time() * 1000),
            "source": self.source_service,
            "version": "1.0.0",
            **fields,
        }

    def produce_market_data(
        self, commodity: str, price: float, volume: float, timestamp: Any, **kwargs: Any
    ) -> None:
        """Produces a price of a commodity to `market-data`."""
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
        """Produces a dict as JSON to any topic."""
        self.produce(topic, key, event)

    def produce(self, topic: str | Topic, key: str | None, event: Mapping[str, Any]) -> None:
        """Produces a dict as JSON to any topic."""
        topic = topic.value if isinstance(topic, Enum) else topic
        key_bytes = key.encode() if isinstance(key, str) else key
        try:
            value = json.dumps(event, default=str).encode()
            producer = self.producer
            if not isinstance(producer, _native.DropInProducer):
                producer.produce(
                    topic=topic, key=key_bytes, value=value, on_delivery=self._delivery_callback
                )
                producer.poll(0)
            elif isinstance(event, _TypedEvent) and not producer.writes_json:
                producer.produce_event(topic, value, key_bytes)
            else:
                producer.produce(topic, value, key_bytes)
        except Exception as error:
            self.error_count += 1
            logger.error("an event was not taken for %s: %s", topic, error)
            raise

    def flush(self, timeout: float = 10.0) -> int:
        """Waits until all events are delivered, for up to `timeout` seconds; how many are not."""
        left = self.producer.flush(timeout)
        if isinstance(left, int) and left > 0:
            logger.warning("%d events were not delivered yet", left)
        return left

    def close(self) -> None:
        """Delivers what was produced. Producing again is allowed; the connection stays for a while."""
        self.flush()
        producer = self.producer
        if isinstance(producer, _native.DropInProducer):
            producer.close()
        logger.info("closed: %d delivered, %d errors", self.delivery_count, self.error_count)

    def get_stats(self) -> dict[str, int]:
        """How many events were delivered, and how many were not."""
        return {"delivered": self.delivery_count, "errors": self.error_count}

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _typed_calls() -> dict[str, Any]:
    """The typed calls in Python: what the native ones go on in where something is patched,
    overridden, or given as a type that they do not take."""

    def produce_data_ingestion_event(
        self: EventProducer,
        dataset_name: str,
        record_count: int,
        size_bytes: int,
        location: str,
        status: str = "SUCCESS",
        format: str = "parquet",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        event = self._create_base_event(
            EventType.DATA_INGESTION,
            datasetName=dataset_name,
            recordCount=record_count,
            sizeBytes=size_bytes,
            format=format,
            location=location,
            status=status,
            metadata=metadata or {},
        )
        self.produce(Topic.DATA_INGESTION.value, dataset_name, _TypedEvent(event))

    def produce_service_health_event(
        self: EventProducer,
        service_name: str,
        namespace: str,
        health_status: str,
        latency_ms: int,
        error_rate: float,
        message: str | None = None,
    ) -> None:
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
        self: EventProducer,
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
        self: EventProducer,
        dataset_name: str,
        check_type: str,
        check_name: str,
        result: str,
        score: float,
        failed_records: int,
        total_records: int,
        message: str | None = None,
    ) -> None:
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

    return {
        function.__name__: function
        for function in (
            produce_data_ingestion_event,
            produce_service_health_event,
            produce_api_call_event,
            produce_data_quality_event,
        )
    }


_native.install_drop_in(
    EventProducer.produce, EventProducer._create_base_event, _typed_calls()
)


def get_event_producer(service_name: str) -> EventProducer:
    """A producer with the environment's settings."""
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

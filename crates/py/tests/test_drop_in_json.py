"""Without a registry, `event_producer` writes the JSON of `json.dumps`, byte for byte."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from carbon_events import EventConsumer
from carbon_events.testing import Platform
from conftest import Services, raw
from event_producer import EventProducer, EventType, Topic

CALLS: dict[str, tuple[Topic, dict[str, Any], dict[str, str]]] = {
    "produce_api_call_event": (
        Topic.AUDIT_API_CALLS,
        {
            "service": "",
            "endpoint": "/e",
            "method": "GET",
            "status_code": 200,
            "latency_ms": 1,
            "request_size": 2,
            "response_size": 3,
            "user_id": None,
            "ip_address": "unknown",
            "error_message": None,
        },
        {
            "service": "service",
            "endpoint": "endpoint",
            "method": "method",
            "statusCode": "status_code",
            "latencyMs": "latency_ms",
            "requestSizeBytes": "request_size",
            "responseSizeBytes": "response_size",
            "userId": "user_id",
            "ipAddress": "ip_address",
            "errorMessage": "error_message",
        },
    ),
    "produce_data_ingestion_event": (
        Topic.DATA_INGESTION,
        {
            "dataset_name": "",
            "record_count": 1,
            "size_bytes": 2,
            "location": "s3://l",
            "status": "SUCCESS",
            "format": "csv",
            "metadata": None,
        },
        {
            "datasetName": "dataset_name",
            "recordCount": "record_count",
            "sizeBytes": "size_bytes",
            "format": "format",
            "location": "location",
            "status": "status",
            "metadata": "metadata",
        },
    ),
    "produce_data_quality_event": (
        Topic.DATA_QUALITY,
        {
            "dataset_name": "",
            "check_type": "t",
            "check_name": "c",
            "result": "PASS",
            "score": 0.5,
            "failed_records": 0,
            "total_records": 2,
            "message": None,
        },
        {
            "datasetName": "dataset_name",
            "checkType": "check_type",
            "checkName": "check_name",
            "result": "result",
            "score": "score",
            "failedRecords": "failed_records",
            "totalRecords": "total_records",
            "message": "message",
        },
    ),
    "produce_service_health_event": (
        Topic.SYSTEM_HEALTH,
        {
            "service_name": "",
            "namespace": "n",
            "health_status": "HEALTHY",
            "latency_ms": 1,
            "error_rate": 0.25,
            "message": None,
        },
        {
            "serviceName": "service_name",
            "namespace": "namespace",
            "healthStatus": "health_status",
            "latencyMs": "latency_ms",
            "errorRate": "error_rate",
            "message": "message",
        },
    ),
}


class Text(str):
    pass


class Symbol(str, enum.Enum):
    SUCCESS = "SUCCESS"


class Whole(enum.IntEnum):
    SEVEN = 7


class Fraction(float):
    pass


#: Values that `json.dumps` accepts.
VALUES = [
    None,
    True,
    False,
    0,
    -5,
    2**40,
    2**63 - 1,
    2**63,
    10**30,
    1.0,
    0.1,
    85.0,
    1e16,
    1e-5,
    -0.0,
    123456.789,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "caf\u00e9 \u20ac \U0001f600",
    "half a pair \ud83d",
    b"/data/caf\xe9.csv".decode("utf-8", "surrogateescape"),
    'quote " backslash \\ slash / \n\r\t\b\f\0\x7f',
    Text("of a subclass"),
    Symbol.SUCCESS,
    Whole.SEVEN,
    Fraction(2.5),
    [1, "a", None],
    (1, 2),
    {"nested": {"n": [1]}},
    collections.OrderedDict(b=1, a=2),
]

#: Values that it rejects.
REFUSED = [b"bytes", {1, 2}, object(), print, 1j, EventProducer]


@pytest.fixture(autouse=True)
def plaintext(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.delenv("KAFKA_SCHEMA_REGISTRY_URL", raising=False)


class Subclass(EventProducer):
    def _create_base_event(self, event_type: Any, **fields: Any) -> dict[str, Any]:
        return super()._create_base_event(event_type, **fields)


def plain(servers: str) -> EventProducer:
    return EventProducer(servers, source_service="bill\u00efng")


def patched(servers: str) -> EventProducer:
    made = plain(servers)
    original = made.produce
    made.produce = lambda *event: original(*event)  # type: ignore[method-assign, assignment]
    return made


def subclass(servers: str) -> EventProducer:
    return Subclass(servers, source_service="bill\u00efng")


def reopened(servers: str) -> EventProducer:
    made = plain(servers)
    made.produce_custom_event("data-quality", "opened", {})
    made.close()
    return made


@pytest.fixture(params=[plain, patched, subclass, reopened])
def producer(request: pytest.FixtureRequest, services: Services) -> Iterator[EventProducer]:
    with request.param(services.bootstrap_servers) as made:
        yield made


def expected(name: str, arguments: dict[str, Any], written: bytes) -> bytes:
    """The JSON of a call's event by `json.dumps`, with the id and time of the written one."""
    _, _, members = CALLS[name]
    found = re.match(rb'{"eventId": "([0-9a-f-]{36})", "eventType": "\w+", "timestamp": (\d{13}), ', written)
    assert found, written
    event = {
        "eventId": str(uuid.UUID(found[1].decode())),
        "eventType": {
            "produce_api_call_event": "AuditAPICallEvent",
            "produce_data_ingestion_event": "DataIngestionEvent",
            "produce_data_quality_event": "DataQualityEvent",
            "produce_service_health_event": "ServiceHealthEvent",
        }[name],
        "timestamp": int(found[2]),
        "source": "bill\u00efng",
        "version": "1.0.0",
    }
    for member, parameter in members.items():
        value = arguments[parameter]
        event[member] = (value or {}) if parameter == "metadata" else value
    return json.dumps(event).encode()


@pytest.mark.parametrize("name", CALLS)
def test_typed_calls_write_what_json_dumps_writes(
    name: str, producer: EventProducer, services: Services
) -> None:
    topic, base, _ = CALLS[name]
    key, *others = base
    base = {**base, key: f"dumps-{uuid.uuid4()}"}
    calls = [{**base, other: value} for other in others for value in VALUES]
    if "metadata" in base:
        calls += [{**base, "metadata": {"a": value, "b": "x"}} for value in VALUES]
        calls += [{**base, "metadata": {name: 1}} for name in (None, True, 5, 2.5, "caf\u00e9", "\ud83d")]
    for call in calls:
        getattr(producer, name)(**call)
    assert producer.flush(30) == 0
    assert producer.error_count == 0
    written = raw(services, topic.value, base[key])
    assert len(written) == len(calls)
    for call, value in zip(calls, written, strict=True):
        assert value == expected(name, call, value)


def test_custom_events_and_market_data_write_what_json_dumps_writes(
    producer: EventProducer, services: Services
) -> None:
    key = f"dumps-{uuid.uuid4()}"
    for value in VALUES:
        producer.produce_custom_event("data-quality", key, value)
    producer.produce_market_data(key, 31.5, 100, "2026-01-01", hub=None)
    assert producer.flush(30) == 0
    written = raw(services, "data-quality", key)
    assert written == [json.dumps(value).encode() for value in VALUES]
    [market] = map(json.loads, raw(services, "market-data", key))
    assert list(market) == [
        *("eventId", "eventType", "timestamp", "source", "version"),
        *("commodity", "price", "volume", "eventTimestamp", "hub"),
    ]


def test_nothing_is_validated_from_the_first_event_on(services: Services) -> None:
    key = f"first-{uuid.uuid4()}"
    for status, rate in (("HEALTHY", 1.5), ("OK", 0.5), ("HEALTHY", float("nan"))):
        with plain(services.bootstrap_servers) as made:
            made.produce_service_health_event(key, "n", status, 5, rate)
            made.close()
            made.produce_service_health_event(key, "n", status, 5, rate)
        assert made.get_stats() == {"delivered": 2, "errors": 0}
    assert len(raw(services, "system-health", key)) == 6


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_json_dumps_refuses_raises_and_counts(
    value: Any, producer: EventProducer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TypeError) as known:
        json.dumps(value)
    calls: list[Callable[[], None]] = [
        lambda: producer.produce_data_ingestion_event("k", 1, 2, "l", metadata={"a": value}),
        lambda: producer.produce_data_ingestion_event("k", value, 2, "l"),
        lambda: producer.produce_custom_event("data-quality", "k", value),
        lambda: producer.produce("data-quality", "k", {"a": [value]}),
        lambda: producer.produce_market_data("k", 1.5, value, 3),
    ]
    before = producer.get_stats()
    for number, call in enumerate(calls, 1):
        with pytest.raises(TypeError, match=re.escape(str(known.value))):
            call()
        assert producer.error_count == before["errors"] + number
    assert caplog.text.count("was rejected") == len(calls)
    producer.flush()
    assert producer.delivery_count == before["delivered"]


def test_a_circular_event_is_refused(producer: EventProducer) -> None:
    event: dict[str, Any] = {}
    event["itself"] = event
    for number, call in enumerate(
        (
            lambda: producer.produce_custom_event("data-quality", "k", event),
            lambda: producer.produce_data_ingestion_event("k", 1, 2, "l", metadata=event),
        ),
        1,
    ):
        with pytest.raises(ValueError, match="Circular reference"):
            call()
        assert producer.error_count == number


def test_decimals_times_uuids_and_enums_are_converted(
    producer: EventProducer, services: Services
) -> None:
    key = f"converted-{uuid.uuid4()}"
    zone = datetime.timezone.utc
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)
    given = {
        "decimal": decimal.Decimal("0.10"),
        "datetime": moment,
        "date": moment.date(),
        "uuid": uuid.UUID(int=5),
        "enum": EventType.API_CALL,
    }
    producer.produce_custom_event("data-ingestion", key, given)
    producer.produce_data_ingestion_event(key, 1, 2, "l", metadata=given)
    producer.flush()
    custom, typed = map(json.loads, raw(services, "data-ingestion", key))
    assert custom == {
        "decimal": "0.10",
        "datetime": "2026-01-02T03:04:05+00:00",
        "date": "2026-01-02",
        "uuid": "00000000-0000-0000-0000-000000000005",
        "enum": "AuditAPICallEvent",
    }
    assert typed["metadata"] == custom


@pytest.mark.parametrize(
    ("key", "error"),
    [("half a pair \ud83d", UnicodeEncodeError), (5, AttributeError), (b"bytes", AttributeError)],
)
def test_a_key_that_is_no_text_raises_and_counts_once(
    key: Any, error: type[Exception], producer: EventProducer
) -> None:
    for number, call in enumerate(
        (
            lambda: producer.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1),
            lambda: producer.produce_custom_event("data-quality", key, {}),
        ),
        1,
    ):
        with pytest.raises(error):
            call()
        assert producer.error_count == number


def test_an_event_may_have_no_key(services: Services) -> None:
    from confluent_kafka import Consumer, TopicPartition

    topic = "market-data"
    with plain(services.bootstrap_servers) as made:
        for _ in range(3):
            made.produce_custom_event(topic, None, {"without": "key"})
    consumer = Consumer({"bootstrap.servers": services.bootstrap_servers, "group.id": services.group()})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
    found = 0
    while found < 3:
        message = consumer.poll(30)
        assert message is not None
        found += message.key() is None and message.value() == b'{"without": "key"}'
    consumer.close()


@pytest.mark.parametrize("topic", [None, "", 5, b"data-quality"])
def test_a_topic_that_is_no_name_is_refused_at_once(topic: Any, producer: EventProducer) -> None:
    with pytest.raises((TypeError, ValueError)):
        producer.produce_custom_event(topic, "k", {})
    assert producer.error_count == 1


def test_what_it_writes_is_read_by_the_librarys_own_consumer(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    nan, text = float("nan"), b"/data/caf\xe9.csv".decode("utf-8", "surrogateescape")
    with caplog.at_level(logging.ERROR), plain(platform.bootstrap_servers) as made:
        made.produce_service_health_event("s", "n", "HEALTHY", 5, nan)
        made.produce_data_quality_event("s", "t", "c", "PASS", float("-inf"), 0, 0)
        made.produce_service_health_event("s", "n", "HEALTHY", 5, 0.1, "half \ud83d")
        made.produce_data_ingestion_event("s", 1, 2, text, metadata={"a": nan})
        base = made._create_base_event(EventType.DATA_QUALITY, extra=nan, datasetName="s")
        rest = {"checkType": "t", "checkName": "c", "result": "PASS", "score": 0.5}
        made.produce("data-quality", "s", {**base, **rest, "failedRecords": nan, "totalRecords": 1})
    assert not caplog.text
    settings = {
        "bootstrap_servers": platform.bootstrap_servers,
        "security_protocol": "PLAINTEXT",
        "standalone": True,
        "detect_end": True,
    }
    topics = ["system-health", "data-quality", "data-ingestion"]
    with EventConsumer(topics, **settings) as consumer:
        records = list(consumer)
    assert len(records) == 5
    assert [record.error for record in records] == [None] * 5
    locations = [record.event.location for record in records if record.topic == "data-ingestion"]
    assert locations == ["/data/caf\ufffd.csv"]


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as made:
        yield made

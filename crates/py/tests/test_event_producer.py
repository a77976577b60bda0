"""`event_producer`, as existing services use it."""

from __future__ import annotations

import datetime
import decimal
import inspect
import json
import logging
import threading
import uuid
from typing import Any
from unittest import mock

import event_producer
import pytest
from carbon_events import EventError, InvalidEventError
from conftest import SCHEMAS, Services, raw, read, wait_until
from event_producer import EventProducer, EventType, Topic, get_event_producer

ENVELOPE = {"eventId", "eventType", "timestamp", "source", "version"}


@pytest.fixture(autouse=True)
def plaintext(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.delenv("KAFKA_SCHEMA_REGISTRY_URL", raising=False)


@pytest.fixture(params=["avro", "json"])
def producer(request: pytest.FixtureRequest, services: Services) -> Any:
    registry = services.schema_registry_url if request.param == "avro" else None
    made = EventProducer(services.bootstrap_servers, registry, source_service="billing")
    made.wire_format = request.param  # type: ignore[attr-defined]
    with made:
        yield made


def test_every_signature_is_that_of_the_contract() -> None:
    expected = {
        "__init__": "bootstrap_servers=None, schema_registry_url=None, source_service='unknown-service', "
        "security_protocol=None, ssl_ca_location=None, ssl_certificate_location=None, "
        "ssl_key_location=None, ssl_key_password=None, additional_config=None",
        "produce_data_ingestion_event": "dataset_name, record_count, size_bytes, location, "
        "status='SUCCESS', format='parquet', metadata=None",
        "produce_service_health_event": "service_name, namespace, health_status, latency_ms, "
        "error_rate, message=None",
        "produce_api_call_event": "service, endpoint, method, status_code, latency_ms, request_size, "
        "response_size, user_id=None, ip_address='unknown', error_message=None",
        "produce_data_quality_event": "dataset_name, check_type, check_name, result, score, "
        "failed_records, total_records, message=None",
        "produce_market_data": "commodity, price, volume, timestamp, **kwargs",
        "produce_custom_event": "topic, key, event",
        "produce": "topic, key, event",
        "flush": "timeout=10.0",
        "close": "",
        "get_stats": "",
    }
    for name, parameters in expected.items():
        signature = inspect.signature(getattr(EventProducer, name))
        plain = [
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in signature.parameters.values()
            if parameter.name != "self"
        ]
        assert ", ".join(map(str, plain)) == parameters, name
    assert list(inspect.signature(get_event_producer).parameters) == ["service_name"]


def test_the_enums_have_their_members() -> None:
    table = json.loads((SCHEMAS / "topics.json").read_bytes())["topics"]
    assert [topic.value for topic in Topic] == [row["topic"] for row in table] + ["market-data"]
    assert [event.value for event in EventType] == [row["record"] for row in table]
    assert Topic.AUDIT_ADMIN_OPS.value == "audit-admin-operations"
    assert Topic.MARKET_DATA.value == "market-data"
    assert EventType.API_CALL.value == "AuditAPICallEvent"
    assert EventType("DataQualityEvent") is EventType.DATA_QUALITY


def test_the_dataclasses_take_their_fields_by_position_and_have_defaults() -> None:
    base = event_producer.BaseEvent("i", "X", 1, "s")
    assert base.to_dict() == {
        "event_id": "i",
        "event_type": "X",
        "timestamp": 1,
        "source": "s",
        "version": "1.0.0",
    }
    envelope = ("i", "X", 1, "s", "2.0.0", "c", "a")
    health = event_producer.ServiceHealthEvent(*envelope, "n", "p", "HEALTHY", 1, 0.5, "m")
    assert list(health.to_dict().values()) == [*envelope, "n", "p", "HEALTHY", 1, 0.5, "m"]
    ingestion = event_producer.DataIngestionEvent(*envelope, "d", 1, 2, "f", "l", "SUCCESS", {})
    assert list(ingestion.to_dict().items())[7:] == [
        ("dataset_name", "d"),
        ("record_count", 1),
        ("size_bytes", 2),
        ("format", "f"),
        ("location", "l"),
        ("status", "SUCCESS"),
        ("metadata", {}),
    ]
    call = event_producer.AuditAPICallEvent("i", "X", 1, "s", service="n")
    assert list(call.to_dict().items())[5:] == [
        ("service", "n"),
        ("endpoint", ""),
        ("method", ""),
        ("status_code", 0),
        ("latency_ms", 0),
        ("request_size_bytes", 0),
        ("response_size_bytes", 0),
        ("ip_address", ""),
    ]
    assert event_producer.DataIngestionEvent("i", "X", 1, "s").metadata is None
    assert event_producer.ServiceHealthEvent("i", "X", 1, "s").error_rate == 0.0


def test_making_one_neither_connects_nor_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    made = EventProducer("localhost:9092")
    assert made.bootstrap_servers == "localhost:9092"
    assert (made.source_service, made.schema_registry) == ("unknown-service", None)
    assert made.get_stats() == {"delivered": 0, "errors": 0}
    assert threading.active_count() == before
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "from-env:9092")
    assert get_event_producer("billing").bootstrap_servers == "from-env:9092"
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    default = "kafka-service.data-platform.svc.cluster.local:9093"
    assert EventProducer().bootstrap_servers == default


def test_a_wrong_property_is_said_at_once() -> None:
    with pytest.raises(EventError, match="linger.ms"):
        EventProducer("localhost:9092", additional_config={"lingr.ms": 5})
    made = EventProducer("localhost:9092", additional_config={"linger.ms": 5, "acks": "all"})
    assert made.bootstrap_servers == "localhost:9092"


def test_typed_calls_by_position_and_by_keyword(producer: Any, services: Services) -> None:
    key = f"calls-{uuid.uuid4()}"
    producer.produce_api_call_event(key, "/a", "GET", 200, 5, 1, 2)
    producer.produce_api_call_event(
        service=key,
        endpoint="/b",
        method="POST",
        status_code=500,
        latency_ms=6,
        request_size=3,
        response_size=4,
        user_id="ada",
        ip_address="192.0.2.1",
        error_message="no",
    )
    producer.produce_data_ingestion_event(key, 1, 2, "s3://x", metadata={"a": "b"})
    producer.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
    producer.produce_service_health_event(key, "ns", "HEALTHY", 5, 0.25, message="fine")
    assert producer.flush() == 0
    assert producer.get_stats() == {"delivered": 5, "errors": 0}
    assert (producer.delivery_count, producer.error_count) == (5, 0)

    first, second = read(services, "audit-api-calls", key)
    assert (first.endpoint, first.ip_address, first.user_id) == ("/a", "unknown", None)
    assert (second.request_size_bytes, second.error_message) == (3, "no")
    assert first.source == "billing" and first.version == "1.0.0"
    [ingestion] = read(services, "data-ingestion", key)
    assert (ingestion.format, ingestion.status, ingestion.metadata) == (
        "parquet",
        "SUCCESS",
        {"a": "b"},
    )
    [quality] = read(services, "data-quality", key)
    assert (quality.score, quality.message) == (0.5, None)
    [health] = read(services, "system-health", key)
    assert (health.health_status, health.message) == ("HEALTHY", "fine")


def test_the_wire_format_is_by_the_registry(producer: Any, services: Services) -> None:
    key = f"format-{uuid.uuid4()}"
    producer.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
    producer.flush()
    [value] = raw(services, "data-quality", key)
    if producer.wire_format == "avro":
        assert value[:1] == b"\0"
    else:
        event = json.loads(value)
        assert event.keys() >= ENVELOPE | {"datasetName", "checkType", "score", "message"}
        assert event["eventType"] == "DataQualityEvent" and event["score"] == 0.5


def test_the_environments_format_stands_above_all(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"above-{uuid.uuid4()}"
    monkeypatch.setenv("KAFKA_EVENT_FORMAT", "json")
    with EventProducer(services.bootstrap_servers, services.schema_registry_url) as made:
        made.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
    monkeypatch.setenv("KAFKA_EVENT_FORMAT", "avro")
    with EventProducer(services.bootstrap_servers) as made:
        made.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
    values = raw(services, "data-quality", key)
    assert sorted(value[:1] for value in values) == [b"{", b"\xc3"]


def test_the_registry_may_come_from_the_environment(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"registry-{uuid.uuid4()}"
    monkeypatch.setenv("KAFKA_SCHEMA_REGISTRY_URL", services.schema_registry_url)
    with EventProducer(services.bootstrap_servers) as made:
        assert made.schema_registry == services.schema_registry_url
        made.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
    [value] = raw(services, "data-quality", key)
    assert value[:1] == b"\0"


def test_market_data_and_custom_events_are_json(producer: Any, services: Services) -> None:
    key = f"gas-{uuid.uuid4()}"
    with mock.patch.object(EventProducer, "produce", autospec=True) as produce:
        producer.produce_market_data(key, 31.5, 100, 1735689600000, hub="ttf")
    [call] = produce.call_args_list
    assert call.args[1:3] == ("market-data", key)
    producer.produce_market_data(key, 31.5, 100, 1735689600000, hub="ttf")
    producer.produce_custom_event("data-quality", key, {"anything": [1, 2]})
    producer.produce("data-quality", key, {"more": None})
    producer.flush()
    [event] = map(json.loads, raw(services, "market-data", key))
    assert event["eventType"] == "DataIngestionEvent"
    assert (event["commodity"], event["price"], event["volume"]) == (key, 31.5, 100)
    assert (event["eventTimestamp"], event["hub"]) == (1735689600000, "ttf")
    assert isinstance(event["timestamp"], int) and event["timestamp"] != 1735689600000
    assert list(map(json.loads, raw(services, "data-quality", key))) == [
        {"anything": [1, 2]},
        {"more": None},
    ]


def test_producing_after_close_works(producer: Any, services: Services) -> None:
    key = f"closed-{uuid.uuid4()}"
    for _ in range(3):
        producer.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
        producer.close()
    assert producer.get_stats() == {"delivered": 3, "errors": 0}
    assert len(read(services, "data-quality", key)) == 3


def test_the_base_event_is_a_dict(producer: Any) -> None:
    event = producer._create_base_event(EventType.API_CALL, correlationId="c")
    assert event.keys() == ENVELOPE | {"correlationId"}
    assert (event["eventType"], event["source"]) == ("AuditAPICallEvent", "billing")
    uuid.UUID(event["eventId"])


def test_sloppy_values_are_taken(producer: Any, services: Services) -> None:
    key = f"sloppy-{uuid.uuid4()}"
    producer.produce_api_call_event(key, "/a", "GET", "200", 12.6, None or 0, "7")
    producer.produce_data_ingestion_event(
        key, 1.0, 2, "s3://x", metadata={"n": 1, "ok": True, "at": uuid.uuid4()}
    )
    producer.flush()
    assert producer.error_count == 0
    [call] = read(services, "audit-api-calls", key)
    assert (call.status_code, call.latency_ms, call.response_size_bytes) == (200, 13, 7)
    [ingestion] = read(services, "data-ingestion", key)
    assert ingestion.record_count == 1 and ingestion.metadata["n"] == "1"


def test_a_missing_argument_is_pythons_own_error(producer: Any) -> None:
    with pytest.raises(TypeError, match="produce_api_call_event.*missing .* 'endpoint'"):
        producer.produce_api_call_event("billing")
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        producer.produce_api_call_event("billing", "/", "GET", 200, 1, 1, 1, nope=1)


def test_what_cannot_be_avro_is_refused_and_json_goes_as_before(
    producer: Any, services: Services
) -> None:
    key = f"refused-{uuid.uuid4()}"
    if producer.wire_format == "avro":
        with pytest.raises(InvalidEventError, match="DataQualityEvent.score"):
            producer.produce_data_quality_event(key, "t", "n", "PASS", 85.0, 0, 1)
        assert producer.error_count == 1
        with pytest.raises(InvalidEventError, match="DataQualityEvent.result"):
            producer.produce_data_quality_event(key, "t", "n", "SPLENDID", 0.5, 0, 1)
        assert producer.error_count == 2
        producer.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
        producer.flush()
        assert len(read(services, "data-quality", key)) == 1
        assert producer.get_stats() == {"delivered": 1, "errors": 2}
    else:
        producer.produce_data_quality_event(key, "t", "n", "SPLENDID", 85.0, 0, 1)
        producer.flush()
        [value] = raw(services, "data-quality", key)
        assert json.loads(value)["result"] == "SPLENDID"


def test_what_json_let_through_is_mended_for_avro(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, nan = f"mended-{uuid.uuid4()}", float("nan")
    with EventProducer(services.bootstrap_servers, services.schema_registry_url) as made:
        made.produce_api_call_event(key, None, "GET", "200", nan, None, 2.4, ip_address=None)  # type: ignore[arg-type]
        made.produce_service_health_event(key, "n", "healthy", decimal.Decimal(12), nan)  # type: ignore[arg-type]
        made.produce_data_ingestion_event(
            key, None, 2, None, metadata={"a": nan, "b": None, "c": datetime.date(2026, 1, 2)}  # type: ignore[arg-type]
        )
    assert made.get_stats() == {"delivered": 3, "errors": 0}
    assert raw(services, "audit-api-calls", key)[0][:1] == b"\0"
    [call] = read(services, "audit-api-calls", key)
    assert (call.endpoint, call.ip_address, call.status_code) == ("unknown", "unknown", 200)
    assert (call.latency_ms, call.request_size_bytes, call.response_size_bytes) == (0, 0, 2)
    [health] = read(services, "system-health", key)
    assert (health.health_status, health.latency_ms, health.error_rate) == ("HEALTHY", 12, 0.0)
    [ingestion] = read(services, "data-ingestion", key)
    assert (ingestion.record_count, ingestion.location) == (0, "unknown")
    assert ingestion.metadata == {"a": "NaN", "b": "null", "c": "2026-01-02"}


def test_what_no_format_can_hold_names_its_field_as_avro(services: Services) -> None:
    with EventProducer(services.bootstrap_servers, services.schema_registry_url) as made:
        with pytest.raises(TypeError, match="DataIngestionEvent.metadata: Object of type bytes"):
            made.produce_data_ingestion_event("k", 1, 2, "l", metadata={"a": b"1"})
        with pytest.raises(TypeError, match="AuditAPICallEvent.latencyMs: Object of type set"):
            made.produce_api_call_event("k", "/", "GET", 200, set(), 1, 1)  # type: ignore[arg-type]
        assert made.error_count == 2


def test_tests_of_services_may_patch_the_low_level_producer() -> None:
    with mock.patch("event_producer.Producer") as Producer:
        Producer.return_value.flush.return_value = 0
        made = EventProducer("localhost:9092", source_service="billing")
        made.produce_api_call_event("billing", "/a", "GET", 200, 1, 1, 1)
        made.close()
    [config] = Producer.call_args.args
    assert config["bootstrap.servers"] == "localhost:9092"
    assert config["client.id"] == "billing-producer"
    call = Producer.return_value.produce.call_args.kwargs
    assert (call["topic"], call["key"]) == ("audit-api-calls", b"billing")
    assert json.loads(call["value"])["statusCode"] == 200
    call["on_delivery"](None, mock.Mock())
    call["on_delivery"]("an error", None)
    assert made.get_stats() == {"delivered": 1, "errors": 1}


def test_tests_of_services_may_patch_produce() -> None:
    with mock.patch.object(EventProducer, "produce") as produce:
        made = EventProducer("localhost:9092")
        made.produce_service_health_event("s", "n", "HEALTHY", 5, 0.1)
    topic, key, event = produce.call_args.args
    assert (topic, key) == ("system-health", "s")
    assert event["healthStatus"] == "HEALTHY"
    made.produce = mock.Mock()  # type: ignore[method-assign]
    made.produce_service_health_event("s", "n", "HEALTHY", 5, 0.1)
    assert made.produce.called


def test_subclasses_may_override_what_the_calls_go_through(services: Services) -> None:
    key = f"subclass-{uuid.uuid4()}"

    class Mine(EventProducer):
        seen: list[str] = []

        def produce(self, topic: Any, key: Any, event: Any) -> None:
            self.seen.append(topic)
            super().produce(topic, key, event)

        def _create_base_event(self, event_type: Any, **fields: Any) -> dict[str, Any]:
            return {**super()._create_base_event(event_type, **fields), "correlationId": "c"}

    with Mine(services.bootstrap_servers, services.schema_registry_url) as mine:
        mine.produce_data_quality_event(key, "t", "n", "PASS", 0.5, 0, 1)
    assert Mine.seen == ["data-quality"]
    [event] = read(services, "data-quality", key)
    assert event.correlation_id == "c"
    assert raw(services, "data-quality", key)[0][:1] == b"\0"


def test_counts_may_be_set(producer: Any) -> None:
    producer.delivery_count = 0
    producer.error_count += 2
    assert producer.get_stats()["errors"] == 2


def test_a_delivery_that_fails_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        made = EventProducer(
            "localhost:1", additional_config={"delivery.timeout.ms": 300, "linger.ms": 0}
        )
        made.produce_data_quality_event("k", "t", "n", "PASS", 0.5, 0, 1)
        wait_until(lambda: made.error_count == 1)
        wait_until(lambda: "not delivered" in caplog.text)


def test_importing_configures_no_logging(run_python: Any) -> None:
    done = run_python(
        """
        import logging
        import event_producer, carbon_events
        assert not logging.getLogger().handlers
        assert logging.getLogger("carbon_events").level == logging.NOTSET
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_producer_for_every_event_leaves_nothing(run_python: Any, services: Services) -> None:
    done = run_python(
        """
        import os, sys, resource
        from event_producer import EventProducer
        def threads(): return len(os.listdir("/proc/self/task"))
        def files(): return len(os.listdir("/proc/self/fd"))
        def memory(): return int(open("/proc/self/statm").read().split()[1]) * 4096
        def once():
            with EventProducer(sys.argv[1], source_service="job") as producer:
                producer.produce_data_quality_event("leak", "t", "n", "PASS", 0.5, 0, 1)
            assert producer.get_stats() == {"delivered": 1, "errors": 0}
        for _ in range(20): once()
        before = threads(), files(), memory()
        for _ in range(int(sys.argv[2])): once()
        after = threads(), files(), memory()
        assert after[0] <= before[0] and after[1] <= before[1], (before, after)
        assert after[2] - before[2] < 16 << 20, (before, after)
        """,
        services.bootstrap_servers,
        "200",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr

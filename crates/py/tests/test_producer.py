"""`carbon_events.EventProducer`: deliveries, back-pressure, errors, threads."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from typing import Any

import pytest
from carbon_events import (
    AbortedError,
    AuditAPICallEvent,
    ClosedError,
    DataQualityEvent,
    EventError,
    EventProducer,
    EventTimeoutError,
    InvalidConfigError,
    InvalidEventError,
    QueueFullError,
    RecordTooLargeError,
    UnknownTopicError,
)
from carbon_events.testing import Platform
from conftest import Services, wait_until
from test_events import CALL, RECORDS, class_of, quality, typical
from test_event_producer import read


@pytest.fixture
def producer(services: Services) -> Any:
    with EventProducer(**services.settings(service_name="billing")) as made:
        yield made


def test_all_twelve_records_go_there_and_back(producer: Any, services: Services) -> None:
    sent = {}
    for name in RECORDS:
        event = class_of(name).from_json(typical(name)).replace(event_id=uuid.uuid4())
        report = producer.send(event).result(30)
        assert report.topic == event.topic and report.offset >= 0
        sent[name] = event
    for name, event in sent.items():
        from carbon_events import EventConsumer

        options = services.settings(standalone=True, detect_end=True)
        with EventConsumer(type(event), **options) as consumer:
            # Other tests write undecodable records to these topics on purpose.
            read = [record.event for record in consumer if record.error is None]
            events = {found.event_id: found for found in read if found}
        assert events[event.event_id] == event, name


def test_an_empty_source_is_the_services_name(producer: Any, services: Services) -> None:
    service = f"source-{uuid.uuid4()}"
    producer.send(AuditAPICallEvent(**{**CALL, "service": service})).result(30)
    producer.send(AuditAPICallEvent(**{**CALL, "service": service}, source="own")).result(30)
    events = read(services, "audit-api-calls", service)
    assert {event.source for event in events} == {"billing", "own"}


def test_key_headers_and_partition_are_the_callers(producer: Any, services: Services) -> None:
    from carbon_events import EventConsumer

    key = f"key-{uuid.uuid4()}"
    headers = [("a", b"1"), ("a", None), ("b", "text")]
    report = producer.send(quality(), key=key, headers=headers, partition=2).result(30)
    assert report.partition == 2
    options = services.settings(standalone=True, detect_end=True)
    with EventConsumer("data-quality", **options) as consumer:
        [record] = [record for record in consumer if record.key == key.encode()]
    assert record.headers == [("a", b"1"), ("a", None), ("b", b"text")]
    assert record.header("b") == b"text" and record.header("c") is None
    assert (record.partition, record.offset, record.topic) == (2, report.offset, "data-quality")
    with pytest.raises(UnknownTopicError):
        producer.send(quality(), partition=600).result(30)


def test_raw_records_go_to_any_topic(producer: Any, services: Services) -> None:
    key = f"raw-{uuid.uuid4()}"
    producer.send_raw("market-data", b"bytes", key=key).result(30)
    producer.send_raw("market-data", None, key=key).result(30)
    from carbon_events import EventConsumer, UndecodableError

    options = services.settings(standalone=True, detect_end=True)
    with EventConsumer("market-data", **options) as consumer:
        first, second = [record for record in consumer if record.key == key.encode()]
    assert (first.value, second.value) == (b"bytes", None)
    assert isinstance(first.error, UndecodableError)
    with pytest.raises(UndecodableError):
        first.event


def test_many_events_in_one_call(producer: Any, services: Services) -> None:
    service = f"many-{uuid.uuid4()}"
    fields = {**CALL, "service": service}
    assert producer.send_many([AuditAPICallEvent(**fields) for _ in range(500)]).result(30) == 500
    assert producer.send_many([dict(fields)] * 500, AuditAPICallEvent).result(30) == 500
    columns = {name: [value] * 500 for name, value in fields.items()}
    deliveries = producer.send_many(columns, AuditAPICallEvent)
    assert deliveries.result(30) == 500 and deliveries.done() and not deliveries.errors()
    assert deliveries[0].result().topic == deliveries[-1].result().topic == "audit-api-calls"
    with pytest.raises(IndexError):
        deliveries[500]
    events = read(services, "audit-api-calls", service)
    assert len({event.event_id for event in events}) == 1500


def test_tables_are_sent(producer: Any, services: Services) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    service = f"table-{uuid.uuid4()}"
    columns = {name: [value] * 10 for name, value in {**CALL, "service": service}.items()}
    assert producer.send_many(pyarrow.table(columns), AuditAPICallEvent).result(30) == 10
    assert len(read(services, "audit-api-calls", service)) == 10


def test_the_text_of_a_table_is_read_in_every_layout(producer: Any, services: Services) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    service = f"layouts-{uuid.uuid4()}"
    users = ["é", None, "", "x" * 20, "日本", "€" * 9, None, "a"]
    layouts = [pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()]
    for layout in [*layouts, pyarrow.dictionary(pyarrow.int8(), pyarrow.string())]:
        columns = {name: [value] * 8 for name, value in {**CALL, "service": service}.items()}
        columns["user_id"] = pyarrow.array(users, layout)
        # Its rows start in the middle of each buffer.
        table = pyarrow.table(columns).slice(1, 6)
        assert producer.send_many(table, AuditAPICallEvent).result(30) == 6
    sent = [event.user_id for event in read(services, "audit-api-calls", service)]
    assert sorted(sent, key=str) == sorted(users[1:7] * 4, key=str)


def test_text_of_a_table_that_is_not_unicode_names_its_row(producer: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    offsets = pyarrow.py_buffer(b"".join(at.to_bytes(4, "little") for at in (0, 1, 2, 3)))
    # Invalid Unicode, and valid Unicode cut within a character.
    for text in (b"a\xffb", "aé".encode()):
        columns = {name: [value] * 3 for name, value in CALL.items()}
        buffers = [None, offsets, pyarrow.py_buffer(text)]
        columns["user_id"] = pyarrow.Array.from_buffers(pyarrow.string(), 3, buffers)
        with pytest.raises(InvalidEventError, match="Unicode") as caught:
            producer.send_many(pyarrow.table(columns), AuditAPICallEvent)
        assert caught.value.context["index"] == 1


def test_a_mistake_among_many_names_its_index(producer: Any) -> None:
    with pytest.raises(InvalidEventError) as caught:
        producer.send_many([CALL, {**CALL, "latency_ms": "x"}], AuditAPICallEvent)
    assert caught.value.context["index"] == 1
    with pytest.raises(TypeError, match="class of their record"):
        producer.send_many([CALL])
    with pytest.raises(TypeError, match="rows"):
        producer.send_many({"service": ["a"], "endpoint": []}, AuditAPICallEvent)
    with pytest.raises(TypeError, match="an event of carbon_events.events"):
        producer.send({"service": "a"})


def test_a_callback_is_called_with_the_delivery(producer: Any) -> None:
    called = threading.Event()
    seen: list[Any] = []

    def delivered(delivery: Any) -> None:
        seen.append((delivery.result(0).offset, threading.current_thread().name))
        called.set()

    producer.send(quality(), on_delivery=delivered)
    assert called.wait(30)
    assert seen[0][0] >= 0 and seen[0][1] == "carbon-events"
    called.clear()
    delivery = producer.send(quality())
    delivery.result(30)
    delivery.add_done_callback(delivered)
    assert called.wait(30)


def test_a_callback_that_raises_is_logged(producer: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: Any) -> None:
        raise RuntimeError("in the callback")

    with caplog.at_level(logging.ERROR):
        producer.send(quality(), on_delivery=fails)
        wait_until(lambda: "in the callback" in caplog.text)
    assert producer.send(quality()).result(30)


def test_a_full_queue_waits_or_raises() -> None:
    with Platform() as platform:
        producer = platform.producer(queue_max_records=10, block_timeout_ms=200)
        producer.send(quality()).result(30)
        platform.broker_down()
        deliveries = [producer.send(quality()) for _ in range(10)]
        with pytest.raises(BufferError):
            producer.try_send(quality())
        began = time.monotonic()
        with pytest.raises(QueueFullError) as caught:
            producer.send(quality())
        assert time.monotonic() - began >= 0.2 and caught.value.retryable
        with pytest.raises(EventTimeoutError):
            producer.flush(0.05)
        with pytest.raises(TimeoutError):
            deliveries[0].result(0.05)
        assert not deliveries[0].done() and repr(deliveries[0]) == "<Delivery pending>"
        platform.broker_up()
        for delivery in deliveries:
            assert delivery.result(30).offset >= 0
        producer.close()


def test_a_record_that_is_too_large_is_refused(producer: Any) -> None:
    with pytest.raises(RecordTooLargeError):
        producer.send(quality(message="x" * 2_000_000))
    assert producer.send(quality()).result(30)


def test_use_after_close_is_refused(services: Services) -> None:
    producer = EventProducer(**services.settings())
    delivery = producer.send(quality())
    producer.close()
    assert delivery.result(0).offset >= 0
    with pytest.raises(ClosedError):
        producer.send(quality())
    producer.close()
    assert producer.stats() == {"accepted": 1, "delivered": 1, "failed": 0, "queued": 0}


@pytest.mark.parametrize("is_down", [False, True])
def test_sends_that_race_with_close_complete_or_are_refused(is_down: bool) -> None:
    with Platform() as platform:
        producer = platform.producer(queue_max_records=5_000, block_timeout_ms=60_000)
        producer.send(quality()).result(30)
        if is_down:
            platform.broker_down()
        sent: list[Any] = []
        refused = []

        def run(thread: int) -> None:
            while True:
                try:
                    sent.append(producer.send(quality(), partition=[None, 0, 99][thread % 3]))
                except UnknownTopicError:
                    pass
                except ClosedError as error:
                    refused.append(error)
                    return

        threads = [threading.Thread(target=run, args=(thread,)) for thread in range(20)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        try:
            producer.close(0.2)
        except AbortedError:
            pass
        for thread in threads:
            thread.join(30)
        assert time.monotonic() - began < 10 and len(refused) == 20
        assert all(delivery.done() for delivery in sent)
        stats = producer.stats()
        assert stats["queued"] == 0
        assert stats["accepted"] == stats["delivered"] + stats["failed"] == len(sent) + 1


def test_a_delivery_that_fails_raises_its_error() -> None:
    with EventProducer(
        bootstrap_servers="127.0.0.1:1", security_protocol="PLAINTEXT", delivery_timeout_ms=300
    ) as producer:
        delivery = producer.send(quality())
        with pytest.raises(EventError) as caught:
            delivery.result(30)
        assert caught.value.kind in ("Timeout", "Unavailable")
        assert delivery.exception().kind == caught.value.kind  # type: ignore[union-attr]


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(InvalidConfigError, match="did you mean `linger_ms`"):
        EventProducer(lingr_ms=5)  # type: ignore[call-arg]
    with pytest.raises(InvalidConfigError, match="linger_ms=soon"):
        EventProducer(linger_ms="soon")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfigError, match="nonsense"):
        EventProducer(properties={"nonsense": 1})
    with pytest.raises(InvalidConfigError) as caught:
        EventProducer(security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u")
    assert caught.value.context["setting"] == "sasl_password"


def test_a_password_is_never_shown() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        EventProducer(sasl_password="s3cret", security_protocol="NOPE")
    assert "s3cret" not in str(caught.value)


def test_thirty_two_threads_share_a_producer(producer: Any, services: Services) -> None:
    service = f"threads-{uuid.uuid4()}"
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(200):
                producer.send(AuditAPICallEvent(**{**CALL, "service": service, "latency_ms": number}))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.flush(60)
    assert not failed
    assert len(read(services, "audit-api-calls", service)) == 32 * 200


def test_metrics_are_prometheus_text(producer: Any) -> None:
    producer.send(quality()).result(30)
    assert "data-quality" in producer.metrics()


def test_a_lone_send_is_not_delayed_by_linger(services: Services) -> None:
    with EventProducer(**services.settings(linger_ms=5000)) as producer:
        producer.send(quality()).result(30)
        began = time.monotonic()
        for _ in range(5):
            producer.send(quality()).result(30)
        assert time.monotonic() - began < 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_confluents_deserializer_reads_ours(producer: Any, services: Services) -> None:
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    from test_event_producer import raw

    key = f"confluent-{uuid.uuid4()}"
    event = quality(dataset_name=key, source="s")
    producer.send(event).result(30)
    [value] = raw(services, "data-quality", key)
    client = SchemaRegistryClient({"url": services.schema_registry_url})
    context = SerializationContext("data-quality", MessageField.VALUE)
    read = AvroDeserializer(client)(value, context)
    expected = json.loads(event.to_json())
    assert {name: expected[name] for name in ("datasetName", "result", "score")} == {
        name: read[name] for name in ("datasetName", "result", "score")
    }
    assert read.keys() == expected.keys()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_confluents_serializer_is_read_by_us(services: Services) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    from conftest import SCHEMAS

    key = f"confluents-{uuid.uuid4()}"
    client = SchemaRegistryClient({"url": services.schema_registry_url})
    schema = (SCHEMAS / "DataQualityEvent.avsc").read_text()
    context = SerializationContext("data-quality", MessageField.VALUE)
    event = quality(dataset_name=key, source="s")
    value = AvroSerializer(client, schema)(json.loads(event.to_json()), context)
    peer = Producer({"bootstrap.servers": services.bootstrap_servers})
    peer.produce("data-quality", value, key)
    assert peer.flush(30) == 0
    assert read(services, "data-quality", key) == [event]


def test_events_of_a_producer_that_is_dropped_arrive(services: Services) -> None:
    key = f"dropped-{uuid.uuid4()}"
    producer = EventProducer(**services.settings())
    for _ in range(100):
        producer.send(DataQualityEvent.from_dict({**quality().to_dict(), "dataset_name": key}))
    del producer
    assert len(read(services, "data-quality", key)) == 100

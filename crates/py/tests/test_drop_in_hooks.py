"""Subclasses, patches and callbacks of `event_producer`."""

from __future__ import annotations

import gc
import inspect
import json
import logging
import os
import threading
import types
import unittest
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import event_producer
import pytest
from carbon_events import EventError
from carbon_events.testing import Platform
from conftest import Services, raw, wait_until
from event_producer import EventProducer, EventType, Topic

TYPED: list[Callable[[Any, str], None]] = [
    lambda made, key: made.produce_api_call_event(key, "/e", "GET", 200, 1, 2, 3),
    lambda made, key: made.produce_data_ingestion_event(key, 1, 2, "l"),
    lambda made, key: made.produce_data_quality_event(key, "t", "c", "PASS", 0.5, 0, 1),
    lambda made, key: made.produce_service_health_event(key, "n", "HEALTHY", 1, 0.5),
]
OTHERS: list[Callable[[Any, str], None]] = [
    lambda made, key: made.produce_market_data(key, 1.5, 2, 3),
    lambda made, key: made.produce_custom_event("market-data", key, {"a": 1}),
    lambda made, key: made.produce("market-data", key, {"a": 1}),
]
HOOKS = ["produce", "_produce", "_create_base_event", "_delivery_callback", "string_serializer"]


@pytest.fixture(autouse=True)
def plaintext(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    monkeypatch.delenv("KAFKA_SCHEMA_REGISTRY_URL", raising=False)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as made:
        made.create_topic("market-data", 1)
        yield made


@pytest.fixture(params=["avro", "json"])
def producer(request: pytest.FixtureRequest, platform: Platform) -> Iterator[EventProducer]:
    registry = platform.schema_registry_url if request.param == "avro" else None
    with EventProducer(platform.bootstrap_servers, registry, "billing") as made:
        yield made


def calls_of(name: str) -> list[Callable[[Any, str], None]]:
    """The calls that go through a method."""
    if name == "_create_base_event":
        return [*TYPED, OTHERS[0]]
    return TYPED + OTHERS[:2] if name == "produce" else TYPED + OTHERS


@pytest.mark.parametrize("name", HOOKS)
def test_a_method_that_a_subclass_overrides_is_called_for_every_event(
    name: str, platform: Platform
) -> None:
    seen = []
    original = getattr(EventProducer, name)

    def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        return original(self, *args, **kwargs)

    subclass = type("Mine", (EventProducer,), {name: override})
    with subclass(platform.bootstrap_servers) as made:
        for call in calls_of(name):
            call(made, "k")
    assert len(seen) == len(calls_of(name))
    assert made.get_stats() == {"delivered": len(seen), "errors": 0}


@pytest.mark.parametrize("name", HOOKS)
def test_a_method_that_is_set_on_an_object_is_called_for_every_event(
    name: str, producer: EventProducer
) -> None:
    TYPED[0](producer, "k")
    original = getattr(producer, name)
    replaced = mock.Mock(side_effect=original)
    setattr(producer, name, replaced)
    for call in calls_of(name):
        call(producer, "k")
    producer.flush()
    assert replaced.call_count == len(calls_of(name))
    delattr(producer, name)
    TYPED[0](producer, "k")
    producer.flush()
    assert replaced.call_count == len(calls_of(name))
    assert producer.get_stats() == {"delivered": 2 + len(calls_of(name)), "errors": 0}


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("autospec", [False, True])
def test_a_method_that_is_patched_is_called_for_every_event(
    name: str, autospec: bool, producer: EventProducer
) -> None:
    TYPED[0](producer, "k")
    with mock.patch.object(EventProducer, name, autospec=autospec or None) as patched:
        if name == "_create_base_event":
            patched.return_value = {"a": 1}
        if name == "string_serializer":
            patched.return_value = b"k"
        for call in calls_of(name):
            try:
                call(producer, "k")
            except EventError:
                # The event of the patch is not valid Avro.
                assert name == "_create_base_event"
        producer.flush()
        assert patched.call_count == len(calls_of(name))
        if autospec:
            assert all(made.args[0] is producer for made in patched.call_args_list)
    before = patched.call_count
    TYPED[0](producer, "k")
    producer.flush()
    assert patched.call_count == before


def test_the_chain_hands_on_what_it_was_given() -> None:
    with mock.patch("event_producer.Producer") as Producer:
        made = EventProducer("localhost:9092")
        made.produce = mock.Mock(side_effect=made.produce)  # type: ignore[method-assign]
        made._produce = mock.Mock(side_effect=made._produce)  # type: ignore[method-assign]
        made.string_serializer = mock.Mock(return_value=b"key")  # type: ignore[method-assign]
        made.produce_data_quality_event("k", "t", "c", "PASS", 0.5, 0, 1)
    topic, key, event = made.produce.call_args.args
    assert (topic, key, event["datasetName"]) == ("data-quality", "k", "k")
    assert made._produce.call_args.args == ("data-quality", "k", event)
    assert made.string_serializer.call_args.args == ("k",)
    low = Producer.return_value
    assert low.mock_calls == [
        mock.call.produce(
            topic="data-quality",
            key=b"key",
            value=json.dumps(event).encode(),
            on_delivery=made._delivery_callback,
        ),
        mock.call.poll(0),
    ]


def test_keys_become_utf8() -> None:
    made = EventProducer("localhost:9092")
    assert made.string_serializer(None) is None
    assert made.string_serializer("caf\u00e9", object()) == b"caf\xc3\xa9"
    with pytest.raises(UnicodeEncodeError):
        made.string_serializer("\ud83d")
    with pytest.raises(AttributeError):
        made.string_serializer(5)


def test_the_class_and_its_calls_can_be_autospecced() -> None:
    for name in ("produce_api_call_event", "produce_data_quality_event", "close", "flush"):
        assert isinstance(getattr(EventProducer, name), types.FunctionType)
        assert "self" in inspect.signature(getattr(EventProducer, name)).parameters
    with mock.patch("event_producer.EventProducer", autospec=True) as patched:
        made = event_producer.EventProducer("localhost:9092")
        made.produce_data_ingestion_event("d", 1, 2, "l", metadata={})
        with pytest.raises(TypeError):
            made.produce_data_ingestion_event("d", 1, 2, "l", nope=1)  # type: ignore[call-arg]
        patched.return_value.produce_data_ingestion_event.assert_called_once_with(
            "d", 1, 2, location="l", metadata={}
        )
    made = EventProducer("localhost:9092")
    with mock.patch.object(EventProducer, "produce_api_call_event", autospec=True) as call:
        made.produce_api_call_event("s", "/", "GET", 200, 1, 1, 1)
        assert call.call_args == mock.call(made, "s", "/", "GET", 200, 1, 1, 1)
        with pytest.raises(TypeError):
            made.produce_api_call_event("s")  # type: ignore[call-arg]


def test_a_type_error_names_the_public_call(producer: EventProducer) -> None:
    for name in ("produce_api_call_event", "produce_data_ingestion_event"):
        call = getattr(producer, name)
        with pytest.raises(TypeError, match=rf"^EventProducer\.{name}\(\) missing"):
            call("s")
        with pytest.raises(TypeError, match=rf"^EventProducer\.{name}\(\) takes from"):
            call(*range(30))
        with pytest.raises(TypeError, match=rf"^EventProducer\.{name}\(\) got an unexpected"):
            call("s", nope=1)
    assert producer.error_count == 0


def test_a_subclass_may_do_without_our_init(platform: Platform) -> None:
    class Fake:
        def __init__(self) -> None:
            self.sent: list[dict[str, Any]] = []

        def produce(self, **record: Any) -> None:
            self.sent.append(record)
            record["on_delivery"](None, mock.Mock())

        def poll(self, timeout: float) -> int:
            return 0

        def flush(self, timeout: float) -> int:
            return 0

    class Mine(EventProducer):
        def __init__(self) -> None:
            self.tenant = "acme"
            self.producer = Fake()
            self.delivery_count = 0
            self.error_count = 0

    with Mine() as mine:
        TYPED[0](mine, "k")
    assert len(mine.producer.sent) == 1
    assert mine.get_stats() == {"delivered": 1, "errors": 0}

    class Later(EventProducer):
        def __init__(self) -> None:
            self.tenant = "acme"
            super().__init__(platform.bootstrap_servers, source_service="later")

    with Later() as later:
        TYPED[0](later, "k")
    assert later.get_stats() == {"delivered": 1, "errors": 0}
    with pytest.raises(AttributeError):
        EventProducer.__new__(EventProducer).produce("t", "k", {})


def test_the_low_level_producer_is_always_true(producer: EventProducer) -> None:
    assert producer.producer and len(producer.producer) == 0
    TYPED[0](producer, "k")
    producer.flush()
    assert producer.producer and len(producer.producer) == 0


def test_the_module_has_the_names_that_patches_look_for() -> None:
    for name in ("logger", "json", "os", "time", "uuid", "logging", "Producer", "EventType", "Topic"):
        assert hasattr(event_producer, name), name
    assert event_producer.logger is logging.getLogger("event_producer")


def test_a_patched_clock_and_id_are_seen_where_the_producer_is_patched() -> None:
    fixed = uuid.UUID(int=7)
    with (
        mock.patch("event_producer.Producer") as Producer,
        mock.patch("event_producer.time.time", return_value=1700000000.5),
        mock.patch("event_producer.uuid.uuid4", return_value=fixed),
    ):
        TYPED[0](EventProducer("localhost:9092"), "k")
    event = json.loads(Producer.return_value.produce.call_args.kwargs["value"])
    assert (event["eventId"], event["timestamp"]) == (str(fixed), 1700000000500)


class Recording(EventProducer):
    """Records the arguments of its delivery callback."""

    counts = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reports: list[tuple[Any, Any]] = []

    def _delivery_callback(self, err: Any, msg: Any) -> None:
        self.reports.append((err, msg))
        if self.counts:
            super()._delivery_callback(err, msg)


@pytest.mark.parametrize("counts", [True, False])
def test_an_overridden_delivery_callback_is_given_each_message(
    counts: bool, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recording, "counts", counts)
    key = f"callback-{uuid.uuid4()}"
    made = Recording(services.bootstrap_servers, source_service="billing")
    for number in range(100):
        made.produce_data_quality_event(key, "t", "c", "PASS", 0.5, number, 100)
    assert made.flush() == 0
    # A flush ends once the callbacks have run.
    assert len(made.reports) == 100
    assert made.get_stats() == {"delivered": 100 if counts else 0, "errors": 0}
    offsets = []
    for number, (err, msg) in enumerate(made.reports):
        assert err is None and msg.error() is None and msg
        assert (msg.topic(), msg.key()) == ("data-quality", key.encode())
        assert json.loads(msg.value())["failedRecords"] == number
        kind, timestamp = msg.timestamp()
        assert kind == 1 and timestamp > 1_700_000_000_000
        assert msg.headers() is None and 0 <= msg.latency() < 60
        assert len(msg) == len(msg.value()) and "sensitive" not in repr(msg)
        offsets.append((msg.partition(), msg.offset()))
    assert offsets == sorted(offsets) and len(set(offsets)) == 100
    made.close()


def test_a_delivery_callback_is_given_the_error_of_a_record_that_failed() -> None:
    options = {"delivery.timeout.ms": 300, "linger.ms": 0}
    made = Recording("localhost:1", additional_config=options)
    TYPED[0](made, "k")
    made.produce_custom_event("t", None, {"a": 1})
    wait_until(lambda: len(made.reports) == 2)
    for err, msg in made.reports:
        assert err and msg.error() is err
        assert (err.code(), err.name()) == (-192, "_MSG_TIMED_OUT")
        assert str(err).startswith("KafkaError{code=_MSG_TIMED_OUT,val=-192,str=")
        assert err.str() and not err.fatal() and err.retriable()
        assert msg.partition() == -1 and msg.topic() in ("audit-api-calls", "t")
    assert made.get_stats() == {"delivered": 0, "errors": 2}


def test_a_callback_that_raises_is_logged_and_others_are_called(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(Recording):
        def _delivery_callback(self, err: Any, msg: Any) -> None:
            super()._delivery_callback(err, msg)
            raise ValueError("not this way")

    made = Raising(platform.bootstrap_servers)
    for _ in range(3):
        TYPED[0](made, "k")
    assert made.flush() == 0 and made.delivery_count == 3
    assert caplog.text.count("a callback raised") == 3


def test_a_callback_that_ends_its_thread_keeps_no_other_from_its_call(platform: Platform) -> None:
    low = event_producer.Producer({"bootstrap.servers": platform.bootstrap_servers})
    seen: list[str] = []

    def end(error: object, message: Any) -> None:
        seen.append(message.key().decode())
        raise SystemExit

    for _ in range(2):
        for key in "abc":
            low.produce("data-quality", b"{}", key, on_delivery=end)
        assert low.flush(10) == 0
    assert sorted(seen) == sorted("abcabc")


def test_producers_with_callbacks_of_their_own_do_not_pile_up(platform: Platform) -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    for _ in range(30):
        made = EventProducer(
            platform.bootstrap_servers, additional_config={"error_cb": lambda error: None}
        )
        made.produce_custom_event("market-data", "k", {"a": 1})
        made.close()
        del made
    wait_until(lambda: threads() < before + 10, seconds=3)


def test_a_flush_inside_a_callback_does_not_wait_for_itself(platform: Platform) -> None:
    ended = threading.Event()

    class Flushing(EventProducer):
        def _delivery_callback(self, err: Any, msg: Any) -> None:
            self.flush(30)
            ended.set()

    made = Flushing(platform.bootstrap_servers)
    TYPED[0](made, "k")
    assert ended.wait(10)
    assert made.flush() == 0


def test_on_delivery_of_the_configuration_is_called_for_every_event(platform: Platform) -> None:
    seen: list[Any] = []
    options = {"on_delivery": lambda err, msg: seen.append((err, msg.topic()))}
    with EventProducer(platform.bootstrap_servers, additional_config=options) as made:
        for call in TYPED + OTHERS:
            call(made, "k")
    assert sorted(seen) == sorted(
        [(None, "audit-api-calls"), (None, "data-ingestion"), (None, "data-quality")]
        + [(None, "system-health")]
        + [(None, "market-data")] * 3
    )
    assert made.get_stats() == {"delivered": 7, "errors": 0}


def test_callbacks_of_the_low_level_producer_are_called_and_polled(platform: Platform) -> None:
    seen: list[Any] = []
    made = EventProducer(platform.bootstrap_servers)
    low = made.producer
    low.produce(
        "market-data",
        value="text",
        key="k",
        callback=lambda err, msg: seen.append((err, msg.value(), msg.headers())),
        headers={"a": b"1"},
    )
    wait_until(lambda: low.poll(0.1) == 1)
    assert seen == [(None, b"text", [("a", b"1")])]
    assert low.poll(0) == 0
    # An own callback counts the record.
    assert made.delivery_count == 0
    TYPED[0](made, "k")
    wait_until(lambda: (low.poll(1), made.delivery_count == 1)[1])


def test_error_cb_is_told_of_brokers_that_cannot_be_reached() -> None:
    seen: list[Any] = []
    options = {"error_cb": seen.append, "delivery.timeout.ms": 300, "linger.ms": 0}
    made = EventProducer("localhost:1", additional_config=options)
    TYPED[0](made, "k")
    wait_until(lambda: "_TRANSPORT" in {error.name() for error in seen})
    assert all(error.code() < 0 and error.str() for error in seen)


def test_stats_cb_is_given_json(platform: Platform) -> None:
    seen: list[str] = []
    options = {"stats_cb": seen.append, "statistics.interval.ms": 50}
    with EventProducer(platform.bootstrap_servers, additional_config=options) as made:
        TYPED[0](made, "k")
        made.flush()
        wait_until(lambda: len(seen) > 2)
    assert json.loads(seen[0])["type"] == "producer"


def test_a_logger_is_given_librdkafkas_log() -> None:
    lines: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record)

    mine = logging.getLogger(f"mine-{uuid.uuid4()}")
    mine.setLevel(logging.DEBUG)
    mine.addHandler(Handler())
    options = {"logger": mine, "debug": "broker", "delivery.timeout.ms": 300, "linger.ms": 0}
    made = EventProducer("localhost:1", additional_config=options)
    TYPED[0](made, "k")
    wait_until(lambda: any("localhost:1" in line.getMessage() for line in lines))


PARTITIONERS = [
    *("consistent", "consistent_random", "murmur2", "murmur2_random"),
    *("fnv1a", "fnv1a_random", "random"),
]


@pytest.mark.parametrize("name", PARTITIONERS)
def test_a_partitioner_sends_keys_where_confluent_kafka_sends_them(
    name: str, services: Services
) -> None:
    from confluent_kafka import Producer as Confluent

    keys = [f"{name}-{number}-{uuid.uuid4()}" for number in range(40)]
    theirs: dict[bytes, int] = {}
    ours: dict[bytes, int] = {}
    known = Confluent({"bootstrap.servers": services.bootstrap_servers, "partitioner": name})
    for key in keys:
        known.produce(
            "audit-api-calls",
            key=key,
            on_delivery=lambda err, msg: theirs.update({msg.key(): msg.partition()}),
        )
    known.flush(30)
    options = {
        "partitioner": name,
        "on_delivery": lambda err, msg: ours.update({msg.key(): msg.partition()}),
    }
    with EventProducer(services.bootstrap_servers, additional_config=options) as made:
        for key in keys:
            TYPED[0](made, key)
    assert len(ours) == len(theirs) == 40
    if name != "random":
        assert ours == theirs


def test_text_borrowed_from_python_does_not_outlive_a_wait(producer: EventProducer) -> None:
    """While a call waits for a full queue, other code runs and releases the call's arguments."""
    platform = Platform()
    registry = None if producer.producer.writes_json else platform.schema_registry_url
    options = {"queue.buffering.max.messages": 4}
    source = "source-" + "s" * 40
    made = EventProducer(
        platform.bootstrap_servers, registry, "".join(source), additional_config=options
    )
    made.produce_data_ingestion_event("first", 1, 2, "l")
    made.flush()
    platform.broker_down()
    started, count = threading.Event(), 12

    def work() -> None:
        for number in range(count):
            metadata = {f"name-{number}-{'n' * 40}": f"value-{number}-{'v' * 40}"}
            held.append(metadata)
            started.set()
            made.produce_data_ingestion_event("".join(("d", str(number))), 1, 2, "l", metadata=metadata)

    held: list[dict[str, str]] = []
    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    # The fifth call waits. Its arguments are replaced meanwhile.
    wait_until(lambda: len(made.producer) == 5)
    assert len(held) == 5
    made.source_service = "another"
    held[4].clear()
    gc.collect()
    garbage = ["x" * 47 + str(number) for number in range(10_000)]
    platform.broker_up()
    thread.join(60)
    assert not thread.is_alive() and garbage
    assert made.flush(30) == 0
    events = {record.event.dataset_name: record.event for record in platform.records("data-ingestion")}
    assert len(events) == count + 1
    waited = events["d4"]
    assert waited.source == source
    assert dict(waited.metadata) == {f"name-4-{'n' * 40}": f"value-4-{'v' * 40}"}
    assert events["d11"].source == "another"
    platform.stop()


class TestEventProducer(unittest.TestCase):
    """A service's unit test, as the documentation shows it."""

    @mock.patch("event_producer.Producer")
    def test_produce_event(self, mock_producer: mock.Mock) -> None:
        producer = EventProducer(source_service="test")
        producer.produce_data_ingestion_event(
            dataset_name="test",
            record_count=100,
            size_bytes=1000,
            location="s3://test",
            status="SUCCESS",
        )
        mock_producer.return_value.produce.assert_called_once()


def test_an_event_may_be_made_from_the_base_event(producer: EventProducer, platform: Platform) -> None:
    event = producer._create_base_event(
        EventType.DATA_INGESTION, correlationId="request-1", causationId="event-0"
    )
    producer.produce_custom_event(Topic.MARKET_DATA.value, "k", event)
    producer.flush()
    [value] = raw_of(platform, "market-data")
    assert json.loads(value) == event


def raw_of(platform: Platform, topic: str) -> list[bytes]:
    at = Services(platform.bootstrap_servers, platform.schema_registry_url)
    return raw(at, topic, "k")

"""`carbon_events.testing`, as the tests of a service use it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time

import pytest
from carbon_events import (
    AsyncEventConsumer,
    DataQualityEvent,
    EventConsumer,
    EventProducer,
    InvalidConfigError,
    UnavailableError,
)
from carbon_events.testing import Platform
from event_producer import get_event_producer
from test_events import quality


def test_the_events_of_a_service_are_read(carbon_environment: Platform) -> None:
    with get_event_producer("billing") as producer:
        producer.produce_data_quality_event("prices", "t", "n", "PASS", 0.5, 0, 1)
    [record] = carbon_environment.records("data-quality")
    assert (record.event.source, record.event.score) == ("billing", 0.5)


def test_the_environment_is_as_it_was(carbon_platform: Platform) -> None:
    before = dict(os.environ)
    with carbon_platform.in_environment() as variables:
        assert os.environ["KAFKA_BOOTSTRAP_SERVERS"] == variables["KAFKA_BOOTSTRAP_SERVERS"]
        with EventProducer(service_name="s") as producer:
            assert producer.send(quality()).result(30).offset == 0
    assert dict(os.environ) == before


def test_topics_behind_a_prefix_are_one_environments_own() -> None:
    with Platform(topic_prefix="staging.") as platform:
        with platform.producer() as producer:
            assert producer.send(quality()).result(30).topic == "staging.data-quality"
        [record] = platform.records(DataQualityEvent)
        assert record.topic == "staging.data-quality" and record.event.dataset_name
        with platform.consumer("data-quality", topic_prefix="", standalone=True, detect_end=True) as other:
            assert list(other) == []
        with pytest.raises(InvalidConfigError, match="topic prefix"):
            platform.producer(topic_prefix="stag ing")


def test_faults_pass(carbon_platform: Platform) -> None:
    with carbon_platform.producer() as producer:
        producer.send(quality()).result(30)
        carbon_platform.broker_fail("PRODUCE", "NOT_LEADER", 2)
        assert producer.send(quality()).result(30).offset >= 0
        carbon_platform.broker_down()
        delivery = producer.send(quality())
        carbon_platform.broker_up()
        assert delivery.result(30).offset >= 0


def test_a_registry_that_is_down_is_waited_for(carbon_platform: Platform) -> None:
    carbon_platform.registry_down()
    with carbon_platform.producer() as producer:
        delivery = producer.send(quality())
        with pytest.raises(TimeoutError):
            delivery.result(0.3)
        carbon_platform.registry_up()
        assert delivery.result(30).offset >= 0


def test_a_registry_outage_fails_the_read_and_the_same_records_come_later(
    carbon_platform: Platform,
) -> None:
    with carbon_platform.producer() as producer:
        assert producer.send_many([quality() for _ in range(20)]).result(30) == 20
    carbon_platform.registry_down()
    with carbon_platform.consumer(
        "data-quality", group_id="g", detect_end=True, unreachable_after_ms=300
    ) as consumer:
        for read in (lambda: consumer.next_batch(30), lambda: next(iter(consumer))):
            with pytest.raises(UnavailableError) as raised:
                read()
            assert raised.value.retryable
        carbon_platform.registry_up()
        records = []
        while not records:
            # One more failure may be in flight.
            with contextlib.suppress(UnavailableError):
                records = list(consumer)
    assert len(records) == 20
    assert all(record.error is None for record in records)


def test_a_loop_outlasts_a_short_registry_outage(carbon_platform: Platform) -> None:
    with carbon_platform.producer() as producer:
        assert producer.send_many([quality() for _ in range(20)]).result(30) == 20
    carbon_platform.registry_down()
    up = threading.Timer(0.5, carbon_platform.registry_up)
    up.start()
    with carbon_platform.consumer("data-quality", group_id="g", detect_end=True) as consumer:
        records = list(consumer)
    up.join()
    assert [record.error for record in records] == [None] * 20


def test_a_registry_that_hangs_stops_no_thread_and_no_loop(carbon_platform: Platform) -> None:
    with carbon_platform.producer() as producer:
        producer.send(quality()).result(30)
    silent = socket.create_server(("127.0.0.1", 0))
    settings = {
        "bootstrap_servers": carbon_platform.bootstrap_servers,
        "security_protocol": "PLAINTEXT",
        "schema_registry_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
    }
    beats, done = [time.monotonic()], threading.Event()

    def beat() -> None:
        while not done.wait(0.01):
            beats.append(time.monotonic())

    thread = threading.Thread(target=beat)
    thread.start()

    async def read() -> None:
        async with AsyncEventConsumer("data-quality", group_id="b", **settings) as consumer:
            reading = asyncio.ensure_future(consumer.next_batch())
            silent.settimeout(30)
            asked, _ = await asyncio.get_running_loop().run_in_executor(None, silent.accept)
            finished, _ = await asyncio.wait([reading], timeout=0.3)
            assert not finished
            reading.cancel()
            asked.close()

    try:
        consumer = EventConsumer("data-quality", group_id="a", **settings)
        silent.settimeout(0.01)
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline
            began = time.monotonic()
            assert consumer.next_batch(0.2) == []
            assert time.monotonic() - began < 1
            try:
                connection, _ = silent.accept()
                break
            except TimeoutError:
                pass
        assert consumer.next_batch(0.2) == []
        consumer.close()
        asyncio.run(read())
        connection.close()
    finally:
        done.set()
        thread.join()
        silent.close()
    assert max(later - earlier for earlier, later in zip(beats, beats[1:])) < 1


def test_a_wrong_word_is_named(carbon_platform: Platform) -> None:
    with pytest.raises(ValueError, match="NONSENSE is no kind of request"):
        carbon_platform.broker_fail("NONSENSE", "NOT_LEADER", 1)


def test_a_stopped_platform_raises() -> None:
    platform = Platform()
    platform.stop()
    with pytest.raises(Exception, match="was stopped"):
        platform.bootstrap_servers

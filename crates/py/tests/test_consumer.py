"""`carbon_events.EventConsumer`: records, offsets, errors."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from carbon_events import (
    AuditAPICallEvent,
    ClosedError,
    EventConsumer,
    EventProducer,
    InvalidConfigError,
    UndecodableError,
    UnknownTopicError,
)
from conftest import Services
from test_events import CALL, quality


class Place:
    """Topics of a test's own on the real broker."""

    def __init__(self, services: Services) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic

        self.services, self.prefix, self.group = services, f"{uuid.uuid4()}-", services.group()
        admin = AdminClient({"bootstrap.servers": services.bootstrap_servers})
        topics = [NewTopic(self.prefix + name, 3, 1) for name in ("audit-api-calls", "data-quality")]
        for future in admin.create_topics(topics).values():
            future.result(30)

    def producer(self) -> EventProducer:
        return EventProducer(**self.services.settings(topic_prefix=self.prefix))

    def consumer(self, *topics: str, **options: Any) -> EventConsumer:
        options.setdefault("group_id", self.group)
        return EventConsumer(
            [self.prefix + topic for topic in topics], **self.services.settings(**options)
        )

    def records(self, topic: str) -> list[Any]:
        with self.consumer(topic, standalone=True, detect_end=True) as consumer:
            return sorted(consumer, key=lambda record: (record.partition, record.offset))


@pytest.fixture
def platform(services: Services) -> Place:
    return Place(services)


def sent(platform: Place, count: int, **fields: Any) -> list[Any]:
    events = [AuditAPICallEvent(**{**CALL, "source": "test", **fields}) for _ in range(count)]
    with platform.producer() as producer:
        assert producer.send_many(events).result(30) == count
    return events


def test_a_record_is_acknowledged_once_the_next_is_read(platform: Place) -> None:
    events = sent(platform, 10)
    consumer = platform.consumer("audit-api-calls")
    for _ in range(4):
        consumer.next_record(30)
    consumer.close()
    # Three are acknowledged: no record was read after the fourth.
    with platform.consumer("audit-api-calls", detect_end=True) as consumer:
        rest = [record.event for record in consumer]
    assert rest == events[3:]


def test_a_batch_is_acknowledged_once_the_next_is_read(platform: Place) -> None:
    events = sent(platform, 10)
    with platform.consumer("audit-api-calls") as consumer:
        batch = consumer.next_batch(30)
        while len(batch) < 10:
            batch += consumer.next_batch(30)
        assert [record.event for record in batch] == events
        assert consumer.next_batch(0.1) == []
    with platform.consumer("audit-api-calls", detect_end=True) as consumer:
        assert list(consumer) == []


def test_a_kept_record_does_not_keep_its_batch(platform: Place) -> None:
    events = sent(platform, 1000)
    with platform.consumer("audit-api-calls", detect_end=True) as consumer:
        kept = list(consumer)
    assert [record.event for record in kept] == events
    with platform.consumer("audit-api-calls", detect_end=True) as consumer:
        assert list(consumer) == []


def test_offsets_are_committed_by_hand(platform: Place) -> None:
    events = sent(platform, 10)
    with platform.consumer("audit-api-calls", auto_commit=False) as consumer:
        records = [consumer.next_record(30) for _ in range(5)]
        consumer.commit(records[2])
    with platform.consumer("audit-api-calls", auto_commit=False, detect_end=True) as consumer:
        records = list(consumer)
        assert [record.event for record in records] == events[3:]
        consumer.commit(records)
    with platform.consumer("audit-api-calls", detect_end=True) as consumer:
        assert list(consumer) == []


def test_seek_sets_where_reading_continues(platform: Place) -> None:
    events = sent(platform, 5)
    with platform.consumer("audit-api-calls") as consumer:
        first = consumer.next_record(30)
        consumer.next_record(30)
        consumer.seek(first)
        assert consumer.next_record(30).event == events[0]
        consumer.seek((first.topic, first.partition, first.offset + 3))
        assert consumer.next_record(30).event == events[3]
        assert (first.topic, first.partition) in consumer.assignment()
        with pytest.raises(UnknownTopicError):
            consumer.seek((first.topic, 99, 0))


def test_an_undecodable_record_has_its_error(platform: Place) -> None:
    with platform.producer() as producer:
        topic = platform.prefix + "data-quality"
        producer.send_raw(topic, b"\x01secret", key="k").result(30)
        producer.send(quality(), key="k").result(30)
    records = platform.records("data-quality")
    assert [record.error is None for record in records] == [False, True]
    broken, good = records
    assert isinstance(broken.error, UndecodableError) and broken.value == b"\x01secret"
    assert broken.error.context["offset"] == str(broken.offset)
    assert "secret" not in str(broken.error)
    assert good.event.dataset_name == "prices" and good.value is None
    with pytest.raises(UndecodableError):
        broken.event


def test_json_of_older_producers_is_the_same_event(platform: Place) -> None:
    event = quality(source="old")
    with platform.producer() as producer:
        topic = platform.prefix + "data-quality"
        producer.send_raw(topic, event.to_json(), key="k").result(30)
        sloppy = {**json.loads(event.to_json()), "score": "0.5", "extra": 1}
        producer.send_raw(topic, json.dumps(sloppy), key="k").result(30)
    assert [record.event for record in platform.records("data-quality")] == [event, event]


def test_the_end_is_noticed(platform: Place) -> None:
    sent(platform, 3)
    with platform.consumer("audit-api-calls", detect_end=True) as consumer:
        assert len(list(consumer)) == 3
        assert consumer.at_end() and list(consumer) == []


def test_topics_are_named_by_their_records(services: Services) -> None:
    with EventProducer(**services.settings()) as producer:
        producer.send(AuditAPICallEvent(**CALL)).result(30)
        producer.send(quality()).result(30)
    classes = [AuditAPICallEvent, "data-quality"]
    options = services.settings(standalone=True, detect_end=True)
    with EventConsumer(classes, **options) as consumer:
        assert {record.topic for record in consumer} == {"audit-api-calls", "data-quality"}


def test_iterating_ends_when_the_consumer_is_closed(platform: Place) -> None:
    consumer = platform.consumer("audit-api-calls")
    consumer.close()
    assert list(consumer) == []
    with pytest.raises(ClosedError):
        consumer.next_batch(1)
    consumer.close()


def test_a_consumer_needs_a_group_and_topics(services: Services) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        EventConsumer("data-quality", bootstrap_servers="localhost:1")
    assert caught.value.context["setting"] == "group_id"
    with pytest.raises(InvalidConfigError, match="topics"):
        EventConsumer(group_id="g", bootstrap_servers="localhost:1")
    with pytest.raises(InvalidConfigError, match="group_id"):
        EventConsumer("data-quality", gruop_id="g")  # type: ignore[call-arg]


def test_a_group_shares_the_real_brokers_partitions(services: Services) -> None:
    service, group = f"group-{uuid.uuid4()}", services.group()
    fields = [{**CALL, "service": f"{service}-{number % 50}"} for number in range(2000)]
    with EventProducer(**services.settings()) as producer:
        assert producer.send_many(fields, AuditAPICallEvent).result(60) == 2000
    options = services.settings(group_id=group)
    ids: set[str] = set()
    with (
        EventConsumer("audit-api-calls", **options) as one,
        EventConsumer("audit-api-calls", **options) as other,
    ):
        quiet = 0
        while quiet < 20 and len(ids) < 2000:
            batches = one.next_batch(0.3) + other.next_batch(0.3)
            quiet = 0 if batches else quiet + 1
            for record in batches:
                if record.key and record.key.startswith(service.encode()):
                    ids.add(record.event.event_id)
    assert len(ids) == 2000

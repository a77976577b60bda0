"""Correct code: type checkers must accept it."""

import asyncio
from datetime import datetime, timedelta, timezone

from carbon_events import (
    AsyncEventConsumer,
    AsyncEventProducer,
    AuditAPICallEvent,
    ColumnLineage,
    DataLineageEvent,
    DataQualityEvent,
    Delivery,
    DeliveryReport,
    Event,
    EventConsumer,
    EventProducer,
    QualityResult,
    Record,
)
from carbon_events.testing import Platform
from event_producer import EventProducer as OldProducer
from typing_extensions import assert_type

quality = DataQualityEvent(
    dataset_name="prices",
    check_type="completeness",
    check_name="n",
    result="PASS",
    score=1,
    failed_records=0,
    total_records=1,
    timestamp=datetime.now(timezone.utc),
)
assert_type(quality.result, QualityResult)
assert_type(quality.message, str | None)
assert_type(quality.replace(score=0.5), DataQualityEvent)
assert_type(DataQualityEvent.from_dict(quality.to_dict()), DataQualityEvent)
lineage = DataLineageEvent(
    source_dataset="a",
    target_dataset="b",
    transformation_type="JOIN",
    transformation_name="t",
    columns=[ColumnLineage("a", "b"), {"source_column": "c", "target_column": "d"}],
)
assert_type(lineage.columns, tuple[ColumnLineage, ...])

with EventProducer(service_name="s", linger_ms=timedelta(milliseconds=5)) as producer:
    assert_type(producer.send(quality, headers={"a": b"b"}), Delivery)
    assert_type(producer.send(quality).result(1.0), DeliveryReport)
    producer.send_many([quality, lineage]).result()
    producer.send_many([quality.to_dict()], DataQualityEvent)
    producer.send_many({"dataset_name": ["a"]}, DataQualityEvent)

with EventConsumer(DataQualityEvent, group_id="g") as typed:
    for one in typed:
        assert_type(one.event.score, float)
    assert_type(typed.next_batch(1.0), list[Record[DataQualityEvent]])
    typed.commit(typed.next_batch())

with EventConsumer(["data-quality", AuditAPICallEvent], group_id="g") as consumer:
    for record in consumer:
        assert_type(record, Record)
        match record.event:
            case DataQualityEvent(score=score):
                assert_type(score, float)
            case Event():
                pass


async def main() -> None:
    async with AsyncEventProducer(compression="zstd") as sender:
        assert_type(await sender.send(quality), DeliveryReport)
        assert_type(await (await sender.send_many([quality])), int)
    async with AsyncEventConsumer("data-quality") as reader:
        async for record in reader:
            assert_type(record.key, bytes | None)
    async with AsyncEventConsumer(DataLineageEvent) as lineages:
        async for one in lineages:
            assert_type(one.event.columns, tuple[ColumnLineage, ...])

with Platform() as platform:
    assert_type(platform.records(DataQualityEvent)[0].event, DataQualityEvent)
    assert_type(platform.records("data-quality")[0].event, Event)
    with platform.consumer(DataQualityEvent) as typed:
        assert_type(next(typed).event, DataQualityEvent)


asyncio.run(main())
OldProducer("localhost:9092").produce_service_health_event("s", "n", "HEALTHY", 1, 0.5)

"""Mistakes: type checkers must reject each marked line, with mypy's and pyright's error code."""

# pyright: standard

from carbon_events import DataQualityEvent, EventConsumer, EventProducer

event = DataQualityEvent(  # wrong: call-arg, reportCallIssue
    dataset_name="d",
    check_type="c",
    check_name="n",
    result="PASS",
    score=1.0,
    failed_records=0,
)
other = DataQualityEvent(
    dataset_name=1,  # wrong: arg-type, reportArgumentType
    check_type="c",
    check_name="n",
    result="SPLENDID",  # wrong: arg-type, reportArgumentType
    score="1",  # wrong: arg-type, reportArgumentType
    failed_records=0,
    total_records=None,  # wrong: arg-type, reportArgumentType
)
event.score = 2.0  # wrong: misc, reportAttributeAccessIssue
event.scoer  # wrong: attr-defined, reportAttributeAccessIssue
producer = EventProducer(lingr_ms=5)  # wrong: call-arg, reportCallIssue
producer = EventProducer(compression="zip")  # wrong: arg-type, reportArgumentType
producer.send({"dataset_name": "d"})  # wrong: arg-type, reportArgumentType
producer.send(event, partition="1")  # wrong: arg-type, reportArgumentType
producer.send(event).result("soon")  # wrong: arg-type, reportArgumentType
EventConsumer(group_id=5)  # wrong: arg-type, reportArgumentType
for record in EventConsumer(DataQualityEvent, group_id="g"):
    record.event.latency_ms  # wrong: attr-defined, reportAttributeAccessIssue

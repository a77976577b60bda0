"""What type checkers must refuse: each line that says so."""

from carbon_events import DataQualityEvent, EventConsumer, EventProducer

event = DataQualityEvent(  # wrong: call-arg
    dataset_name="d",
    check_type="c",
    check_name="n",
    result="PASS",
    score=1.0,
    failed_records=0,
)
other = DataQualityEvent(
    dataset_name=1,  # wrong: arg-type
    check_type="c",
    check_name="n",
    result="SPLENDID",  # wrong: arg-type
    score="1",  # wrong: arg-type
    failed_records=0,
    total_records=None,  # wrong: arg-type
)
event.score = 2.0  # wrong: misc
event.scoer  # wrong: attr-defined
producer = EventProducer(lingr_ms=5)  # wrong: call-arg
producer = EventProducer(compression="zip")  # wrong: arg-type
producer.send({"dataset_name": "d"})  # wrong: arg-type
producer.send(event, partition="1")  # wrong: arg-type
producer.send(event).result("soon")  # wrong: arg-type
EventConsumer(group_id=5)  # wrong: arg-type

//! What a record is read as.

use futures::StreamExt;
use futures::executor::block_on;

use super::*;
use crate::consumer::{Offsets, TopicPartition};
use crate::events::{DataQualityEvent, Event};
use crate::testkit::MockRegistry;
use crate::{ErrorKind, Topic};

#[test]
fn an_event_comes_with_its_key_headers_and_position() {
    let broker = broker();
    let producer = EventProducer::builder()
        .connection(broker.connection().service_name("tests"))
        .build()
        .unwrap();
    let sent = event(7);
    let outgoing = producer.event(&sent).partition(2);
    let outgoing = outgoing
        .header("traceparent", "00-1")
        .header("traceparent", "00-2");
    let report = outgoing.send().unwrap().wait().unwrap();
    let consumer = builder(&broker, "g").build().unwrap();
    let batch = next(&consumer);
    assert_eq!((batch.len(), batch.iter().len()), (1, 1));
    assert_eq!(batch.partitions(), [TopicPartition::new(TOPIC, 2)]);
    let record = batch.get(0).unwrap();
    assert_eq!((record.topic(), record.partition()), (TOPIC, 2));
    assert_eq!(record.offset(), report.offset);
    assert_eq!(record.key(), Some(&b"catalog"[..]));
    assert!(record.timestamp_ms().unwrap() >= sent.envelope.timestamp_ms);
    assert_eq!(record.header("traceparent"), Some(&b"00-2"[..]));
    assert_eq!(record.headers().count(), 2);
    assert_eq!(record.header("tracestate"), None);
    let mut expected = sent.clone();
    expected.envelope.source = "tests".into();
    assert_eq!(record.typed::<ServiceHealthEvent>().unwrap(), expected);
    let Event::ServiceHealth(any) = record.event().unwrap() else {
        panic!("another event")
    };
    assert_eq!(any, expected);
    let owned = record.to_owned();
    drop(batch);
    assert_eq!((owned.topic(), owned.offset), (TOPIC, report.offset));
    assert_eq!(owned.header("traceparent"), Some(&b"00-2"[..]));
    assert_eq!(owned.into_event().unwrap(), Event::ServiceHealth(expected));
}

#[test]
fn an_undecodable_record_is_an_error_with_its_bytes_and_reading_goes_on() {
    let broker = broker();
    let mut cut = value(&event(2));
    cut.truncate(cut.len() - 1);
    let values = [
        value(&event(1)),
        b"\x07garbage".to_vec(),
        cut,
        value(&event(3)),
    ];
    write_values(&broker, TOPIC, 0, values.clone());
    let consumer = builder(&broker, "g").build().unwrap();
    let mut outcomes = Vec::new();
    while outcomes.len() < values.len() {
        for record in &next(&consumer) {
            assert_eq!(record.value(), Some(&values[record.offset() as usize][..]));
            outcomes.push(record.event().map(Event::into_owned));
        }
    }
    let [Ok(_), Err(garbage), Err(cut), Ok(_)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    for (error, offset) in [(garbage, "1"), (cut, "2")] {
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        let place = ["topic", "partition", "offset"].map(|name| error.get(name).unwrap());
        assert_eq!(place, [TOPIC, "0", offset]);
    }
    let snapshot = consumer.metrics().snapshot();
    let counts = snapshot.topic(TOPIC).unwrap();
    assert_eq!((counts.consumed, counts.undecodable), (4, 2));
}

#[test]
fn a_tombstone_is_no_undecodable_record() {
    let broker = broker();
    let producer = EventProducer::builder()
        .connection(broker.connection())
        .build()
        .unwrap();
    let record = producer.raw(TOPIC).partition(0).key(&b"catalog"[..]);
    record.send().unwrap().wait().unwrap();
    producer.close(SOON).unwrap();
    let consumer = builder(&broker, "g").build().unwrap();
    let batch = next(&consumer);
    let record = batch.get(0).unwrap();
    assert!(record.is_tombstone() && record.to_owned().is_tombstone());
    assert_eq!(record.key(), Some(&b"catalog"[..]));
    let error = record.event().unwrap_err();
    assert!(error.message().contains("tombstone"), "{error}");
    let snapshot = consumer.metrics().snapshot();
    let counts = snapshot.topic(TOPIC).unwrap();
    assert_eq!((counts.tombstones, counts.undecodable), (1, 0));
    let text = consumer.metrics().to_prometheus();
    assert!(
        text.contains("tombstone_records_total{topic=\"system-health\"} 1"),
        "{text}"
    );
}

#[test]
fn a_stream_gives_an_undecodable_record_with_its_bytes() {
    let broker = broker();
    write_values(&broker, TOPIC, 0, [b"{".to_vec(), value(&event(3))]);
    let consumer = builder(&broker, "g").build().unwrap();
    let records = consumer.typed::<ServiceHealthEvent>().take(2);
    let records: Vec<_> = block_on(records.map(Result::unwrap).collect());
    let undecodable = records[0].event.as_ref().unwrap_err();
    assert_eq!(undecodable.value.as_deref(), Some(&b"{"[..]));
    assert_eq!(undecodable.error.kind(), ErrorKind::Undecodable);
    assert_eq!(records[1].event.as_ref().unwrap().latency_ms, 3);
    assert_eq!(records[1].offset, 1);
    let shown = format!("{:?}", records[0]);
    assert!(shown.contains("bytes: 1"), "{shown}");
}

#[test]
fn another_event_is_undecodable_to_a_stream_of_one_type() {
    let broker = broker();
    write(&broker, 0, [5]);
    let consumer = builder(&broker, "g").build().unwrap();
    let record = block_on(consumer.typed::<DataQualityEvent>().next())
        .unwrap()
        .unwrap();
    let error = record.into_event().unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Undecodable | ErrorKind::IncompatibleSchema
        ),
        "{error}"
    );
}

#[test]
fn all_three_formats_are_read_from_one_topic() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    let producer = EventProducer::builder()
        .connection(broker.connection())
        .registry(registry.settings())
        .build()
        .unwrap();
    producer
        .event(&event(1))
        .partition(0)
        .send()
        .unwrap()
        .wait()
        .unwrap();
    let mut json = Vec::new();
    event(2).write_json("tests", &mut json).unwrap();
    write_values(&broker, TOPIC, 0, [json, value(&event(3))]);
    let consumer = builder(&broker, "g")
        .registry(registry.settings())
        .build()
        .unwrap();
    assert_eq!(read(&consumer, 3)[&0], [1, 2, 3]);
    // Once more, all at once and each twice, from what is kept now.
    consumer.seek(Offsets::at(TOPIC, 0, 0), SOON).unwrap();
    let mut formats = Vec::new();
    while formats.len() < 3 {
        for record in &next(&consumer) {
            let once = record.typed::<ServiceHealthEvent>().unwrap();
            assert_eq!(once, record.typed::<ServiceHealthEvent>().unwrap());
            formats.push(record.value().unwrap()[0]);
        }
    }
    assert_eq!(formats, [0x00, b'{', 0xC3]);
    assert_eq!(registry.calls().schemas, 1, "the schema was asked for once");
}

#[test]
fn json_without_an_id_gets_one_that_stays() {
    let broker = broker();
    let json = br#"{"serviceName":"s","namespace":"n","healthStatus":"HEALTHY","latencyMs":1,"errorRate":0}"#;
    write_values(&broker, TOPIC, 1, [json.to_vec(), json.to_vec()]);
    let ids = |group: &str| {
        let consumer = builder(&broker, group).build().unwrap();
        let records = consumer.typed::<ServiceHealthEvent>().take(2);
        block_on(records.collect::<Vec<_>>())
            .into_iter()
            .map(|record| {
                let envelope = record.unwrap().into_event().unwrap().envelope;
                assert!(envelope.timestamp_ms > 0, "the record's own");
                envelope.event_id.as_str().to_owned()
            })
            .collect::<Vec<_>>()
    };
    let first = ids("one");
    assert_ne!(first[0], first[1]);
    assert_eq!(first, ids("two"));
}

#[test]
fn events_on_any_other_topic_are_recognized() {
    let broker = broker();
    broker.create_topic("dead-letters", 1).unwrap();
    let mut json = Vec::new();
    event(2).write_json("tests", &mut json).unwrap();
    write_values(
        &broker,
        "dead-letters",
        0,
        [value(&event(1)), json, b"?".to_vec()],
    );
    let settings = broker.consumer_settings("g", ["dead-letters"]);
    let consumer = EventConsumer::builder()
        .connection(broker.connection())
        .consumer(settings)
        .build()
        .unwrap();
    let records: Vec<_> = block_on(consumer.stream().take(3).map(Result::unwrap).collect());
    let topics: Vec<_> = records
        .iter()
        .map(|record| record.event.as_ref().ok().map(Event::topic))
        .collect();
    assert_eq!(
        topics,
        [Some(Topic::SystemHealth), Some(Topic::SystemHealth), None]
    );
}

#[test]
fn a_tombstone_has_no_event_and_an_error_that_names_it() {
    let broker = broker();
    let producer = EventProducer::builder()
        .connection(broker.connection())
        .build()
        .unwrap();
    let tombstone = producer.raw(TOPIC).partition(0).key(&b"catalog"[..]);
    tombstone.send().unwrap().wait().unwrap();
    let consumer = builder(&broker, "g").build().unwrap();
    let batch = next(&consumer);
    let record = batch.get(0).unwrap();
    assert_eq!(
        (record.key(), record.value()),
        (Some(&b"catalog"[..]), None)
    );
    assert!(record.event().unwrap_err().message().contains("tombstone"));
}

#[test]
fn a_batch_can_be_read_by_several_threads_and_tasks() {
    fn shared<T: Send + Sync>(_: &T) {}
    let broker = broker();
    let mut json = Vec::new();
    event(2).write_json("tests", &mut json).unwrap();
    write_values(&broker, TOPIC, 0, vec![json; 100]);
    let consumer = builder(&broker, "g").build().unwrap();
    shared(&consumer);
    let mut left = 100;
    while left > 0 {
        let batch = next(&consumer);
        left -= batch.len();
        shared(&batch);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for record in &batch {
                        assert_eq!(record.typed::<ServiceHealthEvent>().unwrap().latency_ms, 2);
                        assert_eq!(record.headers().count(), 0);
                    }
                });
            }
        });
    }
}

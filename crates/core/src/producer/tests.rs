//! The producer against the in-process broker and registry, with their faults. What only a real
//! cluster can show is tested on one, in the workspace's `tests/`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Delivery, EventProducer, EventProducerBuilder};
use crate::codec::frame::{WireFormat, split};
use crate::config::{EventFormat, ProducerSettings};
use crate::events::{Envelope, ServiceHealthEvent, Topic, TypedEvent};
use crate::testkit::{Api, Broker, BrokerError, MockRegistry, RegistryFault};
use crate::{Error, ErrorKind};

const SOON: Duration = Duration::from_secs(20);
const TOPIC: &str = "system-health";

fn broker() -> Broker {
    Broker::start().unwrap()
}

fn builder(broker: &Broker) -> EventProducerBuilder {
    EventProducer::builder().connection(broker.connection().service_name("tests"))
}

fn event(service: &str) -> ServiceHealthEvent<'_> {
    ServiceHealthEvent::builder()
        .service_name(service)
        .namespace("data-platform")
        .health_status(crate::events::HealthStatus::Healthy)
        .latency_ms(12)
        .error_rate(0.5)
        .build()
        .unwrap()
}

/// Reads the first `count` records of a topic, partition by partition.
fn read(broker: &Broker, topic: &str, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("group.id", "tests")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), SOON).unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        assignment
            .add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let deadline = Instant::now() + SOON;
    let mut records = Vec::new();
    while records.len() < count && Instant::now() < deadline {
        if let Some(record) = consumer.poll(Duration::from_millis(100)) {
            records.push(record.unwrap().detach());
        }
    }
    assert_eq!(records.len(), count, "records in {topic}");
    records
}

fn failure(delivery: &Delivery) -> Error {
    delivery.wait_timeout(SOON).unwrap_err()
}

#[test]
fn a_lone_send_is_not_delayed_by_linger() {
    let broker = broker();
    let settings = ProducerSettings::default().linger(Duration::from_secs(60));
    let producer = builder(&broker).producer(settings).build().unwrap();
    for _ in 0..3 {
        producer
            .send(&event("a"))
            .unwrap()
            .wait_timeout(SOON)
            .unwrap();
    }
}

#[test]
fn a_burst_is_delivered_in_the_order_of_each_key() {
    let broker = broker();
    let producer = builder(&broker).build().unwrap();
    let keys = ["a", "b", "c", "d", "e"];
    let deliveries: Vec<_> = (0..5000)
        .map(|index: usize| {
            let value = index.to_string().into_bytes();
            producer
                .raw(TOPIC)
                .key(keys[index % 5].as_bytes())
                .value(value)
                .send()
                .unwrap()
        })
        .collect();
    producer.flush(SOON).unwrap();
    let mut last = std::collections::HashMap::new();
    for record in read(&broker, TOPIC, 5000) {
        let index: usize = std::str::from_utf8(record.payload().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        let before = last.insert(record.key().unwrap().to_vec(), index);
        assert!(
            before.is_none_or(|before| before < index),
            "{before:?} before {index}"
        );
        // Each handle says where its record is.
        let report = deliveries[index].outcome().unwrap().unwrap();
        assert_eq!(
            (report.partition, report.offset),
            (record.partition(), record.offset())
        );
    }
    let stats = producer.stats();
    assert_eq!(
        (stats.accepted, stats.delivered, stats.failed, stats.queued),
        (5000, 5000, 0, 0)
    );
}

#[test]
fn a_typed_event_is_a_single_object_without_a_registry() {
    let broker = broker();
    let producer = builder(&broker).build().unwrap();
    let sent = event("billing");
    producer.send(&sent).unwrap().wait_timeout(SOON).unwrap();
    let record = read(&broker, TOPIC, 1).remove(0);
    assert_eq!(record.key(), Some(&b"billing"[..]));
    let frame = split(record.payload().unwrap()).unwrap();
    let fingerprint = ServiceHealthEvent::FINGERPRINT;
    assert_eq!(frame.format, WireFormat::SingleObject { fingerprint });
    let read = ServiceHealthEvent::decode(frame.body).unwrap();
    assert_eq!(read.envelope.source, "tests");
    let filled = Envelope {
        source: "tests".into(),
        ..sent.envelope.clone()
    };
    assert_eq!(
        read,
        ServiceHealthEvent {
            envelope: filled,
            ..sent
        }
    );
}

#[test]
fn json_is_written_where_it_is_asked_for() {
    let broker = broker();
    let producer = builder(&broker).format(EventFormat::Json).build().unwrap();
    producer
        .send(&event("billing"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    let record = read(&broker, TOPIC, 1).remove(0);
    let json: serde_json::Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
    assert_eq!(json["eventType"], "ServiceHealthEvent");
    assert_eq!(json["source"], "tests");
    assert_eq!(json["errorRate"], 0.5);
}

#[test]
fn headers_keys_partitions_and_tombstones_reach_the_broker() {
    let broker = broker();
    let trace = || {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        Some(super::TraceContext {
            traceparent,
            tracestate: None,
        })
    };
    let producer = builder(&broker).trace_context(trace).build().unwrap();
    let typed = event("a");
    let sent = [
        producer
            .event(&typed)
            .key(&b"mine"[..])
            .header("tenant", "north")
            .send()
            .unwrap(),
        producer
            .raw(TOPIC)
            .partition(2)
            .no_key()
            .value(&b"v"[..])
            .send()
            .unwrap(),
        producer.raw(TOPIC).key(&b"gone"[..]).send().unwrap(),
    ];
    for delivery in &sent {
        delivery.wait_timeout(SOON).unwrap();
    }
    let records = read(&broker, TOPIC, 3);
    let find = |key: Option<&[u8]>| records.iter().find(|record| record.key() == key).unwrap();
    let headers = find(Some(b"mine")).headers().unwrap();
    assert_eq!(headers.get(0).key, "tenant");
    assert_eq!(headers.get(0).value, Some(&b"north"[..]));
    assert_eq!(headers.get(1).key, "traceparent");
    assert_eq!(
        (find(None).partition(), find(None).payload()),
        (2, Some(&b"v"[..]))
    );
    assert_eq!(find(Some(b"gone")).payload(), None);
}

#[test]
fn a_full_queue_says_so_or_waits_but_never_drops() {
    let broker = broker();
    let settings = ProducerSettings::default()
        .queue_max_records(10u64)
        .block_timeout(Duration::from_millis(200));
    let producer = builder(&broker).producer(settings).build().unwrap();
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    broker.delay(Duration::from_secs(2)).unwrap();
    for _ in 0..10 {
        drop(producer.try_send(&event("a")).unwrap());
    }
    assert_eq!(
        producer.try_send(&event("a")).unwrap_err().kind(),
        ErrorKind::QueueFull
    );
    let began = Instant::now();
    let error = producer.send(&event("a")).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("topic")),
        (ErrorKind::QueueFull, Some(TOPIC))
    );
    assert!(began.elapsed() >= Duration::from_millis(200));
    broker.delay(Duration::ZERO).unwrap();
    producer.flush(SOON).unwrap();
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    assert_eq!(producer.stats().delivered, 12);
}

#[tokio::test]
async fn a_task_waits_for_room_and_a_cancelled_one_has_sent_nothing() {
    let broker = broker();
    let settings = ProducerSettings::default().queue_max_records(1u64);
    let producer = builder(&broker).producer(settings).build().unwrap();
    producer
        .send_async(&event("a"))
        .await
        .unwrap()
        .await
        .unwrap();
    broker.delay(Duration::from_secs(1)).unwrap();
    let first = producer.send_async(&event("a")).await.unwrap();
    {
        let another = event("b");
        let mut waiting = std::pin::pin!(producer.send_async(&another));
        assert!(futures::poll!(&mut waiting).is_pending());
    }
    broker.delay(Duration::ZERO).unwrap();
    let second = producer.send_async(&event("c")).await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(producer.stats().accepted, 3);
}

#[test]
fn bad_values_and_records_too_large_are_refused_at_the_call() {
    let broker = broker();
    let producer = builder(&broker)
        .property("message.max.bytes", "2000")
        .build()
        .unwrap();
    let bad = ServiceHealthEvent {
        error_rate: 1.5,
        ..event("a")
    };
    let error = producer.send(&bad).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("field")),
        (ErrorKind::InvalidEvent, Some("errorRate"))
    );
    let long = "x".repeat(3000);
    let error = producer.send(&ServiceHealthEvent {
        message: Some(long.into()),
        ..event("a")
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::RecordTooLarge);
    let error = producer.raw(TOPIC).partition(1000).value(&b"v"[..]).send();
    if let Ok(delivery) = error {
        // The topic was not known yet, so the handle tells.
        assert_eq!(failure(&delivery).kind(), ErrorKind::UnknownTopic);
    }
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
}

#[test]
fn records_wait_for_a_registry_that_is_down_and_follow_in_order() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    registry.down();
    let producer = builder(&broker)
        .registry(registry.settings())
        .build()
        .unwrap();
    let first = producer.send(&event("a")).unwrap();
    let second = producer
        .raw(TOPIC)
        .key(&b"a"[..])
        .value(&b"raw"[..])
        .send()
        .unwrap();
    assert!(first.outcome().is_none());
    registry.up();
    let first = first.wait_timeout(SOON).unwrap();
    let second = second.wait_timeout(SOON).unwrap();
    assert_eq!(
        (first.partition, first.offset + 1),
        (second.partition, second.offset)
    );
    let record = read(&broker, TOPIC, 2).remove(0);
    let frame = split(record.payload().unwrap()).unwrap();
    assert!(matches!(frame.format, WireFormat::Confluent { .. }));
    assert_eq!(registry.versions("system-health-value").len(), 1);
    ServiceHealthEvent::decode(frame.body).unwrap();
}

#[test]
fn a_registry_outage_goes_unnoticed_once_the_schema_is_known_or_given() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    let producer = builder(&broker)
        .registry(registry.settings())
        .build()
        .unwrap();
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    registry.down();
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    let given = registry.settings().schema_id(TOPIC, 77);
    let producer = builder(&broker).registry(given).build().unwrap();
    producer
        .send(&event("given"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    let records = read(&broker, TOPIC, 3);
    let given = records
        .iter()
        .find(|record| record.key() == Some(b"given"))
        .unwrap();
    let frame = split(given.payload().unwrap()).unwrap();
    assert_eq!(frame.format, WireFormat::Confluent { id: 77 });
}

#[test]
fn a_schema_that_the_registry_refuses_fails_its_records_with_its_kind() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    registry.fail(RegistryFault::Status(409));
    let producer = builder(&broker)
        .registry(registry.settings())
        .build()
        .unwrap();
    let error = failure(&producer.send(&event("a")).unwrap());
    assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
    assert_eq!(producer.stats().failed, 1);
}

#[test]
fn a_record_that_the_broker_does_not_take_fails_with_what_the_broker_said() {
    let broker = broker();
    let producer = builder(&broker).build().unwrap();
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    broker.fail_next(Api::Produce, 1, BrokerError::MessageTooLarge);
    let error = failure(&producer.send(&event("a")).unwrap());
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
    // A passing fault is retried, not reported.
    broker.fail_next(Api::Produce, 2, BrokerError::NotEnoughReplicas);
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    let stats = producer.stats();
    assert_eq!((stats.delivered, stats.failed), (2, 1));
}

#[test]
fn a_record_without_a_broker_fails_at_the_delivery_timeout() {
    let broker = broker();
    let settings = ProducerSettings::default().delivery_timeout(Duration::from_secs(2));
    let producer = builder(&broker).producer(settings.clone()).build().unwrap();
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    broker.take_down().unwrap();
    let known = producer.send(&event("a")).unwrap();
    // And one of a topic that this producer never saw.
    let unknown = producer
        .raw("config-changes")
        .value(&b"v"[..])
        .send()
        .unwrap();
    assert_eq!(failure(&known).kind(), ErrorKind::Timeout);
    assert!(failure(&unknown).retryable(), "{}", failure(&unknown));
    let stats = producer.stats();
    assert_eq!((stats.delivered, stats.failed, stats.queued), (1, 2, 0));
}

#[test]
fn closing_without_a_broker_settles_every_record_and_counts_them() {
    let broker = broker();
    let producer = builder(&broker).build().unwrap();
    producer
        .send(&event("a"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    broker.take_down().unwrap();
    let mut deliveries: Vec<_> = (0..2000)
        .map(|_| producer.send(&event("a")).unwrap())
        .collect();
    deliveries.push(
        producer
            .raw("config-changes")
            .value(&b"v"[..])
            .send()
            .unwrap(),
    );
    let error = producer.close(Duration::from_millis(100)).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("records")),
        (ErrorKind::Aborted, Some("2001"))
    );
    for delivery in &deliveries {
        assert_eq!(
            delivery.outcome().unwrap().unwrap_err().kind(),
            ErrorKind::Aborted
        );
    }
    assert_eq!(producer.stats().failed, 2001);
    assert_eq!(
        producer.send(&event("a")).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn dropping_the_last_clone_delivers_what_was_accepted() {
    let broker = broker();
    let producer = builder(&broker).build().unwrap();
    let clone = producer.clone();
    drop(producer);
    let deliveries: Vec<_> = (0..500).map(|_| clone.send(&event("a")).unwrap()).collect();
    drop(clone);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.outcome().unwrap().is_ok())
    );
}

#[test]
fn threads_share_a_producer_and_every_record_is_counted_once() {
    let broker = broker();
    let settings = ProducerSettings::default().queue_max_records(500u64);
    let producer = Arc::new(builder(&broker).producer(settings).build().unwrap());
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let producer = Arc::clone(&producer);
            std::thread::spawn(move || {
                let service = format!("service-{thread}");
                (0..1000)
                    .map(|_| producer.send(&event(&service)).unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let deliveries: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    producer.flush(SOON).unwrap();
    let places: std::collections::HashSet<_> = deliveries
        .iter()
        .map(|delivery| delivery.outcome().unwrap().unwrap())
        .map(|report| (report.partition, report.offset))
        .collect();
    assert_eq!(places.len(), 8000);
    assert_eq!(producer.stats().delivered, 8000);
    let snapshot = producer.metrics().snapshot();
    assert_eq!(snapshot.topic(TOPIC).unwrap().delivered, 8000);
}

#[test]
fn a_producer_that_sent_nothing_has_started_nothing() {
    let producer = EventProducer::builder()
        .bootstrap_servers("127.0.0.1:1")
        .build()
        .unwrap();
    assert!(producer.shared.running().is_none());
    assert_eq!(producer.stats().accepted, 0);
    producer.flush(Duration::ZERO).unwrap();
    producer.close(Duration::ZERO).unwrap();
}

#[test]
fn a_mistyped_property_is_refused_with_the_nearest_name() {
    let error = EventProducer::builder()
        .property("batch.sise", "1")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("batch.size"), "{error}");
}

#[test]
fn every_topic_of_the_table_takes_its_record() {
    let broker = broker();
    let producer = builder(&broker).build().unwrap();
    for topic in Topic::ALL {
        let delivery = producer.raw(topic.name()).value(&b"v"[..]).send().unwrap();
        assert_eq!(&*delivery.wait_timeout(SOON).unwrap().topic, topic.name());
    }
}

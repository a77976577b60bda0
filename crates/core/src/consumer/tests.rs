//! The consumer against the in-process broker. What only a real cluster can show (KIP-848, starts
//! at a time, access rights) is tested on one, in the workspace's `tests/`.

mod acknowledging;
mod failures;
mod groups;
mod parts;
mod reading;
mod returning;
mod schemas;
mod starts;
mod streams;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::{Batch, EventConsumer, EventConsumerBuilder};
use crate::EventProducer;
use crate::codec::frame::write_single_object_header;
use crate::config::{ConsumerSettings, ProducerSettings};
use crate::events::{HealthStatus, ServiceHealthEvent, TypedEvent};
use crate::testkit::Broker;

/// Long enough for anything; nothing waits for it but a test that fails.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// Three partitions of `ServiceHealthEvent`s.
pub(super) const TOPIC: &str = "system-health";

pub(super) fn broker() -> Broker {
    Broker::start().unwrap()
}

/// A consumer of [`TOPIC`]. The in-process broker answers a rebalance when the session timeout has
/// passed, with the members that have joined by then, so that is short.
pub(super) fn builder(broker: &Broker, group: &str) -> EventConsumerBuilder {
    EventConsumer::builder()
        .connection(
            broker
                .connection()
                .property("session.timeout.ms", "500")
                .property("heartbeat.interval.ms", "100"),
        )
        .consumer(settings(broker, group))
}

pub(super) fn settings(broker: &Broker, group: &str) -> ConsumerSettings {
    broker
        .consumer_settings(group, [TOPIC])
        .commit_interval(Duration::from_millis(100))
}

pub(super) fn event(latency_ms: i64) -> ServiceHealthEvent<'static> {
    ServiceHealthEvent::builder()
        .service_name("catalog")
        .namespace("data-platform")
        .health_status(HealthStatus::Healthy)
        .latency_ms(latency_ms)
        .error_rate(0.25)
        .build()
        .unwrap()
}

/// An event as it is written without a registry.
pub(super) fn value(event: &ServiceHealthEvent<'_>) -> Vec<u8> {
    let mut value = Vec::new();
    write_single_object_header(ServiceHealthEvent::FINGERPRINT, &mut value);
    event.encode("tests", &mut value);
    value
}

/// Writes these values to a partition of a topic, in this order.
pub(super) fn write_values(
    broker: &Broker,
    topic: &str,
    partition: i32,
    values: impl IntoIterator<Item = Vec<u8>>,
) {
    let producer = EventProducer::builder()
        .connection(broker.connection())
        // In one batch: an idempotent producer's first record of a partition is a batch of its own.
        .producer(ProducerSettings::default().idempotence(false))
        .build()
        .unwrap();
    for value in values {
        let record = producer
            .raw(topic)
            .partition(partition)
            .key(&b"catalog"[..]);
        drop(record.value(value).send().unwrap());
    }
    producer.close(SOON).unwrap();
}

/// Writes events of these latencies to a partition of [`TOPIC`].
pub(super) fn write(broker: &Broker, partition: i32, latencies: impl IntoIterator<Item = i64>) {
    let values = latencies
        .into_iter()
        .map(|latency_ms| value(&event(latency_ms)));
    write_values(broker, TOPIC, partition, values);
}

/// A consumer of partition 0 with these events.
pub(super) fn reading(latencies: Range<i64>) -> (Broker, EventConsumer) {
    reading_with(latencies, |settings| settings)
}

/// As [`reading`], with settings of its own.
pub(super) fn reading_with(
    latencies: Range<i64>,
    set: impl FnOnce(ConsumerSettings) -> ConsumerSettings,
) -> (Broker, EventConsumer) {
    let broker = broker();
    write(&broker, 0, latencies);
    let settings = set(settings(&broker, "g"));
    let consumer = builder(&broker, "g").consumer(settings).build().unwrap();
    (broker, consumer)
}

pub(super) fn next(consumer: &EventConsumer) -> Batch {
    consumer
        .next_batch(SOON)
        .unwrap()
        .expect("a batch before long")
}

/// The latencies of the next events, by partition, until there are `count` of them.
pub(super) fn read(consumer: &EventConsumer, count: usize) -> BTreeMap<i32, Vec<i64>> {
    let mut latencies: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    while latencies.values().map(Vec::len).sum::<usize>() < count {
        for record in &next(consumer) {
            let event = record.typed::<ServiceHealthEvent>().unwrap();
            let of_partition = latencies.entry(record.partition()).or_default();
            of_partition.push(event.latency_ms);
        }
    }
    latencies
}

/// The error that reading meets before any record.
pub(super) fn error(consumer: &EventConsumer) -> crate::Error {
    let deadline = Instant::now() + SOON;
    loop {
        match consumer.next_batch(Duration::from_millis(200)) {
            Err(error) => return error,
            Ok(None) => assert!(Instant::now() < deadline, "no error"),
            Ok(Some(batch)) => panic!("{batch:?}"),
        }
    }
}

/// Waits until `condition` holds.
pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// Waits until at least so many records are buffered. librdkafka counts what is no record, too.
pub(super) fn has_buffered(consumer: &EventConsumer, records: usize) {
    until("the records", || consumer.buffered_records() >= records);
}

/// How far the one partition with records is acknowledged.
pub(super) fn acknowledged(consumer: &EventConsumer) -> Option<i64> {
    let positions = consumer.handled();
    assert!(positions.iter().len() <= 1);
    positions.iter().next().map(|position| position.next_offset)
}

/// Waits until the group has committed these offsets of partitions.
pub(super) fn is_committed(broker: &Broker, expected: &[(i32, i64)]) {
    let expected = expected.iter().copied().collect();
    until("the commit", || committed(broker, "g") == expected);
}

/// Closes the consumer, after which the group has committed these offsets of partitions.
pub(super) fn close_and_expect(broker: &Broker, consumer: &EventConsumer, expected: &[(i32, i64)]) {
    consumer.close(SOON).unwrap();
    assert_eq!(committed(broker, "g"), expected.iter().copied().collect());
}

/// What the group has committed for the partitions of [`TOPIC`].
pub(super) fn committed(broker: &Broker, group: &str) -> BTreeMap<i32, i64> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("group.id", group)
        .create()
        .unwrap();
    let mut partitions = rdkafka::TopicPartitionList::new();
    partitions.add_partition_range(TOPIC, 0, 2);
    let committed = consumer.committed_offsets(partitions, SOON).unwrap();
    let offsets = committed.elements();
    let known = offsets
        .iter()
        .filter_map(|of| Some((of.partition(), of.offset().to_raw()?)));
    known.filter(|(_, offset)| *offset >= 0).collect()
}

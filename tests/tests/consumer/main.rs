//! Reading from a real cluster: what the in-process broker cannot do. Starts at a time, rebalances of
//! every protocol under load, transactions, members that crash, and a broker that goes away.

#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod failures;
mod groups;
mod handled;
mod reading;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use carbon_events::config::ConsumerSettings;
use carbon_events::consumer::EventConsumerBuilder;
use carbon_events::{Batch, EventConsumer, EventProducer};
use carbon_events_services::{Kafka, wait_until};
use carbon_events_tests::{SOON, plain};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// The broker that these tests share; each has topics and groups of its own.
fn kafka() -> &'static Kafka {
    static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::builder().start().expect("a broker"));
    &KAFKA
}

/// A consumer of the topic `name` in the group `name`.
fn builder(kafka: &Kafka, name: &str) -> EventConsumerBuilder {
    let settings = ConsumerSettings::new(name, [name]);
    EventConsumer::builder()
        .connection(plain(&kafka.bootstrap_servers()))
        .consumer(
            settings
                .commit_interval(Duration::from_millis(200))
                .unreachable_after(Duration::from_secs(10)),
        )
}

fn producer(kafka: &Kafka) -> EventProducer {
    let producer = EventProducer::builder().connection(plain(&kafka.bootstrap_servers()));
    producer.build().unwrap()
}

/// Writes `count` records, one partition after the other, and waits for them.
fn fill(producer: &EventProducer, topic: &str, partitions: i32, count: i32) {
    for number in 0..count {
        let record = producer.raw(topic).partition(number % partitions);
        drop(
            record
                .value(number.to_string().into_bytes())
                .send()
                .unwrap(),
        );
    }
    producer.flush(SOON).unwrap();
}

/// Where a record is.
type Place = (i32, i64);

fn places_of(batch: Option<&Batch>) -> impl Iterator<Item = Place> {
    let records = batch.into_iter().flatten();
    records.map(|record| (record.partition(), record.offset()))
}

fn places(consumer: &EventConsumer, timeout: Duration) -> Vec<Place> {
    let batch = consumer.next_batch(timeout).unwrap();
    places_of(batch.as_ref()).collect()
}

/// Where the next records are, until there are `count` of them.
fn read(consumer: &EventConsumer, count: usize) -> Vec<Place> {
    let deadline = Instant::now() + SOON;
    let mut seen = Vec::new();
    while seen.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} records",
            seen.len()
        );
        seen.extend(places(consumer, Duration::from_millis(200)));
    }
    seen
}

/// Batches of `count` records together, all of them in hand.
fn hold(consumer: &EventConsumer, count: usize) -> Vec<Batch> {
    let deadline = Instant::now() + SOON;
    let mut in_hand = Vec::new();
    while in_hand.iter().map(Batch::len).sum::<usize>() < count {
        assert!(Instant::now() < deadline, "{in_hand:?}");
        in_hand.extend(consumer.next_batch(Duration::from_millis(200)).unwrap());
    }
    in_hand
}

#[track_caller]
fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait_until(SOON, condition), "never: {what}");
}

/// What the group `name` has committed for the topic `name`.
fn committed(kafka: &Kafka, name: &str, partitions: i32) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap_servers())
        .set("group.id", name)
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_range(name, 0, partitions - 1);
    let offsets = consumer.committed_offsets(list, SOON).unwrap();
    let known = offsets.elements().into_iter();
    let known = known.filter_map(|of| Some((of.partition(), of.offset().to_raw()?)));
    known.filter(|(_, offset)| *offset >= 0).collect()
}

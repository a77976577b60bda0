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

mod admission;
mod batch;
mod ending;
mod late;
mod sending;
mod sessions;
mod sharing;
mod waiting;

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

/// A broker, and a producer with default settings for it.
fn started() -> (Broker, EventProducer) {
    let broker = broker();
    let producer = builder(&broker).build().unwrap();
    (broker, producer)
}

/// Sends an event and waits for its acknowledgement.
fn deliver_one(producer: &EventProducer) {
    let delivery = producer.send(&event("a")).unwrap();
    delivery.wait_timeout(SOON).unwrap();
}

/// The records that were delivered, failed, and neither.
fn counts(producer: &EventProducer) -> (u64, u64, u64) {
    let stats = producer.stats();
    (stats.delivered, stats.failed, stats.queued)
}

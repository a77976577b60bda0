//! `rd_kafka_produce` itself, keyed, with librdkafka's own murmur2: what a C program would do.

use std::ffi::CString;
use std::ptr::null_mut;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::bindings as sys;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaTopic};

use super::Bench;
use super::produce::{FLUSH, encode, peer_config};
use super::work::{Taken, measure};

/// librdkafka's "no partition chosen".
const PARTITION_UA: i32 = -1;
/// How many records are handed over between two looks at the delivery reports.
const POLL_EVERY: u64 = 1024;

/// A topic's handle, given back when dropped.
struct Topic(*mut RDKafkaTopic);

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: it came from `rd_kafka_topic_new`, and nothing else frees it.
        unsafe { sys::rd_kafka_topic_destroy(self.0) };
    }
}

pub(super) fn produce(bench: &Bench<'_>) -> anyhow::Result<Taken> {
    let producer: BaseProducer = peer_config(bench, "10")?.create()?;
    let (work, name) = (&bench.work, bench.topic.name());
    let mut value = Vec::new();
    encode(work, 0, 0, &mut value)?;
    let warm = BaseRecord::to(&name).key(work.key(0)).payload(&value);
    producer.send(warm).map_err(|(error, _)| error)?;
    producer.flush(FLUSH)?;
    let c_name = CString::new(name)?;
    // SAFETY: the client outlives the handle, and the name is copied.
    let topic = unsafe {
        sys::rd_kafka_topic_new(producer.client().native_ptr(), c_name.as_ptr(), null_mut())
    };
    let topic = (!topic.is_null())
        .then_some(Topic(topic))
        .context("librdkafka gives no topic")?;
    measure(|| {
        for number in 0..work.events {
            encode(work, number, 0, &mut value)?;
            while !try_produce(&topic, work.key(number).as_bytes(), &mut value)? {
                producer.poll(Duration::from_millis(1));
            }
            if number % POLL_EVERY == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(FLUSH)?;
        Ok(work.events)
    })
}

/// Hands over a copy of a record; `false` where the queue is full.
fn try_produce(topic: &Topic, key: &[u8], value: &mut [u8]) -> anyhow::Result<bool> {
    // SAFETY: the handle is live; key and value are copied before the call returns.
    let refused = unsafe {
        sys::rd_kafka_produce(
            topic.0,
            PARTITION_UA,
            sys::RD_KAFKA_MSG_F_COPY,
            value.as_mut_ptr().cast(),
            value.len(),
            key.as_ptr().cast(),
            key.len(),
            null_mut(),
        )
    };
    if refused == 0 {
        return Ok(true);
    }
    // SAFETY: always allowed; it is this thread's last error.
    match RDKafkaErrorCode::from(unsafe { sys::rd_kafka_last_error() }) {
        RDKafkaErrorCode::QueueFull => Ok(false),
        code => bail!("rd_kafka_produce: {code}"),
    }
}

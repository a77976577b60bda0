//! The errors of records that the producer itself refuses or fails.

use rdkafka::types::RDKafkaRespErr;

use super::topic::TopicState;
use crate::kafka::broker_error;
use crate::{Error, ErrorKind};

pub(super) const TOO_LARGE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;

/// The error of every use after `close`.
pub(super) fn closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the producer is closed; create a new one",
    )
}

/// `error`, with the topic if it names none.
pub(super) fn about(error: &Error, topic: &TopicState) -> Error {
    match error.get("topic") {
        Some(_) => error.clone(),
        None => error.clone().with("topic", topic.name()),
    }
}

/// The error of a record for a partition that the topic of `count` partitions lacks.
#[cold]
pub(super) fn no_partition(topic: &TopicState, count: u32, partition: i32) -> Error {
    let message = format!("the topic has only {count} partitions");
    Error::new(ErrorKind::UnknownTopic, message)
        .with("topic", topic.name())
        .with("partition", partition)
}

/// The error of a record that a broker refused as too large, in a batch of `records`.
pub(super) fn too_large(topic: &TopicState, partition: i32, records: usize) -> Error {
    let refusal = broker_error(TOO_LARGE, "deliver a record");
    let error = if records > 1 {
        let message = format!(
            "{}; its batch was larger than the topic takes. Later batches are smaller: send it \
             again, and set batch_max_bytes to the topic's max.message.bytes",
            refusal.message()
        );
        Error::new(refusal.kind(), message).with_code(refusal.code().zip(refusal.code_name()))
    } else {
        refusal
    };
    let error = error
        .with("topic", topic.name())
        .with("partition", partition);
    match topic.batch_limit().stated() {
        Some(stated) => error.with("max.message.bytes", stated),
        None => error,
    }
}

/// Logs that records failed.
pub(super) fn log_failed(records: usize, error: &Error) {
    if records > 0 {
        tracing::error!(target: "carbon_events", records, %error, "records were not delivered");
    }
}

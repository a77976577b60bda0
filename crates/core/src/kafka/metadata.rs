//! What the cluster says of its brokers, topics and partitions.

use std::ptr::{NonNull, null, null_mut};
use std::time::Duration;

use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use super::broker_error;
use super::handle::{Handle, TopicHandle};
use super::message::millis;
use crate::Result;

/// Which topics are asked for beside the brokers.
pub(crate) enum Asked<'a> {
    /// Those that this client knows.
    Known,
    /// Every one that we may see.
    All,
    /// This one.
    One(&'a TopicHandle),
}

/// An answer; given back when dropped.
pub(crate) struct Metadata(NonNull<sys::rd_kafka_metadata>);

impl Metadata {
    pub(crate) fn get(&self) -> &sys::rd_kafka_metadata {
        // SAFETY: ours and alive until `drop`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_metadata_destroy(self.0.as_ptr()) };
    }
}

impl Handle {
    /// Asks the cluster; blocks up to `timeout`.
    pub(crate) fn metadata(
        &self,
        asked: Asked<'_>,
        timeout: Duration,
    ) -> Result<Metadata, RDKafkaRespErr> {
        let (all, only) = match asked {
            Asked::Known => (0, null_mut()),
            Asked::All => (1, null_mut()),
            Asked::One(topic) => (0, topic.ptr()),
        };
        let mut found = null();
        // SAFETY: instance and topic are live; what is set on success is ours.
        let code =
            unsafe { sys::rd_kafka_metadata(self.ptr(), all, only, &mut found, millis(timeout)) };
        match (code, NonNull::new(found.cast_mut())) {
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, Some(found)) => Ok(Metadata(found)),
            (code, _) => Err(code),
        }
    }

    /// Waits until a broker answers, up to `timeout`.
    pub(crate) fn reach(&self, timeout: Duration) -> Result<()> {
        match self.metadata(Asked::Known, timeout) {
            Ok(_) => Ok(()),
            Err(code) => Err(broker_error(code, "reach a broker")),
        }
    }

    /// How many partitions a topic has, asked of the cluster; blocks up to `timeout`.
    pub(crate) fn partition_count(&self, topic: &TopicHandle, timeout: Duration) -> Result<u32> {
        let metadata = self.metadata(Asked::One(topic), timeout).map_err(|code| {
            broker_error(code, "ask for the topic's partitions").with("topic", topic.name())
        })?;
        let found = metadata.get();
        let (code, partitions) = if found.topic_cnt > 0 {
            // SAFETY: there are `topic_cnt` topics as long as the metadata lives.
            let topic = unsafe { &*found.topics };
            (topic.err, topic.partition_cnt)
        } else {
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, 0)
        };
        match u32::try_from(partitions) {
            Ok(count) if count > 0 && code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                Ok(count)
            }
            // A topic without partitions and without an error is still being created.
            _ => {
                let code = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
                } else {
                    code
                };
                Err(broker_error(code, "find the topic").with("topic", topic.name()))
            }
        }
    }
}

//! What the cluster says of its brokers, topics and partitions.

use std::ffi::{CStr, CString};
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use super::broker_error;
use super::handle::{Handle, Queue, TopicHandle};
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

/// A question for one of a topic's configurations.
pub(crate) struct AskedConfig {
    name: &'static CStr,
    queue: Queue,
}

impl AskedConfig {
    /// The answer, if it comes in `timeout`: the value in force, or `None` where we may not ask.
    pub(crate) fn answer(&self, timeout: Duration) -> Option<Option<String>> {
        // SAFETY: the queue is live; what is not null is an answer to DescribeConfigs or an error of
        // it, and lives until it is destroyed here. Its texts are copied.
        unsafe {
            let answer = sys::rd_kafka_queue_poll(self.queue.ptr(), millis(timeout));
            let answer = NonNull::new(answer)?;
            let value = config_value(answer.as_ptr(), self.name);
            sys::rd_kafka_event_destroy(answer.as_ptr());
            Some(value)
        }
    }
}

/// # Safety
/// The answer is live.
unsafe fn config_value(answer: *mut sys::rd_kafka_event_t, name: &CStr) -> Option<String> {
    // SAFETY: by this function's contract; what the answer holds lives as long, arrays have as many
    // entries as is counted, and a value may be null.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConfigs_result(answer);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        if count == 0 || resources.is_null() {
            return None;
        }
        let entries = sys::rd_kafka_ConfigResource_configs(*resources, &mut count);
        (0..count)
            .map(|index| *entries.add(index))
            .find_map(|entry| {
                let value = sys::rd_kafka_ConfigEntry_value(entry);
                let is_it = CStr::from_ptr(sys::rd_kafka_ConfigEntry_name(entry)) == name;
                let text = || CStr::from_ptr(value).to_string_lossy().into_owned();
                (is_it && !value.is_null()).then(text)
            })
    }
}

impl Handle {
    /// Asks a broker for one of a topic's configurations, without waiting for the answer.
    pub(crate) fn ask_topic_config(
        self: &Arc<Self>,
        topic: &TopicHandle,
        broker: i32,
        name: &'static CStr,
    ) -> Option<AskedConfig> {
        let queue = self.new_queue();
        let topic = CString::new(&**topic.name()).ok()?;
        // SAFETY: the instance and the queue are live; the resource outlives the call, which copies
        // it, and is destroyed once. A late answer finds the queue closed and is thrown away.
        unsafe {
            let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let resource = sys::rd_kafka_ConfigResource_new(kind, topic.as_ptr());
            let mut resources = [NonNull::new(resource)?.as_ptr()];
            let resources = resources.as_mut_ptr();
            let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
            let options = sys::rd_kafka_AdminOptions_new(self.ptr(), operation);
            // Unless it is told, librdkafka asks the controller and waits for one.
            sys::rd_kafka_AdminOptions_set_broker(options, broker, null_mut(), 0);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, 1000, null_mut(), 0);
            sys::rd_kafka_DescribeConfigs(self.ptr(), resources, 1, options, queue.ptr());
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_ConfigResource_destroy(resource);
        }
        Some(AskedConfig { name, queue })
    }

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
        self.partitions_of(topic, timeout).map(|(count, _)| count)
    }

    /// How many partitions a topic has, and the broker that leads the first, asked of the cluster;
    /// blocks up to `timeout`.
    pub(crate) fn partitions_of(
        &self,
        topic: &TopicHandle,
        timeout: Duration,
    ) -> Result<(u32, i32)> {
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
                // SAFETY: there is a topic with a partition, as long as the metadata lives.
                let leader = unsafe { (*(*found.topics).partitions).leader };
                Ok((count, leader))
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

//! Owned librdkafka handles: a client, a topic of it, and its queues.

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::raw::c_char;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::types::{RDKafka, RDKafkaQueue, RDKafkaRespErr, RDKafkaTopic, RDKafkaType};
use rdkafka_sys as sys;

use super::errors::broker_error;
use super::events::Event;
use crate::{Error, ErrorKind, Result};

/// librdkafka's rebalance callback, for consumers.
pub(crate) type RebalanceCallback = unsafe extern "C" fn(
    *mut RDKafka,
    RDKafkaRespErr,
    *mut sys::rd_kafka_topic_partition_list_t,
    *mut std::os::raw::c_void,
);

/// A librdkafka client instance. librdkafka's functions on it are thread-safe.
pub(crate) struct Handle {
    ptr: NonNull<RDKafka>,
}

// SAFETY: librdkafka locks inside every call on an instance ("completely thread-safe", its
// INTRODUCTION.md); destruction happens once, in Drop.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// A producer whose delivery reports, errors, logs and token requests come as events on
    /// [`main_queue`](Self::main_queue).
    pub(crate) fn producer(config: &ClientConfig) -> Result<Arc<Handle>> {
        Self::new(
            config,
            RDKafkaType::RD_KAFKA_PRODUCER,
            sys::RD_KAFKA_EVENT_DR,
            None,
        )
    }

    /// A consumer; `rebalance` is called with `opaque` from whoever polls the consumer's queue.
    /// `opaque` must stay valid until the handle is dropped.
    pub(crate) fn consumer(
        config: &ClientConfig,
        rebalance: RebalanceCallback,
        opaque: *mut std::os::raw::c_void,
    ) -> Result<Arc<Handle>> {
        let callback = Some((rebalance, opaque));
        Self::new(config, RDKafkaType::RD_KAFKA_CONSUMER, 0, callback)
    }

    fn new(
        config: &ClientConfig,
        kind: RDKafkaType,
        events: i32,
        rebalance: Option<(RebalanceCallback, *mut std::os::raw::c_void)>,
    ) -> Result<Arc<Handle>> {
        let refused = |why: String| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("librdkafka refuses the settings: {why}"),
            )
        };
        let native = config
            .create_native_config()
            .map_err(|error| refused(error.to_string()))?;
        let mut why = [0 as c_char; 512];
        let events = events
            | sys::RD_KAFKA_EVENT_ERROR
            | sys::RD_KAFKA_EVENT_LOG
            | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
        // SAFETY: the configuration is ours until rd_kafka_new takes it; on failure it stays ours
        // and `native` drops it. `why` outlives the calls.
        let ptr = unsafe {
            let conf = native.ptr();
            sys::rd_kafka_conf_set_events(conf, events);
            sys::rd_kafka_conf_set(
                conf,
                c"log.queue".as_ptr(),
                c"true".as_ptr(),
                why.as_mut_ptr(),
                why.len(),
            );
            if let Some((callback, opaque)) = rebalance {
                sys::rd_kafka_conf_set_opaque(conf, opaque);
                sys::rd_kafka_conf_set_rebalance_cb(conf, Some(callback));
            }
            sys::rd_kafka_new(kind, conf, why.as_mut_ptr(), why.len())
        };
        let Some(ptr) = NonNull::new(ptr) else {
            // SAFETY: librdkafka NUL-terminates what it wrote, and the buffer began as zeros.
            let why = unsafe { std::ffi::CStr::from_ptr(why.as_ptr()) };
            return Err(refused(why.to_string_lossy().into_owned()));
        };
        // rd_kafka_new owns the configuration now.
        let _ = ManuallyDrop::new(native);
        // SAFETY: the instance is live; a null queue sends its logs to the main queue.
        unsafe { sys::rd_kafka_set_log_queue(ptr.as_ptr(), std::ptr::null_mut()) };
        Ok(Arc::new(Handle { ptr }))
    }

    pub(crate) fn ptr(&self) -> *mut RDKafka {
        self.ptr.as_ptr()
    }

    /// The queue of events.
    pub(crate) fn main_queue(self: &Arc<Self>) -> Queue {
        // SAFETY: the instance is live, and gives a new reference to its main queue.
        self.queue(unsafe { sys::rd_kafka_queue_get_main(self.ptr()) })
    }

    /// The queue of fetched records and rebalances, on a consumer.
    pub(crate) fn consumer_queue(self: &Arc<Self>) -> Queue {
        // SAFETY: as for the main queue; a consumer with a group always has this queue.
        self.queue(unsafe { sys::rd_kafka_queue_get_consumer(self.ptr()) })
    }

    fn queue(self: &Arc<Self>, ptr: *mut RDKafkaQueue) -> Queue {
        Queue {
            ptr,
            _handle: Arc::clone(self),
        }
    }

    /// How many partitions a topic has, asked of the cluster; blocks up to `timeout`.
    pub(crate) fn partition_count(&self, topic: &TopicHandle, timeout: Duration) -> Result<u32> {
        let mut metadata = std::ptr::null();
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: instance and topic are live; `metadata` is set on success and destroyed below.
        let code =
            unsafe { sys::rd_kafka_metadata(self.ptr(), 0, topic.ptr(), &mut metadata, millis) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(
                broker_error(code, "ask for the topic's partitions").with("topic", topic.name())
            );
        }
        // SAFETY: on success `metadata` points to `topic_cnt` topics until it is destroyed.
        let (code, partitions) = unsafe {
            let found = &*metadata;
            let answer = if found.topic_cnt > 0 {
                ((*found.topics).err, (*found.topics).partition_cnt)
            } else {
                (RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, 0)
            };
            sys::rd_kafka_metadata_destroy(metadata);
            answer
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

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the last owner; queues and topics keep an Arc of this handle.
        unsafe { sys::rd_kafka_destroy(self.ptr()) }
    }
}

/// One topic of a client.
pub(crate) struct TopicHandle {
    ptr: NonNull<RDKafkaTopic>,
    name: Arc<str>,
    _handle: Arc<Handle>,
}

// SAFETY: topic objects are reference-counted and locked inside librdkafka.
unsafe impl Send for TopicHandle {}
// SAFETY: as above.
unsafe impl Sync for TopicHandle {}

impl TopicHandle {
    pub(crate) fn new(handle: &Arc<Handle>, name: &Arc<str>) -> Result<Self> {
        let refused = || {
            Error::new(
                ErrorKind::UnknownTopic,
                "this is no name for a topic: 1 to 249 of A-Z a-z 0-9 . _ -",
            )
            .with("topic", name)
        };
        let native = CString::new(&**name).map_err(|_| refused())?;
        // SAFETY: the instance is live and the name NUL-terminated; librdkafka copies it.
        let ptr =
            unsafe { sys::rd_kafka_topic_new(handle.ptr(), native.as_ptr(), std::ptr::null_mut()) };
        let ptr = NonNull::new(ptr).ok_or_else(refused)?;
        Ok(TopicHandle {
            ptr,
            name: Arc::clone(name),
            _handle: Arc::clone(handle),
        })
    }

    pub(crate) fn ptr(&self) -> *mut RDKafkaTopic {
        self.ptr.as_ptr()
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: created by rd_kafka_topic_new and released once.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr()) }
    }
}

/// A queue of a client.
pub(crate) struct Queue {
    ptr: *mut RDKafkaQueue,
    _handle: Arc<Handle>,
}

// SAFETY: queues are locked inside librdkafka.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    pub(crate) fn ptr(&self) -> *mut RDKafkaQueue {
        self.ptr
    }

    /// The next event, waiting up to `timeout` (in whole milliseconds) for one.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<Event> {
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is live; the event is ours to destroy.
        unsafe { Event::from_ptr(sys::rd_kafka_queue_poll(self.ptr, millis)) }
    }

    /// Makes a `poll` of another thread return early.
    pub(crate) fn wake(&self) {
        // SAFETY: the queue is live.
        unsafe { sys::rd_kafka_queue_yield(self.ptr) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference that the getter gave us, released once.
        unsafe { sys::rd_kafka_queue_destroy(self.ptr) }
    }
}

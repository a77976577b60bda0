//! Owned librdkafka handles: a client, a topic of it, and its queues.

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::raw::c_char;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::types::{RDKafka, RDKafkaQueue, RDKafkaTopic, RDKafkaType};
use rdkafka_sys as sys;

use super::events::Event;
use super::message::millis;
use crate::config::explain_refusal;
use crate::{Error, ErrorKind, Result, fork};

/// A librdkafka client instance. librdkafka's functions on it are thread-safe.
pub(crate) struct Handle {
    instance: ManuallyDrop<Instance>,
    /// A consumer may be dropped with its last record, by any thread, and destroying it can take as
    /// long as an unresponsive broker.
    drops_behind: bool,
}

/// Destroyed on drop, which waits for librdkafka's threads.
struct Instance {
    ptr: NonNull<RDKafka>,
    /// Used by librdkafka's threads until they end.
    #[cfg(unix)]
    lookups: Box<super::resolve::Lookups>,
    _files: Option<Box<super::tls::Files>>,
}

// SAFETY: librdkafka locks inside every call on an instance ("completely thread-safe", its
// INTRODUCTION.md); destruction happens once, in Drop.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Handle {
    /// A producer whose delivery reports, statistics, errors, logs and token requests come as events on
    /// [`main_queue`](Self::main_queue).
    pub(crate) fn producer(config: &ClientConfig) -> Result<Arc<Handle>> {
        Self::new(
            config,
            RDKafkaType::RD_KAFKA_PRODUCER,
            sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_STATS,
        )
    }

    /// A consumer whose rebalances and answers to commits come as events on
    /// [`consumer_queue`](Self::consumer_queue).
    pub(crate) fn consumer(config: &ClientConfig) -> Result<Arc<Handle>> {
        let events = sys::RD_KAFKA_EVENT_REBALANCE | sys::RD_KAFKA_EVENT_OFFSET_COMMIT;
        Self::new(config, RDKafkaType::RD_KAFKA_CONSUMER, events)
    }

    fn new(config: &ClientConfig, kind: RDKafkaType, events: i32) -> Result<Arc<Handle>> {
        // OpenSSL and librdkafka hold their own locks meanwhile.
        let _undisturbed = fork::undisturbed();
        let native = config
            .create_native_config()
            .map_err(|error| explain_refusal(config, &error.to_string()))?;
        let mut why = [0 as c_char; 512];
        #[cfg(unix)]
        let lookups = Box::<super::resolve::Lookups>::default();
        let files = super::tls::Files::of(config);
        let events = events
            | sys::RD_KAFKA_EVENT_ERROR
            | sys::RD_KAFKA_EVENT_LOG
            | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
        // SAFETY: the configuration is ours until rd_kafka_new takes it; on failure it stays ours
        // and `native` drops it. `why` outlives the calls.
        let ptr = unsafe {
            let conf = native.ptr();
            sys::rd_kafka_conf_set_events(conf, events);
            #[cfg(unix)]
            lookups.install(conf);
            sys::rd_kafka_conf_set(
                conf,
                c"log.queue".as_ptr(),
                c"true".as_ptr(),
                why.as_mut_ptr(),
                why.len(),
            );
            super::tls::with_files(files.as_deref(), || {
                sys::rd_kafka_new(kind, conf, why.as_mut_ptr(), why.len())
            })
        };
        let Some(ptr) = NonNull::new(ptr) else {
            // SAFETY: librdkafka NUL-terminates what it wrote, and the buffer began as zeros.
            let why = unsafe { std::ffi::CStr::from_ptr(why.as_ptr()) };
            return Err(explain_refusal(config, &why.to_string_lossy()));
        };
        // rd_kafka_new owns the configuration now.
        let _ = ManuallyDrop::new(native);
        // SAFETY: the instance is live; a null queue sends its logs to the main queue.
        unsafe { sys::rd_kafka_set_log_queue(ptr.as_ptr(), std::ptr::null_mut()) };
        Ok(Arc::new(Handle {
            instance: ManuallyDrop::new(Instance {
                ptr,
                #[cfg(unix)]
                lookups,
                _files: files,
            }),
            drops_behind: kind == RDKafkaType::RD_KAFKA_CONSUMER,
        }))
    }

    pub(crate) fn ptr(&self) -> *mut RDKafka {
        self.instance.ptr.as_ptr()
    }

    /// Waits on this thread for librdkafka's threads to end, if this is the last owner.
    pub(crate) fn destroy_here(self: Arc<Self>) {
        if let Some(mut handle) = Arc::into_inner(self) {
            handle.drops_behind = false;
        }
    }

    /// Stops the client's threads from waiting for a name server, before it is destroyed.
    pub(crate) fn give_up_lookups(&self) {
        #[cfg(unix)]
        self.instance.lookups.give_up();
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

    /// A new queue.
    pub(crate) fn new_queue(self: &Arc<Self>) -> Queue {
        // SAFETY: the instance is live, and gives a queue of which we have the only reference.
        self.queue(unsafe { sys::rd_kafka_queue_new(self.ptr()) })
    }

    fn queue(self: &Arc<Self>, ptr: *mut RDKafkaQueue) -> Queue {
        Queue {
            ptr,
            arrival: None,
            handle: Arc::clone(self),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.give_up_lookups();
        // SAFETY: taken once, here, and not used after.
        let instance = unsafe { ManuallyDrop::take(&mut self.instance) };
        if self.drops_behind {
            let thread = std::thread::Builder::new().name("carbon-events-destroy".to_owned());
            // If no thread can be spawned, the closure is dropped, and the instance with it.
            let _ = thread.spawn(move || drop(instance));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A consumer leaves its group by `Handle::leave`, within a deadline; waiting for it here
        // again would have none.
        let flags = sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE;
        // SAFETY: the last owner; queues, topics and messages keep an Arc of the handle.
        unsafe { sys::rd_kafka_destroy_flags(self.ptr.as_ptr(), flags) }
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
                "this is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -",
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

/// Called when an event arrives in an empty queue.
type Arrival = Box<dyn Fn() + Send + Sync>;

/// A queue of a client.
pub(crate) struct Queue {
    ptr: *mut RDKafkaQueue,
    /// Boxed twice: librdkafka keeps one thin pointer to it.
    arrival: Option<Box<Arrival>>,
    handle: Arc<Handle>,
}

// SAFETY: queues are locked inside librdkafka.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Calls `arrival` whenever an event arrives in this queue while it is empty.
    ///
    /// librdkafka's threads call it with the queue locked, so it must be short and use no queue.
    pub(crate) fn on_arrival(&mut self, arrival: impl Fn() + Send + Sync + 'static) {
        let arrival: Box<Arrival> = Box::new(Box::new(arrival));
        let opaque = std::ptr::from_ref::<Arrival>(&arrival).cast_mut().cast();
        // SAFETY: the queue is live; `opaque` is a box that stays where it is until it is replaced
        // here, by then unknown to librdkafka, or until Drop has taken it back.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.ptr, Some(arrived), opaque) };
        self.arrival = Some(arrival);
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub(crate) fn ptr(&self) -> *mut RDKafkaQueue {
        self.ptr
    }

    /// The next event, waiting up to `timeout` (in whole milliseconds) for one.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the queue is live; the event is ours to destroy.
        unsafe { Event::from_ptr(sys::rd_kafka_queue_poll(self.ptr, millis(timeout))) }
    }

    /// How many events or records are in it.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the queue is live.
        unsafe { sys::rd_kafka_queue_length(self.ptr) }
    }

    /// Makes a `poll` of another thread return early.
    pub(crate) fn wake(&self) {
        // SAFETY: the queue is live.
        unsafe { sys::rd_kafka_queue_yield(self.ptr) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference that the getter gave us, released once. The callback is taken back
        // under the queue's lock, under which it is also called: no call is running after that.
        unsafe {
            if self.arrival.is_some() {
                sys::rd_kafka_queue_cb_event_enable(self.ptr, None, std::ptr::null_mut());
            }
            sys::rd_kafka_queue_destroy(self.ptr);
        }
    }
}

/// librdkafka's side of [`Queue::on_arrival`].
unsafe extern "C" fn arrived(_: *mut RDKafka, opaque: *mut std::os::raw::c_void) {
    // SAFETY: `opaque` is what `on_arrival` passed, which lives until the callback is taken back.
    let arrival = unsafe { &*opaque.cast::<Arrival>() };
    // A panic must not unwind into C.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(arrival));
}

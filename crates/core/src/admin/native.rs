//! librdkafka's admin requests as blocking calls with a deadline.
//!
//! Not rdkafka's `AdminClient`: it replaces all of a topic's configurations (`AlterConfigs` resets every
//! one that is not named), drops the broker's own error message, and never polls the client's main
//! queue, so that a rejected certificate looks like a timeout and `OAUTHBEARER` gets no token.
//!
//! ```text
//! call --request--> librdkafka --answer--> a queue of this call <-- the caller waits here
//!                        \--errors, logs, token requests--> main queue <-- a thread polls it
//! ```

mod objects;

use std::os::raw::c_char;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use super::errors::{operation_error, why_late};
use crate::config::TokenProvider;
use crate::kafka::{Asked, Handle, Health, Queue, REFUSED_LOGIN_GRACE, millis};
use crate::{Error, ErrorKind, Result};
use objects::{
    Owned, array, c_text, config_entries, new_topic, pointers, refused, resource_outcomes, text,
    topic_outcomes, topic_resource,
};

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

/// How long a cluster may take to elect a controller.
const CONTROLLER_WITHIN: Duration = Duration::from_secs(5);

/// How often unreachable brokers are retried.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A topic's configurations and their values.
type ConfigValues = Vec<(String, Option<String>)>;

/// A librdkafka client that neither produces nor consumes.
pub(super) struct Client {
    handle: Arc<Handle>,
    health: Arc<Health>,
    main_queue: Arc<Queue>,
    closed: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

/// The cluster's brokers and topics.
pub(super) struct Cluster {
    pub(super) brokers: usize,
    pub(super) topics: Vec<TopicState>,
}

/// A topic's state on the cluster.
pub(super) struct TopicState {
    pub(super) name: String,
    pub(super) partitions: i32,
    /// The fewest replicas of any partition.
    pub(super) replication_factor: i32,
}

/// A topic to create.
pub(super) struct NewTopic<'a> {
    pub(super) name: &'a str,
    pub(super) partitions: i32,
    pub(super) replication_factor: i32,
    pub(super) configs: Vec<(&'static str, String)>,
}

/// One topic and the outcome of its request.
pub(super) type Outcome<T> = (String, Result<T>);

impl Client {
    /// Connects to nothing yet.
    pub(super) fn new(config: &ClientConfig, tokens: Option<TokenProvider>) -> Result<Client> {
        let handle = Handle::producer(config)?;
        let health = Arc::new(Health::default());
        let main_queue = Arc::new(handle.main_queue());
        let closed = Arc::new(AtomicBool::new(false));
        let server = {
            let (handle, health) = (Arc::clone(&handle), Arc::clone(&health));
            let (queue, closed) = (Arc::clone(&main_queue), Arc::clone(&closed));
            let serve = move || {
                while !closed.load(Ordering::Acquire) {
                    if let Some(event) = queue.poll(Duration::from_secs(1)) {
                        event.serve(&handle, &health, tokens.as_ref(), None);
                    }
                }
            };
            let thread = thread::Builder::new().name("carbon-events-admin".to_owned());
            thread.spawn(serve).map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot spawn a thread").because(error)
            })?
        };
        Ok(Client {
            handle,
            health,
            main_queue,
            closed,
            server: Some(server),
        })
    }

    /// The cluster's brokers and the topics that we may describe.
    pub(super) fn cluster(&self, deadline: Instant) -> Result<Cluster> {
        let doing = "list the cluster's topics";
        // The call cannot be interrupted: use short timeouts, growing in case the cluster is slow, and
        // check for a known failure in between.
        let mut patience = Duration::from_millis(500);
        let mut watch = Watch::new();
        loop {
            let asked = Instant::now();
            let slice = patience.min(deadline.saturating_duration_since(asked));
            match self.metadata(slice) {
                Ok(cluster) => {
                    self.health.recovered();
                    return Ok(cluster);
                }
                Err(code) => {
                    if watch.hopeless(&self.health) || Instant::now() >= deadline {
                        return Err(why_late(operation_error(code, None, doing), &self.health));
                    }
                }
            }
            // If no broker accepts the connection, librdkafka returns at once.
            thread::sleep(slice.saturating_sub(asked.elapsed()).min(ASK_AGAIN));
            patience = patience.saturating_mul(2);
        }
    }

    fn metadata(&self, timeout: Duration) -> Result<Cluster, RDKafkaRespErr> {
        let found = self.handle.metadata(Asked::All, timeout)?;
        // SAFETY: the metadata and all that it points to live until `found` is dropped; each count
        // says how long the array beside it is.
        let cluster = unsafe {
            let metadata = found.get();
            let topics = array(metadata.topics, metadata.topic_cnt);
            let existing = topics.iter().filter(|topic| topic.err == NO_ERROR);
            let topics = existing.map(|topic| {
                let partitions = array(topic.partitions, topic.partition_cnt);
                TopicState {
                    name: text(topic.topic),
                    partitions: topic.partition_cnt,
                    replication_factor: partitions.iter().map(|p| p.replica_cnt).min().unwrap_or(0),
                }
            });
            Cluster {
                brokers: metadata.broker_cnt.max(0) as usize,
                topics: topics.collect(),
            }
        };
        Ok(cluster)
    }

    pub(super) fn create_topics(
        &self,
        topics: &[NewTopic<'_>],
        deadline: Instant,
    ) -> Result<Vec<Outcome<()>>> {
        let doing = "create the topic";
        let mut natives = Vec::with_capacity(topics.len());
        for topic in topics {
            let native = new_topic(topic)?;
            natives.push(native);
        }
        let mut pointers = pointers(&natives);
        // SAFETY: the objects outlive the call, which copies them.
        let answer = self.request(doing, deadline, |client, options, queue| unsafe {
            let (topics, count) = (pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_CreateTopics(client, topics, count, options, queue);
        })?;
        // SAFETY: the answer is to CreateTopics; what it holds lives as long as it does.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(answer.ptr.as_ptr());
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &mut count);
            Ok(topic_outcomes(topics, count, doing))
        }
    }

    /// Adds partitions to topics: `(name, new count)`.
    pub(super) fn create_partitions(
        &self,
        topics: &[(&str, i32)],
        deadline: Instant,
    ) -> Result<Vec<Outcome<()>>> {
        let doing = "add partitions to the topic";
        let mut natives = Vec::with_capacity(topics.len());
        for (name, partitions) in topics {
            let name = c_text(name)?;
            let mut why = [0 as c_char; 256];
            // SAFETY: name and buffer outlive the call.
            let native = unsafe {
                let count = usize::try_from(*partitions).unwrap_or_default();
                sys::rd_kafka_NewPartitions_new(name.as_ptr(), count, why.as_mut_ptr(), why.len())
            };
            natives.push(
                Owned::new(native, sys::rd_kafka_NewPartitions_destroy)
                    .ok_or_else(|| refused(doing, &why))?,
            );
        }
        let mut pointers = pointers(&natives);
        // SAFETY: the objects outlive the call, which copies them.
        let answer = self.request(doing, deadline, |client, options, queue| unsafe {
            let (topics, count) = (pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_CreatePartitions(client, topics, count, options, queue);
        })?;
        // SAFETY: the answer is to CreatePartitions; what it holds lives as long as it does.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreatePartitions_result(answer.ptr.as_ptr());
            let topics = sys::rd_kafka_CreatePartitions_result_topics(result, &mut count);
            Ok(topic_outcomes(topics, count, doing))
        }
    }

    /// All configurations of these topics, including the brokers' defaults.
    pub(super) fn describe_configs(
        &self,
        topics: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Outcome<ConfigValues>>> {
        let doing = "read the topic's configuration";
        let natives: Vec<_> = topics
            .iter()
            .map(|name| topic_resource(name))
            .collect::<Result<_>>()?;
        let mut pointers = pointers(&natives);
        // SAFETY: the objects outlive the call, which copies them.
        let answer = self.request(doing, deadline, |client, options, queue| unsafe {
            let (resources, count) = (pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeConfigs(client, resources, count, options, queue);
        })?;
        // SAFETY: the answer is to DescribeConfigs; what it holds lives as long as it does.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeConfigs_result(answer.ptr.as_ptr());
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
            Ok(resource_outcomes(resources, count, doing, |resource| {
                config_entries(resource)
            }))
        }
    }

    /// Sets some configurations of topics without changing the others.
    pub(super) fn set_configs(
        &self,
        topics: &[(&str, Vec<(&'static str, String)>)],
        deadline: Instant,
    ) -> Result<Vec<Outcome<()>>> {
        let doing = "change the topic's configuration";
        let mut natives = Vec::with_capacity(topics.len());
        for (topic, configs) in topics {
            let resource = topic_resource(topic)?;
            for (name, value) in configs {
                let (name, value) = (c_text(name)?, c_text(value)?);
                let set = sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET;
                // SAFETY: resource and texts outlive the call, which copies the texts.
                let error = unsafe {
                    let resource = resource.ptr.as_ptr();
                    sys::rd_kafka_ConfigResource_add_incremental_config(
                        resource,
                        name.as_ptr(),
                        set,
                        value.as_ptr(),
                    )
                };
                if let Some(error) = Owned::new(error, sys::rd_kafka_error_destroy) {
                    // SAFETY: the error lives until it is dropped.
                    let why = unsafe { text(sys::rd_kafka_error_string(error.ptr.as_ptr())) };
                    return Err(Error::new(
                        ErrorKind::Internal,
                        format!("cannot {doing}: {why}"),
                    ));
                }
            }
            natives.push(resource);
        }
        let mut pointers = pointers(&natives);
        // SAFETY: the objects outlive the call, which copies them.
        let answer = self.request(doing, deadline, |client, options, queue| unsafe {
            let (resources, count) = (pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_IncrementalAlterConfigs(client, resources, count, options, queue);
        })?;
        // SAFETY: the answer is to IncrementalAlterConfigs; what it holds lives as long as it does.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(answer.ptr.as_ptr());
            let resources =
                sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
            Ok(resource_outcomes(resources, count, doing, |_| ()))
        }
    }

    /// Sends a request and waits for its answer.
    fn request(
        &self,
        doing: &str,
        deadline: Instant,
        send: impl FnOnce(
            *mut sys::rd_kafka_t,
            *const sys::rd_kafka_AdminOptions_t,
            *mut sys::rd_kafka_queue_t,
        ),
    ) -> Result<Owned<sys::rd_kafka_event_t>> {
        let internal = || Error::new(ErrorKind::Internal, format!("cannot {doing}: no memory"));
        self.wait_for_controller(doing, deadline)?;
        let options = self.options(deadline).ok_or_else(internal)?;
        // SAFETY: the instance is live. Dropping the queue early is fine: a late answer finds it
        // closed and is thrown away.
        let queue = unsafe {
            let queue = sys::rd_kafka_queue_new(self.handle.ptr());
            Owned::new(queue, sys::rd_kafka_queue_destroy).ok_or_else(internal)?
        };
        send(self.handle.ptr(), options.ptr.as_ptr(), queue.ptr.as_ptr());
        let mut watch = Watch::new();
        loop {
            // SAFETY: the queue is live; the event is ours to destroy.
            let answer = unsafe { sys::rd_kafka_queue_poll(queue.ptr.as_ptr(), 100) };
            if let Some(answer) = Owned::new(answer, sys::rd_kafka_event_destroy) {
                return self.checked(answer, doing);
            }
            // librdkafka observes the deadline itself; the extra second is for its answer.
            if watch.hopeless(&self.health) || Instant::now() > deadline + Duration::from_secs(1) {
                let late = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT;
                return Err(why_late(operation_error(late, None, doing), &self.health));
            }
        }
    }

    /// Waits for a controller. An election takes a moment; without one, librdkafka would wait until the
    /// deadline.
    fn wait_for_controller(&self, doing: &str, deadline: Instant) -> Result<()> {
        let end = deadline.min(Instant::now() + CONTROLLER_WITHIN);
        while !self.has_controller(end) {
            if Instant::now() >= end {
                let message = format!(
                    "cannot {doing}: the cluster has no controller: it is electing one, or it is \
                     the in-process broker, which supports no admin requests"
                );
                let error = Error::new(ErrorKind::Unavailable, message);
                return Err(why_late(error, &self.health));
            }
            thread::sleep(ASK_AGAIN);
        }
        Ok(())
    }

    /// Whether the cluster's controller is one of its brokers. If no broker answers, the request itself
    /// will report it.
    fn has_controller(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(found) = self
            .handle
            .metadata(Asked::Known, left.max(Duration::from_millis(1)))
        else {
            return true;
        };
        // SAFETY: the instance is live; the brokers live until `found` is dropped, and the count says
        // how many there are.
        unsafe {
            let controller = sys::rd_kafka_controllerid(self.handle.ptr(), 0);
            let brokers = array(found.get().brokers, found.get().broker_cnt);
            brokers.iter().any(|broker| broker.id == controller)
        }
    }

    fn checked(
        &self,
        answer: Owned<sys::rd_kafka_event_t>,
        doing: &str,
    ) -> Result<Owned<sys::rd_kafka_event_t>> {
        // SAFETY: the event is live, and so is its text.
        let (code, why) = unsafe {
            let event = answer.ptr.as_ptr();
            (
                sys::rd_kafka_event_error(event),
                text(sys::rd_kafka_event_error_string(event)),
            )
        };
        if code == NO_ERROR {
            self.health.recovered();
            return Ok(answer);
        }
        Err(why_late(
            operation_error(code, Some(&why), doing),
            &self.health,
        ))
    }

    fn options(&self, deadline: Instant) -> Option<Owned<sys::rd_kafka_AdminOptions_t>> {
        let left = millis(deadline.saturating_duration_since(Instant::now())).clamp(1, 3_600_000);
        let mut why = [0 as c_char; 256];
        // SAFETY: the instance is live, the options are ours, the buffer outlives the calls. Within
        // its range a timeout is not refused.
        unsafe {
            let any = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ANY;
            let options = sys::rd_kafka_AdminOptions_new(self.handle.ptr(), any);
            let options = Owned::new(options, sys::rd_kafka_AdminOptions_destroy)?;
            let (native, why, size) = (options.ptr.as_ptr(), why.as_mut_ptr(), why.len());
            sys::rd_kafka_AdminOptions_set_request_timeout(native, left, why, size);
            // Create calls then answer once it is done, not once it has started.
            sys::rd_kafka_AdminOptions_set_operation_timeout(native, left, why, size);
            Some(options)
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        self.main_queue.wake();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Decides when to stop waiting.
struct Watch {
    refused_since: Option<Instant>,
}

impl Watch {
    fn new() -> Self {
        Watch {
            refused_since: None,
        }
    }

    /// Whether our credentials have been rejected for a while.
    fn hopeless(&mut self, health: &Health) -> bool {
        let refused = health.trouble().is_some_and(|trouble| {
            matches!(
                trouble.kind(),
                ErrorKind::Authentication | ErrorKind::Authorization
            )
        });
        if !refused {
            self.refused_since = None;
            return false;
        }
        self.refused_since
            .get_or_insert_with(Instant::now)
            .elapsed()
            >= REFUSED_LOGIN_GRACE
    }
}

/// Whether the topic exists already, because another client created it meanwhile.
pub(super) fn exists_already(error: &Error) -> bool {
    error.get("code") == Some(TOPIC_ALREADY_EXISTS)
}

/// How [`operation_error`] names the code of a topic that exists.
const TOPIC_ALREADY_EXISTS: &str = "TopicAlreadyExists";

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;

    #[test]
    fn a_topic_that_exists_is_told_apart() {
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
        assert!(exists_already(&operation_error(
            code,
            None,
            "create the topic"
        )));
        assert_eq!(
            format!("{:?}", RDKafkaErrorCode::from(code)),
            TOPIC_ALREADY_EXISTS
        );
    }
}

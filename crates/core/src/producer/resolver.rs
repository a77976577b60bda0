//! The resolver: asks the cluster for a topic's partitions and the registry for its schema id, off
//! the path of the senders, whose records wait in the topic meanwhile.
//!
//! It is one thread, which runs only while a topic is on its list.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::accumulator::Accumulator;
use super::batch::MIXED;
use super::batch::in_flight::InFlight;
use super::failure::closed;
use super::partition_queue::PartitionQueue;
use super::partitioner::Partitioner;
use super::sender::Sender;
use super::topic_queues::{Routes, TopicQueues};
use crate::kafka::REFUSED_LOGIN_GRACE;
use crate::registry::SubjectId;
use crate::sync::{Condvar, Mutex};
use crate::{Error, ErrorKind, Result};

/// How long one question to the cluster may take; `close` waits for no longer.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the first records of a topic wait for the cluster to state its `max.message.bytes`.
const LIMIT_TIMEOUT: Duration = Duration::from_millis(500);
/// How often the wait for the registry checks whether the session has ended.
const REGISTRY_STEP: Duration = Duration::from_millis(50);
/// How long a topic may be unknown before its records fail: one that is being created shows up.
const UNKNOWN_TOPIC_GRACE: Duration = Duration::from_secs(5);
/// How long one topic's earlier records may delay the lookup of other topics.
const LONGEST_SEND: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Resolver {
    accumulator: Arc<Accumulator>,
    sender: Arc<Sender>,
    partitioner: Partitioner,
    list: Mutex<List>,
    /// Notified when a topic is added, and at the end.
    changed: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct List {
    topics: VecDeque<Asked>,
    running: Option<JoinHandle<()>>,
}

struct Asked {
    topic: Arc<TopicQueues>,
    since: Instant,
    pause: Duration,
}

impl Asked {
    fn new(topic: &Arc<TopicQueues>) -> Self {
        Asked {
            topic: Arc::clone(topic),
            since: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }
}

impl Resolver {
    pub(super) fn new(accumulator: Arc<Accumulator>, partitioner: Partitioner) -> Self {
        Resolver {
            sender: Arc::clone(accumulator.sender()),
            accumulator,
            partitioner,
            list: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Puts a topic on the list, unless it is there. `spawn` starts the thread, which must
    /// [`run`](Self::run).
    pub(super) fn add(
        &self,
        topic: &Arc<TopicQueues>,
        spawn: impl FnOnce() -> io::Result<JoinHandle<()>>,
    ) {
        if !topic.begin_lookup() {
            return;
        }
        let mut list = self.list.lock();
        list.topics.push_back(Asked::new(topic));
        if list.running.as_ref().is_some_and(|it| !it.is_finished()) {
            self.changed.notify_all();
            return;
        }
        match spawn() {
            Ok(thread) => list.running = Some(thread),
            Err(error) => {
                list.topics.pop_back();
                drop(list);
                let message = "cannot spawn a thread to look up the topic";
                let error = Error::new(ErrorKind::Internal, message).because(error);
                // The event thread tries again. No record fails here: this may be called under
                // the line's lock, and wakers must not be.
                topic.lookup_failed(error.with("topic", topic.topic().name()), false);
            }
        }
    }

    /// The thread that serves the list, if one runs.
    pub(super) fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.list.lock().running.take()
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Whether the session has ended, or fails all its records.
    pub(super) fn is_over(&self) -> bool {
        self.is_stopping() || self.sender.gave_up().is_some()
    }

    /// Blocks until the list changes, for up to `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        drop(self.changed.wait_for(self.list.lock(), timeout));
    }

    /// Serves the list until it is empty.
    pub(super) fn run(&self) {
        loop {
            let mut asked = {
                let mut list = self.list.lock();
                match list.topics.pop_front() {
                    Some(asked) if !self.is_stopping() => asked,
                    _ => {
                        // Under the lock: adding a topic after this starts a new thread.
                        list.running = None;
                        return;
                    }
                }
            };
            let Err(error) = self.resolve(&asked.topic) else {
                continue;
            };
            let error = self.sender.health().explain(error);
            let grace = match error.kind() {
                ErrorKind::UnknownTopic => UNKNOWN_TOPIC_GRACE,
                ErrorKind::Authentication => REFUSED_LOGIN_GRACE,
                _ => Duration::ZERO,
            };
            if !error.retryable() && asked.since.elapsed() >= grace {
                self.accumulator.give_up(&asked.topic, &error);
                continue;
            }
            tracing::debug!(target: "carbon_events", topic = %asked.topic.topic().name(), %error, "topic not known yet");
            if put_off(&asked.topic, error) {
                let list = self.list.lock();
                let (mut list, _) = self.changed.wait_for(list, asked.pause);
                asked.pause = (asked.pause * 2).min(LONGEST_PAUSE);
                list.topics.push_back(asked);
            }
        }
    }

    fn resolve(&self, queues: &Arc<TopicQueues>) -> Result<()> {
        let (topic, handle) = (queues.topic(), self.sender.handle());
        let native = topic.open(handle)?;
        let (partitions, leader) = handle.partitions_of(native, METADATA_TIMEOUT)?;
        let limit = handle.ask_topic_config(native, leader, c"max.message.bytes");
        let awaits_schema_id = queues.waiting().lock().awaits_schema_id();
        if awaits_schema_id && let Some(subject) = topic.subject() {
            self.schema_id(subject)?;
        }
        // Without an answer in time, or the right to ask, the limit is found out as records go.
        if let Some(asked) = limit {
            topic.note_limit(asked, LIMIT_TIMEOUT);
        }
        self.publish(queues, partitions);
        Ok(())
    }

    /// Waits for the registry's answer, and for no longer than the session lives.
    fn schema_id(&self, subject: &SubjectId) -> Result<u32> {
        loop {
            if let Some(answer) = subject.resolve_within(REGISTRY_STEP) {
                return answer;
            }
            if self.is_over() {
                return Err(closed());
            }
        }
    }

    /// Opens the topic's partition queues, and sends what waited for them before anything that they
    /// get.
    fn publish(&self, topic: &Arc<TopicQueues>, partitions: u32) {
        let before = topic.last_routes();
        topic.topic().grow(partitions, self.sender.is_idempotent());
        let routes = Routes::new(partitions, self.partitioner, before.as_deref());
        let routes = Arc::new(routes);
        let queues = routes.queues();
        topic.set_last_routes(Arc::clone(&routes));
        let batches = loop {
            // What went to the queues before has precedence over what waited.
            if topic.routes().is_none() && !self.have_sent(queues) {
                self.ask_again(topic);
                return;
            }
            let mut waiting = topic.waiting().lock();
            if !topic.topic().knows_schema() && waiting.awaits_schema_id() {
                // A typed event came in after the look above: ask once more for its schema id.
                self.ask_again(topic);
                return;
            }
            if waiting.is_empty() {
                topic.set_routes(Some(Arc::clone(&routes)));
                topic.lookup_done();
                return;
            }
            let held = queues.iter().take_while(|queue| queue.hold_back()).count();
            if held == queues.len() {
                // Under the lock: what a sender that waits for it sends goes to the queues.
                topic.set_routes(Some(Arc::clone(&routes)));
                break std::iter::from_fn(|| waiting.take(true)).collect::<Vec<_>>();
            }
            drop(waiting);
            for queue in &queues[..held] {
                self.accumulator.release(queue);
            }
        };
        for batch in batches {
            if let Some(batch) = self.accumulator.route(topic, &routes, batch) {
                self.send_waiting(batch);
            }
        }
        for queue in queues {
            self.accumulator.release(queue);
        }
        let waiting = topic.waiting().lock();
        if waiting.is_empty() {
            topic.lookup_done();
        } else {
            self.ask_again(topic);
        }
    }

    /// Puts a topic on the list once more that is being looked up.
    fn ask_again(&self, topic: &Arc<TopicQueues>) {
        self.list.lock().topics.push_back(Asked::new(topic));
    }

    /// Sends a batch that waited for its topic.
    fn send_waiting(&self, batch: InFlight) {
        let (sender, flow) = (&self.sender, self.sender.flow());
        let count = batch.batch().len();
        let mut rest = Some((batch, 0));
        let mut seen = flow.ended();
        while let Some((batch, from)) = rest {
            rest = sender.send(batch, from);
            let is_late = |rest: &mut (InFlight, usize)| sender.is_late(rest.0.batch().opened());
            if let Some((batch, from)) = rest.take_if(is_late) {
                let error = sender.timed_out(batch.batch().topic(), MIXED);
                sender.expire_rest(&batch, from, &error);
            }
            rest = match rest {
                // Not the batch's length: it may be freed with its last record.
                Some((batch, from)) if sender.queue_behind_window(&batch, from) => {
                    (from + 1 < count).then_some((batch, from + 1))
                }
                Some(blocked) => {
                    seen = flow.wait_for_end(seen, FIRST_PAUSE);
                    Some(blocked)
                }
                None => None,
            };
        }
    }

    /// Sends what queues hold; whether all of it went. If some of it cannot go for a while (a window
    /// is still in flight, say), other topics need not wait for that.
    fn have_sent(&self, queues: &[Arc<PartitionQueue>]) -> bool {
        let until = Instant::now() + LONGEST_SEND;
        let flow = self.sender.flow();
        for queue in queues {
            let mut seen = flow.ended();
            while !self.accumulator.send_all(queue) {
                if Instant::now() >= until {
                    return false;
                }
                seen = flow.wait_for_end(seen, FIRST_PAUSE);
            }
        }
        true
    }
}

/// Notes why a topic is not known; `false` if no record waits for it any more.
fn put_off(topic: &TopicQueues, error: Error) -> bool {
    let waiting = topic.waiting().lock();
    let retry = !waiting.is_empty();
    topic.lookup_failed(error, retry);
    retry
}

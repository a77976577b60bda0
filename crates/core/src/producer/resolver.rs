//! The resolver: asks the cluster for a topic's partitions and the registry for its schema id, off
//! the path of the senders, whose records wait in the topic meanwhile.
//!
//! It is one thread, there only while a topic is on its list.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::{Engine, closed};
use super::lane::Lane;
use super::slab::{InFlight, MIXED, Slab};
use super::topic::{Framing, Routes, Topic};
use crate::kafka::TopicHandle;
use crate::registry::SubjectId;
use crate::{Error, ErrorKind, Result};

/// How long one question to the cluster may take; `close` waits for no longer.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the first records of a topic wait for the cluster to say how large its batches may be.
const LIMIT_TIMEOUT: Duration = Duration::from_millis(500);
/// How often it is looked whether the registry is waited for in vain.
const REGISTRY_STEP: Duration = Duration::from_millis(50);
/// How long a topic may be unknown before its records fail: one that is being created shows up.
const UNKNOWN_TOPIC_GRACE: Duration = Duration::from_secs(5);
/// How long our login may be refused: a broker that is just starting refuses what it takes later.
const REFUSED_GRACE: Duration = Duration::from_secs(2);
/// How long one topic's earlier records may keep those of others from being looked up.
const LONGEST_HANDOVER: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The resolver's list.
#[derive(Default)]
pub(crate) struct Queue {
    topics: VecDeque<Asked>,
    running: Option<std::thread::JoinHandle<()>>,
}

struct Asked {
    topic: Arc<Topic>,
    since: Instant,
    pause: Duration,
}

impl Engine {
    /// Puts a topic on the resolver's list, unless it is there.
    pub(super) fn resolve(self: &Arc<Self>, topic: &Arc<Topic>) {
        {
            let mut resolution = topic.resolution.lock();
            if std::mem::replace(&mut resolution.running, true) {
                return;
            }
        }
        let asked = Asked {
            topic: Arc::clone(topic),
            since: Instant::now(),
            pause: FIRST_PAUSE,
        };
        let mut queue = self.resolver.lock();
        queue.topics.push_back(asked);
        if queue
            .running
            .as_ref()
            .is_none_or(std::thread::JoinHandle::is_finished)
        {
            let engine = Arc::clone(self);
            let spawned = std::thread::Builder::new()
                .name("carbon-resolver".into())
                .spawn(move || engine.resolve_all());
            match spawned {
                Ok(thread) => queue.running = Some(thread),
                Err(error) => {
                    queue.topics.pop_back();
                    drop(queue);
                    let message = "cannot spawn a thread to look up the topic";
                    let error = Error::new(ErrorKind::Internal, message).because(error);
                    // The event thread tries again. No record fails here: this may be called under
                    // the line's lock, and wakers must not be.
                    let mut resolution = topic.resolution.lock();
                    resolution.running = false;
                    resolution.last_error = Some(error.with("topic", topic.name()));
                }
            }
        } else {
            self.resolver_wakes.notify_all();
        }
    }

    /// Looks the topics up again that records wait for and that no resolver could be started for.
    pub(super) fn resolve_waiting(self: &Arc<Self>) {
        for topic in self.topics() {
            if !topic.waiting.state.lock().is_empty() {
                self.resolve(&topic);
            }
        }
    }

    /// The thread that serves the list, if one runs.
    pub(super) fn take_resolver(&self) -> Option<std::thread::JoinHandle<()>> {
        self.resolver.lock().running.take()
    }

    fn resolve_all(self: &Arc<Self>) {
        self.wait_for_the_session_before();
        loop {
            let mut asked = {
                let mut queue = self.resolver.lock();
                match queue.topics.pop_front() {
                    Some(asked) if !self.stopping.load(Ordering::SeqCst) => asked,
                    _ => {
                        // Under the lock: whoever adds a topic after this starts a new thread.
                        queue.running = None;
                        return;
                    }
                }
            };
            let Err(error) = self.resolve_one(&asked.topic) else {
                continue;
            };
            let error = self.health.explain(error);
            let grace = match error.kind() {
                ErrorKind::UnknownTopic => UNKNOWN_TOPIC_GRACE,
                ErrorKind::Authentication => REFUSED_GRACE,
                _ => Duration::ZERO,
            };
            if !error.retryable() && asked.since.elapsed() >= grace {
                self.give_up(&asked.topic, &error);
                continue;
            }
            tracing::debug!(target: "carbon_events", topic = %asked.topic.name(), %error, "topic not known yet");
            if self.put_off(&asked.topic, error) {
                let queue = self.resolver.lock();
                let (mut queue, _) = self.resolver_wakes.wait_for(queue, asked.pause);
                asked.pause = (asked.pause * 2).min(LONGEST_PAUSE);
                queue.topics.push_back(asked);
            }
        }
    }

    /// Notes why a topic is not known; false where no record waits for it any more.
    fn put_off(&self, topic: &Arc<Topic>, error: Error) -> bool {
        let waiting = topic.waiting.state.lock();
        let mut resolution = topic.resolution.lock();
        resolution.last_error = Some(error);
        resolution.running = !waiting.is_empty();
        resolution.running
    }

    /// Fails the records that wait for a topic; the next record asks anew.
    pub(super) fn give_up(&self, topic: &Arc<Topic>, error: &Error) {
        let mut state = topic.waiting.state.lock();
        let slabs: Vec<_> = std::iter::from_fn(|| state.take(true)).collect();
        {
            let mut resolution = topic.resolution.lock();
            resolution.running = false;
            resolution.last_error = Some(error.clone());
        }
        drop(state);
        for slab in slabs {
            self.fail(slab, error);
        }
    }

    fn resolve_one(self: &Arc<Self>, topic: &Arc<Topic>) -> Result<()> {
        if topic.native.get().is_none() {
            // Only this thread sets it.
            let _ = topic
                .native
                .set(TopicHandle::new(&self.handle, topic.name())?);
        }
        let Some(native) = topic.native.get() else {
            return Ok(());
        };
        let (partitions, leader) = self.handle.partitions_of(native, METADATA_TIMEOUT)?;
        let limit = self
            .handle
            .ask_topic_config(native, leader, c"max.message.bytes");
        let needs_schema_id = topic
            .waiting
            .state
            .lock()
            .slabs_mut()
            .any(|slab| slab.awaits_schema_id());
        if needs_schema_id && let Framing::Confluent(subject) = &topic.framing {
            self.schema_id(subject)?;
        }
        // Where it takes longer or we may not ask, the limit is found out as records go.
        if let Some(asked) = limit {
            topic.note_limit(asked, LIMIT_TIMEOUT);
        }
        self.publish(topic, partitions);
        Ok(())
    }

    /// Waits for the registry's answer, and for no longer than the engine lives.
    fn schema_id(&self, subject: &SubjectId) -> Result<u32> {
        loop {
            if let Some(answer) = subject.resolve_within(REGISTRY_STEP) {
                return answer;
            }
            if self.gave_up.get().is_some() || self.stopping.load(Ordering::SeqCst) {
                return Err(closed());
            }
        }
    }

    /// Opens the topic's lanes, and hands over what waited for it before anything that they get.
    fn publish(&self, topic: &Arc<Topic>, partitions: u32) {
        let before = topic.lanes.load_full();
        let opening = self.opening();
        let routes = Routes::new(partitions, self.partitioner, opening, before.as_deref());
        let routes = Arc::new(routes);
        topic.lanes.store(Some(Arc::clone(&routes)));
        let slabs = loop {
            // What went to the lanes before has precedence over what waited.
            if topic.routes.load().is_none() && !self.have_handed_over(routes.lanes()) {
                self.ask_again(topic);
                return;
            }
            let mut state = topic.waiting.state.lock();
            if !topic.knows_schema() && state.slabs_mut().any(|slab| slab.awaits_schema_id()) {
                // A typed event came in after the look above: ask once more for its schema id.
                self.ask_again(topic);
                return;
            }
            if state.is_empty() {
                topic.routes.store(Some(routes));
                topic.resolution.lock().resolved();
                return;
            }
            let lanes = routes.lanes();
            let held = lanes.iter().take_while(|lane| lane.hold_back()).count();
            if held == lanes.len() {
                // Under the lock: what a sender that waits for it sends goes to the lanes.
                topic.routes.store(Some(Arc::clone(&routes)));
                break std::iter::from_fn(|| state.take(true)).collect::<Vec<_>>();
            }
            drop(state);
            lanes[..held].iter().for_each(|lane| self.let_go(lane));
        };
        for slab in slabs {
            self.hand_over_waiting(&routes, slab);
        }
        routes.lanes().iter().for_each(|lane| self.let_go(lane));
        let state = topic.waiting.state.lock();
        if state.is_empty() {
            topic.resolution.lock().resolved();
        } else {
            self.ask_again(topic);
        }
    }

    /// Puts a topic on the list once more that is being resolved.
    fn ask_again(&self, topic: &Arc<Topic>) {
        self.resolver.lock().topics.push_back(Asked {
            topic: Arc::clone(topic),
            since: Instant::now(),
            pause: FIRST_PAUSE,
        });
    }

    /// Hands over what a lane got while it was held back, and what it gets.
    fn let_go(&self, lane: &Arc<Lane>) {
        let mut state = lane.state.lock();
        state.handing_over = false;
        self.hand_over(lane, state, true);
    }

    fn hand_over_waiting(&self, routes: &Routes, mut slab: Slab) {
        if let Framing::Confluent(subject) = &slab.topic.framing
            && let Some(id) = subject.get()
        {
            slab.fill_schema_id(id);
        }
        slab.assign_partitions(|key| routes.partition(key, None));
        self.refuse_partitions(&mut slab, routes);
        let count = slab.len();
        let mut rest = (count > 0).then(|| (InFlight::new(slab), 0));
        let mut seen = self.openings.ended();
        while let Some((slab, from)) = rest {
            rest = self.produce_allowed(slab, from, |partition| routes.lane(partition));
            if let Some((slab, from)) = rest.take_if(|(slab, _)| self.is_late(slab.slab().opened)) {
                let error = self.timed_out(&slab.slab().topic, MIXED);
                self.refuse_rest(&slab, from, &error);
            }
            rest = match rest {
                // Not the slab's length: it may be gone with its last record.
                Some((slab, from)) if self.leaves_first(routes, &slab, from) => {
                    (from + 1 < count).then_some((slab, from + 1))
                }
                Some(blocked) => {
                    seen = self.wait_for_librdkafka(seen);
                    Some(blocked)
                }
                None => None,
            };
        }
    }

    fn leaves_first(&self, routes: &Routes, slab: &InFlight, from: usize) -> bool {
        let first = slab.outgoing(from).next();
        let lane = first
            .as_ref()
            .and_then(|record| routes.lane(record.partition));
        let left = first.zip(lane);
        left.is_some_and(|(record, lane)| self.leave(lane, record.opaque))
    }

    /// Hands over what lanes hold; whether all of it went. Where some of it cannot go for a while (a
    /// window of a lane's is still in flight, say), other topics need not wait for that.
    fn have_handed_over(&self, lanes: &[Arc<Lane>]) -> bool {
        let until = Instant::now() + LONGEST_HANDOVER;
        for lane in lanes {
            let mut seen = self.openings.ended();
            while !self.has_handed_over(lane) {
                if Instant::now() >= until {
                    return false;
                }
                seen = self.wait_for_librdkafka(seen);
            }
        }
        true
    }

    /// Hands over what a lane holds; whether all of it went.
    fn has_handed_over(&self, lane: &Arc<Lane>) -> bool {
        self.hand_over(lane, lane.state.lock(), true);
        let state = lane.state.lock();
        state.is_empty() && !state.handing_over
    }

    /// Waits a moment for delivery reports, which make room and open lanes. Not where some have
    /// opened since `seen`; gives how many have by now.
    fn wait_for_librdkafka(&self, seen: usize) -> usize {
        let queue = self.resolver.lock();
        if self.openings.ended() == seen {
            drop(self.resolver_wakes.wait_for(queue, FIRST_PAUSE));
        }
        self.openings.ended()
    }
}

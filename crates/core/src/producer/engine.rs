//! The running half of a producer: accepted records on their way to librdkafka.
//!
//! An engine exists from the first record to `close`. It owns the librdkafka handle, the topics and
//! their lanes, and two threads: the event thread ([`super::reports`]) and, while a topic is not
//! known yet, the resolver ([`super::resolver`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::admission::Line;
use super::budget::Budget;
use super::delivery::Delivery;
use super::handover::produce;
use super::lane::{Lane, LaneState};
use super::late::{GATHERS, LateRecords};
use super::limit::{BatchLimit, Windows};
use super::opening::{Opening, Openings};
use super::partitioner::Partitioner;
use super::session::Succession;
use super::slab::{Buffers, Header, InFlight, MIXED, Parts, Settled, Slab};
use super::tally::Tally;
use super::topic::{Framing, Routes, Topic};
use crate::client::Observer;
use crate::config::{EventFormat, ProducerSettings, TokenProvider};
use crate::events::Topic as EventTopic;
use crate::kafka::{Handle, Health, Queue};
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::{Error, ErrorKind, Result};

/// Settled slabs that are kept for their memory while nothing is on its way.
const IDLE_SLABS: usize = 16;

/// A record as the producer's front hands it over, besides its value.
pub(crate) struct Head<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) partition: Option<i32>,
    pub(crate) headers: Vec<Header>,
    pub(crate) owner: Option<&'a Arc<Tally>>,
    /// Whether the value is framed as a typed event of its topic.
    pub(crate) framed: bool,
    /// Whether the event thread hands it over, which is about to.
    pub(crate) deferred: bool,
}

/// See the module.
pub(crate) struct Engine {
    pub(crate) settings: ProducerSettings,
    pub(crate) tokens: Option<TokenProvider>,
    pub(crate) observer: Option<Observer>,
    pub(super) partitioner: Partitioner,
    registry: Option<SchemaRegistry>,
    pub(crate) metrics: Metrics,
    pub(crate) handle: Arc<Handle>,
    pub(crate) queue: Queue,
    pub(crate) health: Health,
    pub(crate) budget: Budget,
    pub(super) line: Arc<Line>,
    /// Which fork of the process made this engine; see [`super::fork`].
    pub(crate) generation: u32,
    /// Set by `close` and by a fatal error: nothing more is accepted.
    pub(crate) closing: AtomicBool,
    /// Set when all is settled: the threads end.
    pub(crate) stopping: AtomicBool,
    /// Set where another engine has taken this one's place.
    pub(super) superseded: AtomicBool,
    pub(super) late: LateRecords,
    pub(super) windows: Windows,
    /// The largest batch that librdkafka makes.
    largest_batch: usize,
    pub(crate) flushing: AtomicUsize,
    /// Records that librdkafka has and has not reported on.
    pub(crate) in_flight: AtomicUsize,
    pub(crate) resolver: Mutex<super::resolver::Queue>,
    pub(crate) resolver_wakes: Condvar,
    pub(crate) event_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    counts: Arc<super::Counts>,
    /// Whether any record has had an owner.
    owned: AtomicBool,
    source: String,
    topic_prefix: String,
    format: EventFormat,
    topics: ArcSwap<HashMap<Arc<str>, Arc<Topic>>>,
    /// The twelve, by their number, without hashing a name.
    event_topics: Box<[OnceLock<Arc<Topic>>]>,
    /// Whether the session numbers its records.
    pub(super) is_idempotent: bool,
    pub(super) openings: Openings,
    /// Set by a fatal error; see [`super::session`].
    pub(super) failed: AtomicBool,
    pub(super) failed_at: OnceLock<Instant>,
    pub(super) succession: Mutex<Succession>,
    /// Whether any record was delivered.
    pub(super) has_delivered: AtomicBool,
    /// Why the engine gives its records up, once it does.
    pub(super) gave_up: OnceLock<Error>,
    /// Lanes with gathered records that nobody has handed over.
    gathered: Mutex<Vec<Arc<Lane>>>,
    pool: Mutex<Vec<Buffers>>,
}

impl Engine {
    /// Starts librdkafka and the event thread.
    pub(super) fn start(
        shared: &super::Shared,
        generation: u32,
        succession: Succession,
        line: Arc<Line>,
    ) -> Result<Arc<Self>> {
        let (settings, connection) = (&shared.settings, &shared.connection);
        connection.check_files()?;
        let config = super::settings::librdkafka(settings, connection)?;
        let handle = Handle::producer(&config)?;
        let engine = Arc::new(Engine {
            queue: handle.main_queue(),
            handle,
            health: Health::default(),
            budget: Budget::new(settings.queue_max_records, settings.queue_max_bytes),
            line,
            generation,
            closing: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            late: LateRecords::default(),
            windows: Windows::default(),
            largest_batch: super::settings::largest_batch(&config),
            flushing: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            resolver: Mutex::default(),
            resolver_wakes: Condvar::new(),
            event_thread: Mutex::default(),
            format: settings.event_format(EventFormat::Avro),
            topics: ArcSwap::default(),
            event_topics: EventTopic::ALL.iter().map(|_| Default::default()).collect(),
            gathered: Mutex::default(),
            pool: Mutex::default(),
            is_idempotent: config.get("enable.idempotence") == Some("true"),
            openings: Openings::default(),
            failed_at: OnceLock::new(),
            failed: AtomicBool::new(false),
            succession: Mutex::new(succession),
            has_delivered: AtomicBool::new(false),
            gave_up: OnceLock::new(),
            source: connection.service_name.clone(),
            topic_prefix: connection.topic_prefix.clone(),
            settings: settings.clone(),
            tokens: shared.tokens.clone(),
            observer: shared.observer.clone(),
            partitioner: shared.partitioner,
            registry: shared.registry.clone(),
            metrics: shared.metrics.clone(),
            counts: Arc::clone(&shared.counts),
            owned: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&engine);
        let thread = std::thread::Builder::new()
            .name("carbon-delivery".into())
            .spawn(move || super::reports::run(&for_thread))
            .map_err(|error| {
                let message = "the system gives no thread for delivery reports";
                Error::new(ErrorKind::Internal, message).because(error)
            })?;
        *engine.event_thread.lock() = Some(thread);
        Ok(engine)
    }

    /// The `source` of events that name none.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The topic of one of the twelve events.
    pub(crate) fn event_topic(&self, event: EventTopic) -> &Arc<Topic> {
        self.event_topics[event as usize].get_or_init(|| {
            let name = format!("{}{event}", self.topic_prefix);
            self.topic(&name)
        })
    }

    /// A topic by its name.
    pub(crate) fn topic(&self, name: &str) -> Arc<Topic> {
        if let Some(topic) = self.topics.load().get(name) {
            return Arc::clone(topic);
        }
        let event = name
            .strip_prefix(&*self.topic_prefix)
            .and_then(EventTopic::from_name);
        let name: Arc<str> = name.into();
        let framing = self.framing(&name, event);
        let limit = BatchLimit::new(self.largest_batch);
        let added = Topic::new(Arc::clone(&name), framing, event, limit, &self.metrics);
        self.topics.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            topics
                .entry(Arc::clone(&name))
                .or_insert_with(|| Arc::clone(&added));
            topics
        });
        self.topics.load().get(&name).map_or(added, Arc::clone)
    }

    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.load().values().cloned().collect()
    }

    fn framing(&self, topic: &str, event: Option<EventTopic>) -> Framing {
        match (self.format, &self.registry, event) {
            (EventFormat::Json, ..) => Framing::Json,
            (EventFormat::Avro, Some(registry), Some(event)) => {
                Framing::Confluent(registry.subject(topic, event.spec().schema_json))
            }
            // Topics of other records take raw values only, which are not framed.
            (EventFormat::Avro, ..) => Framing::SingleObject,
        }
    }

    /// Whether typed events are written as JSON.
    pub(crate) fn writes_json(&self) -> bool {
        self.format == EventFormat::Json
    }

    /// Refuses a partition that the topic is known to lack.
    pub(crate) fn check_partition(
        &self,
        topic: &Topic,
        key: Option<&[u8]>,
        chosen: Option<i32>,
    ) -> Result<()> {
        let routes = topic.routes.load();
        let Some(routes) = &*routes else {
            return Ok(());
        };
        let partition = routes.partition(key, chosen);
        match routes.lane(partition) {
            Some(_) => Ok(()),
            None => Err(no_partition(topic, routes, partition)),
        }
    }

    /// Takes a record that was [admitted](Engine::admits); from here on it settles.
    /// `write` appends its value, or gives `false` for a null one.
    pub(crate) fn accept(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        head: Head<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<Delivery> {
        let unknown = head.framed && !topic.knows_schema();
        if !unknown && let Some(routes) = &*topic.routes.load() {
            let partition = routes.partition(head.key, head.partition);
            let Some(lane) = routes.lane(partition) else {
                self.give_back();
                return Err(no_partition(topic, routes, partition));
            };
            let parts = Parts {
                key: head.key,
                partition,
                headers: head.headers,
                framed: head.framed,
                awaits_schema_id: false,
                owner: head.owner,
            };
            let mut state = lane.state.lock();
            let appended = state
                .append(topic, partition, || self.buffers(), parts, write)
                .inspect_err(|_| self.give_back())?;
            if state.open().is_none() && head.key.is_none() {
                routes.move_on();
            }
            return Ok(self.appended(lane, state, appended, head.deferred));
        }
        self.accept_waiting(topic, head, unknown, write)
    }

    /// Accepts a record of a topic whose partitions or schema id are not known yet.
    fn accept_waiting(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        head: Head<'_>,
        awaits_schema_id: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<Delivery> {
        let mut state = topic.waiting.state.lock();
        if awaits_schema_id && !topic.knows_schema() {
            // Later records of the same key must not overtake this one, so all of them wait.
            topic.routes.store(None);
        } else if topic.routes.load().is_some() {
            drop(state);
            return self.accept(topic, head, write);
        }
        if let Some(partition) = head.partition.filter(|partition| *partition < 0) {
            self.give_back();
            let error = Error::new(ErrorKind::UnknownTopic, "partitions are counted from 0");
            return Err(error
                .with("topic", topic.name())
                .with("partition", partition));
        }
        let parts = Parts {
            key: head.key,
            partition: head.partition.unwrap_or(MIXED),
            headers: head.headers,
            framed: head.framed,
            awaits_schema_id,
            owner: head.owner,
        };
        // A slab expires as a whole, so a waiting one gathers for a moment only.
        state.seal_if_older(GATHERS);
        let (delivery, cost) = state
            .append(topic, MIXED, || self.buffers(), parts, write)
            .inspect_err(|_| self.give_back())?;
        self.budget.charge(cost);
        drop(state);
        self.resolve(topic);
        Ok(delivery)
    }

    /// Decides who hands over what was just appended: this thread where a slab is full or nothing
    /// is on its way, else the event thread with the next delivery report or after `linger`.
    fn appended(
        &self,
        lane: &Arc<Lane>,
        mut state: MutexGuard<'_, LaneState>,
        (delivery, cost): (Delivery, u64),
        deferred: bool,
    ) -> Delivery {
        self.budget.charge(cost);
        let idle = self.in_flight.load(Ordering::Relaxed) == 0;
        if !deferred && (idle || state.has_sealed()) {
            self.hand_over(lane, state, idle);
        } else if !state.noted {
            state.noted = true;
            drop(state);
            self.gathered.lock().push(Arc::clone(lane));
        }
        delivery
    }

    /// Hands a lane's sealed slabs to librdkafka, and the open one where `all` is asked for, unless
    /// another thread is at it (which goes on with what this one sealed).
    pub(crate) fn hand_over<'lane>(
        &self,
        lane: &'lane Arc<Lane>,
        mut state: MutexGuard<'lane, LaneState>,
        all: bool,
    ) {
        if !state.handing_over {
            state.handing_over = true;
            let mut all = all;
            while let Some((slab, from)) = state
                .partly
                .take()
                .or_else(|| state.take(all).map(|slab| (InFlight::new(slab), 0)))
            {
                // The open slab goes once: what gathers meanwhile may gather on.
                all &= state.open().is_some();
                drop(state);
                let rest = self.produce_allowed(slab, from, |_| Some(lane));
                state = lane.state.lock();
                if rest.is_some() {
                    state.partly = rest;
                    break;
                }
            }
            state.handing_over = false;
        }
        if !state.is_empty() && !state.noted {
            state.noted = true;
            drop(state);
            self.gathered.lock().push(Arc::clone(lane));
        }
    }

    /// Hands over the records of `slab` that may go now; see [`super::opening`]. Gives the slab back
    /// with the first one that did not go.
    pub(super) fn produce_allowed<'lane>(
        &self,
        slab: InFlight,
        from: usize,
        lane_of: impl Fn(i32) -> Option<&'lane Arc<Lane>>,
    ) -> Option<(InFlight, usize)> {
        let records = slab.slab();
        let is_open = |lane: Option<&Arc<Lane>>| lane.is_some_and(|lane| lane.opening.is_over());
        let all = self.gave_up.get().is_some()
            || (records.partition != MIXED && is_open(lane_of(records.partition)));
        let mut to = if all {
            records.len()
        } else {
            self.openings.reach(&slab, from, &lane_of)
        };
        if self.gave_up.get().is_none() {
            to = self.within_limit(&slab, from, to, &lane_of);
        }
        if to == from {
            return Some((slab, from));
        }
        let rest = produce(self, slab, from, to);
        if let Some((slab, next)) = &rest {
            let not_taken = slab.outgoing(*next).take(to.saturating_sub(*next));
            not_taken.for_each(|record| self.withdraw(record.opaque));
        }
        rest
    }

    /// What the lane of a new partition begins with.
    pub(super) fn opening(&self) -> fn() -> Opening {
        if self.is_idempotent {
            Opening::default
        } else {
            Opening::not_needed
        }
    }

    /// Notes a record's outcome for its lane's opening. Before it settles: until then its opaque is
    /// no other record's.
    pub(super) fn opened(&self, opaque: *mut std::ffi::c_void, delivered: bool) {
        if !self.openings.is_empty() && self.openings.end(opaque, delivered) {
            self.wake_resolver();
        }
    }

    /// Wakes the resolver where it waits for what is in flight.
    pub(super) fn wake_resolver(&self) {
        // Under the lock: it may be about to wait.
        let _resolver = self.resolver.lock();
        self.openings.note_end();
        self.resolver_wakes.notify_all();
    }

    /// Hands over what has gathered: all of it where nothing is on its way or somebody flushes,
    /// else what is full or has gathered for `linger`. Called by the event thread.
    pub(crate) fn hand_over_gathered(&self) {
        let lanes = std::mem::take(&mut *self.gathered.lock());
        if lanes.is_empty() {
            return;
        }
        let idle = self.in_flight.load(Ordering::Relaxed) == 0
            || self.flushing.load(Ordering::Relaxed) > 0;
        let mut waiting = Vec::new();
        for lane in lanes {
            let mut state = lane.state.lock();
            let linger = self.settings.linger;
            let due = idle
                || state
                    .open()
                    .is_some_and(|slab| slab.opened.elapsed() >= linger);
            if due || state.has_sealed() {
                state.noted = false;
                self.hand_over(&lane, state, due);
            } else if state.is_empty() {
                state.noted = false;
            } else {
                drop(state);
                waiting.push(lane);
            }
        }
        self.gathered.lock().append(&mut waiting);
    }

    /// Whether records wait for the event thread to hand them over.
    pub(crate) fn has_gathered(&self) -> bool {
        !self.gathered.lock().is_empty()
    }

    /// Notes that a record is about to be accepted that has an owner.
    pub(crate) fn note_owner(&self) {
        if !self.has_owners() {
            self.owned.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_owners(&self) -> bool {
        self.owned.load(Ordering::Relaxed)
    }

    /// Counts records that are about to settle: first of all, so that whoever learns a record's
    /// outcome finds it counted.
    pub(crate) fn count(&self, delivered: u64, failed: u64) {
        self.counts
            .delivered
            .fetch_add(delivered, Ordering::Relaxed);
        self.counts.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Gives back what a run of settled records had taken: last of all, so that whoever sees the
    /// queue empty finds every outcome.
    pub(crate) fn book(&self, settled: Settled) {
        if let Some(buffers) = settled.buffers {
            // All of them while records flow: they were in use a moment ago, and a slab of new
            // memory costs a page fault every sixteen records.
            self.pool.lock().push(buffers);
        }
        if let Some(owner) = settled.owner {
            owner.end(settled.records);
        }
        self.release(settled.records, settled.cost);
    }

    /// Fails the records of a slab that was never handed over.
    pub(crate) fn fail(&self, slab: Slab, error: &Error) {
        let error = super::session::about(error, &slab.topic);
        self.not_delivered(slab.len(), &error);
        let (records, cost) = slab.fail(&error);
        self.release(records, cost);
    }

    /// Fails those records of a slab that chose a partition which the topic lacks: librdkafka would
    /// keep them.
    pub(super) fn refuse_partitions(&self, slab: &mut Slab, routes: &Routes) {
        while let Some(wrong) = slab.partition_beyond(routes.count()) {
            let error = no_partition(&slab.topic, routes, wrong);
            let refused = slab.split_off(wrong);
            self.fail(refused, &error);
        }
    }

    fn not_delivered(&self, records: usize, error: &Error) {
        tracing::error!(target: "carbon_events", records, %error, "records were not delivered");
        self.count(0, records as u64);
    }

    fn release(&self, records: u64, cost: u64) {
        self.counts.released.fetch_add(records, Ordering::Relaxed);
        self.budget.release(records, cost);
        self.note_capacity();
    }

    /// Gives back the memory of a burst that is over.
    pub(crate) fn trim_pool(&self) {
        let mut pool = self.pool.lock();
        if pool.len() > IDLE_SLABS {
            let spare = pool.split_off(IDLE_SLABS);
            pool.shrink_to_fit();
            drop(pool);
            drop(spare);
        }
    }

    fn buffers(&self) -> Buffers {
        self.pool.lock().pop().unwrap_or_default()
    }
}

#[cold]
pub(super) fn no_partition(topic: &Topic, routes: &Routes, partition: i32) -> Error {
    let message = format!("the topic has only {} partitions", routes.count());
    Error::new(ErrorKind::UnknownTopic, message)
        .with("topic", topic.name())
        .with("partition", partition)
}

/// The error of every use after `close`.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer is closed; make a new one")
}

//! Producing: typed events and raw records, from any thread or task, to Kafka.
//!
//! ```text
//!  send(&event)                                        event thread
//!    │ validate, take room in the queue                  ▲      │
//!    │ key ─▶ murmur2 ─▶ partition                       │      │ settles each record once,
//!    ▼                                                   │      │ wakes its Delivery
//!  lane of the partition ── slab: frame + Avro body,     │      ▼
//!    │                      back to back in one buffer   │   hands over what gathered meanwhile
//!    │ slab full, or nothing on its way                  │
//!    ▼                                                   │
//!  rd_kafka_produce_batch, no copy ──▶ librdkafka ──▶ broker
//! ```
//!
//! # Batching
//!
//! A record that finds nothing on its way leaves at once; what comes while something is gathers in
//! its partition's slab and goes with the next acknowledgement, when the slab is full, or after
//! `linger`. So a lone awaited send takes one round trip, and a burst goes in slabs of a thousand.
//!
//! A topic that takes less at once than our largest batch gets less: see [`limit`].
//!
//! # Back-pressure
//!
//! Accepted and unsettled records are bounded by `queue_max_records` and `queue_max_bytes`. Beyond
//! that [`send`](EventProducer::send) blocks and [`send_async`](EventProducer::send_async) waits, up
//! to `block_timeout`, both in one line and in the order of their calls ([`admission`]).
//! [`try_send`](EventProducer::try_send) fails at once, also while others are in line. Nothing is
//! dropped.
//!
//! # Order
//!
//! Records of one thread or task with one key are written in the order of their sends, retries and a
//! full queue included (an idempotent producer with all replicas' acknowledgement is the default).
//!
//! # Cancellation
//!
//! A record is the producer's as soon as a send method gave its [`Delivery`]. Dropping the handle,
//! or the task that awaits it, recalls nothing. A task that is cancelled inside `send_async` has
//! sent nothing: its record leaves the line.
//!
//! # Starting, forking, closing
//!
//! The first record starts librdkafka and one thread. A child process after a fork starts its own,
//! and leaves what the parent had accepted to the parent. [`close`](EventProducer::close), and the
//! drop of the last clone, deliver what was accepted or say how much was not. Ctrl-C ends a process
//! without running either: handle the signal, and close.
//!
//! A fatal error of librdkafka's ends a session, not the producer; see [`session`]. Nothing waits for
//! longer than its delivery timeout, wherever it is; see [`late`].
//!
//! Retry topics, an outage spool and a circuit breaker belong between `send` and the lanes
//! ([`engine`]); transactions belong in [`handover`].

mod admission;
mod budget;
mod builder;
mod delivery;
mod engine;
mod handover;
mod lane;
mod late;
mod limit;
mod opening;
mod partitioner;
mod record;
mod reports;
mod resolver;
mod scratch;
mod session;
mod settings;
mod shared;
mod shutdown;
mod slab;
mod tally;
#[cfg(test)]
mod tests;
mod topic;
mod trace;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwapOption, Guard};
use serde::Serialize;

use crate::background::on_a_thread;
use crate::client::Observer;
use crate::compat::protect_json_but;
use crate::config::{ConnectionSettings, EventFormat, ProducerSettings, TokenProvider};
use crate::events::{EncodedEvent, Event, TypedEvent, sensitive};
use crate::fork;
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;
use crate::{Error, ErrorKind, Result};

pub use crate::client::ClientObserver;
pub use admission::Admission;
pub use builder::EventProducerBuilder;
pub use delivery::{Delivery, DeliveryReport};
pub use partitioner::{Partitioner, murmur2};
pub use record::{AnyContent, EncodedContent, JsonContent, Outgoing, RawContent, TypedContent};
pub use shared::SharedProducer;
pub use slab::Header;
pub use trace::TraceContext;

use engine::{Engine, closed};
use session::Succession;
use tally::Owner;
use trace::TraceHook;

/// Sends events to Kafka. Cheap to clone; clones are one producer, closed with the last of them.
#[derive(Clone)]
pub struct EventProducer {
    shared: Arc<Shared>,
    /// Whose records this clone sends, where that is counted apart.
    owner: Option<Arc<Owner>>,
}

/// What became of the records of one producer so far. `accepted` is always
/// `delivered + failed + queued`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProducerStats {
    /// Records that a send method took; one that leaves the line unsent is not counted any more.
    pub accepted: u64,
    /// Records that the brokers acknowledged.
    pub delivered: u64,
    /// Records that ended in an error.
    pub failed: u64,
    /// Records on their way, those in line for capacity included.
    pub queued: u64,
}

impl ProducerStats {
    fn new(delivered: u64, failed: u64, queued: u64) -> Self {
        ProducerStats {
            accepted: delivered + failed + queued,
            delivered,
            failed,
            queued,
        }
    }
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Settled records whose room in the queue was given back, a moment after they were counted.
    released: AtomicU64,
}

struct Shared {
    connection: ConnectionSettings,
    settings: ProducerSettings,
    registry: Option<SchemaRegistry>,
    metrics: Metrics,
    tokens: Option<TokenProvider>,
    trace: Option<TraceHook>,
    observer: Option<Observer>,
    partitioner: Partitioner,
    counts: Arc<Counts>,
    max_record_bytes: usize,
    engine: ArcSwapOption<Engine>,
    /// The process generation, plus one, whose engine is being made.
    starting: AtomicU64,
    closed: AtomicBool,
}

impl EventProducer {
    /// A builder with every setting at its default; the environment is not looked at.
    pub fn builder() -> EventProducerBuilder {
        EventProducerBuilder::default()
    }

    /// A builder with the environment's settings.
    pub fn from_env() -> EventProducerBuilder {
        EventProducerBuilder::from_env()
    }

    /// Sends an event; see [`Outgoing::send`].
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::send`].
    pub fn send<E: TypedEvent>(&self, event: &E) -> Result<Delivery> {
        self.event(event).send()
    }

    /// Sends an event, or says at once that the queue is full.
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::send`].
    pub fn try_send<E: TypedEvent>(&self, event: &E) -> Result<Delivery> {
        self.event(event).try_send()
    }

    /// Sends an event, waiting without blocking while the queue is full.
    ///
    /// # Errors
    ///
    /// Those of [`Outgoing::send`].
    pub async fn send_async<E: TypedEvent>(&self, event: &E) -> Result<Delivery> {
        self.event(event).send_async().await
    }

    /// An event with a key, headers or a partition of the caller's.
    pub fn event<'a, E: TypedEvent>(&'a self, event: &'a E) -> Outgoing<'a, TypedContent<'a, E>> {
        Outgoing::new(self, TypedContent { event })
    }

    /// As [`event`](Self::event), for an event of which only now is known which one it is.
    pub fn any<'a>(&'a self, event: &'a Event<'a>) -> Outgoing<'a, AnyContent<'a>> {
        Outgoing::new(self, AnyContent { event })
    }

    /// As [`event`](Self::event), for one that is encoded already.
    pub fn encoded<'a>(&'a self, event: &'a EncodedEvent) -> Outgoing<'a, EncodedContent<'a>> {
        Outgoing::new(self, EncodedContent { event })
    }

    /// As [`event`](Self::event), for one that is JSON already, and without a key unless one is
    /// given. It is written as it is, neither checked nor treated: its sensitive values are the
    /// caller's to protect ([`protect_json`](crate::compat::protect_json)).
    pub fn event_json<'a>(
        &'a self,
        topic: crate::Topic,
        json: &'a [u8],
    ) -> Outgoing<'a, JsonContent<'a>> {
        let format = self.shared.settings.event_format(EventFormat::Avro);
        let framed = format == EventFormat::Json;
        let content = JsonContent {
            topic,
            json,
            framed,
        };
        Outgoing::new(self, content)
    }

    /// A record of raw bytes for any topic; without a value it is a tombstone.
    pub fn raw<'a>(&'a self, topic: &'a str) -> Outgoing<'a, RawContent<'a>> {
        Outgoing::new(self, RawContent { topic, value: None })
    }

    /// A record with a value as JSON, for any topic. Sensitive fields of the platform's records
    /// are treated as in a typed event; see [`protect_json`](crate::compat::protect_json).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEvent`] if `value` cannot be written as JSON (a map whose keys are no
    /// strings, say).
    pub fn json<'a>(
        &'a self,
        topic: &'a str,
        value: &impl Serialize,
    ) -> Result<Outgoing<'a, RawContent<'a>>> {
        // What events of ours in the value gave out is hashed already.
        let (json, hashes) = sensitive::noting(|| serde_json::to_vec(value));
        let json = json.map_err(|error| {
            Error::new(
                ErrorKind::InvalidEvent,
                format!("the value is no JSON: {error}"),
            )
            .with("topic", topic)
        })?;
        let prefix = &self.shared.connection.topic_prefix;
        let protected = protect_json_but(topic, prefix, &json, &hashes).into_owned();
        Ok(self.raw(topic).value(protected))
    }

    /// Starts the producer, as the first record would, which may take some milliseconds. Waits for no
    /// broker.
    ///
    /// # Errors
    ///
    /// Those of a file that cannot be read, and [`ErrorKind::Closed`].
    pub fn start(&self) -> Result<()> {
        self.engine().map(drop)
    }

    /// Starts the producer and blocks until a broker answers. Nobody needs to: the first record
    /// starts it too. It is for who wants to know early that brokers can be reached.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] where none answers in `timeout`,
    /// [`ErrorKind::Authentication`] as soon as one refuses us, [`ErrorKind::Closed`].
    pub fn connect(&self, timeout: Duration) -> Result<()> {
        /// How often it is looked whether a broker has refused us: librdkafka tries for ever.
        const LOOK: Duration = Duration::from_millis(250);
        let engine = Arc::clone(&*self.engine()?);
        let deadline = shutdown::deadline(timeout);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Err(error) = engine.handle.reach(left.min(LOOK)) else {
                return Ok(());
            };
            let error = engine.health.explain(error);
            let refused = error.kind() == ErrorKind::Authentication;
            if refused || engine.closing.load(Ordering::SeqCst) || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// Whether it was started, by a record or [`connect`](Self::connect): then
    /// [`try_send`](Outgoing::try_send) starts nothing.
    pub fn is_running(&self) -> bool {
        let running = self.shared.running();
        running.is_some_and(|engine| !engine.has_failed())
    }

    /// Blocks until every record that was sent so far is settled, those in line included, without
    /// lingering.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] with the number of `records` still on their way. A record that failed
    /// is settled: its error is its [`Delivery`]'s, and in [`stats`](Self::stats).
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        let owner = self.owner.as_ref().map(|owner| owner.tally());
        let owner = owner.as_deref().map(|tally| &**tally);
        let deadline = shutdown::deadline(timeout);
        let mut flushed = None;
        while let Some(engine) = self.to_flush(flushed) {
            engine.flush(owner, deadline)?;
            flushed = Some(engine);
        }
        Ok(())
    }

    /// As [`flush`](Self::flush), without blocking the task's thread.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub async fn flush_async(&self, timeout: Duration) -> Result<()> {
        let owner = self.owner.as_ref().map(|owner| Arc::clone(&*owner.tally()));
        let deadline = shutdown::deadline(timeout);
        let mut flushed = None;
        while let Some(engine) = self.to_flush(flushed) {
            engine.flush_async(owner.as_deref(), deadline).await?;
            flushed = Some(engine);
        }
        Ok(())
    }

    /// Accepts nothing more, delivers what was accepted within `timeout`, and gives up the rest.
    /// Blocks; every later use of any clone fails with [`ErrorKind::Closed`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Aborted`] with the number of `records` that were given up.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.shared.close(timeout)
    }

    /// As [`close`](Self::close), without blocking the task's thread. Closing goes on if the future
    /// is dropped once it was polled.
    ///
    /// # Errors
    ///
    /// Those of [`close`](Self::close).
    pub async fn close_async(&self, timeout: Duration) -> Result<()> {
        self.shared.closed.store(true, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        on_a_thread("carbon-events-close", move || shared.close(timeout)).await?
    }

    /// What became of the records so far.
    pub fn stats(&self) -> ProducerStats {
        if let Some(owner) = &self.owner {
            let tally = owner.tally();
            return ProducerStats::new(tally.delivered(), tally.failed(), tally.pending());
        }
        let counts = &self.shared.counts;
        let taken = self.shared.running().map_or(0, |engine| {
            // The line first: a record is in the queue before it leaves the line.
            let waiting = engine.line.len();
            waiting + engine.unsettled()
        });
        let released = counts.released.load(Ordering::Relaxed);
        let delivered = counts.delivered.load(Ordering::Relaxed);
        let failed = counts.failed.load(Ordering::Relaxed);
        // Settled records are counted before their room is given back.
        let queued = (released + taken).saturating_sub(delivered + failed);
        ProducerStats::new(delivered, failed, queued)
    }

    /// The metrics that this producer counts into.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// See [`Shared::to_flush`]; where a session is over, another one takes what is in line.
    fn to_flush(&self, flushed: Option<Arc<Engine>>) -> Option<Arc<Engine>> {
        let is_left = |engine: Arc<Engine>| engine.has_failed() && !engine.line.is_empty();
        if self.shared.running().is_some_and(is_left) {
            // Without one, the records fail by themselves.
            let _ = self.engine();
        }
        self.shared.to_flush(flushed)
    }

    /// The running engine; starts one with the first record.
    fn engine(&self) -> Result<Running> {
        let generation = fork::generation();
        loop {
            let engine = self.shared.engine.load();
            match &*engine {
                Some(found) if found.takes_records(generation) => return Ok(Running(engine)),
                _ if self.shared.closed.load(Ordering::SeqCst) => return Err(closed()),
                _ => self.shared.start(generation)?,
            }
        }
    }
}

/// A running engine, borrowed without touching a shared counter.
struct Running(Guard<Option<Arc<Engine>>>);

impl std::ops::Deref for Running {
    type Target = Arc<Engine>;

    fn deref(&self) -> &Arc<Engine> {
        // `EventProducer::engine` makes one of a guard only when there is an engine behind it.
        self.0.as_ref().unwrap_or_else(|| std::process::abort())
    }
}

impl fmt::Debug for EventProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventProducer")
            .field(
                "bootstrap_servers",
                &self.shared.connection.bootstrap_servers,
            )
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// This process' engine, if it runs.
    fn running(&self) -> Option<Arc<Engine>> {
        let engine = self.engine.load_full()?;
        if engine.generation == fork::generation() {
            Some(engine)
        } else {
            // The parent's; see `start`.
            std::mem::forget(engine);
            None
        }
    }

    /// The engine to flush after the one that was `flushed`: the running one, whose session began when
    /// that one's was over; or the first.
    fn to_flush(&self, flushed: Option<Arc<Engine>>) -> Option<Arc<Engine>> {
        let engine = self.running()?;
        let is_last = |last: Arc<Engine>| !last.has_failed() || Arc::ptr_eq(&last, &engine);
        (!flushed.is_some_and(is_last)).then_some(engine)
    }

    /// Makes this process' engine. One thread makes it, others that come meanwhile wait; not by a
    /// lock, which a fork could leave locked for ever in the child.
    fn start(&self, generation: u32) -> Result<()> {
        let mine = u64::from(generation) + 1;
        let other = self.starting.load(Ordering::SeqCst);
        if other == mine
            || self
                .starting
                .compare_exchange(other, mine, Ordering::SeqCst, Ordering::SeqCst)
                .is_err()
        {
            std::thread::yield_now();
            return Ok(());
        }
        // Another thread may have made one between the caller's look and this thread's turn: a second
        // engine would take its place, with records in it that no flush waits for.
        if let Some(engine) = &*self.engine.load()
            && engine.takes_records(generation)
        {
            self.starting.store(0, Ordering::SeqCst);
            return Ok(());
        }
        if self.closed.load(Ordering::SeqCst) {
            self.starting.store(0, Ordering::SeqCst);
            return Err(closed());
        }
        let failed = self.running();
        if generation != 0 && failed.is_none() {
            // Records that were in flight at the fork are the parent's: none is in flight here.
            let counts = &self.counts;
            let settled =
                counts.delivered.load(Ordering::Relaxed) + counts.failed.load(Ordering::Relaxed);
            counts.released.store(settled, Ordering::Relaxed);
        }
        let line = failed.as_ref().map(|failed| Arc::clone(&failed.line));
        let succession = failed.map_or_else(|| Ok(Succession::first()), Succession::after);
        let started = succession
            .and_then(|next| Engine::start(self, generation, next, line.unwrap_or_default()));
        let outcome = started.map(|engine| {
            let before = self.engine.swap(Some(Arc::clone(&engine)));
            match before {
                Some(before) if before.generation == generation => before.supersede(),
                // An engine of the parent's is left alone for ever: its threads are not here, and
                // librdkafka would wait for them.
                parents => std::mem::forget(parents),
            }
            // For what is in line since the session before. Now, for flushes find its records now.
            engine.queue.wake();
        });
        self.starting.store(0, Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) {
            // Closed meanwhile, by a thread that found nothing to close.
            self.close(Duration::ZERO)?;
            return Err(closed());
        }
        outcome
    }

    fn close(&self, timeout: Duration) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        let deadline = shutdown::deadline(timeout);
        let mut outcome = Ok(());
        while let Some(engine) = self.running() {
            let left = deadline.saturating_duration_since(Instant::now());
            outcome = outcome.and(engine.close(left));
            // Not another one, which a thread may have put there meanwhile.
            self.engine.compare_and_swap(&engine, None);
        }
        outcome
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.running().is_some() {
            if let Err(error) = self.close(self.settings.close_timeout) {
                tracing::error!(target: "carbon_events", %error, "a producer was dropped");
            }
        } else {
            std::mem::forget(self.engine.swap(None));
        }
    }
}

//! A session: one librdkafka instance and the components around it, from the first record to `close`
//! or to a fatal error.
//!
//! librdkafka ends an idempotent producer with a fatal error when it can no longer promise that
//! nothing is lost, doubled or out of order (a sequence number that the broker does not expect, a login
//! that may not write). Then what the session holds fails with that error, and the next record starts
//! another session, which sends nothing before all of that has failed: records of one key keep their
//! order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::accumulator::{Accumulator, NewRecord};
use super::admission::AdmissionControl;
use super::admission::buffer_limit::BufferLimit;
use super::admission::line::{AT_ONCE, Line, WaitingRecord};
use super::batch::Pool;
use super::completion::Completion;
use super::delivery::Delivery;
use super::failure::{closed, no_partition};
use super::resolver::Resolver;
use super::sender::Sender;
use super::settings::{ProducerConfig, largest_batch, librdkafka};
use super::stats::Counts;
use super::topic::TopicState;
use super::topic_queues::TopicQueues;
use super::topics::Topics;
use crate::client::Observer;
use crate::config::{EventFormat, ProducerSettings, TokenProvider};
use crate::kafka::Handle;
use crate::sync::Mutex;
use crate::{Error, Result};

/// Between sessions of which none delivered anything.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a new session checks whether the one before holds records.
const CHECK: Duration = Duration::from_millis(20);

/// How a session follows on another.
pub(super) struct Succession {
    /// The one before, until it holds no more records.
    before: Option<Arc<Session>>,
    /// When this one may begin.
    starts_at: Instant,
    /// How many sessions in a row ended without a delivery before this one.
    in_vain: u32,
}

impl Succession {
    pub(super) fn first() -> Self {
        Succession {
            before: None,
            starts_at: Instant::now(),
            in_vain: 0,
        }
    }

    /// One that follows on `before`, which has failed. From the third session in a row that ends
    /// without a delivery on, none begins before its time.
    ///
    /// # Errors
    ///
    /// What ended the last one, until then.
    pub(super) fn after(before: Arc<Session>) -> Result<Self> {
        let in_vain = if before.has_delivered.load(Ordering::Relaxed) {
            0
        } else {
            before.succession.lock().in_vain.saturating_add(1)
        };
        let pause = match in_vain {
            0 => Duration::ZERO,
            times => (FIRST_PAUSE * (1 << times.min(8))).min(LONGEST_PAUSE),
        };
        let ended = before.failed_at.get().copied();
        let starts_at = ended.unwrap_or_else(Instant::now) + pause;
        if in_vain > 1
            && Instant::now() < starts_at
            && let Some(fatal) = before.sender.gave_up()
        {
            return Err(fatal.clone());
        }
        Ok(Succession {
            before: Some(before).filter(|before| before.holds_records()),
            starts_at,
            in_vain,
        })
    }
}

/// See the module.
pub(super) struct Session {
    /// Which fork of the process started this session; see [`crate::fork`].
    generation: u32,
    settings: ProducerSettings,
    tokens: Option<TokenProvider>,
    observer: Option<Observer>,
    admission: Arc<AdmissionControl>,
    topics: Topics,
    accumulator: Arc<Accumulator>,
    sender: Arc<Sender>,
    resolver: Resolver,
    succession: Mutex<Succession>,
    /// Whether any record was delivered.
    has_delivered: AtomicBool,
    /// Set by a fatal error.
    failed: AtomicBool,
    failed_at: OnceLock<Instant>,
    /// Set when another session has taken this one's place.
    superseded: AtomicBool,
    /// Set when no record is left: the threads end.
    stopping: AtomicBool,
    event_thread: Mutex<Option<JoinHandle<()>>>,
}

impl Session {
    /// Starts librdkafka; the event thread is yet to be started.
    pub(super) fn new(
        config: &ProducerConfig,
        counts: Arc<Counts>,
        generation: u32,
        succession: Succession,
        line: Arc<Line>,
    ) -> Result<Arc<Self>> {
        let (settings, connection) = (&config.settings, &config.connection);
        connection.check_files()?;
        let native = librdkafka(settings, connection)?;
        let handle = Handle::producer(&native)?;
        let events = Arc::new(handle.main_queue());
        let limit = BufferLimit::new(settings.queue_max_records, settings.queue_max_bytes);
        let admission = Arc::new(AdmissionControl::new(limit, line, Arc::clone(&events)));
        let pool = Arc::<Pool>::default();
        let completion = Completion::new(Arc::clone(&admission), counts, Arc::clone(&pool));
        let is_idempotent = native.get("enable.idempotence") == Some("true");
        let timeout = settings.delivery_timeout;
        let sender = Arc::new(Sender::new(
            handle,
            events,
            completion,
            timeout,
            is_idempotent,
        ));
        let accumulator = Arc::new(Accumulator::new(
            Arc::clone(&admission),
            Arc::clone(&sender),
            pool,
            settings.linger,
        ));
        Ok(Arc::new(Session {
            generation,
            settings: settings.clone(),
            tokens: config.tokens.clone(),
            observer: config.observer.clone(),
            admission,
            topics: Topics::new(
                connection.clone(),
                settings.event_format(EventFormat::Avro),
                config.registry.clone(),
                config.metrics.clone(),
                largest_batch(&native),
            ),
            resolver: Resolver::new(Arc::clone(&accumulator), config.partitioner),
            accumulator,
            sender,
            succession: Mutex::new(succession),
            has_delivered: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failed_at: OnceLock::new(),
            superseded: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            event_thread: Mutex::default(),
        }))
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn settings(&self) -> &ProducerSettings {
        &self.settings
    }

    pub(super) fn tokens(&self) -> Option<&TokenProvider> {
        self.tokens.as_ref()
    }

    pub(super) fn observer(&self) -> Option<&Observer> {
        self.observer.as_ref()
    }

    #[inline]
    pub(super) fn admission(&self) -> &AdmissionControl {
        &self.admission
    }

    #[inline]
    pub(super) fn topics(&self) -> &Topics {
        &self.topics
    }

    pub(super) fn accumulator(&self) -> &Accumulator {
        &self.accumulator
    }

    #[inline]
    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(super) fn event_thread(&self) -> &Mutex<Option<JoinHandle<()>>> {
        &self.event_thread
    }

    /// Whether this process' records may go in: the session has not failed.
    #[inline]
    pub(super) fn takes_records(&self, generation: u32) -> bool {
        self.generation == generation && !self.has_failed()
    }

    /// Whether a fatal error has ended the session; the next record begins another.
    #[inline]
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether a record may go in whose capacity is taken already; if not, that is released. `false`
    /// if the next session is to take it.
    #[inline]
    pub(super) fn admits(&self, topic: &TopicState) -> Result<bool> {
        // After the capacity is taken: the thread that closes either sees it or is seen here.
        if !self.admission.is_closing() {
            return Ok(true);
        }
        self.admission.release(1, 0);
        if self.has_failed() {
            Ok(false)
        } else {
            Err(closed().with("topic", topic.name()))
        }
    }

    /// Refuses a partition that the topic is known to lack.
    pub(super) fn check_partition(
        &self,
        topic: &TopicQueues,
        key: Option<&[u8]>,
        chosen: Option<i32>,
    ) -> Result<()> {
        let routes = topic.routes();
        let Some(routes) = &*routes else {
            return Ok(());
        };
        let partition = routes.partition(key, chosen);
        match routes.queue(partition) {
            Some(_) => Ok(()),
            None => Err(no_partition(topic.topic(), routes.count(), partition)),
        }
    }

    /// Takes a record that was [admitted](Self::admits); from here on it completes. `write` appends
    /// its value, or returns `false` for a null one.
    #[inline]
    pub(super) fn accept(
        self: &Arc<Self>,
        topic: &Arc<TopicQueues>,
        record: NewRecord<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<Delivery> {
        let (delivery, is_unknown) = self.accumulator.append(topic, record, write)?;
        if is_unknown {
            self.resolve(topic);
        }
        Ok(delivery)
    }

    /// Accepts records from the front of the line while there is capacity, and refuses those that have
    /// waited too long. On the event thread.
    pub(super) fn admit_line(self: &Arc<Self>) {
        while !self.admission.line().is_idle() {
            let left = self.admission.admit(|record, waited, is_accepted| {
                let topic = self.topics.get(&record.topic);
                topic.topic().metrics().blocked(waited);
                if is_accepted {
                    self.accept_waiting(record, &topic)
                } else {
                    Err(self.is_full(Some(&record.topic), Some(waited)))
                }
            });
            if left < AT_ONCE {
                return;
            }
            self.accumulator.send_gathered();
        }
    }

    fn accept_waiting(
        self: &Arc<Self>,
        waiting: &mut WaitingRecord,
        topic: &Arc<TopicQueues>,
    ) -> Result<Delivery> {
        if waiting.owner.is_some() {
            self.sender.completion().note_owner();
        }
        let record = NewRecord {
            key: waiting.key.as_deref(),
            partition: waiting.partition,
            headers: std::mem::take(&mut waiting.headers),
            owner: waiting.owner.as_ref(),
            framed: waiting.framed,
            deferred: true,
        };
        self.accept(topic, record, |out| {
            let Some(value) = &waiting.value else {
                return Ok(false);
            };
            let start = out.len();
            out.extend_from_slice(value);
            if waiting.framed {
                topic.topic().renew_frame(&mut out[start..]);
            }
            Ok(true)
        })
    }

    /// The error of a record that found the queue full, at once or for as long as it `waited`.
    pub(super) fn is_full(&self, topic: Option<&str>, waited: Option<Duration>) -> Error {
        let failure = self.sender.health().trouble();
        self.admission.is_full(topic, waited, failure)
    }

    /// Records in line that this session is to accept.
    pub(super) fn waiting(&self) -> u64 {
        if self.has_failed() {
            0
        } else {
            self.admission.line().len()
        }
    }

    /// How long the first record in line may still wait for this session.
    pub(super) fn line_time_left(&self) -> Option<Duration> {
        if self.has_failed() {
            None
        } else {
            self.admission.line().time_left()
        }
    }

    /// Has a topic looked up, by the resolver's thread.
    pub(super) fn resolve(self: &Arc<Self>, topic: &Arc<TopicQueues>) {
        self.resolver.add(topic, || {
            let session = Arc::clone(self);
            let thread = std::thread::Builder::new().name("carbon-resolver".into());
            thread.spawn(move || {
                session.wait_for_the_session_before();
                session.resolver.run();
            })
        });
    }

    /// Looks the topics up again that records wait for and that no thread could be spawned for.
    pub(super) fn resolve_waiting(self: &Arc<Self>) {
        for topic in self.topics.all() {
            if !topic.waiting().lock().is_empty() {
                self.resolve(&topic);
            }
        }
    }

    /// Blocks the resolver until this session may send.
    fn wait_for_the_session_before(&self) {
        while !self.resolver.is_over() {
            if self.before().is_none_or(|before| !before.holds_records()) {
                let mut succession = self.succession.lock();
                let (before, starts_at) = (succession.before.take(), succession.starts_at);
                // To destroy it takes its time.
                drop(succession);
                drop(before);
                if Instant::now() >= starts_at {
                    return;
                }
            }
            self.resolver.wait(CHECK);
        }
    }

    pub(super) fn before(&self) -> Option<Arc<Session>> {
        self.succession.lock().before.clone()
    }

    /// Records that are not complete, those of the session before included.
    pub(super) fn incomplete(&self) -> u64 {
        let before = self.before().map_or(0, |before| before.incomplete());
        before + self.admission.limit().records()
    }

    /// Whether it or a session before it has records, those included that librdkafka has not
    /// reported on although their time is up.
    pub(super) fn holds_records(&self) -> bool {
        self.admission.limit().records() > 0
            || self.sender.in_flight() > 0
            || self.before().is_some_and(|before| before.holds_records())
    }

    pub(super) fn note_delivered(&self) {
        self.has_delivered.store(true, Ordering::Relaxed);
    }

    /// Ends the session if librdkafka has. On the event thread.
    pub(super) fn end_if_fatal(&self) {
        if self.has_failed() {
            return;
        }
        let Some(fatal) = self.sender.fatal_error() else {
            return;
        };
        tracing::error!(target: "carbon_events", error = %fatal, "a producer begins a new session");
        self.sender.give_up(fatal);
        // Nothing gathers any longer.
        self.accumulator.begin_flush();
        let _ = self.failed_at.set(Instant::now());
        self.failed.store(true, Ordering::SeqCst);
        self.admission.close();
        self.admission.limit().notify_all();
        self.admission.line().notify_all();
    }

    /// Notes that another session has taken this one's place, and lets its threads end.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::SeqCst);
        self.sender.events().wake();
    }

    /// Fails what a failed session holds; whether all of it is complete and another session has begun.
    /// Until then its events are served, on the event thread.
    fn is_over(&self) -> bool {
        if !self.has_failed() {
            return false;
        }
        if let Some(fatal) = self.sender.gave_up() {
            for topic in self.topics.all() {
                self.accumulator.give_up(&topic, fatal);
            }
        }
        self.accumulator.send_gathered();
        self.sender.purge(false);
        if self.holds_records() || !self.superseded.load(Ordering::SeqCst) {
            return false;
        }
        self.stopping.store(true, Ordering::SeqCst);
        self.resolver.stop();
        true
    }

    /// Whether the event thread is to end. Fails what a failed session holds.
    pub(super) fn ends(&self) -> bool {
        self.stopping.load(Ordering::SeqCst) || self.is_over()
    }

    /// Has the threads end. Returns them.
    pub(super) fn stop(&self) -> impl Iterator<Item = JoinHandle<()>> {
        self.stopping.store(true, Ordering::SeqCst);
        self.sender.events().wake();
        self.resolver.stop();
        let resolver = self.resolver.take_thread();
        let event_thread = self.event_thread.lock().take();
        [resolver, event_thread].into_iter().flatten()
    }
}

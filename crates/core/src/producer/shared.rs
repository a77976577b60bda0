//! Producers of equal settings that share one running engine.
//!
//! ```text
//!  SharedProducer ── seat ──┐
//!  SharedProducer ── seat ──┼──▶ entry of the pool: settings, one EventProducer
//!  SharedProducer (closed)  ┘         │ no seat and nothing in flight for `IDLE`
//!                                     ▼
//!                                  closed by the reaper
//! ```
//!
//! For code that makes a producer for every event, or closes one after every request: neither costs
//! a connection, a thread or a login. Each shared producer counts and flushes its own records only.
//!
//! # Invariants
//!
//! - A record is accepted through a seat. An entry with a seat, or with a record in flight, is never
//!   closed: seats are taken and the reaper chooses under the pool's lock. So there is no moment at
//!   which an engine with an accepted record in it can be closed, other than [`close_all`].
//! - A child process has a pool of its own. The parent's pool, whose lock may be held by a thread
//!   that the child lacks, and the parent's seats are never touched there.
//! - Lock order: the pool's lock is the innermost but for those of an idle engine's counters.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::tally::Owner;
use super::{EventProducer, Partitioner, ProducerStats};
use crate::client::{ClientObserver, Observer};
use crate::config::{Settings, TokenProvider};
use crate::fork;
use crate::sync::{Condvar, Mutex};
use crate::{Error, ErrorKind, Result};

/// How long an engine that nobody uses stays connected.
pub(super) const IDLE: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5_000 });

/// A producer whose connection, threads and queue are shared with every other one of equal settings
/// in this process. It connects with its first record, can be closed and used again, and counts and
/// flushes its own records only.
///
/// Dropping one never blocks: its records stay in the shared engine until they are delivered or
/// fail, or until [`close_all`](Self::close_all).
pub struct SharedProducer {
    source: ArcSwap<Source>,
    owner: Arc<Owner>,
    seat: ArcSwapOption<Seat>,
}

/// What an engine is made of.
#[derive(Clone, PartialEq)]
struct Source {
    settings: Settings,
    tokens: Option<TokenProvider>,
    observer: Option<Observer>,
    partitioner: Partitioner,
}

/// A right to send through an entry.
struct Seat {
    generation: u32,
    entry: Arc<Entry>,
    producer: EventProducer,
}

struct Entry {
    source: Arc<Source>,
    producer: EventProducer,
    seats: AtomicUsize,
    /// When the last seat was given up.
    idle_since: Mutex<Instant>,
    /// How long the last close waited in vain, in milliseconds.
    waited_ms: AtomicU64,
    /// How many records had completed then.
    waited_at: AtomicU64,
}

#[derive(Default)]
struct Pool {
    generation: u32,
    entries: Mutex<Entries>,
    changed: Condvar,
}

#[derive(Default)]
struct Entries {
    list: Vec<Arc<Entry>>,
    /// Those that are being closed for good.
    ending: Vec<Arc<Entry>>,
    /// Whether the reaper's thread runs.
    reaping: bool,
}

/// This process' pool, leaked: a forked child still points to its parent's.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());

fn pool() -> &'static Pool {
    let generation = fork::generation();
    loop {
        let found = POOL.load(Ordering::Acquire);
        // SAFETY: `POOL` is null or points to a leaked allocation, which is never freed.
        if let Some(pool) = unsafe { found.as_ref() }
            && pool.generation == generation
        {
            return pool;
        }
        let made = Box::into_raw(Box::new(Pool {
            generation,
            ..Pool::default()
        }));
        if POOL
            .compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: it came from `Box::into_raw` above, and nobody else has seen it.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

impl SharedProducer {
    /// A producer with these settings, which gets its bearer tokens from `tokens` where those are
    /// given. Nothing is connected and no thread started. It shares with those that have the same
    /// settings and the same provider.
    ///
    /// # Errors
    ///
    /// As [`EventProducerBuilder::build`](super::EventProducerBuilder::build).
    pub fn new(settings: Settings, tokens: Option<TokenProvider>) -> Result<Self> {
        let source = Source {
            settings,
            tokens,
            observer: None,
            partitioner: Partitioner::default(),
        };
        source.check()?;
        Ok(SharedProducer {
            source: ArcSwap::from_pointee(source),
            owner: Arc::default(),
            seat: ArcSwapOption::empty(),
        })
    }

    /// Tells `observer` what concerns the whole client; its engine is this producer's own.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn observer(&self, observer: impl ClientObserver + 'static) -> Result<()> {
        let observer = Observer::new(observer);
        self.change(|source| source.observer = Some(observer.clone()))
    }

    /// How a record's key becomes its partition. It shares with those that have the same.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn partitioner(&self, partitioner: Partitioner) -> Result<()> {
        self.change(|source| source.partitioner = partitioner)
    }

    /// Looks at the settings.
    pub fn settings<T>(&self, look: impl FnOnce(&Settings) -> T) -> T {
        look(&self.source.load().settings)
    }

    /// Whether this producer has taken part in an engine of this process since it was made or
    /// closed.
    pub fn is_running(&self) -> bool {
        let seat = self.seat.load();
        seat.as_ref()
            .is_some_and(|seat| seat.generation == fork::generation())
    }

    /// Changes the settings for all later records.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the settings are as before then.
    pub fn change_settings(&self, change: impl Fn(&mut Settings)) -> Result<()> {
        self.change(|source| change(&mut source.settings))
    }

    fn change(&self, change: impl Fn(&mut Source)) -> Result<()> {
        let mut source = Source::clone(&self.source.load());
        change(&mut source);
        source.check()?;
        self.source.store(Arc::new(source));
        self.leave();
        Ok(())
    }

    /// Calls `send` with the running producer, which is started where none runs. It is called again
    /// with the next one where the first was closed meanwhile.
    ///
    /// # Errors
    ///
    /// Those of `send`, and of starting a producer.
    #[inline]
    pub fn with<T>(&self, send: impl Fn(&EventProducer) -> Result<T>) -> Result<T> {
        let generation = fork::generation();
        loop {
            let seat = self.seat.load();
            match &*seat {
                Some(found) if found.generation == generation => match send(&found.producer) {
                    Err(error) if error.kind() == ErrorKind::Closed => {
                        self.replace(&seat, None);
                    }
                    other => return other,
                },
                _ => {
                    let taken = pool().seat(&self.source.load_full(), &self.owner)?;
                    self.replace(&seat, Some(taken));
                }
            }
        }
    }

    /// As [`with`](Self::with), where this producer takes part in a running engine already; else
    /// `None`, and nothing was done.
    #[inline]
    pub fn with_running<T>(
        &self,
        send: impl FnOnce(&EventProducer) -> Result<T>,
    ) -> Option<Result<T>> {
        let seat = self.seat.load();
        let found = seat.as_ref()?;
        if found.generation != fork::generation() {
            return None;
        }
        match send(&found.producer) {
            Err(error) if error.kind() == ErrorKind::Closed => {
                self.replace(&seat, None);
                None
            }
            outcome => Some(outcome),
        }
    }

    /// Puts `next` in the place of `seat`, unless another thread did something there.
    fn replace(&self, seat: &Guard<Option<Arc<Seat>>>, next: Option<Arc<Seat>>) {
        let before = self.seat.compare_and_swap(seat, next);
        if let Some(before) = &*before {
            forget_if_foreign(before);
        }
    }

    fn leave(&self) {
        if let Some(seat) = self.seat.swap(None) {
            forget_if_foreign(&seat);
        }
    }

    /// This process' seat.
    fn seated(&self) -> Option<Arc<Seat>> {
        let seat = self.seat.load_full()?;
        if seat.generation == fork::generation() {
            return Some(seat);
        }
        std::mem::forget(seat);
        None
    }

    /// Blocks until every record of this producer has completed, without lingering.
    ///
    /// # Errors
    ///
    /// As [`EventProducer::flush`].
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        self.seated()
            .map_or(Ok(()), |seat| seat.producer.flush(timeout))
    }

    /// Delivers what this producer accepted, and gives its part in the engine back: the engine ends
    /// some seconds after the last producer that uses it did so. A later record takes part again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] where records are still in flight after `timeout`. They stay in the
    /// engine, and are delivered or fail.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        let Some(seat) = self.seated() else {
            return Ok(());
        };
        let flushed = seat.producer.flush(timeout);
        self.closed(flushed.as_ref().err().map(|_| timeout));
        flushed
    }

    /// What [`close`](Self::close) does after its flush, for callers that flush in steps: `in_vain`
    /// is how long they waited for records that are still in flight.
    pub fn closed(&self, in_vain: Option<Duration>) {
        let Some(seat) = self.seated() else {
            return;
        };
        let waited = in_vain.map_or(0, |waited| waited.as_millis() as u64);
        let completed = seat.entry.completed();
        seat.entry.waited_ms.store(waited, Ordering::Relaxed);
        seat.entry.waited_at.store(completed, Ordering::Relaxed);
        if self.stats().queued == 0 {
            self.leave();
        }
    }

    /// What became of this producer's records so far.
    pub fn stats(&self) -> ProducerStats {
        let tally = self.owner.tally();
        ProducerStats::new(tally.delivered(), tally.failed(), tally.pending())
    }

    /// Closes every shared engine of this process, those that start meanwhile too: at its end. They
    /// have `timeout` together to deliver what was accepted, less what a close of theirs has waited
    /// in vain already. Gives an error for each that had to give records up. Called while another
    /// thread is in it, it hurries that one up.
    pub fn close_all(timeout: Duration) -> Vec<Error> {
        let pool = pool();
        let began = Instant::now();
        let mut errors = Vec::new();
        loop {
            let ending = pool.end_all();
            let left = timeout.saturating_sub(began.elapsed());
            if ending.is_empty() {
                return errors;
            }
            // Side by side: a cluster that cannot be reached takes nobody else's time.
            errors.extend(
                std::thread::scope(|scope| {
                    let (last, others) = ending.split_last()?;
                    let close = |entry: &Entry| entry.end(left).err();
                    let others: Vec<_> = others
                        .iter()
                        .map(|entry| {
                            let thread = std::thread::Builder::new().name("carbon-close".into());
                            let closing = thread.spawn_scoped(scope, move || entry.end(left).err());
                            closing.map_err(|_| close(entry))
                        })
                        .collect();
                    let mut errors: Vec<_> = close(last).into_iter().collect();
                    for closing in others {
                        errors.extend(match closing {
                            Ok(thread) => thread.join().ok().flatten(),
                            Err(closed) => closed,
                        });
                    }
                    Some(errors)
                })
                .unwrap_or_default(),
            );
            pool.forget(&ending);
            if left.is_zero() {
                // Others go on sending: what they accept now is theirs to deliver.
                return errors;
            }
        }
    }
}

#[cfg(test)]
impl SharedProducer {
    /// How many engines run for producers that share these settings.
    pub(super) fn engines(settings: &Settings) -> usize {
        let entries = pool().entries.lock();
        let shared = |entry: &&Arc<Entry>| entry.source.settings == *settings;
        entries.list.iter().filter(shared).count()
    }
}

impl Drop for SharedProducer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl std::fmt::Debug for SharedProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedProducer")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A seat of the parent's keeps the parent's engine: nothing of it may be dropped here.
fn forget_if_foreign(seat: &Arc<Seat>) {
    if seat.generation != fork::generation() {
        std::mem::forget(Arc::clone(seat));
    }
}

impl Source {
    /// Checks the settings. Those of an entry are right.
    fn check(&self) -> Result<()> {
        let known = pool()
            .entries
            .lock()
            .list
            .iter()
            .any(|one| *one.source == *self);
        if known {
            Ok(())
        } else {
            self.build().map(drop)
        }
    }

    /// Whether it holds what others cannot have: they compare by identity.
    fn is_private(&self) -> bool {
        self.observer.is_some() || self.tokens.is_some()
    }

    fn build(&self) -> Result<EventProducer> {
        let mut builder = EventProducer::builder().settings(self.settings.clone());
        if let Some(tokens) = &self.tokens {
            builder = builder.token_provider(tokens.for_client());
        }
        if let Some(observer) = &self.observer {
            builder = builder.shared_observer(observer.clone());
        }
        builder.partitioner(self.partitioner).build()
    }
}

impl Pool {
    /// A seat at the entry of that source, which is made where there is none.
    fn seat(&'static self, source: &Arc<Source>, owner: &Arc<Owner>) -> Result<Arc<Seat>> {
        let mut entries = self.entries.lock();
        let known = entries.list.iter().find(|entry| entry.source == *source);
        let entry = match known {
            Some(entry) => Arc::clone(entry),
            None => {
                let entry = Arc::new(Entry {
                    source: Arc::clone(source),
                    producer: source.build()?,
                    seats: AtomicUsize::new(0),
                    idle_since: Mutex::new(Instant::now()),
                    waited_ms: AtomicU64::new(0),
                    waited_at: AtomicU64::new(0),
                });
                if !entries.reaping {
                    entries.reaping = self.start_reaper()?;
                }
                entries.list.push(Arc::clone(&entry));
                entry
            }
        };
        entry.seats.fetch_add(1, Ordering::SeqCst);
        let producer = EventProducer {
            owner: Some(Arc::clone(owner)),
            ..entry.producer.clone()
        };
        Ok(Arc::new(Seat {
            generation: self.generation,
            entry,
            producer,
        }))
    }

    /// Takes every entry out of use: those that are to be closed.
    fn end_all(&self) -> Vec<Arc<Entry>> {
        let mut entries = self.entries.lock();
        let list = std::mem::take(&mut entries.list);
        entries.ending.extend(list);
        self.changed.notify_all();
        entries.ending.clone()
    }

    /// Forgets entries that are closed.
    fn forget(&self, closed: &[Arc<Entry>]) {
        let is_closed = |one: &Arc<Entry>| closed.iter().any(|other| Arc::ptr_eq(one, other));
        self.entries.lock().ending.retain(|one| !is_closed(one));
    }

    fn start_reaper(&'static self) -> Result<bool> {
        let thread = std::thread::Builder::new().name("carbon-idle".into());
        let started = thread.spawn(move || self.reap());
        started.map(|_| true).map_err(|error| {
            let message = "cannot spawn the thread that closes idle producers";
            Error::new(ErrorKind::Internal, message).because(error)
        })
    }

    /// Closes entries that are idle, until there is no entry.
    fn reap(&self) {
        let mut entries = self.entries.lock();
        while !entries.list.is_empty() {
            let Some(index) = entries.list.iter().position(|entry| entry.is_idle()) else {
                let has_private = entries.list.iter().any(|one| one.source.is_private());
                let soon = if has_private { IDLE / 100 } else { IDLE / 5 };
                (entries, _) = self.changed.wait_for(entries, soon);
                continue;
            };
            let entry = entries.list.swap_remove(index);
            drop(entries);
            // Nothing is in flight and nobody can send, so there is nothing to wait for.
            if let Err(error) = entry.producer.close(Duration::ZERO) {
                tracing::error!(target: "carbon_events", %error, "an idle producer was closed");
            }
            drop(entry);
            entries = self.entries.lock();
        }
        entries.reaping = false;
    }
}

impl Entry {
    /// How many records have completed.
    fn completed(&self) -> u64 {
        let stats = self.producer.stats();
        stats.delivered + stats.failed
    }

    /// Whether it can be closed. Called under the pool's lock, so that nobody takes a seat.
    fn is_idle(&self) -> bool {
        self.seats.load(Ordering::SeqCst) == 0
            && (self.is_orphaned() || self.idle_since.lock().elapsed() >= IDLE)
            && self.producer.stats().queued == 0
    }

    /// Whether nobody can ever ask for it again. A service may make a producer with callbacks of its
    /// own for every event.
    fn is_orphaned(&self) -> bool {
        let Source {
            tokens, observer, ..
        } = &*self.source;
        // An observer is one producer's; a token provider may be given to the next one.
        let is_known = match tokens {
            Some(tokens) if observer.is_none() => !tokens.is_last_holder(),
            _ => observer.is_none(),
        };
        !is_known && Arc::strong_count(&self.source) == 1
    }

    /// Closes it within `timeout`, less what its last close has waited in vain: with no record
    /// completed since.
    fn end(&self, timeout: Duration) -> Result<()> {
        let in_vain = self.waited_at.load(Ordering::Relaxed) == self.completed();
        let waited = if in_vain {
            self.waited_ms.load(Ordering::Relaxed)
        } else {
            0
        };
        let left = timeout.saturating_sub(Duration::from_millis(waited));
        self.producer.close(left)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Before it counts as given up: the reaper must not find an old time.
        *self.entry.idle_since.lock() = Instant::now();
        self.entry.seats.fetch_sub(1, Ordering::SeqCst);
    }
}

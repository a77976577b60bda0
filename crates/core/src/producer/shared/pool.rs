//! The pool of a process: one running producer for all shared ones of equal settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::Observer;
use crate::config::{Settings, TokenProvider};
use crate::fork;
use crate::producer::builder::EventProducerBuilder;
use crate::producer::event_producer::EventProducer;
use crate::producer::partitioner::Partitioner;
use crate::producer::tally::Owner;
use crate::sync::{Condvar, Mutex};
use crate::{Error, ErrorKind, Result};

/// How long a producer without a seat stays connected.
pub(in crate::producer) const IDLE: Duration =
    Duration::from_millis(if cfg!(test) { 50 } else { 5_000 });

/// What a producer is built from.
#[derive(Clone, PartialEq)]
pub(super) struct Source {
    pub(super) settings: Settings,
    pub(super) tokens: Option<TokenProvider>,
    pub(super) observer: Option<Observer>,
    pub(super) partitioner: Partitioner,
}

impl Source {
    /// Checks the settings. Those of an entry are right.
    pub(super) fn check(&self) -> Result<()> {
        let entries = pool().entries.lock();
        let is_known = entries.list.iter().any(|one| *one.source == *self);
        drop(entries);
        if is_known {
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
        let mut builder = EventProducerBuilder::default().settings(self.settings.clone());
        if let Some(tokens) = &self.tokens {
            builder = builder.token_provider(tokens.for_client());
        }
        if let Some(observer) = &self.observer {
            builder = builder.shared_observer(observer.clone());
        }
        builder.partitioner(self.partitioner).build()
    }
}

/// The right to send through an entry.
pub(super) struct Seat {
    generation: u32,
    entry: Arc<Entry>,
    producer: EventProducer,
}

impl Seat {
    /// Takes a seat at the entry of that source, which is created if there is none.
    pub(super) fn take(source: &Arc<Source>, owner: &Arc<Owner>) -> Result<Arc<Seat>> {
        let pool = pool();
        let mut entries = pool.entries.lock();
        let known = entries.list.iter().find(|entry| entry.source == *source);
        let entry = match known {
            Some(entry) => Arc::clone(entry),
            None => {
                let entry = Arc::new(Entry::new(source)?);
                if !entries.reaping {
                    pool.start_reaper()?;
                    entries.reaping = true;
                }
                entries.list.push(Arc::clone(&entry));
                entry
            }
        };
        entry.seats.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Seat {
            generation: pool.generation,
            producer: entry.producer.of(owner),
            entry,
        }))
    }

    /// Whether it is of this process.
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        self.generation == fork::generation()
    }

    #[inline]
    pub(super) fn producer(&self) -> &EventProducer {
        &self.producer
    }

    /// Notes how long a close has waited in vain.
    pub(super) fn note_wait(&self, in_vain: Duration) {
        let (entry, waited) = (&self.entry, in_vain.as_millis() as u64);
        let completed = entry.completed();
        entry.waited_ms.store(waited, Ordering::Relaxed);
        entry.waited_at.store(completed, Ordering::Relaxed);
    }

    /// A seat of the parent's keeps the parent's producer, of which nothing may be dropped here.
    pub(super) fn forget_if_foreign(seat: &Arc<Seat>) {
        if !seat.is_here() {
            std::mem::forget(Arc::clone(seat));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Before the seat is given up: the reaper must not find an old time.
        *self.entry.idle_since.lock() = Instant::now();
        self.entry.seats.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A running producer of the pool.
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

impl Entry {
    fn new(source: &Arc<Source>) -> Result<Self> {
        Ok(Entry {
            source: Arc::clone(source),
            producer: source.build()?,
            seats: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            waited_ms: AtomicU64::new(0),
            waited_at: AtomicU64::new(0),
        })
    }

    /// How many records have completed.
    fn completed(&self) -> u64 {
        let stats = self.producer.stats();
        stats.delivered + stats.failed
    }

    /// Whether it can be closed. Called under the pool's lock, so that no seat is taken meanwhile.
    fn is_idle(&self) -> bool {
        self.seats.load(Ordering::SeqCst) == 0
            && (self.is_orphaned() || self.idle_since.lock().elapsed() >= IDLE)
            && self.producer.stats().queued == 0
    }

    /// Whether no later producer can have the same source. A service may create a producer with
    /// callbacks of its own for every event.
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
    fn close(&self, timeout: Duration) -> Result<()> {
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

#[derive(Default)]
struct Pool {
    generation: u32,
    entries: Mutex<Entries>,
    changed: Condvar,
}

#[derive(Default)]
struct Entries {
    list: Vec<Arc<Entry>>,
    /// Those that [`close_all`] closes.
    ending: Vec<Arc<Entry>>,
    /// Whether the reaper's thread runs.
    reaping: bool,
}

/// This process' pool, leaked: a forked child still points to its parent's.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());

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
        let created = Box::into_raw(Box::new(Pool {
            generation,
            ..Pool::default()
        }));
        if POOL
            .compare_exchange(found, created, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: it came from `Box::into_raw` above, and no other thread has seen it.
            drop(unsafe { Box::from_raw(created) });
        }
    }
}

/// See [`SharedProducer::close_all`](super::SharedProducer::close_all).
pub(super) fn close_all(timeout: Duration) -> Vec<Error> {
    let pool = pool();
    let began = Instant::now();
    let mut errors = Vec::new();
    loop {
        let ending = pool.end_all();
        let left = timeout.saturating_sub(began.elapsed());
        if ending.is_empty() {
            return errors;
        }
        errors.extend(close_each(&ending, left));
        pool.forget(&ending);
        if left.is_zero() {
            // Others go on sending: what they accept now is theirs to deliver.
            return errors;
        }
    }
}

/// Closes entries side by side: a cluster that cannot be reached takes no time of the others.
fn close_each(ending: &[Arc<Entry>], timeout: Duration) -> Vec<Error> {
    let close = move |entry: &Entry| entry.close(timeout).err();
    let Some((last, others)) = ending.split_last() else {
        return Vec::new();
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = others
            .iter()
            .map(|entry| {
                let thread = std::thread::Builder::new().name("carbon-close".into());
                let closing = thread.spawn_scoped(scope, move || close(entry));
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
        errors
    })
}

/// How many producers run that have these settings.
#[cfg(test)]
pub(in crate::producer) fn running(settings: &Settings) -> usize {
    let entries = pool().entries.lock();
    let shared = |entry: &&Arc<Entry>| entry.source.settings == *settings;
    entries.list.iter().filter(shared).count()
}

impl Pool {
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

    fn start_reaper(&'static self) -> Result<()> {
        let thread = std::thread::Builder::new().name("carbon-idle".into());
        let started = thread.spawn(move || self.reap());
        started.map(drop).map_err(|error| {
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
            // Nothing is in flight and no producer has a seat, so there is nothing to wait for.
            if let Err(error) = entry.producer.close(Duration::ZERO) {
                tracing::error!(target: "carbon_events", %error, "an idle producer was closed");
            }
            drop(entry);
            entries = self.entries.lock();
        }
        entries.reaping = false;
    }
}

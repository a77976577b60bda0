//! Producers of equal settings that share one running producer.
//!
//! ```text
//!  SharedProducer ── seat ──┐
//!  SharedProducer ── seat ──┼──▶ entry of the pool: settings, one EventProducer
//!  SharedProducer (closed)  ┘         │ no seat and nothing in flight for `IDLE`
//!                                     ▼
//!                                  closed by the reaper
//! ```
//!
//! For code that creates a producer for every event, or closes one after every request: neither costs
//! a connection, a thread or a login. Each shared producer counts and flushes its own records only.
//!
//! # Invariants
//!
//! - A record is accepted through a seat. An entry with a seat, or with a record in flight, is never
//!   closed: seats are taken and the reaper chooses under the pool's lock. So an entry with an accepted
//!   record in it is closed only by [`close_all`](SharedProducer::close_all).
//! - A child process has a pool of its own. The parent's pool, whose lock may be held by a thread
//!   that the child lacks, and the parent's seats are never touched there.
//! - Lock order: the pool's lock is the innermost but for those of an idle producer's counters.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::event_producer::EventProducer;
use super::partitioner::Partitioner;
use super::stats::ProducerStats;
use super::tally::Owner;
use crate::client::{ClientObserver, Observer};
use crate::config::{Settings, TokenProvider};
use crate::{Error, ErrorKind, Result};

pub(super) mod pool;

use pool::{Seat, Source};

/// A producer whose connection, threads and queue are shared with every other one of equal settings
/// in this process. It connects with its first record, can be closed and used again, and counts and
/// flushes its own records only.
///
/// Dropping one never blocks: its records stay in the shared queue until they are delivered or
/// fail, or until [`close_all`](Self::close_all).
pub struct SharedProducer {
    source: ArcSwap<Source>,
    owner: Arc<Owner>,
    seat: ArcSwapOption<Seat>,
}

impl SharedProducer {
    /// A producer with these settings, which gets its bearer tokens from `tokens`, if given. It neither
    /// connects nor starts a thread. It shares with those that have the same settings and the same
    /// provider.
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

    /// Reports to `observer` what concerns the whole client; it shares with no other producer then.
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

    /// Reads the settings.
    pub fn settings<T>(&self, read: impl FnOnce(&Settings) -> T) -> T {
        read(&self.source.load().settings)
    }

    /// Whether this producer has sent a record in this process since it was created or closed.
    pub fn is_running(&self) -> bool {
        let seat = self.seat.load();
        seat.as_ref().is_some_and(|seat| seat.is_here())
    }

    /// Changes the settings for all later records.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the settings stay as they were then.
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

    /// Calls `send` with the running producer, and starts one if none runs. If that was closed
    /// meanwhile, `send` is called again with the next one.
    ///
    /// # Errors
    ///
    /// Those of `send`, and of starting a producer.
    #[inline]
    pub fn with<T>(&self, send: impl Fn(&EventProducer) -> Result<T>) -> Result<T> {
        loop {
            let seat = self.seat.load();
            match &*seat {
                Some(found) if found.is_here() => match send(found.producer()) {
                    Err(error) if error.kind() == ErrorKind::Closed => {
                        self.replace(&seat, None);
                    }
                    other => return other,
                },
                _ => {
                    let taken = Seat::take(&self.source.load_full(), &self.owner)?;
                    self.replace(&seat, Some(taken));
                }
            }
        }
    }

    /// As [`with`](Self::with), if this producer [runs](Self::is_running); else `None`, and nothing
    /// was done.
    #[inline]
    pub fn with_running<T>(
        &self,
        send: impl FnOnce(&EventProducer) -> Result<T>,
    ) -> Option<Result<T>> {
        let seat = self.seat.load();
        let found = seat.as_ref()?;
        if !found.is_here() {
            return None;
        }
        match send(found.producer()) {
            Err(error) if error.kind() == ErrorKind::Closed => {
                self.replace(&seat, None);
                None
            }
            outcome => Some(outcome),
        }
    }

    /// Puts `next` in the place of `seat`, unless another thread has changed it.
    fn replace(&self, seat: &Guard<Option<Arc<Seat>>>, next: Option<Arc<Seat>>) {
        let before = self.seat.compare_and_swap(seat, next);
        if let Some(before) = &*before {
            Seat::forget_if_foreign(before);
        }
    }

    fn leave(&self) {
        if let Some(seat) = self.seat.swap(None) {
            Seat::forget_if_foreign(&seat);
        }
    }

    /// This process' seat.
    fn seat(&self) -> Option<Arc<Seat>> {
        let seat = self.seat.load_full()?;
        if seat.is_here() {
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
        self.seat()
            .map_or(Ok(()), |seat| seat.producer().flush(timeout))
    }

    /// Delivers what this producer accepted, and gives up its seat: the connection is closed some
    /// seconds after the last producer that uses it was. A later record takes a seat again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if records are still in flight after `timeout`. They stay in the shared
    /// queue, and are delivered or fail.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        let Some(seat) = self.seat() else {
            return Ok(());
        };
        let flushed = seat.producer().flush(timeout);
        self.closed(flushed.as_ref().err().map(|_| timeout));
        flushed
    }

    /// What [`close`](Self::close) does after its flush, for callers that flush in steps: `in_vain`
    /// is how long they waited for records that are still in flight.
    pub fn closed(&self, in_vain: Option<Duration>) {
        let Some(seat) = self.seat() else {
            return;
        };
        seat.note_wait(in_vain.unwrap_or_default());
        if self.stats().queued == 0 {
            self.leave();
        }
    }

    /// What became of this producer's records so far.
    pub fn stats(&self) -> ProducerStats {
        self.owner.stats()
    }

    /// Closes every shared producer of this process, those that start meanwhile too: for the end of
    /// the process. They have `timeout` together to deliver what was accepted, less what a close of
    /// theirs has waited in vain already. Returns an error for each that had to give records up. A
    /// call while another thread is in it shortens that one's wait.
    pub fn close_all(timeout: Duration) -> Vec<Error> {
        pool::close_all(timeout)
    }
}

impl Drop for SharedProducer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for SharedProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedProducer")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

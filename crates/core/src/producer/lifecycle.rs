//! The life of a producer: starts its session with the first record, in each process that sends, and
//! the next one after a fatal error; closes them in the end.
//!
//! # Invariants
//!
//! - A process has one running session: it is replaced only by a thread that holds `starting`, which
//!   is no lock, because a fork could leave a lock locked for ever in the child.
//! - A session of the parent's is never used, closed or dropped in a child: its threads are not there,
//!   and librdkafka would wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};

use super::event_loop;
use super::failure::closed;
use super::session::{Session, Succession};
use super::settings::ProducerConfig;
use super::shutdown;
use super::stats::{Counts, ProducerStats};
use crate::deadline::Deadline;
use crate::fork;
use crate::{ErrorKind, Result};

/// See the module. The clones of a producer share one.
pub(super) struct Lifecycle {
    config: ProducerConfig,
    counts: Arc<Counts>,
    session: ArcSwapOption<Session>,
    /// The process generation, plus one, whose session is being started.
    starting: AtomicU64,
    closed: AtomicBool,
}

/// The running session, borrowed without touching a shared counter.
pub(super) struct Running(Guard<Option<Arc<Session>>>);

impl std::ops::Deref for Running {
    type Target = Arc<Session>;

    #[inline]
    fn deref(&self) -> &Arc<Session> {
        // `Lifecycle::session` wraps a guard only if there is a session in it.
        self.0.as_ref().unwrap_or_else(|| std::process::abort())
    }
}

impl Lifecycle {
    pub(super) fn new(config: ProducerConfig) -> Self {
        Lifecycle {
            config,
            counts: Arc::default(),
            session: ArcSwapOption::empty(),
            starting: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(super) fn config(&self) -> &ProducerConfig {
        &self.config
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The running session; starts one if there is none.
    #[inline]
    pub(super) fn session(&self) -> Result<Running> {
        let generation = fork::generation();
        loop {
            let session = self.session.load();
            match &*session {
                Some(found) if found.takes_records(generation) => return Ok(Running(session)),
                _ if self.is_closed() => return Err(closed()),
                _ => self.start(generation)?,
            }
        }
    }

    /// This process' session, if it runs.
    pub(super) fn running(&self) -> Option<Arc<Session>> {
        let session = self.session.load_full()?;
        if session.generation() == fork::generation() {
            Some(session)
        } else {
            // The parent's.
            std::mem::forget(session);
            None
        }
    }

    /// Starts this process' session. One thread does, others that come meanwhile return to try again.
    #[cold]
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
        // Another thread may have started one between the caller's look and this thread's turn: a
        // second session would take its place, with records in it that no flush waits for.
        if let Some(session) = &*self.session.load()
            && session.takes_records(generation)
        {
            self.starting.store(0, Ordering::SeqCst);
            return Ok(());
        }
        if self.is_closed() {
            self.starting.store(0, Ordering::SeqCst);
            return Err(closed());
        }
        let started = self.start_next(generation);
        self.starting.store(0, Ordering::SeqCst);
        if self.is_closed() {
            // Closed meanwhile, by a thread that found nothing to close.
            self.close(Duration::ZERO)?;
            return Err(closed());
        }
        started
    }

    fn start_next(&self, generation: u32) -> Result<()> {
        let failed = self.running();
        if generation != 0 && failed.is_none() {
            self.counts.forget_in_flight();
        }
        let line = failed
            .as_ref()
            .map(|failed| Arc::clone(failed.admission().line()));
        let succession = failed.map_or_else(|| Ok(Succession::first()), Succession::after)?;
        let session = Session::new(
            &self.config,
            Arc::clone(&self.counts),
            generation,
            succession,
            line.unwrap_or_default(),
        )?;
        event_loop::spawn(&session)?;
        let before = self.session.swap(Some(Arc::clone(&session)));
        match before {
            Some(before) if before.generation() == generation => before.supersede(),
            // One of the parent's is left alone for ever.
            parents => std::mem::forget(parents),
        }
        // For what is in line since the session before. Now, because flushes find its records now.
        session.sender().events().wake();
        Ok(())
    }

    /// The session to flush after the one that was `flushed`: the running one, if its session began
    /// when that one had failed; or the first. If a session has failed, the next one is started for
    /// what is in line.
    pub(super) fn to_flush(&self, flushed: Option<Arc<Session>>) -> Option<Arc<Session>> {
        let is_left =
            |session: Arc<Session>| session.has_failed() && !session.admission().line().is_empty();
        if self.running().is_some_and(is_left) {
            // Without one, the records fail by themselves.
            let _ = self.session();
        }
        let session = self.running()?;
        let is_last = |last: Arc<Session>| !last.has_failed() || Arc::ptr_eq(&last, &session);
        (!flushed.is_some_and(is_last)).then_some(session)
    }

    /// See [`EventProducer::connect`](super::EventProducer::connect).
    pub(super) fn connect(&self, timeout: Duration) -> Result<()> {
        /// How often a refusal is checked for: librdkafka tries for ever.
        const CHECK: Duration = Duration::from_millis(250);
        let session = Arc::clone(&*self.session()?);
        let sender = session.sender();
        let deadline = Deadline::after(timeout);
        loop {
            let left = deadline.remaining();
            let Err(error) = sender.handle().reach(left.min(CHECK)) else {
                return Ok(());
            };
            let error = sender.health().explain(error);
            let refused = error.kind() == ErrorKind::Authentication;
            if refused || session.admission().is_closing() || deadline.has_passed() {
                return Err(error);
            }
        }
    }

    /// Refuses every later record.
    pub(super) fn refuse_all(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn close(&self, timeout: Duration) -> Result<()> {
        self.refuse_all();
        let deadline = Deadline::after(timeout);
        let mut outcome = Ok(());
        while let Some(session) = self.running() {
            let left = deadline.remaining();
            outcome = outcome.and(shutdown::close(&session, left));
            // Not another one, which a thread may have put there meanwhile.
            self.session.compare_and_swap(&session, None);
        }
        outcome
    }

    pub(super) fn stats(&self) -> ProducerStats {
        let taken = self.running().map_or(0, |session| {
            // The line first: a record is in the queue before it leaves the line.
            let waiting = session.admission().line().len();
            waiting + session.incomplete()
        });
        self.counts.stats(taken)
    }
}

impl Drop for Lifecycle {
    fn drop(&mut self) {
        if self.running().is_some() {
            if let Err(error) = self.close(self.config.settings.close_timeout) {
                tracing::error!(target: "carbon_events", %error, "a producer was dropped");
            }
        } else {
            std::mem::forget(self.session.swap(None));
        }
    }
}

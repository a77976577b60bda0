//! Flushing and closing: what was accepted is delivered, or counted and said.

use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::engine::Engine;
use super::tally::Tally;
use crate::{Error, ErrorKind, Result};

/// How long librdkafka may take to report on what was purged.
const PURGE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the threads may take to end.
const THREAD_TIMEOUT: Duration = Duration::from_millis(50);

impl Engine {
    /// Hands over everything that has gathered, without waiting for linger.
    fn push(&self) {
        self.hand_over_gathered();
        self.queue.wake();
    }

    fn flushed(&self) -> Option<()> {
        (self.pending(None) == 0).then_some(())
    }

    /// Records that have not completed: those of one owner, or all.
    fn pending(&self, owner: Option<&Tally>) -> u64 {
        match owner {
            // Its later records are in the next session.
            Some(owner) if !self.has_failed() => owner.pending(),
            _ => {
                // The line first: a record is in the queue before it leaves the line.
                let waiting = self.waiting();
                waiting + self.budget.records()
            }
        }
    }

    fn not_flushed(&self, left: u64) -> Error {
        let message = format!("{} not acknowledged in time", records(left));
        self.health
            .explain(Error::new(ErrorKind::Timeout, message).with("records", left))
    }

    /// Blocks until all accepted records are settled, or those of one owner; those of a session that is
    /// over all together.
    pub(super) fn flush(&self, owner: Option<&Tally>, deadline: Instant) -> Result<()> {
        let flushed = || (self.pending(owner) == 0).then_some(());
        if owner.is_some() && flushed().is_some() {
            return Ok(());
        }
        if let Some(before) = self.before() {
            before.flush(None, deadline)?;
        }
        let _flushing = Flushing::new(self);
        let done = self.budget.wait(deadline, flushed);
        done.ok_or_else(|| self.not_flushed(self.pending(owner)))
    }

    /// As [`flush`](Self::flush), for a task.
    pub(super) async fn flush_async(&self, owner: Option<&Tally>, deadline: Instant) -> Result<()> {
        if let Some(before) = self.before() {
            Box::pin(before.flush_async(None, deadline)).await?;
        }
        let _flushing = Flushing::new(self);
        let flushed = || (self.pending(owner) == 0).then_some(());
        let done = self.budget.wait_async(deadline, flushed).await;
        done.ok_or_else(|| self.not_flushed(self.pending(owner)))
    }

    /// Refuses new records, waits for the accepted ones, gives up those that are left at the
    /// deadline, and ends the threads. The error counts what was given up.
    pub(super) fn close(&self, timeout: Duration) -> Result<()> {
        self.closing.store(true, Ordering::SeqCst);
        self.refuse_line();
        self.budget.wake_all();
        let flushed = self.flush(None, deadline(timeout));
        let left = self.unsettled();
        let mut before = self.before();
        while let Some(engine) = before {
            engine.end(flushed.is_ok());
            before = engine.before();
        }
        self.end(flushed.is_ok());
        flushed.map_err(|_| {
            let because = self.health.trouble();
            let because = because.map(|trouble| format!("; meanwhile: {}", trouble.message()));
            let message = format!(
                "{} given up when the producer was closed{}",
                records(left),
                because.unwrap_or_default()
            );
            Error::new(ErrorKind::Aborted, message).with("records", left)
        })
    }

    /// Ends the threads; where not all is settled, what is left is given up before.
    fn end(&self, is_settled: bool) {
        if !is_settled || self.in_flight.load(Ordering::Relaxed) > 0 {
            self.give_up_all();
        }
        self.stopping.store(true, Ordering::SeqCst);
        self.queue.wake();
        self.resolver_wakes.notify_all();
        for thread in [self.take_resolver(), self.event_thread.lock().take()]
            .into_iter()
            .flatten()
        {
            end_soon(thread);
        }
    }

    /// Fails every record that is not settled, wherever it is, and takes back those that librdkafka
    /// still has although their time is up.
    fn give_up_all(&self) {
        let error = Error::new(
            ErrorKind::Aborted,
            "the producer was closed before the record was acknowledged",
        );
        let error = match self.health.trouble() {
            Some(trouble) => error.because(trouble),
            None => error,
        };
        let _ = self.gave_up.set(error.clone());
        self.handle.give_up_lookups();
        let deadline = Instant::now() + PURGE_TIMEOUT;
        let purge = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        let given_up = || {
            let in_flight = self.in_flight.load(Ordering::Relaxed);
            self.flushed().filter(|()| in_flight == 0)
        };
        while given_up().is_none() && Instant::now() < deadline {
            for topic in self.topics() {
                self.give_up(&topic, &error);
            }
            self.hand_over_gathered();
            // SAFETY: the instance is live.
            unsafe { sys::rd_kafka_purge(self.handle.ptr(), purge) };
            let soon = Instant::now() + Duration::from_millis(50);
            self.budget.wait(soon.min(deadline), given_up);
        }
    }
}

/// While one of these lives, nothing lingers.
struct Flushing<'a>(&'a Engine);

impl<'a> Flushing<'a> {
    fn new(engine: &'a Engine) -> Self {
        engine.flushing.fetch_add(1, Ordering::SeqCst);
        engine.push();
        Flushing(engine)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.flushing.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits a moment for the end of a thread. One that asks a cluster or runs a caller's function is left
/// to end by itself.
fn end_soon(thread: JoinHandle<()>) {
    // A close from a callback on the event thread cannot wait for itself.
    if thread.thread().id() == std::thread::current().id() {
        return;
    }
    let deadline = Instant::now() + THREAD_TIMEOUT;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    if thread.join().is_err() {
        tracing::error!(target: "carbon_events", "a producer thread panicked");
    }
}

/// How many records something happened to, as the subject of a sentence.
fn records(count: u64) -> String {
    if count == 1 {
        "1 record was".to_owned()
    } else {
        format!("{count} records were")
    }
}

/// A deadline that is in the future however long the timeout.
pub(super) fn deadline(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    Instant::now() + timeout.min(FAR)
}

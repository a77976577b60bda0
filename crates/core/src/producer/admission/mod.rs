//! Admission: which record is accepted next.
//!
//! ```text
//!  send, send_async, submit ── capacity, and no record in line ──▶ partition queue, at once
//!      │ the queue is full, or others are in line
//!      ▼
//!  line: encoded records, in the order of their sends
//!      │ event thread, whenever records complete: from the front, as far as there is capacity
//!      ▼
//!  partition queue ── the record's Delivery ──▶ the sender's waker
//! ```
//!
//! # Invariants
//!
//! - No record is accepted before one that was in line when its send began. The length of the line is
//!   read before capacity is taken, and falls only after the record is in its partition queue.
//! - A record leaves the line once: accepted by the event thread of the running session, or given up by
//!   its sender (dropped, timed out) or by `close`. The line's lock decides which.
//! - No notification is lost. A sender counts itself and then looks for capacity; completed records
//!   release capacity and then look at the count. Both are sequentially consistent, so one sees the
//!   other, and either wakes the event thread.
//! - The next session has the same line. A child process has one of its own, and leaves the parent's,
//!   whose lock may be held for ever, alone.
//! - Every record may wait equally long (`block_timeout`), so the front is the first to be late.
//! - Lock order: the line's, then a partition queue's. Wakers run without the line's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::delivery::Delivery;
use crate::kafka::Queue;
use crate::{Error, ErrorKind, Result};

pub(super) mod buffer_limit;
pub(super) mod line;

use buffer_limit::BufferLimit;
use line::{Line, WaitingRecord};

/// Admission to one session: its buffer limit, and the line for it.
pub(super) struct AdmissionControl {
    limit: BufferLimit,
    line: Arc<Line>,
    /// Set by `close` and by a fatal error: no more records are accepted.
    closing: AtomicBool,
    /// Woken to have the event thread admit records.
    events: Arc<Queue>,
}

impl AdmissionControl {
    pub(super) fn new(limit: BufferLimit, line: Arc<Line>, events: Arc<Queue>) -> Self {
        AdmissionControl {
            limit,
            line,
            closing: AtomicBool::new(false),
            events,
        }
    }

    #[inline]
    pub(super) fn limit(&self) -> &BufferLimit {
        &self.limit
    }

    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    #[inline]
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Accepts no more records.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Takes capacity for one record, unless the queue is full or others are in line.
    #[inline]
    pub(super) fn try_take(&self) -> bool {
        self.line.is_empty() && self.limit.try_take()
    }

    /// Takes capacity for one record that waited in line, unless the queue is full or closing.
    fn try_take_for_line(&self) -> bool {
        if !self.limit.try_take() {
            return false;
        }
        // After the capacity is taken: the thread that closes either sees it or is seen here.
        let is_closing = self.is_closing();
        if is_closing {
            self.release(1, 0);
        }
        !is_closing
    }

    /// Releases the capacity of records that completed, or were not accepted after all.
    pub(super) fn release(&self, records: u64, bytes: u64) {
        self.limit.release(records, bytes);
        self.notify_line();
    }

    /// Has the event thread admit records, if senders wait.
    #[inline]
    pub(super) fn notify_line(&self) {
        if !self.line.is_idle() {
            self.events.wake();
        }
    }

    /// Whether a sender that waits for the queue need wait no longer.
    pub(super) fn is_ready(&self) -> bool {
        (self.line.is_empty() && self.limit.has_capacity()) || self.is_closing()
    }

    /// Whether fewer records and bytes are in line than the queue holds.
    pub(super) fn may_wait(&self) -> bool {
        self.limit.may_wait(self.line.len(), self.line.bytes())
    }

    /// Takes some records off the front of the line: while there is capacity, and those that have
    /// waited too long. `complete` gets each with how long it waited and whether it has capacity, and
    /// returns the outcome. Returns how many left the line. On the event thread.
    pub(super) fn admit(
        &self,
        complete: impl FnMut(&mut WaitingRecord, Duration, bool) -> Result<Delivery>,
    ) -> usize {
        let decide = |deadline: Instant| {
            if self.is_closing() {
                return None;
            }
            // Capacity first: one that is late only because a session ended is not refused.
            if self.try_take_for_line() {
                return Some(true);
            }
            (deadline <= Instant::now() && !self.is_closing()).then_some(false)
        };
        let (left, notified) = self
            .line
            .admit(decide, complete, || self.limit.has_capacity());
        if left > 0 {
            self.limit.notify_waiting();
        }
        notified.into_iter().for_each(Waker::wake);
        left
    }

    /// The error of a record that found the queue full, at once or for as long as it `waited`;
    /// `failure` is what went wrong with the client lately.
    pub(super) fn is_full(
        &self,
        topic: Option<&str>,
        waited: Option<Duration>,
        failure: Option<Error>,
    ) -> Error {
        let (records, bytes) = (self.limit.records(), self.limit.bytes());
        let waited = waited.map_or_else(String::new, |waited| format!(" after {waited:?}"));
        let message = format!(
            "the queue is full{waited}: {records} records ({bytes} bytes) wait for their \
             acknowledgement{}",
            failure.map_or_else(String::new, |failure| format!("; {}", failure.message())),
        );
        let error = Error::new(ErrorKind::QueueFull, message);
        match topic {
            Some(topic) => error.with("topic", topic),
            None => error,
        }
    }
}

//! A session ends with a fatal error, and the next one begins.
//!
//! librdkafka gives an idempotent session up where it can no longer promise that nothing is lost,
//! doubled or out of order (a sequence number that the broker does not expect, a login that may not
//! write). An [`Engine`] is one session. When its session ends so, what it holds fails with the fatal
//! error, and the next record starts another engine, which hands nothing over before all of that
//! has failed: records of one key keep their order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::engine::{Engine, closed};
use super::topic::Topic;
use crate::{Error, Result};

/// Between sessions of which none delivered anything.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a new session looks whether the one before is settled.
const LOOK: Duration = Duration::from_millis(20);

/// How a session follows on another.
pub(super) struct Succession {
    /// The one before, until it is settled.
    pub(super) before: Option<Arc<Engine>>,
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

    /// One that follows on `before`, which is over. From the third session in a row that ends
    /// without a delivery on, none is made before its time.
    ///
    /// # Errors
    ///
    /// What ended the last one, until then.
    pub(super) fn after(before: Arc<Engine>) -> Result<Self> {
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
            && let Some(fatal) = before.gave_up.get()
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

impl Engine {
    /// Whether this process' records may go in: the session is not over.
    #[inline]
    pub(super) fn takes_records(&self, generation: u32) -> bool {
        self.generation == generation && !self.has_failed()
    }

    /// Whether the session is over, and the next record begins another.
    #[inline]
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether a record may go in, for which room in the budget is taken already: without that, it
    /// is given back. `false` where the next session is to take it.
    #[inline]
    pub(super) fn admits(&self, topic: &Topic) -> Result<bool> {
        // After the room is taken: whoever ends the engine either sees the room or is seen here.
        if !self.closing.load(Ordering::SeqCst) {
            return Ok(true);
        }
        self.give_back();
        self.refuses(topic)
    }

    /// The answer to a record of an engine that takes none any more.
    pub(super) fn refuses(&self, topic: &Topic) -> Result<bool> {
        if self.has_failed() {
            Ok(false)
        } else {
            Err(closed().with("topic", topic.name()))
        }
    }

    /// Records that are not settled, those of the session before included.
    pub(super) fn unsettled(&self) -> u64 {
        let before = self.before().map_or(0, |before| before.unsettled());
        before + self.budget.records()
    }

    /// Whether it or a session before it has records, those included that librdkafka has not
    /// reported on although their time is up.
    pub(super) fn holds_records(&self) -> bool {
        self.budget.records() > 0
            || self.in_flight.load(Ordering::Relaxed) > 0
            || self.before().is_some_and(|before| before.holds_records())
    }

    pub(super) fn before(&self) -> Option<Arc<Engine>> {
        self.succession.lock().before.clone()
    }

    /// Ends the session if librdkafka has. On the event thread.
    pub(super) fn end_if_fatal(&self) {
        if self.has_failed() {
            return;
        }
        let Some(fatal) = self.fatal_error() else {
            return;
        };
        tracing::error!(target: "carbon_events", error = %fatal, "a producer begins a new session");
        let _ = self.gave_up.set(fatal);
        // Nothing gathers any longer.
        self.flushing.fetch_add(1, Ordering::SeqCst);
        let _ = self.failed_at.set(Instant::now());
        self.failed.store(true, Ordering::SeqCst);
        self.closing.store(true, Ordering::SeqCst);
        self.budget.wake_all();
        self.line.rouse();
    }

    /// Notes that another engine has taken this one's place, and lets its threads end.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::SeqCst);
        self.queue.wake();
    }

    /// Fails what a session that is over holds; whether all of it is settled and another session has
    /// begun. Until then its events are served, on the event thread. Requests on the wire end as they end: only then is it known what became of them.
    pub(super) fn is_over(&self) -> bool {
        if !self.has_failed() {
            return false;
        }
        if let Some(fatal) = self.gave_up.get() {
            for topic in self.topics() {
                self.give_up(&topic, fatal);
            }
        }
        self.hand_over_gathered();
        let purge = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: the instance is live.
        unsafe { sys::rd_kafka_purge(self.handle.ptr(), purge) };
        if self.holds_records() || !self.superseded.load(Ordering::SeqCst) {
            return false;
        }
        self.stopping.store(true, Ordering::SeqCst);
        self.resolver_wakes.notify_all();
        true
    }

    /// Blocks the resolver until this session may hand something over.
    pub(super) fn wait_for_the_session_before(&self) {
        while !self.stopping.load(Ordering::SeqCst) && self.gave_up.get().is_none() {
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
            drop(self.resolver_wakes.wait_for(self.resolver.lock(), LOOK));
        }
    }
}

/// The error of a record, where the session's own does not name the topic.
pub(super) fn about(error: &Error, topic: &Topic) -> Error {
    match error.get("topic") {
        Some(_) => error.clone(),
        None => error.clone().with("topic", topic.name()),
    }
}

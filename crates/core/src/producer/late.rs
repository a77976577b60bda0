//! The delivery timeout of records that reached librdkafka late.
//!
//! librdkafka counts a record's time from when it takes it. A record may have waited before: for its
//! topic, for the session before, for the first record of its partition, for a full queue of
//! librdkafka's. While it waits it fails here once its time is up. Once librdkafka has it, it is
//! watched: it gets its outcome at the end of its time, and librdkafka's later report on it counts
//! for nothing. Until that report it may still be written, as any record in flight whose time is up.
//!
//! Records that gathered together expire with the oldest of them. The event thread alone settles
//! librdkafka's reports and expires what is watched, so that never both happen to a record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr;

use super::engine::Engine;
use super::handover::refuse_all;
use super::lane::Lane;
use super::slab::{InFlight, Settling, Watched};
use super::topic::Topic;
use crate::Error;
use crate::kafka::broker_error;
use crate::sync::Mutex;

/// Less than that before librdkafka took it does not count.
const TOLERANCE: Duration = Duration::from_millis(20);
/// The most that the oldest and the youngest record may differ that wait in one slab.
pub(super) const GATHERS: Duration = Duration::from_millis(250);

/// Records that librdkafka took late.
#[derive(Default)]
pub(crate) struct LateRecords {
    slabs: Mutex<Vec<LateSlab>>,
    /// Records with an outcome that librdkafka has not reported on.
    expired: AtomicUsize,
}

struct LateSlab {
    topic: Arc<Topic>,
    partition: i32,
    deadline: Instant,
    records: Watched,
}

impl LateRecords {
    /// Whether a report may be about a record that has its outcome.
    pub(crate) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed) > 0
    }

    /// Notes reports on records that had their outcome.
    pub(crate) fn reported(&self, records: usize) {
        self.expired.fetch_sub(records, Ordering::Relaxed);
    }
}

impl Engine {
    /// When a slab that was opened then has had its time.
    fn expires(&self, opened: Instant) -> Option<Instant> {
        opened.checked_add(self.settings.delivery_timeout)
    }

    /// Whether a slab that was opened then has had its time.
    pub(super) fn is_late(&self, opened: Instant) -> bool {
        self.expires(opened)
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The records of a slab that are about to be handed over, if they are late: before, for
    /// afterwards the slab may be gone.
    pub(super) fn before_handover(
        &self,
        opened: Instant,
        records: impl FnOnce() -> Watched,
    ) -> Option<Watched> {
        (opened.elapsed() > TOLERANCE).then(records)
    }

    /// Watches the late records that librdkafka took.
    pub(super) fn watch(
        &self,
        topic: &Arc<Topic>,
        (partition, opened): (i32, Instant),
        records: Watched,
    ) {
        if let Some(deadline) = self.expires(opened) {
            self.late.slabs.lock().push(LateSlab {
                topic: Arc::clone(topic),
                partition,
                deadline,
                records,
            });
        }
    }

    /// Fails what has had its time, wherever it is. On the event thread.
    pub(super) fn expire(&self) {
        self.expire_watched();
        if self.budget.records() == 0 {
            return;
        }
        for topic in self.topics() {
            if let Some(routes) = &*topic.lanes.load() {
                for (partition, lane) in routes.lanes().iter().enumerate() {
                    self.expire_lane(&topic, partition as i32, lane);
                }
            }
            self.expire_waiting(&topic);
        }
    }

    fn expire_watched(&self) {
        let now = Instant::now();
        let mut due = Vec::new();
        {
            let mut slabs = self.late.slabs.lock();
            slabs.retain_mut(|slab| slab.records.trim());
            due.extend(slabs.extract_if(.., |slab| slab.deadline <= now));
        }
        for slab in due {
            let error = self.timed_out(&slab.topic, slab.partition);
            let expired = slab.records.unsettled();
            self.count(0, expired as u64);
            self.late.expired.fetch_add(expired, Ordering::Relaxed);
            // SAFETY: on the event thread, which settles librdkafka's reports.
            let runs = unsafe { slab.records.expire(&error) };
            runs.into_iter().for_each(|run| self.book(run));
            log_expired(expired, &error);
        }
    }

    /// Fails what a lane has held for too long.
    fn expire_lane(&self, topic: &Arc<Topic>, partition: i32, lane: &Lane) {
        let mut state = lane.state.lock();
        if state.is_empty() || state.handing_over {
            return;
        }
        if state.has_sealed() {
            // It cannot go: what it gathers meanwhile must not expire with what came long before.
            state.seal_if_older(GATHERS);
        }
        let partly = state
            .partly
            .take_if(|(slab, _)| self.is_late(slab.slab().opened));
        let mut slabs = Vec::new();
        while state.oldest().is_some_and(|slab| self.is_late(slab.opened)) {
            slabs.extend(state.take(true));
        }
        drop(state);
        if partly.is_none() && slabs.is_empty() {
            return;
        }
        let error = self.timed_out(topic, partition);
        if let Some((slab, from)) = partly {
            self.refuse_rest(&slab, from, &error);
        }
        for slab in slabs {
            self.fail(slab, &error);
        }
    }

    /// Fails the records that have waited for their topic or schema id as long as a delivery may
    /// take, with the reason why it is not known.
    fn expire_waiting(&self, topic: &Arc<Topic>) {
        loop {
            let mut state = topic.waiting.state.lock();
            let late = state.oldest().is_some_and(|slab| self.is_late(slab.opened));
            let Some(slab) = (if late { state.take(true) } else { None }) else {
                break;
            };
            drop(state);
            let cause = topic.resolution.lock().last_error.clone();
            let cause = cause.unwrap_or_else(|| {
                let message = "no broker answered within the delivery timeout";
                let silence = Error::new(crate::ErrorKind::Timeout, message);
                self.health.explain(silence.with("topic", topic.name()))
            });
            self.fail(slab, &cause);
        }
    }

    /// Fails the records of a slab that librdkafka has not taken.
    pub(super) fn refuse_rest(&self, slab: &InFlight, from: usize, error: &Error) {
        let records = slab.slab().len() - from;
        let mut settling = Settling::default();
        refuse_all(self, slab, from, error, &mut settling);
        self.book_last(&mut settling);
        log_expired(records, error);
    }

    /// The error of a record that has had its time.
    pub(super) fn timed_out(&self, topic: &Topic, partition: i32) -> Error {
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
        let error = self.health.explain(broker_error(code, "deliver a record"));
        let error = error.with("topic", topic.name());
        if partition < 0 {
            return error;
        }
        error.with("partition", partition)
    }
}

fn log_expired(records: usize, error: &Error) {
    if records > 0 {
        tracing::error!(target: "carbon_events", records, %error, "records were not delivered");
    }
}

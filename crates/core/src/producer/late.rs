//! Records that librdkafka took late, watched for their own deadline.
//!
//! librdkafka counts a record's time from when it takes it. A record may have waited before: for its
//! topic, for the session before, for the first record of its partition, for capacity in librdkafka's
//! queue. While it waits it fails in its queue once its time is up. Once librdkafka has it, it is
//! watched here: it fails at the end of its time, and librdkafka's later report on it is ignored.
//! Until that report it may still be written, as any record in flight whose time is up.
//!
//! Records of one batch expire with the oldest of them. Only the event thread completes librdkafka's
//! reports and expires watched records, so both never happen to one record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::batch::completing::Watched;
use super::topic::TopicState;
use crate::sync::Mutex;

/// A record that waited for less than that is not late.
pub(super) const TOLERANCE: Duration = Duration::from_millis(20);

/// Records that librdkafka took late.
#[derive(Default)]
pub(super) struct LateRecords {
    watched: Mutex<Vec<LateBatch>>,
    /// Records that expired and that librdkafka has not reported on.
    expired: AtomicUsize,
}

pub(super) struct LateBatch {
    pub(super) topic: Arc<TopicState>,
    pub(super) partition: i32,
    pub(super) deadline: Instant,
    pub(super) records: Watched,
}

impl LateRecords {
    pub(super) fn watch(&self, batch: LateBatch) {
        self.watched.lock().push(batch);
    }

    /// Takes out the records whose deadline has passed.
    pub(super) fn due(&self, now: Instant) -> Vec<LateBatch> {
        let mut watched = self.watched.lock();
        watched.retain_mut(|batch| batch.records.trim());
        watched
            .extract_if(.., |batch| batch.deadline <= now)
            .collect()
    }

    /// Notes records that expired.
    pub(super) fn expired(&self, records: usize) {
        self.expired.fetch_add(records, Ordering::Relaxed);
    }

    /// Whether a report may be about a record that expired.
    pub(super) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed) > 0
    }

    /// Notes reports on records that had expired.
    pub(super) fn reported(&self, records: usize) {
        self.expired.fetch_sub(records, Ordering::Relaxed);
    }
}

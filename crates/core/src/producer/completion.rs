//! What follows when records complete: they are counted first, and last of all their capacity and
//! their memory are released. So a caller that finds a record's outcome finds it counted, and one that
//! finds the queue empty finds every outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::admission::AdmissionControl;
use super::batch::completing::{CompletedRun, Completing};
use super::batch::{Batch, Pool};
use super::failure::{about, log_failed};
use super::stats::Counts;
use crate::Error;

/// Counts and releases the records of one session.
pub(super) struct Completion {
    admission: Arc<AdmissionControl>,
    counts: Arc<Counts>,
    pool: Arc<Pool>,
    /// Whether any record has had an owner.
    has_owners: AtomicBool,
}

impl Completion {
    pub(super) fn new(
        admission: Arc<AdmissionControl>,
        counts: Arc<Counts>,
        pool: Arc<Pool>,
    ) -> Self {
        Completion {
            admission,
            counts,
            pool,
            has_owners: AtomicBool::new(false),
        }
    }

    /// Notes that a record with an owner is about to be accepted.
    pub(super) fn note_owner(&self) {
        if !self.has_owners() {
            self.has_owners.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn has_owners(&self) -> bool {
        self.has_owners.load(Ordering::Relaxed)
    }

    /// Counts records that are about to complete.
    pub(super) fn count(&self, delivered: u64, failed: u64) {
        self.counts.count(delivered, failed);
    }

    /// Releases a run of completed records.
    pub(super) fn release_run(&self, run: CompletedRun) {
        if let Some(buffers) = run.buffers {
            self.pool.put(buffers);
        }
        if let Some(owner) = run.owner {
            owner.end(run.records);
        }
        self.release(run.records, run.cost);
    }

    /// Releases the last run of `completing`.
    pub(super) fn finish(&self, completing: &mut Completing) {
        if let Some(run) = completing.finish() {
            self.release_run(run);
        }
    }

    /// Fails the records of a batch that librdkafka never got.
    pub(super) fn fail(&self, batch: Batch, error: &Error) {
        let error = about(error, batch.topic());
        log_failed(batch.len(), &error);
        self.count(0, batch.len() as u64);
        let (records, cost) = batch.fail(&error);
        self.release(records, cost);
    }

    fn release(&self, records: u64, cost: u64) {
        self.counts.release(records);
        self.admission.release(records, cost);
    }
}

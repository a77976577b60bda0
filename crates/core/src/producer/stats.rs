//! What became of a producer's records, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What became of the records of one producer so far. `accepted` is always
/// `delivered + failed + queued`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProducerStats {
    /// Records that a send method took, without those that left the line unsent.
    pub accepted: u64,
    /// Records that the brokers acknowledged.
    pub delivered: u64,
    /// Records that ended in an error.
    pub failed: u64,
    /// Records in line, buffered or in flight.
    pub queued: u64,
}

impl ProducerStats {
    pub(super) fn new(delivered: u64, failed: u64, queued: u64) -> Self {
        ProducerStats {
            accepted: delivered + failed + queued,
            delivered,
            failed,
            queued,
        }
    }
}

/// The counts of a producer, over all its sessions.
#[derive(Default)]
pub(super) struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Completed records whose capacity was released, a moment after they were counted.
    released: AtomicU64,
}

impl Counts {
    pub(super) fn count(&self, delivered: u64, failed: u64) {
        self.delivered.fetch_add(delivered, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }

    pub(super) fn release(&self, records: u64) {
        self.released.fetch_add(records, Ordering::Relaxed);
    }

    /// Forgets the records that were in flight at a fork: they are the parent's.
    pub(super) fn forget_in_flight(&self) {
        let completed =
            self.delivered.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        self.released.store(completed, Ordering::Relaxed);
    }

    /// The stats of a producer that holds `taken` records, read before this.
    pub(super) fn stats(&self, taken: u64) -> ProducerStats {
        let released = self.released.load(Ordering::Relaxed);
        let delivered = self.delivered.load(Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        // Completed records are counted before their capacity is released.
        let queued = (released + taken).saturating_sub(delivered + failed);
        ProducerStats::new(delivered, failed, queued)
    }
}

//! What became of the records of one owner, if several share a producer.
//!
//! The records of a batch may be of several owners. Each record names its owner by a number that is
//! valid in its batch ([`Owners`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::stats::ProducerStats;
use crate::fork;

/// The counts of one owner in one process.
#[derive(Default)]
pub(crate) struct Tally {
    generation: u32,
    /// Records that were accepted and have not completed, or are about to be accepted.
    pending: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    /// Counts a record that is about to be accepted.
    pub(crate) fn begin(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes a record back that was not accepted after all.
    pub(crate) fn refused(&self) {
        self.pending.fetch_sub(1, Ordering::SeqCst);
    }

    /// Counts outcomes. Before the records complete: a caller that finds an outcome finds it counted.
    pub(crate) fn count(&self, delivered: u64, failed: u64) {
        self.delivered.fetch_add(delivered, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Ends records whose outcomes are known to everyone.
    pub(crate) fn end(&self, records: u64) {
        self.pending.fetch_sub(records, Ordering::SeqCst);
    }

    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::SeqCst)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// An owner's tally in whichever process this is. What was pending at a fork is the parent's.
#[derive(Default)]
pub(crate) struct Owner {
    tally: ArcSwap<Tally>,
}

impl Owner {
    /// What became of the owner's records so far.
    pub(crate) fn stats(&self) -> ProducerStats {
        let tally = self.tally();
        ProducerStats::new(tally.delivered(), tally.failed(), tally.pending())
    }

    pub(crate) fn tally(&self) -> Guard<Arc<Tally>> {
        let generation = fork::generation();
        loop {
            let tally = self.tally.load();
            if tally.generation == generation {
                return tally;
            }
            let next = Arc::new(Tally {
                generation,
                pending: AtomicU64::new(0),
                delivered: AtomicU64::new(tally.delivered()),
                failed: AtomicU64::new(tally.failed()),
            });
            self.tally.compare_and_swap(&tally, next);
        }
    }
}

/// The owners of a batch's records.
#[derive(Default, Clone)]
pub(crate) struct Owners(Vec<Arc<Tally>>);

/// The number of records without an owner.
pub(crate) const NO_OWNER: u16 = 0;

impl Owners {
    /// The owner's number. `None` if the batch has too many owners for a number.
    pub(crate) fn number(&mut self, owner: &Arc<Tally>) -> Option<u16> {
        // Usually the last record's.
        let known = self.0.iter().rposition(|one| Arc::ptr_eq(one, owner));
        let index = known.unwrap_or(self.0.len());
        let number = u16::try_from(index + 1).ok()?;
        if known.is_none() {
            self.0.push(Arc::clone(owner));
        }
        Some(number)
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Arc<Tally>> {
        self.0.get(usize::from(number).checked_sub(1)?)
    }
}

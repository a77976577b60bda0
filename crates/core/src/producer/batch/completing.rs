//! How the records of batches in flight complete: by a delivery report, by librdkafka's refusal, or
//! because their time is up.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Batch, Buffers, RECORD_OVERHEAD_BYTES, Record};
use crate::producer::delivery::Outcomes;
use crate::producer::tally::Tally;
use crate::{Error, Result};

/// Completes records, batch by batch.
///
/// Reports on one batch usually come one after the other. Such a run touches the batch's counter and
/// its waiters once.
#[derive(Default)]
pub(in crate::producer) struct Completing {
    batch: Option<*const Batch>,
    owner: u16,
    run: u32,
    failed: u32,
    /// Records of the run that had expired; see [`late`](crate::producer::late).
    expired: u32,
    cost: u64,
}

/// What a run of completed records adds up to.
pub(in crate::producer) struct CompletedRun {
    /// Without those that were counted when they expired.
    pub(in crate::producer) records: u64,
    /// What the records took of the buffer limit.
    pub(in crate::producer) cost: u64,
    /// Their owner, if they have one.
    pub(in crate::producer) owner: Option<Arc<Tally>>,
    /// The batch's memory, if this run was its last.
    pub(in crate::producer) buffers: Option<Buffers>,
}

impl Completing {
    /// Completes the record behind `opaque`. Returns what the run before it adds up to, if this record
    /// belongs to another batch.
    ///
    /// # Safety
    /// `opaque` came from [`InFlight::records`](super::in_flight::InFlight::records), and this is the
    /// record's only completion.
    pub(in crate::producer) unsafe fn complete(
        &mut self,
        opaque: *mut c_void,
        outcome: Result<(i32, i64, i64), &Error>,
    ) -> Option<CompletedRun> {
        // SAFETY: by this function's contract the record is alive: its batch is freed only after
        // its last record completed and `finish` ran.
        let record = unsafe { &*opaque.cast_const().cast::<Record>() };
        // SAFETY: as above.
        let batch = unsafe { &*record.batch };
        let before = match self.batch {
            Some(current) if std::ptr::eq(current, record.batch) && self.owner == record.owner => {
                None
            }
            _ => self.finish(),
        };
        self.batch = Some(record.batch);
        self.owner = record.owner;
        self.run += 1;
        if batch.outcomes.is_complete(record.index) {
            self.expired += 1;
            return before;
        }
        self.cost += record.cost();
        match outcome {
            Ok((partition, offset, timestamp_ms)) => {
                batch
                    .outcomes
                    .deliver(record.index, partition, offset, timestamp_ms);
            }
            Err(error) => {
                self.failed += 1;
                batch.topic.metrics().failed(error.kind(), 1);
                batch.outcomes.fail(record.index, error);
            }
        }
        before
    }

    /// Ends the current run.
    pub(in crate::producer) fn finish(&mut self) -> Option<CompletedRun> {
        let at = self.batch.take()?;
        let Completing {
            owner,
            run,
            failed,
            expired,
            cost,
            ..
        } = std::mem::take(self);
        let records = run - expired;
        let delivered = u64::from(records - failed);
        // SAFETY: `run` records of this batch are not counted down yet, so it is not freed.
        let batch = unsafe { &*at };
        if delivered > 0 {
            let bytes = cost.saturating_sub(u64::from(records) * RECORD_OVERHEAD_BYTES);
            batch
                .topic
                .metrics()
                .delivered(delivered, bytes, batch.opened.elapsed());
        }
        batch.outcomes.notify();
        let owner = batch.owners.get(owner).map(Arc::clone);
        let buffers = (batch.incomplete.fetch_sub(run, Ordering::AcqRel) == run).then(|| {
            // SAFETY: the last record is complete, so neither librdkafka nor another thread uses
            // the batch any more; it was leaked by `InFlight::new`.
            let batch = unsafe { Box::from_raw(at.cast_mut()) };
            let Batch {
                mut bytes,
                mut records,
                ..
            } = *batch;
            bytes.clear();
            records.clear();
            Buffers { bytes, records }
        });
        Some(CompletedRun {
            records: u64::from(records),
            cost,
            owner,
            buffers,
        })
    }
}

/// Records of a batch that librdkafka took late, and the outcomes that they have slots in.
pub(in crate::producer) struct Watched {
    outcomes: Arc<Outcomes>,
    /// Their indexes and opaques.
    records: Vec<(u32, *mut c_void)>,
}

// SAFETY: the pointers are followed by `expire` alone, under its contract.
unsafe impl Send for Watched {}

impl Watched {
    pub(super) fn new(batch: &Batch, records: &[Record]) -> Self {
        let opaque = |record| std::ptr::from_ref::<Record>(record).cast_mut().cast();
        let records = records.iter();
        Watched {
            outcomes: Arc::clone(&batch.outcomes),
            records: records.map(|one| (one.index, opaque(one))).collect(),
        }
    }

    /// Keeps the first `count` records.
    pub(in crate::producer) fn truncate(&mut self, count: usize) {
        self.records.truncate(count);
    }

    /// Drops completed records at the end; whether anything is left.
    pub(in crate::producer) fn trim(&mut self) -> bool {
        let is_complete = |one: &mut (u32, _)| self.outcomes.is_complete(one.0);
        while self.records.pop_if(is_complete).is_some() {}
        !self.records.is_empty()
    }

    /// How many have no outcome.
    pub(in crate::producer) fn incomplete(&self) -> usize {
        let records = self.records.iter();
        records
            .filter(|(index, _)| !self.outcomes.is_complete(*index))
            .count()
    }

    /// Fails the records that librdkafka has not reported on; its later reports on them are ignored.
    /// Returns what they add up to: one run for successive records of one owner.
    ///
    /// # Safety
    /// Called on the thread that completes librdkafka's reports, so that none completes meanwhile.
    pub(in crate::producer) unsafe fn expire(&self, error: &Error) -> Vec<CompletedRun> {
        let mut runs = Vec::<CompletedRun>::new();
        let mut last = None;
        for (index, opaque) in &self.records {
            if self.outcomes.is_complete(*index) {
                continue;
            }
            // SAFETY: its report is not completed, so the record and its batch are alive.
            let record = unsafe { &*opaque.cast_const().cast::<Record>() };
            // SAFETY: as above.
            let batch = unsafe { &*record.batch };
            batch.topic.metrics().failed(error.kind(), 1);
            let owner = batch.owners.get(record.owner);
            if let Some(owner) = owner {
                owner.count(0, 1);
            }
            self.outcomes.fail(*index, error);
            let is_same = last.replace(record.owner) == Some(record.owner);
            match runs.last_mut().filter(|_| is_same) {
                Some(run) => {
                    run.records += 1;
                    run.cost += record.cost();
                }
                None => runs.push(CompletedRun {
                    records: 1,
                    cost: record.cost(),
                    owner: owner.map(Arc::clone),
                    buffers: None,
                }),
            }
        }
        self.outcomes.notify();
        runs
    }
}

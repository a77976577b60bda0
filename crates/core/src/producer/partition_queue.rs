//! A partition queue: the batches of one partition that are to be sent, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::batch::in_flight::InFlight;
use super::batch::{Batch, Buffers, RecordParts};
use super::delivery::Delivery;
use super::topic::TopicState;
use crate::Result;
use crate::sync::{Mutex, MutexGuard};

/// The records of a batch at first and at most, and its bytes at most.
const BATCH_MIN_RECORDS: u32 = 16;
const BATCH_MAX_RECORDS: u32 = 1024;
const BATCH_MAX_BYTES: usize = 512 << 10;

/// The queue of one partition. Its lock is held to append and to take batches, never to send them.
#[derive(Default)]
pub(super) struct PartitionQueue(Mutex<QueueState>);

/// What a partition queue holds.
pub(super) struct QueueState {
    open: Option<Batch>,
    sealed: VecDeque<Batch>,
    /// A batch that went only in part: it goes on with the record of that index.
    partly: Option<(InFlight, usize)>,
    /// Whether a thread sends this queue's batches: only one does, to keep their order.
    sending: bool,
    /// Whether the event thread knows that this queue has gathered something.
    noted: bool,
    /// The next batch's capacity: doubled by a batch that fills up, halved by one that goes nearly
    /// empty, so that a lone record does not pay for a thousand.
    capacity: u32,
    /// The bytes of a record of the last full batch, on average.
    record_bytes: usize,
}

impl Default for QueueState {
    fn default() -> Self {
        QueueState {
            open: None,
            sealed: VecDeque::new(),
            partly: None,
            sending: false,
            noted: false,
            capacity: BATCH_MIN_RECORDS,
            record_bytes: 0,
        }
    }
}

impl PartitionQueue {
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock()
    }

    /// Keeps the records of an empty queue from going, as a thread that sends does. Whether the queue
    /// was empty.
    pub(super) fn hold_back(&self) -> bool {
        let mut state = self.lock();
        state.is_empty() && state.begin_sending()
    }
}

impl QueueState {
    /// Appends a record to the open batch, and seals the batch if that filled it.
    pub(super) fn append(
        &mut self,
        topic: &Arc<TopicState>,
        partition: i32,
        buffers: impl FnOnce() -> Buffers,
        parts: RecordParts<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<(Delivery, u64)> {
        let (capacity, record_bytes) = (self.capacity, self.record_bytes);
        let batch = self.open.get_or_insert_with(|| {
            // A little more, because records differ; no more than a batch may hold.
            let expected = capacity as usize * (record_bytes + record_bytes / 8);
            let expected = expected.min(BATCH_MAX_BYTES);
            Batch::new(Arc::clone(topic), partition, capacity, expected, buffers())
        });
        let appended = batch.append(parts, write);
        if batch.len() == 0 {
            self.open = None;
            return appended;
        }
        if batch.is_full(BATCH_MAX_BYTES) {
            self.capacity = (capacity * 2).min(BATCH_MAX_RECORDS);
            self.record_bytes = batch.record_bytes();
            self.seal();
        }
        appended
    }

    fn seal(&mut self) {
        self.sealed.extend(self.open.take());
    }

    /// Ends an open batch that has gathered for longer than that: a batch expires as a whole.
    pub(super) fn seal_if_older(&mut self, age: Duration) {
        if self.has_gathered_for(age) {
            self.seal();
        }
    }

    pub(super) fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether there is an open batch of at least that age.
    pub(super) fn has_gathered_for(&self, age: Duration) -> bool {
        self.open
            .as_ref()
            .is_some_and(|batch| batch.opened().elapsed() >= age)
    }

    pub(super) fn has_sealed(&self) -> bool {
        !self.sealed.is_empty() || self.partly.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && !self.has_sealed()
    }

    /// Whether no record is left, and no thread sends one.
    pub(super) fn is_done(&self) -> bool {
        self.is_empty() && !self.sending
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending
    }

    /// Makes the caller the one that sends; `false` if another thread is.
    pub(super) fn begin_sending(&mut self) -> bool {
        !std::mem::replace(&mut self.sending, true)
    }

    pub(super) fn end_sending(&mut self) {
        self.sending = false;
    }

    /// The next records to send: the rest of a batch, a sealed batch, or the open one if `all`.
    pub(super) fn next(&mut self, all: bool) -> Option<(InFlight, usize)> {
        self.partly
            .take()
            .or_else(|| self.take(all).map(|batch| (InFlight::new(batch), 0)))
    }

    /// Puts back what did not go.
    pub(super) fn put_back(&mut self, rest: (InFlight, usize)) {
        self.partly = Some(rest);
    }

    /// Takes the rest of a batch that went in part, if that batch `is_late`.
    pub(super) fn take_partly(
        &mut self,
        is_late: impl FnOnce(&Batch) -> bool,
    ) -> Option<(InFlight, usize)> {
        self.partly.take_if(|(batch, _)| is_late(batch.batch()))
    }

    /// Takes a batch of which nothing went: a sealed one, or the open one if `all`.
    pub(super) fn take(&mut self, all: bool) -> Option<Batch> {
        self.sealed.pop_front().or_else(|| {
            let batch = if all { self.open.take() } else { None }?;
            if batch.len() < (self.capacity / 4) as usize {
                self.capacity = (self.capacity / 2).max(BATCH_MIN_RECORDS);
            }
            Some(batch)
        })
    }

    /// As [`take`](Self::take), for the oldest batch if that `is_late`.
    pub(super) fn take_late(&mut self, is_late: impl FnOnce(&Batch) -> bool) -> Option<Batch> {
        let oldest = self.sealed.front().or(self.open.as_ref())?;
        if is_late(oldest) {
            self.take(true)
        } else {
            None
        }
    }

    pub(super) fn awaits_schema_id(&self) -> bool {
        let mut batches = self.sealed.iter().chain(&self.open);
        batches.any(Batch::awaits_schema_id)
    }

    /// Whether the event thread does not know yet that the queue has gathered records; from now on it
    /// does.
    pub(super) fn note(&mut self) -> bool {
        !self.is_empty() && !std::mem::replace(&mut self.noted, true)
    }

    pub(super) fn forget_note(&mut self) {
        self.noted = false;
    }
}

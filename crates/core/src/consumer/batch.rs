//! A batch of records that one reader has in hand.

use std::fmt;
use std::sync::Arc;

use super::fetch::Fetch;
use super::fetched::Fetched;
use super::position::{Offsets, Position, TopicPartition};
use super::reader_id::ReaderId;
use super::record::{Record, Records};

/// Records that were fetched together, still in the memory they arrived in.
///
/// The thread or task that received a batch acknowledges its records by dropping it and reading on;
/// see the [module](super). A drop by another thread or task acknowledges nothing: call
/// [`acknowledge`](Self::acknowledge) there.
pub struct Batch {
    fetched: Fetched,
    fetch: Arc<Fetch>,
    reader: ReaderId,
}

impl Batch {
    pub(super) fn new(fetched: Fetched, fetch: Arc<Fetch>, reader: ReaderId) -> Self {
        fetched.set_idle(false);
        Batch {
            fetched,
            fetch,
            reader,
        }
    }

    /// How many records there are: at least one.
    pub fn len(&self) -> usize {
        self.fetched.messages.len()
    }

    /// Never true; here for completeness.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, those of one partition in the order of their offsets.
    pub fn iter(&self) -> Records<'_> {
        Records::new(&self.fetched)
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        Record::new(&self.fetched, self.fetched.segment_of(index), index)
    }

    /// The partitions that records are from, each once.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let segments = self.fetched.segments.iter();
        let mut partitions: Vec<_> = segments.map(|it| it.partition.clone()).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Acknowledges every record now, not at the reader's next read.
    pub fn acknowledge(mut self) {
        let segments = std::mem::take(&mut self.fetched.segments);
        let progress = &self.fetched.progress;
        progress.acknowledge(segments.iter().map(|segment| &segment.run));
    }

    /// Leaves the records to the partition's next owner, such as this service after a restart:
    /// nothing of their partitions is committed from here on. To read them again at once,
    /// [`give_back`](Self::give_back) the batch.
    pub fn abandon(mut self) {
        self.leave_idle();
    }

    /// Returns the records to the consumer: the next read, whichever reader's, gets them. Those
    /// acknowledged one by one do not come again.
    pub fn give_back(self) {
        self.give_back_from(0);
    }

    /// As [`give_back`](Self::give_back), of the records from `index` on. Those before are left to
    /// the reader as if the batch ended with them.
    pub(super) fn give_back_from(mut self, index: usize) {
        self.fetch.give_back(self.fetched.take(), index);
    }

    /// Leaves the records up to the one at `last` to the reader, whose next read acknowledges them.
    pub(super) fn release_to(&self, last: usize) {
        let Some(record) = self.get(last) else {
            return;
        };
        let run = Arc::clone(&record.segment.run);
        let released = [(run, record.offset() + 1)];
        self.fetched.progress.release(&self.reader, released);
    }

    /// Whether its reader drops it now, and not while a panic unwinds, which may have left any of the
    /// records unprocessed.
    pub(super) fn is_dropped_by_its_reader(&self) -> bool {
        !std::thread::panicking() && self.reader.is_here()
    }

    fn leave_idle(&mut self) {
        self.fetched.set_idle(true);
        self.fetched.segments.clear();
        self.fetched.progress.notify();
    }

    pub(super) fn fetched(&self) -> &Fetched {
        &self.fetched
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.fetched.segments.is_empty() {
            return;
        }
        if !self.is_dropped_by_its_reader() {
            self.leave_idle();
            return;
        }
        let runs = self.fetched.segments.drain(..).map(|segment| {
            let end = segment.run.end();
            (segment.run, end)
        });
        self.fetched.progress.release(&self.reader, runs);
    }
}

/// Behind the last record of each partition in the batch.
impl From<&Batch> for Offsets {
    fn from(batch: &Batch) -> Self {
        let mut offsets = Offsets::default();
        for segment in &batch.fetched.segments {
            let position = Position {
                partition: segment.partition.clone(),
                next_offset: segment.run.end(),
                leader_epoch: segment.run.leader_epoch(),
            };
            let known = &mut offsets.positions;
            match known.iter_mut().find(|p| p.partition == position.partition) {
                Some(earlier) => *earlier = position,
                None => known.push(position),
            }
        }
        offsets
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("records", &self.len())
            .field("partitions", &self.partitions())
            .finish_non_exhaustive()
    }
}

impl<'b> IntoIterator for &'b Batch {
    type Item = Record<'b>;
    type IntoIter = Records<'b>;

    fn into_iter(self) -> Records<'b> {
        self.iter()
    }
}

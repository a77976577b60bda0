//! A batch: records of one partition, back to back in one buffer that librdkafka reads in place.
//!
//! ```text
//!   open (in a partition queue, appended to) ── sealed ──▶ in flight (librdkafka points into it)
//!                                                             │ one delivery report a record
//!                                                             ▼
//!                                               last report: the buffers go back to the pool
//! ```
//!
//! Each record's opaque pointer leads to its [`Record`] in the batch, and from there to the batch. So
//! one allocation serves a thousand records, and their reports count it down.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use super::delivery::{Delivery, Outcomes};
use super::headers::Header;
use super::tally::{NO_OWNER, Owners, Tally};
use super::topic::TopicState;
use crate::sync::Mutex;
use crate::{Error, Result};

pub(super) mod completing;
pub(super) mod in_flight;

/// The partition of a batch whose records go to several: each record has its own.
pub(super) const MIXED: i32 = -1;

/// What a buffered record costs besides its key and value: librdkafka's message and our slots.
pub(super) const RECORD_OVERHEAD_BYTES: u64 = 256;

/// Completed batches that are kept for their memory while no record is in flight.
const IDLE_BATCHES: usize = 16;

/// One record of a batch: where its key and value lie in the batch's bytes.
struct Record {
    batch: *const Batch,
    start: u32,
    /// Length of the key, or -1 for a null key. The value follows it.
    key_len: i32,
    /// Length of the value, or -1 for a null value (a tombstone).
    value_len: i32,
    partition: i32,
    index: u32,
    /// The number of its owner among the batch's.
    owner: u16,
    /// Whether the value begins with a schema id that is still to be filled in.
    awaits_schema_id: bool,
}

/// A record to append, without its value.
pub(super) struct RecordParts<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) partition: i32,
    pub(super) headers: Vec<Header>,
    /// Whether the value is a typed event.
    pub(super) framed: bool,
    pub(super) awaits_schema_id: bool,
    pub(super) owner: Option<&'a Arc<Tally>>,
}

/// Records for one partition (or [`MIXED`]).
pub(super) struct Batch {
    topic: Arc<TopicState>,
    partition: i32,
    opened: Instant,
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// The headers of the few records that have any, by rising index.
    headers: Vec<(u32, Vec<Header>)>,
    outcomes: Arc<Outcomes>,
    owners: Owners,
    /// How many of the records are typed events.
    framed: u32,
    incomplete: AtomicU32,
}

// SAFETY: the raw pointers in `records` lead back to the batch itself and are only followed by
// `InFlight`, whose owner is one thread at a time.
unsafe impl Send for Batch {}

impl Batch {
    /// An empty batch for up to `capacity` records of about `expected_bytes` together, in the memory
    /// of `buffers`.
    pub(super) fn new(
        topic: Arc<TopicState>,
        partition: i32,
        capacity: u32,
        expected_bytes: usize,
        buffers: Buffers,
    ) -> Self {
        let outcomes = Outcomes::new(Arc::clone(topic.name()), capacity as usize);
        Batch {
            topic,
            partition,
            opened: Instant::now(),
            // All of it at once: growing would copy what is there, again and again.
            bytes: with_capacity(buffers.bytes, expected_bytes),
            records: with_capacity(buffers.records, capacity as usize),
            headers: Vec::new(),
            outcomes,
            owners: Owners::default(),
            framed: 0,
            incomplete: AtomicU32::new(0),
        }
    }

    /// Appends a record; `write` appends its value, or returns `false` for a null value. Returns the
    /// handle and the bytes to charge. Appends nothing if `write` fails. The batch must not be full.
    pub(super) fn append(
        &mut self,
        parts: RecordParts<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<(Delivery, u64)> {
        let index = self.records.len() as u32;
        let start = self.bytes.len();
        let key_len = parts.key.map_or(-1, |key| {
            self.bytes.extend_from_slice(key);
            key.len() as i32
        });
        let value_start = self.bytes.len();
        let value_len = match write(&mut self.bytes) {
            Ok(true) => (self.bytes.len() - value_start) as i32,
            Ok(false) => -1,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        };
        if !parts.headers.is_empty() {
            self.headers.push((index, parts.headers));
        }
        let record = Record {
            batch: std::ptr::null(),
            start: start as u32,
            key_len,
            value_len,
            partition: parts.partition,
            index,
            // A batch has fewer records than there are numbers.
            owner: parts
                .owner
                .and_then(|owner| self.owners.number(owner))
                .unwrap_or(NO_OWNER),
            awaits_schema_id: parts.awaits_schema_id,
        };
        let cost = record.cost();
        self.framed += u32::from(parts.framed);
        self.records.push(record);
        Ok((Delivery::new(Arc::clone(&self.outcomes), index), cost))
    }

    pub(super) fn topic(&self) -> &Arc<TopicState> {
        &self.topic
    }

    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    /// When its first record was appended.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The bytes of a record, on average.
    pub(super) fn record_bytes(&self) -> usize {
        self.bytes.len() / self.records.len().max(1)
    }

    /// Whether no record can be appended any more.
    pub(super) fn is_full(&self, max_bytes: usize) -> bool {
        self.records.len() >= self.outcomes.capacity() || self.bytes.len() >= max_bytes
    }

    /// Fills the schema id into the records that wait for it (4 bytes big-endian after the magic
    /// byte, as in Confluent's framing).
    pub(super) fn fill_schema_id(&mut self, id: u32) {
        for record in self
            .records
            .iter_mut()
            .filter(|record| record.awaits_schema_id)
        {
            let value = record.start as usize + record.key_len.max(0) as usize;
            self.bytes[value + 1..value + 5].copy_from_slice(&id.to_be_bytes());
            record.awaits_schema_id = false;
        }
    }

    pub(super) fn awaits_schema_id(&self) -> bool {
        self.records.iter().any(|record| record.awaits_schema_id)
    }

    /// Chooses a partition for each record of a [`MIXED`] batch that has none.
    pub(super) fn assign_partitions(&mut self, mut partition_of: impl FnMut(Option<&[u8]>) -> i32) {
        for record in self
            .records
            .iter_mut()
            .filter(|record| record.partition < 0)
        {
            let key = (record.key_len >= 0).then(|| {
                &self.bytes[record.start as usize..record.start as usize + record.key_len as usize]
            });
            record.partition = partition_of(key);
        }
    }

    /// A partition of some record that is not among the first `count`.
    pub(super) fn partition_beyond(&self, count: u32) -> Option<i32> {
        let mut partitions = self.records.iter().map(|record| record.partition);
        partitions.find(|partition| *partition >= 0 && partition.unsigned_abs() >= count)
    }

    /// Moves the records of one partition to a batch of their own, without their bytes: to be failed.
    pub(super) fn split_off(&mut self, partition: i32) -> Batch {
        let moved = self
            .records
            .extract_if(.., |record| record.partition == partition);
        let moved: Vec<_> = moved.collect();
        self.headers
            .retain(|(index, _)| !moved.iter().any(|record| record.index == *index));
        Batch {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            opened: self.opened,
            bytes: Vec::new(),
            records: moved,
            headers: Vec::new(),
            outcomes: Arc::clone(&self.outcomes),
            owners: self.owners.clone(),
            framed: 0,
            incomplete: AtomicU32::new(0),
        }
    }

    /// Counts the records as accepted; once, when the batch leaves its queue.
    fn count(&self) {
        let (records, bytes) = (self.records.len() as u64, self.bytes.len() as u64);
        self.topic
            .count_accepted(records, bytes, u64::from(self.framed));
    }

    /// Fails every record of a batch that librdkafka never got. Returns the (records, bytes) to
    /// release.
    pub(super) fn fail(self, error: &Error) -> (u64, u64) {
        self.count();
        self.topic
            .metrics()
            .failed(error.kind(), self.records.len() as u64);
        for record in &self.records {
            if let Some(owner) = self.owners.get(record.owner) {
                owner.count(0, 1);
            }
        }
        let mut bytes = 0;
        for record in &self.records {
            bytes += record.cost();
            self.outcomes.fail(record.index, error);
        }
        self.outcomes.notify();
        for record in &self.records {
            if let Some(owner) = self.owners.get(record.owner) {
                owner.end(1);
            }
        }
        (self.records.len() as u64, bytes)
    }
}

impl Record {
    /// The bytes that the record takes of the buffer limit.
    fn cost(&self) -> u64 {
        (self.key_len.max(0) as u64) + (self.value_len.max(0) as u64) + RECORD_OVERHEAD_BYTES
    }
}

/// `empty`, or another vector if its capacity is too small.
fn with_capacity<T>(empty: Vec<T>, capacity: usize) -> Vec<T> {
    if empty.capacity() < capacity {
        Vec::with_capacity(capacity)
    } else {
        empty
    }
}

/// The memory of a completed batch, to be used again: its pages are mapped already.
#[derive(Default)]
pub(super) struct Buffers {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

// SAFETY: `records` is empty, so there is no pointer in it.
unsafe impl Send for Buffers {}

/// The buffers of completed batches. All of them are kept while records flow: a batch of new memory
/// costs a page fault every sixteen records.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Buffers>>);

impl Pool {
    pub(super) fn take(&self) -> Buffers {
        self.0.lock().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, buffers: Buffers) {
        self.0.lock().push(buffers);
    }

    /// Frees the memory of a burst that is over.
    pub(super) fn trim(&self) {
        let mut pool = self.0.lock();
        if pool.len() > IDLE_BATCHES {
            let spare = pool.split_off(IDLE_BATCHES);
            pool.shrink_to_fit();
            drop(pool);
            drop(spare);
        }
    }
}

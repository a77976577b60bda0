//! A slab: records of one partition, gathered back to back in one buffer and handed to librdkafka
//! in one call without copying.
//!
//! ```text
//!   open (in a lane, appended to) ── seal ──▶ handed over (owned by librdkafka, as `InFlight`)
//!                                                │ one delivery report a record
//!                                                ▼
//!                                   last report: the buffers go back to the pool
//! ```
//!
//! Every record's opaque pointer leads to its [`Record`] inside the slab and from there to the
//! slab, so one allocation serves a thousand records and their reports count it down.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::delivery::{Delivery, Outcomes};
use super::tally::{NOBODY, Owners, Tally};
use super::topic::Topic;
use crate::Result;

/// The partition of a slab whose records go to several: each record has its own.
pub(crate) const MIXED: i32 = -1;

/// What a queued record costs besides its key and value: librdkafka's message and our slots.
pub(super) const RECORD_OVERHEAD_BYTES: u64 = 256;

/// A header of a record: a name and an optional value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; several headers may share one.
    pub name: String,
    /// The value; `None` is Kafka's null.
    pub value: Option<Vec<u8>>,
}

/// One record of a slab: where its key and value lie in the slab's bytes.
pub(crate) struct Record {
    slab: *const Slab,
    start: u32,
    /// Length of the key, or -1 for a null key. The value follows it.
    key_len: i32,
    /// Length of the value, or -1 for a null value (a tombstone).
    value_len: i32,
    partition: i32,
    index: u32,
    /// The number of its owner among the slab's.
    owner: u16,
    /// Whether the value begins with a schema id that is still to be filled in.
    awaits_schema_id: bool,
}

/// What a record is made of, besides the bytes of its value.
pub(crate) struct Parts<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) partition: i32,
    pub(crate) headers: Vec<Header>,
    /// Whether the value is a typed event.
    pub(crate) framed: bool,
    pub(crate) awaits_schema_id: bool,
    pub(crate) owner: Option<&'a Arc<Tally>>,
}

/// A buffer of records for one partition (or [`MIXED`]).
pub(crate) struct Slab {
    pub(crate) topic: Arc<Topic>,
    pub(crate) partition: i32,
    pub(crate) opened: Instant,
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// The headers of the few records that have any, by rising index.
    headers: Vec<(u32, Vec<Header>)>,
    outcomes: Arc<Outcomes>,
    owners: Owners,
    /// How many of the records are typed events.
    framed: u32,
    unsettled: AtomicU32,
}

// SAFETY: the raw pointers in `records` lead back to the slab itself and are only followed by
// `InFlight`, whose owner is one thread at a time.
unsafe impl Send for Slab {}

impl Slab {
    /// An empty slab for up to `capacity` records of some `expected_bytes` together, that reuses
    /// `buffers`.
    pub(crate) fn new(
        topic: Arc<Topic>,
        partition: i32,
        capacity: u32,
        expected_bytes: usize,
        buffers: Buffers,
    ) -> Self {
        let outcomes = Outcomes::new(Arc::clone(topic.name()), capacity as usize);
        Slab {
            topic,
            partition,
            opened: Instant::now(),
            // Room for all of it at once: growing would copy what is there, again and again.
            bytes: with_room(buffers.bytes, expected_bytes),
            records: with_room(buffers.records, capacity as usize),
            headers: Vec::new(),
            outcomes,
            owners: Owners::default(),
            framed: 0,
            unsettled: AtomicU32::new(0),
        }
    }

    /// Appends a record; `write` appends its value, or gives `false` for a null value. Returns the
    /// handle and the bytes to charge. Where `write` fails, nothing is appended. The caller has made
    /// sure that the slab is not full.
    pub(crate) fn append(
        &mut self,
        parts: Parts<'_>,
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
            slab: std::ptr::null(),
            start: start as u32,
            key_len,
            value_len,
            partition: parts.partition,
            index,
            // A slab has fewer records than there are numbers.
            owner: parts
                .owner
                .and_then(|owner| self.owners.number(owner))
                .unwrap_or(NOBODY),
            awaits_schema_id: parts.awaits_schema_id,
        };
        let cost = record.cost();
        self.framed += u32::from(parts.framed);
        self.records.push(record);
        Ok((Delivery::new(Arc::clone(&self.outcomes), index), cost))
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The bytes of a record, on average.
    pub(crate) fn record_bytes(&self) -> usize {
        self.bytes.len() / self.records.len().max(1)
    }

    /// Whether no record can be appended any more.
    pub(crate) fn is_full(&self, max_bytes: usize) -> bool {
        self.records.len() >= self.outcomes.capacity() || self.bytes.len() >= max_bytes
    }

    /// Gives the records that waited for it their schema id (4 bytes big-endian after the magic
    /// byte, as Confluent's framing has it).
    pub(crate) fn fill_schema_id(&mut self, id: u32) {
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

    pub(crate) fn awaits_schema_id(&self) -> bool {
        self.records.iter().any(|record| record.awaits_schema_id)
    }

    /// Gives each record of a [`MIXED`] slab that has none its partition.
    pub(crate) fn assign_partitions(&mut self, mut partition_of: impl FnMut(Option<&[u8]>) -> i32) {
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
    pub(crate) fn partition_beyond(&self, count: u32) -> Option<i32> {
        let mut partitions = self.records.iter().map(|record| record.partition);
        partitions.find(|partition| *partition >= 0 && partition.unsigned_abs() >= count)
    }

    /// Moves the records of one partition to a slab of their own, without their bytes: to be failed.
    pub(crate) fn split_off(&mut self, partition: i32) -> Slab {
        let moved = self
            .records
            .extract_if(.., |record| record.partition == partition);
        let moved: Vec<_> = moved.collect();
        self.headers
            .retain(|(index, _)| !moved.iter().any(|record| record.index == *index));
        Slab {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            opened: self.opened,
            bytes: Vec::new(),
            records: moved,
            headers: Vec::new(),
            outcomes: Arc::clone(&self.outcomes),
            owners: self.owners.clone(),
            framed: 0,
            unsettled: AtomicU32::new(0),
        }
    }

    #[inline]
    fn partition_of(&self, record: &Record) -> i32 {
        if self.partition == MIXED {
            record.partition
        } else {
            self.partition
        }
    }

    #[inline]
    fn outgoing<'a>(&'a self, record: &'a Record, headers: &'a [Header]) -> Outgoing<'a> {
        let key_start = record.start as usize;
        let value_start = key_start + record.key_len.max(0) as usize;
        let value = |len| &self.bytes[value_start..value_start + len as usize];
        Outgoing {
            partition: self.partition_of(record),
            key: (record.key_len >= 0).then(|| &self.bytes[key_start..value_start]),
            value: (record.value_len >= 0).then(|| value(record.value_len)),
            headers,
            opaque: std::ptr::from_ref(record).cast_mut().cast(),
        }
    }

    /// Counts the slab's records as accepted; once, when it leaves its lane.
    fn count(&self) {
        let bytes = self.bytes.len() as u64;
        self.topic
            .metrics
            .accepted(self.records.len() as u64, bytes);
        if let Some(events) = &self.topic.events {
            events.add(u64::from(self.framed));
        }
    }

    /// Fails every record of a slab that was never handed over. Returns (records, bytes) settled.
    pub(crate) fn fail(self, error: &crate::Error) -> (u64, u64) {
        self.count();
        self.topic
            .metrics
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
        self.outcomes.wake();
        for record in &self.records {
            if let Some(owner) = self.owners.get(record.owner) {
                owner.end(1);
            }
        }
        (self.records.len() as u64, bytes)
    }
}

impl Record {
    /// The bytes of the queue's budget that the record takes.
    fn cost(&self) -> u64 {
        (self.key_len.max(0) as u64) + (self.value_len.max(0) as u64) + RECORD_OVERHEAD_BYTES
    }
}

/// `empty`, or another where it has no room for that many.
fn with_room<T>(empty: Vec<T>, room: usize) -> Vec<T> {
    if empty.capacity() < room {
        Vec::with_capacity(room)
    } else {
        empty
    }
}

/// The memory of a settled slab, to be used again: pages that are mapped already.
#[derive(Default)]
pub(crate) struct Buffers {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

// SAFETY: `records` is empty, so there is no pointer in it.
unsafe impl Send for Buffers {}

/// A slab that librdkafka has pointers into. It is freed by whoever settles its last record, so it
/// must be handed over or settled to the end; see [`Settling`].
pub(crate) struct InFlight(NonNull<Slab>);

// SAFETY: the slab is only read through this, and its settling is atomic.
unsafe impl Send for InFlight {}

/// A record as librdkafka takes it.
pub(crate) struct Outgoing<'a> {
    pub(crate) partition: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
    /// The record's identity, to be passed as its opaque pointer.
    pub(crate) opaque: *mut std::ffi::c_void,
}

impl Outgoing<'_> {
    /// No fewer bytes than it has in a batch (`DefaultRecord` in Kafka's protocol).
    pub(crate) fn wire_len(&self) -> usize {
        const FIELDS: usize = 36;
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = self.headers.iter();
        let headers = headers.map(|one| one.name.len() + len(one.value.as_deref()) + 10);
        FIELDS + len(self.key) + len(self.value) + headers.sum::<usize>()
    }
}

impl InFlight {
    /// Freezes a slab: from here on its memory neither moves nor changes.
    pub(crate) fn new(slab: Slab) -> Self {
        slab.count();
        let mut slab = Box::new(slab);
        slab.unsettled = AtomicU32::new(slab.records.len() as u32);
        // The one pointer that the slab is read through and freed by from here on.
        let at = NonNull::from(Box::leak(slab));
        // SAFETY: it was just leaked, and nobody else has it yet.
        for record in unsafe { &mut (*at.as_ptr()).records } {
            record.slab = at.as_ptr();
        }
        InFlight(at)
    }

    pub(crate) fn slab(&self) -> &Slab {
        // SAFETY: alive while a record is unsettled, and the owner of an InFlight gives it up when
        // it has handed over the last one.
        unsafe { self.0.as_ref() }
    }

    /// The records from `from` up to `to`, to be watched once librdkafka has them.
    pub(crate) fn watched(&self, from: usize, to: usize) -> Watched {
        let slab = self.slab();
        Watched::new(slab, &slab.records[from..to])
    }

    /// The records from `from` on, as librdkafka takes them.
    pub(crate) fn outgoing(&self, from: usize) -> impl Iterator<Item = Outgoing<'_>> {
        let slab = self.slab();
        let first = slab
            .records
            .get(from)
            .map_or(u32::MAX, |record| record.index);
        let first = slab.headers.partition_point(|(index, _)| *index < first);
        let mut headers = slab.headers[first..].iter().peekable();
        slab.records[from..].iter().map(move |record| {
            let own = headers.next_if(|(index, _)| *index == record.index);
            slab.outgoing(record, own.map_or(&[], |(_, headers)| headers))
        })
    }
}

/// Settles records of handed-over slabs from their delivery reports, slab by slab.
///
/// Reports of one slab usually come one after the other; the slab's counter and waiters are
/// touched once for such a run, not once a record.
#[derive(Default)]
pub(crate) struct Settling {
    slab: Option<*const Slab>,
    owner: u16,
    run: u32,
    failed: u32,
    /// Records of the run that had their outcome already: see [`super::late`].
    late: u32,
    cost: u64,
}

/// What a run of settled records adds up to.
pub(crate) struct Settled {
    /// Without those that were booked when they expired.
    pub(crate) records: u64,
    /// What the records took of the queue's budget.
    pub(crate) cost: u64,
    /// Whose records they are, if they have an owner.
    pub(crate) owner: Option<Arc<Tally>>,
    /// The slab's memory, where this run was its last.
    pub(crate) buffers: Option<Buffers>,
}

/// Counts an outcome for the owner of the record behind `opaque`, before it is settled.
///
/// # Safety
/// `opaque` came from [`InFlight::outgoing`], and the record is not settled yet.
pub(crate) unsafe fn count_for_owner(opaque: *mut std::ffi::c_void, delivered: bool) {
    // SAFETY: by this function's contract the record and its slab are alive.
    let record = unsafe { &*opaque.cast_const().cast::<Record>() };
    if record.owner == NOBODY {
        return;
    }
    // SAFETY: as above.
    let slab = unsafe { &*record.slab };
    if let Some(owner) = slab.owners.get(record.owner) {
        owner.count(u64::from(delivered), u64::from(!delivered));
    }
}

/// A record of a slab that was handed over.
pub(crate) struct Found<'a> {
    record: &'a Record,
    slab: &'a Slab,
}

/// The record behind `opaque`.
///
/// # Safety
/// `opaque` came from [`InFlight::outgoing`], and the record is not settled for as long as what this
/// returns lives.
pub(crate) unsafe fn look_up<'a>(opaque: *mut std::ffi::c_void) -> Found<'a> {
    // SAFETY: by this function's contract the record and its slab are alive.
    let record = unsafe { &*opaque.cast_const().cast::<Record>() };
    // SAFETY: as above.
    let slab = unsafe { &*record.slab };
    Found { record, slab }
}

impl<'a> Found<'a> {
    pub(crate) fn topic(&self) -> &'a Arc<Topic> {
        &self.slab.topic
    }

    pub(crate) fn opened(&self) -> Instant {
        self.slab.opened
    }

    pub(crate) fn partition(&self) -> i32 {
        self.slab.partition_of(self.record)
    }

    /// Whether it has its outcome, although librdkafka's report on it is not settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.slab.outcomes.is_settled(self.record.index)
    }

    pub(crate) fn outgoing(&self) -> Outgoing<'a> {
        let index = self.record.index;
        let headers = &self.slab.headers;
        let own = headers.binary_search_by_key(&index, |(index, _)| *index);
        let own = own.ok().map_or(&[][..], |at| &headers[at].1);
        self.slab.outgoing(self.record, own)
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched::new(self.slab, std::slice::from_ref(self.record))
    }
}

/// Records of a slab in librdkafka whose time is running, and the outcomes that they have slots in.
pub(crate) struct Watched {
    outcomes: Arc<Outcomes>,
    /// Their indexes and opaques.
    records: Vec<(u32, *mut std::ffi::c_void)>,
}

// SAFETY: the pointers are followed by `expire` alone, under its contract.
unsafe impl Send for Watched {}

impl Watched {
    fn new(slab: &Slab, records: &[Record]) -> Self {
        let opaque = |record| std::ptr::from_ref::<Record>(record).cast_mut().cast();
        let records = records.iter();
        Watched {
            outcomes: Arc::clone(&slab.outcomes),
            records: records.map(|one| (one.index, opaque(one))).collect(),
        }
    }

    /// Keeps the first `count` records.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.records.truncate(count);
    }

    /// Drops what has its outcome at the end; whether anything is left.
    pub(crate) fn trim(&mut self) -> bool {
        let is_settled = |one: &mut (u32, _)| self.outcomes.is_settled(one.0);
        while self.records.pop_if(is_settled).is_some() {}
        !self.records.is_empty()
    }

    /// How many have no outcome.
    pub(crate) fn unsettled(&self) -> usize {
        let records = self.records.iter();
        records
            .filter(|(index, _)| !self.outcomes.is_settled(*index))
            .count()
    }

    /// Fails the records that librdkafka has and has not reported on; its reports count for nothing
    /// then. Returns what they add up to, to be booked: one for each run of records of one owner.
    ///
    /// # Safety
    /// Called where librdkafka's reports are settled, so that none is meanwhile.
    pub(crate) unsafe fn expire(&self, error: &crate::Error) -> Vec<Settled> {
        let mut runs = Vec::<Settled>::new();
        let mut last = None;
        for (index, opaque) in &self.records {
            if self.outcomes.is_settled(*index) {
                continue;
            }
            // SAFETY: its report is not settled, so the record and its slab are alive.
            let record = unsafe { &*opaque.cast_const().cast::<Record>() };
            // SAFETY: as above.
            let slab = unsafe { &*record.slab };
            slab.topic.metrics.failed(error.kind(), 1);
            let owner = slab.owners.get(record.owner);
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
                None => runs.push(Settled {
                    records: 1,
                    cost: record.cost(),
                    owner: owner.map(Arc::clone),
                    buffers: None,
                }),
            }
        }
        self.outcomes.wake();
        runs
    }
}

impl Settling {
    /// Settles the record behind `opaque`. Returns what the run before it added up to, where this
    /// record belongs to another slab.
    ///
    /// # Safety
    /// `opaque` came from [`InFlight::outgoing`], and this is the record's only settlement.
    pub(crate) unsafe fn settle(
        &mut self,
        opaque: *mut std::ffi::c_void,
        outcome: Result<(i32, i64, i64), &crate::Error>,
    ) -> Option<Settled> {
        // SAFETY: by this function's contract the record is alive: its slab is freed only after
        // its last record was settled and `finish` ran.
        let record = unsafe { &*opaque.cast_const().cast::<Record>() };
        // SAFETY: as above.
        let slab = unsafe { &*record.slab };
        let before = match self.slab {
            Some(current) if std::ptr::eq(current, record.slab) && self.owner == record.owner => {
                None
            }
            _ => self.finish(),
        };
        self.slab = Some(record.slab);
        self.owner = record.owner;
        self.run += 1;
        if slab.outcomes.is_settled(record.index) {
            self.late += 1;
            return before;
        }
        self.cost += record.cost();
        match outcome {
            Ok((partition, offset, timestamp_ms)) => {
                slab.outcomes
                    .deliver(record.index, partition, offset, timestamp_ms);
            }
            Err(error) => {
                self.failed += 1;
                slab.topic.metrics.failed(error.kind(), 1);
                slab.outcomes.fail(record.index, error);
            }
        }
        before
    }

    /// Ends the current run.
    pub(crate) fn finish(&mut self) -> Option<Settled> {
        let at = self.slab.take()?;
        let (run, cost) = (
            std::mem::take(&mut self.run),
            std::mem::take(&mut self.cost),
        );
        let failed = std::mem::take(&mut self.failed);
        let booked = run - std::mem::take(&mut self.late);
        let delivered = u64::from(booked - failed);
        // SAFETY: `run` records of this slab are not counted down yet, so nobody has freed it.
        let slab = unsafe { &*at };
        if delivered > 0 {
            let bytes = cost.saturating_sub(u64::from(booked) * RECORD_OVERHEAD_BYTES);
            slab.topic
                .metrics
                .delivered(delivered, bytes, slab.opened.elapsed());
        }
        slab.outcomes.wake();
        let owner = slab.owners.get(self.owner).map(Arc::clone);
        let buffers = (slab.unsettled.fetch_sub(run, Ordering::AcqRel) == run).then(|| {
            // SAFETY: the last record is settled, so librdkafka and every other settler are done
            // with the slab; it was leaked by `InFlight::new`.
            let slab = unsafe { Box::from_raw(at.cast_mut()) };
            let Slab {
                mut bytes,
                mut records,
                ..
            } = *slab;
            bytes.clear();
            records.clear();
            Buffers { bytes, records }
        });
        Some(Settled {
            records: u64::from(booked),
            cost,
            owner,
            buffers,
        })
    }
}

//! Records as they were fetched: a batch of them, borrowed one by one.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::decoding::{self, Rewritten, placed};
use super::owned::{OwnedRecord, Undecodable};
use super::position::{Position, TopicPartition};
use super::progress::Run;
use super::reader_id::ReaderId;
use super::shared::{KnownTopic, Shared};
use super::waiting::Prepared;
use crate::codec::{Leniency, WireFormat};
use crate::events::{EncodedEvent, Event, TypedEvent};
use crate::kafka::{Message, Messages};
use crate::{Error, Result};

/// Records that were fetched, still in the memory they arrived in.
///
/// The thread or task that received a batch acknowledges its records by dropping it and reading on;
/// see the [module](super). Whoever else drops it acknowledges nothing: call
/// [`acknowledge`](Self::acknowledge) there.
pub struct Batch {
    messages: Messages,
    runs: Vec<BatchRun>,
    rewritten: Rewritten,
    prepared: Prepared,
    shared: Arc<Shared>,
    reader: ReaderId,
    /// Batches that are given back are handed out again in the order of these numbers.
    number: u64,
}

/// What a batch is made of, while no reader has it.
pub(super) struct Fetched {
    pub(super) messages: Messages,
    pub(super) runs: Vec<BatchRun>,
    pub(super) prepared: Prepared,
    pub(super) number: u64,
}

/// Neighbours of one partition in a batch.
pub(super) struct BatchRun {
    pub(super) records: Range<usize>,
    pub(super) topic: Arc<KnownTopic>,
    pub(super) partition: TopicPartition,
    pub(super) run: Arc<Run>,
}

impl Fetched {
    /// Keeps the records of runs for which `keep` holds, and drops those that are in no run.
    pub(super) fn keep(&mut self, keep: impl Fn(&BatchRun) -> bool) {
        self.runs.retain(keep);
        let (mut index, mut run) = (0, 0);
        self.messages.retain(|_| {
            while self
                .runs
                .get(run)
                .is_some_and(|run| run.records.end <= index)
            {
                run += 1;
            }
            let kept = self
                .runs
                .get(run)
                .is_some_and(|run| run.records.contains(&index));
            index += 1;
            kept
        });
        let mut start = 0;
        for run in &mut self.runs {
            let end = start + run.records.len();
            run.records = start..end;
            start = end;
        }
    }
}

impl Batch {
    pub(super) fn new(fetched: Fetched, shared: Arc<Shared>, reader: ReaderId) -> Self {
        for run in &fetched.runs {
            run.run.set_idle(false);
        }
        Batch {
            messages: fetched.messages,
            runs: fetched.runs,
            rewritten: Rewritten::default(),
            prepared: fetched.prepared,
            shared,
            reader,
            number: fetched.number,
        }
    }

    /// How many records there are: at least one.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Never true; here for completeness.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, those of one partition in the order of their offsets.
    pub fn iter(&self) -> Records<'_> {
        Records {
            batch: self,
            index: 0,
            run: 0,
        }
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let run = self.runs.partition_point(|run| run.records.end <= index);
        Some(Record {
            message: self.messages.get(index)?,
            batch: self,
            run: self.runs.get(run)?,
            index,
        })
    }

    /// The partitions that records are from, each once.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let mut partitions: Vec<_> = self.runs.iter().map(|run| run.partition.clone()).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Acknowledges every record, without waiting for the reader to read on.
    pub fn acknowledge(mut self) {
        let runs = std::mem::take(&mut self.runs);
        self.shared
            .progress
            .handled(runs.iter().map(|run| &run.run));
    }

    /// Leaves the records to the partition's next owner, such as this service after a restart:
    /// nothing of their partitions is committed from here on. To read them again at once,
    /// [`give_back`](Self::give_back) the batch.
    pub fn abandon(mut self) {
        self.leave_idle();
    }

    /// Has the next read, of whichever reader, give these records again. Those acknowledged one by
    /// one do not come again.
    pub fn give_back(self) {
        self.give_back_from(0);
    }

    /// As [`give_back`](Self::give_back), of the records from `index` on. Those before are left to
    /// the reader as if the batch ended with them.
    pub(super) fn give_back_from(mut self, index: usize) {
        let runs = std::mem::take(&mut self.runs);
        let fetched = Fetched {
            messages: std::mem::take(&mut self.messages),
            runs,
            prepared: std::mem::take(&mut self.prepared),
            number: self.number,
        };
        self.shared.take_back(fetched, index);
    }

    /// Leaves the records up to the one at `last` to the reader, which acknowledges them by reading
    /// on.
    pub(super) fn release_to(&self, last: usize) {
        let Some(record) = self.get(last) else {
            return;
        };
        let run = Arc::clone(&record.run.run);
        let released = [(run, record.offset() + 1)];
        self.shared.progress.released(&self.reader, released);
    }

    pub(super) fn is_dropped_by_its_reader(&self) -> bool {
        // A panic on its way up may have left any of the records unprocessed.
        !std::thread::panicking() && self.reader.is_here()
    }

    fn leave_idle(&mut self) {
        for run in self.runs.drain(..) {
            run.run.set_idle(true);
        }
        self.shared.progress.notify();
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = Position> {
        self.runs.iter().map(|run| Position {
            partition: run.partition.clone(),
            next_offset: run.run.end(),
            leader_epoch: run.run.leader_epoch(),
        })
    }

    pub(super) fn runs(&self) -> &[BatchRun] {
        &self.runs
    }

    pub(super) fn record_of_run(&self, run: usize, index: usize) -> Option<Record<'_>> {
        let message = self.messages.get(index)?;
        Some(Record {
            message,
            batch: self,
            run: self.runs.get(run)?,
            index,
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.runs.is_empty() {
            return;
        }
        if self.is_dropped_by_its_reader() {
            let runs = self.runs.drain(..).map(|run| {
                let end = run.run.end();
                (run.run, end)
            });
            self.shared.progress.released(&self.reader, runs);
        } else {
            self.leave_idle();
        }
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

/// How many records ahead the processor is asked for a record, and for its bytes: they were
/// written by another core, and waiting for them would take as long as decoding them.
const PREFETCH: usize = 4;

/// The records of a batch.
#[derive(Clone)]
pub struct Records<'b> {
    batch: &'b Batch,
    index: usize,
    run: usize,
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    #[inline]
    fn next(&mut self) -> Option<Record<'b>> {
        let index = self.index;
        while self.batch.runs.get(self.run)?.records.end <= index {
            self.run += 1;
        }
        if let Some(later) = self.batch.messages.get(index + PREFETCH) {
            later.prefetch();
        }
        self.index += 1;
        self.batch.record_of_run(self.run, index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len() - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Records<'_> {}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("left", &self.len())
            .finish_non_exhaustive()
    }
}

/// One record of a batch. Looking at it copies nothing.
#[derive(Clone, Copy)]
pub struct Record<'b> {
    message: Message<'b>,
    batch: &'b Batch,
    run: &'b BatchRun,
    index: usize,
}

impl<'b> Record<'b> {
    /// The topic that it was read from.
    #[inline]
    pub fn topic(&self) -> &'b str {
        &self.run.partition.topic
    }

    /// The partition that it was read from.
    #[inline]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// Its offset in the partition.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// The record's own timestamp in milliseconds UTC: when it was made or, where the topic is set
    /// to that, appended.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp_ms()
    }

    /// Its key as it was written: UTF-8 text in every record of ours.
    #[inline]
    pub fn key(&self) -> Option<&'b [u8]> {
        self.message.key()
    }

    /// Whether it is a tombstone: a record without a value, with which a compacted topic deletes what
    /// has the same key. It has no event, and that is no fault: ask before [`event`](Self::event).
    #[inline]
    pub fn is_tombstone(&self) -> bool {
        self.value().is_none()
    }

    /// Its value as it was written; `None` for a [tombstone](Self::is_tombstone).
    #[inline]
    pub fn value(&self) -> Option<&'b [u8]> {
        self.message.value()
    }

    /// Its headers, in the order in which they were written.
    pub fn headers(&self) -> impl Iterator<Item = RecordHeader<'b>> + use<'b> {
        let message = self.message;
        (0..).map_while(move |index| {
            let (name, value) = message.header(index)?;
            Some(RecordHeader {
                name: std::str::from_utf8(name).unwrap_or_default(),
                value,
            })
        })
    }

    /// The value of the last header of that name: Kafka allows several.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers()
            .filter(|header| header.name == name)
            .last()?
            .value
    }

    /// The event, decoded now, borrowing from the record. Any of the twelve, whatever topic it is
    /// on.
    ///
    /// # Errors
    ///
    /// Each names `topic`, `partition` and `offset`; the record's bytes stay where they are, and
    /// reading goes on.
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable): the bytes are no event, or the
    /// record is a [tombstone](Self::is_tombstone), which the metrics do not count as undecodable.
    /// [`ErrorKind::IncompatibleSchema`](crate::ErrorKind::IncompatibleSchema): an event of another
    /// writer that ours cannot stand for.
    #[inline]
    pub fn event(&self) -> Result<Event<'b>> {
        let event = match self.run.topic.ours {
            Some(topic) => self
                .batch
                .shared
                .decoding
                .body(topic, self)
                .and_then(|body| decoding::event(topic, body)),
            None => self
                .batch
                .shared
                .decoding
                .body_of_any(self)
                .and_then(|(topic, body)| decoding::event(topic, body)),
        };
        event.map_err(|error| self.undecodable(error))
    }

    /// The event as one of type `E`, decoded now, borrowing from the record.
    ///
    /// # Errors
    ///
    /// Those of [`event`](Self::event); a record that holds another event is one of them.
    #[inline]
    pub fn typed<E: TypedEvent>(&self) -> Result<E::Of<'b>> {
        let body = self.batch.shared.decoding.body(E::TOPIC, self);
        body.and_then(|body| E::decode(body))
            .map_err(|error| self.undecodable(error))
    }

    /// Acknowledges this record and those of the batch before it in its partition, for a reader
    /// that may not get to the end of the batch.
    pub fn acknowledge(&self) {
        self.run.run.handled_to(self.offset() + 1);
        if self.run.records.end == self.index + 1 {
            self.batch.shared.progress.notify();
        }
    }

    /// The event as a copy of its Avro body, checked now and taken apart when it is looked at.
    ///
    /// # Errors
    ///
    /// Those of [`event`](Self::event).
    pub fn encoded(&self) -> Result<EncodedEvent> {
        let decoding = &self.batch.shared.decoding;
        let body = match self.run.topic.ours {
            Some(topic) => decoding.body(topic, self).map(|body| (topic, body)),
            None => decoding.body_of_any(self),
        };
        body.and_then(|(topic, body)| EncodedEvent::from_body(topic, body))
            .map_err(|error| self.undecodable(error))
    }

    /// A copy that lives on its own, with the event decoded.
    pub fn to_owned(&self) -> OwnedRecord<Event<'static>> {
        self.owned(self.event().map(Event::into_owned))
    }

    /// As [`to_owned`](Self::to_owned), with an event of one type.
    pub fn to_typed<E: TypedEvent>(&self) -> OwnedRecord<E::Of<'static>> {
        self.owned(self.typed::<E>().map(E::Of::into_owned))
    }

    fn owned<E>(&self, event: Result<E>) -> OwnedRecord<E> {
        let headers = self
            .headers()
            .map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)));
        OwnedRecord {
            partition: self.run.partition.clone(),
            offset: self.offset(),
            timestamp_ms: self.timestamp_ms(),
            key: self.key().map(<[u8]>::to_vec),
            headers: headers.collect(),
            event: event.map_err(|error| {
                let value = self.value().map(<[u8]>::to_vec);
                Box::new(Undecodable { error, value })
            }),
            leader_epoch: self.run.run.leader_epoch(),
        }
    }

    pub(super) fn position_behind(&self) -> Position {
        Position {
            partition: self.run.partition.clone(),
            next_offset: self.offset() + 1,
            leader_epoch: self.run.run.leader_epoch(),
        }
    }

    #[cold]
    fn undecodable(&self, error: Error) -> Error {
        if !self.is_tombstone() {
            self.run.topic.metrics.undecodable(1);
        }
        placed(error, self)
    }

    pub(super) fn mended(&self, leniency: Leniency) {
        if let Some(fields) = decoding::unknown_fields(leniency) {
            self.run.topic.metrics.unknown_json_fields(fields);
        }
    }

    /// Fails with why the schema that the record names cannot be had or read.
    pub(super) fn refusal(&self, format: WireFormat) -> Result<()> {
        let refused = self.batch.prepared.refused.get(&format);
        refused.map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether records of the batch name their schema in a header.
    pub(super) fn by_header(&self) -> bool {
        self.batch.prepared.by_header
    }

    pub(super) fn rewritten(&self) -> &'b Rewritten {
        &self.batch.rewritten
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn batch_len(&self) -> usize {
        self.batch.len()
    }

    /// An event id for a record whose writer gave none: the same each time that it is read, and no
    /// other record's. A UUID of version 8, whose content RFC 9562 leaves to us.
    pub(super) fn own_id(&self) -> String {
        let topic = self
            .topic()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let place = (u64::from(self.partition().unsigned_abs()) << 48) ^ self.offset() as u64;
        format!(
            "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
            topic >> 32,
            topic >> 16 & 0xffff,
            topic & 0xfff,
            0x8000 | place >> 48 & 0x3fff,
            place & 0xffff_ffff_ffff,
        )
    }
}

/// Its place; never its key, value or headers.
impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader<'b> {
    /// Its name.
    pub name: &'b str,
    /// Its value, which may be missing.
    pub value: Option<&'b [u8]>,
}

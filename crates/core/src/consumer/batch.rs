//! Records as they were fetched: a batch of them, borrowed one by one.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::decoding::{self, Rewritten, placed};
use super::owned::{OwnedRecord, Undecodable};
use super::position::{Position, TopicPartition};
use super::progress::Run;
use super::shared::{KnownTopic, Shared};
use super::waiting::Prepared;
use crate::codec::{Leniency, WireFormat};
use crate::events::{EncodedEvent, Event, TypedEvent};
use crate::kafka::{Message, Messages};
use crate::{Error, Result};

/// Records that were fetched, still in the memory they arrived in.
///
/// Dropping a batch and asking for the next says that its records are handled, and so does closing
/// the consumer; see the [module](super) for what else does and does not.
pub struct Batch {
    messages: Messages,
    runs: Vec<BatchRun>,
    rewritten: Rewritten,
    prepared: Prepared,
    shared: Arc<Shared>,
}

/// Neighbours of one partition in a batch.
pub(super) struct BatchRun {
    pub(super) records: Range<usize>,
    pub(super) topic: Arc<KnownTopic>,
    pub(super) partition: TopicPartition,
    pub(super) run: Arc<Run>,
}

impl Batch {
    pub(super) fn new(
        messages: Messages,
        runs: Vec<BatchRun>,
        prepared: Prepared,
        shared: Arc<Shared>,
    ) -> Self {
        Batch {
            messages,
            runs,
            rewritten: Rewritten::default(),
            prepared,
            shared,
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

    /// Says that every record is handled, without waiting for the next batch to be asked for.
    pub fn acknowledge(mut self) {
        let runs = std::mem::take(&mut self.runs);
        self.shared
            .progress
            .handled(runs.iter().map(|run| &run.run));
    }

    /// Says that the records are not handled. Nothing of their partitions is committed from here
    /// on, so that whoever gets the partitions next, such as this service after a restart, reads
    /// them again. To read them again at once, [`seek`](super::EventConsumer::seek) to them.
    pub fn abandon(mut self) {
        self.runs.clear();
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
}

impl Drop for Batch {
    fn drop(&mut self) {
        // A panic on its way up may have left any of the records unhandled.
        if !std::thread::panicking() {
            self.shared
                .progress
                .released(self.runs.drain(..).map(|run| run.run));
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

    /// Its value as it was written; `None` for a tombstone, with which a compacted topic deletes
    /// what has the same key.
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
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable): the bytes are no event, or there
    /// are none. [`ErrorKind::IncompatibleSchema`](crate::ErrorKind::IncompatibleSchema): an event
    /// of another writer that ours cannot stand for.
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

    /// Says that this record and those before it in its partition are handled, for who may not get
    /// to the end of the batch.
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
        self.run.topic.metrics.undecodable(1);
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

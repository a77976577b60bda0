//! The records of a batch: their data. Their events are in `decode`.

use std::fmt;

use super::fetched::{Fetched, Segment};
use super::position::{Offsets, Position};
use crate::kafka::Message;

/// The records of a batch, in order.
#[derive(Clone)]
pub struct Records<'b> {
    fetched: &'b Fetched,
    index: usize,
    segment: usize,
}

impl<'b> Records<'b> {
    pub(super) fn new(fetched: &'b Fetched) -> Self {
        Records {
            fetched,
            index: 0,
            segment: 0,
        }
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    #[inline]
    fn next(&mut self) -> Option<Record<'b>> {
        let index = self.index;
        while self.fetched.segments.get(self.segment)?.records.end <= index {
            self.segment += 1;
        }
        self.fetched.messages.prefetch_from(index);
        self.index += 1;
        Record::new(self.fetched, self.segment, index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.fetched.messages.len() - self.index;
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

/// One record of a batch. It borrows from the batch and copies nothing.
#[derive(Clone, Copy)]
pub struct Record<'b> {
    pub(super) message: Message<'b>,
    pub(super) fetched: &'b Fetched,
    pub(super) segment: &'b Segment,
    pub(super) index: usize,
}

impl<'b> Record<'b> {
    /// The record at `index`, which is in the segment of that number.
    #[inline]
    pub(super) fn new(fetched: &'b Fetched, segment: usize, index: usize) -> Option<Self> {
        Some(Record {
            message: fetched.messages.get(index)?,
            fetched,
            segment: fetched.segments.get(segment)?,
            index,
        })
    }

    /// The topic that it was read from.
    #[inline]
    pub fn topic(&self) -> &'b str {
        &self.segment.partition.topic
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

    /// The record's own timestamp in milliseconds UTC: when it was produced or, if the topic is
    /// configured so, appended.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp_ms()
    }

    /// Its key as it was written: UTF-8 text in every record of this library.
    #[inline]
    pub fn key(&self) -> Option<&'b [u8]> {
        self.message.key()
    }

    /// Whether it is a tombstone: a record without a value, with which a compacted topic deletes what
    /// has the same key. It has no event: ask before [`event`](Self::event).
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

    /// Acknowledges this record and those of the batch before it in its partition, for a reader
    /// that may not get to the end of the batch.
    pub fn acknowledge(&self) {
        self.segment.run.acknowledge_to(self.offset() + 1);
        if self.segment.records.end == self.index + 1 {
            self.fetched.progress.notify();
        }
    }
}

/// Behind the record.
impl From<&Record<'_>> for Offsets {
    fn from(record: &Record<'_>) -> Self {
        Offsets::from(Position {
            partition: record.segment.partition.clone(),
            next_offset: record.offset() + 1,
            leader_epoch: record.segment.run.leader_epoch(),
        })
    }
}

/// Its position; never its key, value or headers.
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

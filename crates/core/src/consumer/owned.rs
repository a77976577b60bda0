//! Records that own their memory.

use std::fmt;

use super::position::{Offsets, Position, TopicPartition};
use crate::Error;
use crate::events::Event;

/// A record copied out of its batch, with the event decoded.
#[derive(Clone)]
pub struct OwnedRecord<E = Event<'static>> {
    /// Where it was read from.
    pub partition: TopicPartition,
    /// Its offset in the partition.
    pub offset: i64,
    /// The record's own timestamp in milliseconds UTC.
    pub timestamp_ms: Option<i64>,
    /// Its key as it was written.
    pub key: Option<Vec<u8>>,
    /// Its headers, in the order in which they were written.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The event, or why it cannot be decoded; ask [`is_tombstone`](Self::is_tombstone) before.
    pub event: Result<E, Box<Undecodable>>,
    pub(super) leader_epoch: Option<i32>,
}

/// A record that could not be decoded.
#[derive(Clone)]
pub struct Undecodable {
    /// Why; names `topic`, `partition` and `offset`.
    pub error: Error,
    /// The record's value as it was written; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

impl<E> OwnedRecord<E> {
    /// The topic that it was read from.
    pub fn topic(&self) -> &str {
        &self.partition.topic
    }

    /// Whether it is a tombstone: a record without a value and so without an event.
    pub fn is_tombstone(&self) -> bool {
        let undecodable = self.event.as_ref().err();
        undecodable.is_some_and(|undecodable| undecodable.value.is_none())
    }

    /// The value of the last header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self
            .headers
            .iter()
            .rev()
            .find(|(header, _)| header == name)?;
        value.as_deref()
    }

    /// The event without its record.
    ///
    /// # Errors
    ///
    /// Why it cannot be decoded.
    pub fn into_event(self) -> Result<E, Error> {
        self.event.map_err(|undecodable| undecodable.error)
    }
}

/// Behind the record.
impl<E> From<&OwnedRecord<E>> for Offsets {
    fn from(record: &OwnedRecord<E>) -> Self {
        Offsets::from(Position {
            partition: record.partition.clone(),
            next_offset: record.offset + 1,
            leader_epoch: record.leader_epoch,
        })
    }
}

/// Its position and its event; never its key, its headers or undecodable bytes.
impl<E: fmt::Debug> fmt::Debug for OwnedRecord<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRecord")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("timestamp_ms", &self.timestamp_ms)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecodable")
            .field("error", &self.error)
            .field("bytes", &self.value.as_ref().map_or(0, Vec::len))
            .finish()
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Undecodable {}

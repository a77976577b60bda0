//! Partitions, and positions in them.

use std::fmt;
use std::sync::Arc;

use crate::kafka::{PartitionEntry, PartitionList};

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

/// `topic-3`, as Kafka's own tools write it.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where reading goes on in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset of the next record to read: one more than that of the last one processed.
    pub next_offset: i64,
    /// The leader epoch of the record before, by which a broker notices that its log was cut.
    pub(super) leader_epoch: Option<i32>,
}

/// Positions, to commit or to seek to. A batch or a record converts into the position behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offsets {
    pub(super) positions: Vec<Position>,
}

impl Offsets {
    /// The record at `next_offset` is the next to read in a partition.
    pub fn at(topic: impl Into<Arc<str>>, partition: i32, next_offset: i64) -> Self {
        Offsets::default().and(topic, partition, next_offset)
    }

    /// Adds a position in another partition.
    #[must_use]
    pub fn and(mut self, topic: impl Into<Arc<str>>, partition: i32, next_offset: i64) -> Self {
        self.positions.push(Position {
            partition: TopicPartition::new(topic, partition),
            next_offset,
            leader_epoch: None,
        });
        self
    }

    /// Every position.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Position> {
        self.positions.iter()
    }

    /// Whether there is no position.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    pub(super) fn to_list(&self) -> PartitionList {
        let mut list = PartitionList::new();
        for position in &self.positions {
            let TopicPartition { topic, partition } = &position.partition;
            list.push(
                topic,
                *partition,
                position.next_offset,
                position.leader_epoch,
            );
        }
        list
    }
}

impl From<Vec<Position>> for Offsets {
    fn from(positions: Vec<Position>) -> Self {
        Offsets { positions }
    }
}

impl From<Position> for Offsets {
    fn from(position: Position) -> Self {
        Offsets {
            positions: vec![position],
        }
    }
}

impl From<PartitionEntry<'_>> for TopicPartition {
    fn from(entry: PartitionEntry<'_>) -> Self {
        TopicPartition::new(entry.topic, entry.partition)
    }
}

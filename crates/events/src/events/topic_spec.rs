//! A topic's row in the topic table.

use std::fmt;
use std::time::Duration;

use super::topic::Topic;

/// One row of the topic table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSpec {
    /// The topic.
    pub topic: Topic,
    /// Its name in Kafka.
    pub name: &'static str,
    /// The record that it carries.
    pub record: &'static str,
    /// The record's schema, as Avro's JSON.
    pub schema_json: &'static str,
    /// The schema's CRC-64-AVRO fingerprint.
    pub fingerprint: u64,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many brokers hold each partition.
    pub replication_factor: i32,
    /// How many of them must have written a record before it is acknowledged
    /// (`min.insync.replicas`).
    pub min_insync_replicas: i32,
    /// How long records are kept (`retention.ms`).
    pub retention: Duration,
    /// What the broker does with old records (`cleanup.policy`).
    pub cleanup_policy: CleanupPolicy,
    /// How batches are compressed (`compression.type`).
    pub compression: &'static str,
    /// The template of the record's key, such as `{component}/{configKey}`; `{a|b}` is the first of
    /// two fields that is not null.
    pub key: &'static str,
    /// The team that owns it.
    pub owner: &'static str,
    /// The part of the platform that its events are about.
    pub group: TopicGroup,
}

impl TopicSpec {
    /// The subject of its schemas in a registry: `<topic>-value`.
    pub fn subject(&self) -> String {
        format!("{}-value", self.name)
    }
}

/// What a broker does with old records: Kafka's `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CleanupPolicy {
    /// They are deleted after the retention time.
    Delete,
    /// The newest record of each key is kept.
    Compact,
    /// Both: the newest of each key, until the retention time ends.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// The value of `cleanup.policy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactAndDelete => "compact,delete",
        }
    }
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The part of the platform that a topic's events are about, which is in its record's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicGroup {
    /// Datasets and the jobs that make them.
    Data,
    /// Services, deployments, configuration and security.
    System,
    /// Which user or service did what.
    Audit,
}

impl TopicGroup {
    /// The group's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            TopicGroup::Data => "data",
            TopicGroup::System => "system",
            TopicGroup::Audit => "audit",
        }
    }
}

impl fmt::Display for TopicGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

//! The metrics as plain values, for programs and for JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::histogram::Distribution;
use super::{Counter, Inner, TopicMetrics};
use crate::ErrorKind;

/// Every number as it stood at one time. Numbers of different counters may be a few microseconds
/// apart; no record is ever seen delivered before it is seen accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Numbers by topic, in the order of their names.
    pub topics: Vec<TopicSnapshot>,
    /// Accepted events by type.
    pub events: BTreeMap<String, u64>,
    /// What is still to be read, by partition.
    pub lag: Vec<LagSnapshot>,
    /// Produce requests that were sent again.
    pub retries: u64,
    /// Commits that succeeded.
    pub commits: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// What the schema registry was asked.
    pub registry: RegistrySnapshot,
}

/// The numbers of one topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TopicSnapshot {
    /// The topic's name.
    pub topic: String,
    /// Records taken into the queue.
    pub accepted: u64,
    /// Their keys' and values' bytes.
    pub accepted_bytes: u64,
    /// Records acknowledged.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Records given up.
    pub failed: u64,
    /// Records given up, by the kind of the error.
    pub failed_by_kind: BTreeMap<&'static str, u64>,
    /// Records accepted that are neither delivered nor failed.
    pub in_flight: u64,
    /// Batches handed over.
    pub batches: u64,
    /// Records in a batch, on average.
    pub mean_batch_records: f64,
    /// How often a caller waited for room in the queue.
    pub blocked: u64,
    /// For how long in all, in seconds.
    pub blocked_seconds: f64,
    /// From accepted to acknowledged.
    pub delivery_latency: LatencySnapshot,
    /// Records read.
    pub consumed: u64,
    /// Their bytes.
    pub consumed_bytes: u64,
    /// Records read without a value.
    pub tombstones: u64,
    /// Records read that have a value and are no event.
    pub undecodable: u64,
    /// Fields of JSON events that their record does not have.
    pub unknown_json_fields: u64,
}

/// A latency's distribution, in seconds. Quantiles are at most a sixteenth too high.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct LatencySnapshot {
    /// How many were measured.
    pub count: u64,
    /// The average.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// What 99 % do not exceed.
    pub p99: f64,
    /// What 99.9 % do not exceed.
    pub p999: f64,
}

/// What a consumer has still to read of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LagSnapshot {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Records between the consumer's position and the partition's end.
    pub records: i64,
}

/// What the schema registry was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RegistrySnapshot {
    /// HTTP calls, retries included.
    pub calls: u64,
    /// Calls that failed, by the kind of the error.
    pub errors: BTreeMap<&'static str, u64>,
}

impl MetricsSnapshot {
    /// The numbers of one topic, if it has any.
    pub fn topic(&self, name: &str) -> Option<&TopicSnapshot> {
        self.topics.iter().find(|topic| topic.topic == name)
    }
}

pub(super) fn take(metrics: &Inner) -> MetricsSnapshot {
    let _undisturbed = crate::fork::undisturbed();
    let topics = metrics.topics.read();
    let lag = metrics.lag.lock();
    MetricsSnapshot {
        topics: topics
            .iter()
            .map(|(name, topic)| topic_snapshot(name, topic))
            .collect(),
        events: metrics
            .events
            .read()
            .iter()
            .map(|(n, count)| (n.clone(), count.get()))
            .collect(),
        lag: lag
            .iter()
            .map(|((topic, partition), records)| LagSnapshot {
                topic: topic.clone(),
                partition: *partition,
                records: *records,
            })
            .collect(),
        retries: metrics.retries.get(),
        commits: metrics.commits.get(),
        failed_commits: metrics.failed_commits.get(),
        registry: RegistrySnapshot {
            calls: metrics.registry_calls.get(),
            errors: by_kind(&metrics.registry_errors),
        },
    }
}

fn topic_snapshot(name: &str, topic: &TopicMetrics) -> TopicSnapshot {
    // Outcomes are read before what was accepted, so that their difference is never negative.
    let latency = topic.latency_micros.read();
    let batches = topic.batch_records.read();
    let (delivered, failed) = (topic.delivered_records(), topic.failed_records());
    let accepted = topic.accepted.get();
    TopicSnapshot {
        topic: name.to_owned(),
        accepted,
        accepted_bytes: topic.accepted_bytes.get(),
        delivered,
        delivered_bytes: topic.delivered_bytes.get(),
        failed,
        failed_by_kind: by_kind(&topic.failed),
        in_flight: accepted.saturating_sub(delivered + failed),
        batches: batches.count(),
        mean_batch_records: mean(&batches),
        blocked: topic.blocked.get(),
        blocked_seconds: seconds(topic.blocked_micros.get()),
        delivery_latency: latency_snapshot(&latency),
        consumed: topic.consumed.get(),
        consumed_bytes: topic.consumed_bytes.get(),
        tombstones: topic.tombstones.get(),
        undecodable: topic.undecodable.get(),
        unknown_json_fields: topic.unknown_json_fields.get(),
    }
}

fn latency_snapshot(micros: &Distribution) -> LatencySnapshot {
    LatencySnapshot {
        count: micros.count(),
        mean: mean(micros) / 1e6,
        p50: seconds(micros.quantile(0.5)),
        p99: seconds(micros.quantile(0.99)),
        p999: seconds(micros.quantile(0.999)),
    }
}

fn mean(values: &Distribution) -> f64 {
    match values.count() {
        0 => 0.0,
        count => values.sum() as f64 / count as f64,
    }
}

pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The kinds that were counted at least once.
pub(super) fn by_kind(counters: &[Counter]) -> BTreeMap<&'static str, u64> {
    let counted = ErrorKind::ALL
        .iter()
        .zip(counters)
        .map(|(kind, count)| (kind.as_str(), count.get()));
    counted.filter(|(_, count)| *count > 0).collect()
}

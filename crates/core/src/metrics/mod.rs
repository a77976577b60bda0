//! Counters and latencies, always on and cheap enough for it: a batch of records costs a handful of
//! relaxed additions, whatever its size.
//!
//! ```text
//! producer, consumer --> TopicMetrics (one a topic, looked up once)  \
//! registry client   --> Metrics::registry_call                        > Metrics::snapshot() --> JSON
//! consumer          --> Metrics::lag, Metrics::committed             /      to_prometheus() --> text
//! ```
//!
//! A [`Metrics`] is a handle: clones count together. Give one to every producer and consumer of a
//! process and serve its [`Metrics::to_prometheus`] as that process' metrics.
//!
//! Every accepted record is later counted as delivered or as failed, so records in flight need no
//! counter of their own: they are what was accepted and is neither.

mod histogram;
mod prometheus;
mod snapshot;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use histogram::Histogram;
pub use snapshot::{
    LagSnapshot, LatencySnapshot, MetricsSnapshot, RegistrySnapshot, TopicSnapshot,
};

use crate::sync::{Mutex, RwLock};
use crate::{ErrorKind, fork};

/// How many topics and event types are told apart; those that come later are counted as `other`, so
/// that topic names taken from data cannot fill the memory.
const MAX_NAMES: usize = 256;
const OTHER: &str = "other";
const KINDS: usize = ErrorKind::ALL.len();

/// A handle to a set of metrics; clones count together.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    topics: RwLock<BTreeMap<String, Arc<TopicMetrics>>>,
    events: RwLock<BTreeMap<String, Arc<Counter>>>,
    lag: Mutex<BTreeMap<(String, i32), i64>>,
    retries: Counter,
    commits: Counter,
    failed_commits: Counter,
    registry_calls: Counter,
    registry_errors: [Counter; KINDS],
}

/// A number that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The metrics of one topic. Aligned so that two topics' counters share no cache line.
#[repr(align(128))]
pub struct TopicMetrics {
    accepted: Counter,
    accepted_bytes: Counter,
    delivered: Counter,
    delivered_bytes: Counter,
    failed: [Counter; KINDS],
    blocked: Counter,
    blocked_micros: Counter,
    latency_micros: Histogram,
    batch_records: Histogram,
    consumed: Counter,
    consumed_bytes: Counter,
    tombstones: Counter,
    undecodable: Counter,
    unknown_json_fields: Counter,
}

impl TopicMetrics {
    fn new() -> Self {
        TopicMetrics {
            accepted: Counter::default(),
            accepted_bytes: Counter::default(),
            delivered: Counter::default(),
            delivered_bytes: Counter::default(),
            failed: Default::default(),
            blocked: Counter::default(),
            blocked_micros: Counter::default(),
            latency_micros: Histogram::new(),
            batch_records: Histogram::new(),
            consumed: Counter::default(),
            consumed_bytes: Counter::default(),
            tombstones: Counter::default(),
            undecodable: Counter::default(),
            unknown_json_fields: Counter::default(),
        }
    }

    /// Records were taken into the queue. To be counted before their outcome can be.
    pub fn accepted(&self, records: u64, bytes: u64) {
        self.accepted.add(records);
        self.accepted_bytes.add(bytes);
    }

    /// A batch was handed to librdkafka.
    pub fn batch(&self, records: u64) {
        self.batch_records.record(records, 1);
    }

    /// Records were acknowledged, `latency` after they were accepted.
    pub fn delivered(&self, records: u64, bytes: u64, latency: Duration) {
        self.delivered.add(records);
        self.delivered_bytes.add(bytes);
        self.latency_micros.record(micros(latency), records);
    }

    /// Records were given up.
    pub fn failed(&self, kind: ErrorKind, records: u64) {
        self.failed[kind as usize].add(records);
    }

    /// A caller waited for room in the queue.
    pub fn blocked(&self, waited: Duration) {
        self.blocked.add(1);
        self.blocked_micros.add(micros(waited));
    }

    /// Records were read.
    pub fn consumed(&self, records: u64, bytes: u64) {
        self.consumed.add(records);
        self.consumed_bytes.add(bytes);
    }

    /// Records without a value were read.
    pub fn tombstones(&self, records: u64) {
        self.tombstones.add(records);
    }

    /// Records were read that have a value and are no event.
    pub fn undecodable(&self, records: u64) {
        self.undecodable.add(records);
    }

    /// JSON events had fields that their record does not have.
    pub fn unknown_json_fields(&self, fields: u64) {
        self.unknown_json_fields.add(fields);
    }

    /// Records delivered so far.
    pub fn delivered_records(&self) -> u64 {
        self.delivered.get()
    }

    /// Records given up so far.
    pub fn failed_records(&self) -> u64 {
        self.failed.iter().map(Counter::get).sum()
    }
}

impl Metrics {
    /// Metrics that nobody has counted into yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The metrics of a topic. Keep the handle: looking it up takes a lock.
    pub fn topic(&self, name: &str) -> Arc<TopicMetrics> {
        named(&self.0.topics, name, TopicMetrics::new)
    }

    /// The counter of accepted events of a type, such as `DataQualityEvent`. Keep the handle.
    pub fn event_type(&self, name: &str) -> Arc<Counter> {
        named(&self.0.events, name, Counter::default)
    }

    /// Sets how many records of a partition a consumer has still to read.
    pub fn lag(&self, topic: &str, partition: i32, records: i64) {
        let _undisturbed = fork::undisturbed();
        let mut lag = self.0.lag.lock();
        match lag
            .iter_mut()
            .find(|((name, number), _)| name == topic && *number == partition)
        {
            Some((_, known)) => *known = records,
            None => _ = lag.insert((topic.to_owned(), partition), records),
        }
    }

    /// Forgets the lag of a partition that was given to another consumer.
    pub fn lag_revoked(&self, topic: &str, partition: i32) {
        let _undisturbed = fork::undisturbed();
        self.0.lag.lock().remove(&(topic.to_owned(), partition));
    }

    /// A commit of offsets was answered.
    pub fn committed(&self, succeeded: bool) {
        let commits = &self.0;
        if succeeded {
            commits.commits.add(1)
        } else {
            commits.failed_commits.add(1)
        }
    }

    /// Requests with records were sent again.
    pub fn retried(&self, requests: u64) {
        self.0.retries.add(requests);
    }

    /// The registry was asked; `failure` says how that failed, if it did.
    pub fn registry_call(&self, failure: Option<ErrorKind>) {
        self.0.registry_calls.add(1);
        if let Some(kind) = failure {
            self.0.registry_errors[kind as usize].add(1);
        }
    }

    /// Every number as it stands, for programs.
    pub fn snapshot(&self) -> MetricsSnapshot {
        snapshot::take(&self.0)
    }

    /// Every number in Prometheus' text format 0.0.4, for its scraper.
    pub fn to_prometheus(&self) -> String {
        prometheus::render(&self.0)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// The entry of that name, made on first use; beyond [`MAX_NAMES`] the one all others share.
fn named<T>(
    entries: &RwLock<BTreeMap<String, Arc<T>>>,
    name: &str,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    let _undisturbed = fork::undisturbed();
    if let Some(entry) = entries.read().get(name) {
        return entry.clone();
    }
    let mut entries = entries.write();
    let full = entries.len() >= MAX_NAMES && !entries.contains_key(name);
    let name = if full { OTHER } else { name };
    entries
        .entry(name.to_owned())
        .or_insert_with(|| Arc::new(make()))
        .clone()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_is_delivered_failed_or_in_flight() {
        let metrics = Metrics::new();
        let topic = metrics.topic("data-quality");
        topic.accepted(10, 2_000);
        topic.batch(10);
        topic.delivered(6, 1_200, Duration::from_millis(3));
        topic.failed(ErrorKind::Timeout, 1);
        metrics.event_type("DataQualityEvent").add(10);
        let snapshot = metrics.clone().snapshot();
        let topic = snapshot.topic("data-quality").unwrap();
        assert_eq!(
            (topic.accepted, topic.delivered, topic.in_flight),
            (10, 6, 3)
        );
        assert_eq!(topic.failed, 1);
        assert_eq!(topic.failed_by_kind["Timeout"], 1);
        assert_eq!(topic.mean_batch_records, 10.0);
        assert!(
            (0.003..0.0033).contains(&topic.delivery_latency.p50),
            "{snapshot:?}"
        );
        assert_eq!(snapshot.events["DataQualityEvent"], 10);
    }

    #[test]
    fn topic_names_out_of_data_cannot_fill_the_memory() {
        let metrics = Metrics::new();
        for number in 0..MAX_NAMES + 100 {
            metrics.topic(&format!("topic-{number}")).consumed(1, 1);
        }
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.topics.len(), MAX_NAMES + 1);
        assert_eq!(snapshot.topic("other").unwrap().consumed, 100);
    }

    #[test]
    fn a_revoked_partition_has_no_lag() {
        let metrics = Metrics::new();
        metrics.lag("t", 0, 7);
        metrics.lag("t", 1, 3);
        metrics.lag("t", 1, 4);
        metrics.lag_revoked("t", 0);
        let lag = metrics.snapshot().lag;
        assert_eq!(lag.len(), 1);
        assert_eq!(
            (lag[0].topic.as_str(), lag[0].partition, lag[0].records),
            ("t", 1, 4)
        );
    }

    #[test]
    fn counting_from_many_threads_loses_nothing() {
        let metrics = Metrics::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let topic = metrics.topic("t");
                    for _ in 0..10_000 {
                        topic.accepted(1, 5);
                        topic.delivered(1, 5, Duration::from_micros(50));
                    }
                });
            }
        });
        let snapshot = metrics.snapshot();
        let topic = snapshot.topic("t").unwrap();
        assert_eq!(
            (topic.accepted, topic.delivered, topic.in_flight),
            (40_000, 40_000, 0)
        );
        assert_eq!(topic.delivery_latency.count, 40_000);
    }

    #[test]
    fn a_snapshot_is_json() {
        let metrics = Metrics::new();
        metrics.topic("t").accepted(1, 9);
        metrics.registry_call(Some(ErrorKind::Unavailable));
        let json = serde_json::to_value(metrics.snapshot()).unwrap();
        assert_eq!(json["topics"][0]["topic"], "t");
        assert_eq!(json["registry"]["errors"]["Unavailable"], 1);
    }
}

//! What a producer is built from, and its settings as librdkafka takes them.

use rdkafka::ClientConfig;

use super::headers::TraceHook;
use super::partitioner::Partitioner;
use crate::Result;
use crate::client::Observer;
use crate::config::{ConnectionSettings, ProducerSettings, TokenProvider};
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;

/// What the builder collects; it never changes afterwards.
pub(super) struct ProducerConfig {
    pub(super) connection: ConnectionSettings,
    pub(super) settings: ProducerSettings,
    pub(super) registry: Option<SchemaRegistry>,
    pub(super) metrics: Metrics,
    pub(super) tokens: Option<TokenProvider>,
    pub(super) trace: Option<TraceHook>,
    pub(super) observer: Option<Observer>,
    pub(super) partitioner: Partitioner,
    pub(super) max_record_bytes: usize,
}

/// librdkafka's configuration of a producer whose records are gathered, bounded and lingered over
/// on our side.
///
/// Batches arrive ready, so librdkafka neither lingers nor bounds what it holds: gathering twice would
/// only add to the latency, and one limit in one place is one that can be waited for.
pub(super) fn librdkafka(
    settings: &ProducerSettings,
    connection: &ConnectionSettings,
) -> Result<ClientConfig> {
    let mut config = settings.client_config(connection)?;
    let properties = &connection.properties;
    let given = |names: &[&str]| names.iter().any(|name| properties.get(name).is_some());
    for alias in ["linger.ms", "queue.buffering.max.ms"] {
        config.remove(alias);
    }
    config.set("linger.ms", "0");
    // A user's own property stays: a smaller queue of librdkafka's refuses records then, and the
    // sender offers them again.
    if !given(&["queue.buffering.max.messages"]) {
        config.set("queue.buffering.max.messages", "0");
    }
    if !given(&["queue.buffering.max.kbytes"]) {
        config.set("queue.buffering.max.kbytes", i32::MAX.to_string());
    }
    Ok(config)
}

/// The largest record that librdkafka takes: its property, or its default.
pub(super) fn max_record_bytes(connection: &ConnectionSettings) -> usize {
    const DEFAULT: usize = 1_000_000;
    let given = ["message.max.bytes", "max.request.size"]
        .iter()
        .find_map(|name| connection.properties.get(name)?.parse().ok());
    given.unwrap_or(DEFAULT)
}

/// The largest batch that librdkafka makes with this configuration, in bytes.
pub(super) fn largest_batch(config: &ClientConfig) -> usize {
    const DEFAULT: usize = 1_000_000;
    let bytes = |name| config.get(name).and_then(|value| value.parse().ok());
    let bytes = |name| bytes(name).unwrap_or(DEFAULT);
    bytes("message.max.bytes").min(bytes("batch.size"))
}

//! The metrics in Prometheus' text exposition format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Units are seconds and bytes, names end as Prometheus' naming rules ask, and a family's `HELP` and
//! `TYPE` stand before its first sample.

use std::fmt::{Display, Write};

use super::histogram::Distribution;
use super::snapshot::{by_kind, seconds};
use super::{Inner, TopicMetrics};

/// Powers of two of microseconds that bound the exposed latency buckets: 256 µs to 134 s.
const LATENCY_BITS: std::ops::RangeInclusive<u32> = 8..=27;
/// Powers of two of records that bound the exposed batch sizes: 1 to 16,384.
const BATCH_BITS: std::ops::RangeInclusive<u32> = 0..=14;

type TopicValue = fn(&TopicMetrics) -> u64;

/// Counters with a label `topic` alone: name, help, value.
const TOPIC_COUNTERS: &[(&str, &str, TopicValue)] = &[
    (
        "accepted_records_total",
        "Records taken into the producer's queue.",
        |t| t.accepted.get(),
    ),
    (
        "accepted_bytes_total",
        "Bytes of records taken into the queue.",
        |t| t.accepted_bytes.get(),
    ),
    (
        "delivered_records_total",
        "Records acknowledged by the brokers.",
        |t| t.delivered.get(),
    ),
    (
        "delivered_bytes_total",
        "Bytes of records acknowledged.",
        |t| t.delivered_bytes.get(),
    ),
    (
        "blocked_sends_total",
        "Sends that waited for room in the queue.",
        |t| t.blocked.get(),
    ),
    (
        "consumed_records_total",
        "Records read from the brokers.",
        |t| t.consumed.get(),
    ),
    ("consumed_bytes_total", "Bytes of records read.", |t| {
        t.consumed_bytes.get()
    }),
    (
        "tombstone_records_total",
        "Records read without a value.",
        |t| t.tombstones.get(),
    ),
    (
        "undecodable_records_total",
        "Records read that have a value and are no event.",
        |t| t.undecodable.get(),
    ),
    (
        "unknown_json_fields_total",
        "Fields of JSON events that their record does not have.",
        |t| t.unknown_json_fields.get(),
    ),
];

pub(super) fn render(metrics: &Inner) -> String {
    let mut text = Exposition(String::with_capacity(8192));
    let _undisturbed = crate::fork::undisturbed();
    let topics = metrics.topics.read();
    // Outcomes before what was accepted, as in a snapshot.
    let in_flight: Vec<u64> = topics
        .values()
        .map(|topic| {
            let settled = topic.delivered_records() + topic.failed_records();
            topic.accepted.get().saturating_sub(settled)
        })
        .collect();

    for (name, help, value) in TOPIC_COUNTERS {
        text.family(name, "counter", help);
        for (topic, counters) in topics.iter() {
            text.sample(name, &[("topic", topic)], value(counters));
        }
    }
    text.family(
        "failed_records_total",
        "counter",
        "Records given up, by the kind of the error.",
    );
    for (topic, counters) in topics.iter() {
        for (kind, count) in by_kind(&counters.failed) {
            text.sample(
                "failed_records_total",
                &[("topic", topic), ("kind", kind)],
                count,
            );
        }
    }
    text.family(
        "blocked_seconds_total",
        "counter",
        "Time that sends waited for room in the queue.",
    );
    for (topic, counters) in topics.iter() {
        let blocked = seconds(counters.blocked_micros.get());
        text.sample("blocked_seconds_total", &[("topic", topic)], blocked);
    }
    text.family(
        "in_flight_records",
        "gauge",
        "Records accepted that are not settled yet.",
    );
    for (topic, records) in topics.keys().zip(in_flight) {
        text.sample("in_flight_records", &[("topic", topic)], records);
    }
    text.family(
        "delivery_latency_seconds",
        "histogram",
        "Time from accepted to acknowledged.",
    );
    for (topic, counters) in topics.iter() {
        let latency = counters.latency_micros.read();
        text.histogram(
            "delivery_latency_seconds",
            topic,
            &latency,
            LATENCY_BITS,
            1e6,
        );
    }
    text.family(
        "batch_records",
        "histogram",
        "Records in a batch of one partition.",
    );
    for (topic, counters) in topics.iter() {
        text.histogram(
            "batch_records",
            topic,
            &counters.batch_records.read(),
            BATCH_BITS,
            1.0,
        );
    }
    text.family(
        "accepted_events_total",
        "counter",
        "Typed events accepted, by type.",
    );
    for (event, count) in metrics.events.read().iter() {
        text.sample("accepted_events_total", &[("event", event)], count.get());
    }
    render_clients(metrics, &mut text);
    text.0
}

fn render_clients(metrics: &Inner, text: &mut Exposition) {
    text.family(
        "consumer_lag_records",
        "gauge",
        "Records of a partition still to be read.",
    );
    for ((topic, partition), records) in metrics.lag.lock().iter() {
        let labels = [
            ("topic", topic.as_str()),
            ("partition", &partition.to_string()),
        ];
        text.sample("consumer_lag_records", &labels, records);
    }
    text.family(
        "commits_total",
        "counter",
        "Commits of offsets, by outcome.",
    );
    text.sample(
        "commits_total",
        &[("outcome", "succeeded")],
        metrics.commits.get(),
    );
    text.sample(
        "commits_total",
        &[("outcome", "failed")],
        metrics.failed_commits.get(),
    );
    text.family(
        "produce_retries_total",
        "counter",
        "Produce requests that were sent again.",
    );
    text.sample("produce_retries_total", &[], metrics.retries.get());
    text.family(
        "registry_calls_total",
        "counter",
        "HTTP calls to the schema registry.",
    );
    text.sample("registry_calls_total", &[], metrics.registry_calls.get());
    text.family(
        "registry_errors_total",
        "counter",
        "Registry calls that failed, by kind.",
    );
    for (kind, count) in by_kind(&metrics.registry_errors) {
        text.sample("registry_errors_total", &[("kind", kind)], count);
    }
}

/// The text as it grows. Writing to a `String` cannot fail, so results are dropped.
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP carbon_events_{name} {help}");
        let _ = writeln!(self.0, "# TYPE carbon_events_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "carbon_events_{name}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            for letter in value.chars() {
                match letter {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// `unit` is how many of the histogram's units make one of Prometheus'.
    fn histogram(
        &mut self,
        name: &str,
        topic: &str,
        values: &Distribution,
        bounds: std::ops::RangeInclusive<u32>,
        unit: f64,
    ) {
        let bucket = format!("{name}_bucket");
        for bits in bounds {
            let bound = ((1_u64 << bits) as f64 / unit).to_string();
            let count = values.up_to_power_of_two(bits);
            self.sample(&bucket, &[("topic", topic), ("le", &bound)], count);
        }
        self.sample(&bucket, &[("topic", topic), ("le", "+Inf")], values.count());
        self.sample(
            &format!("{name}_sum"),
            &[("topic", topic)],
            values.sum() as f64 / unit,
        );
        self.sample(
            &format!("{name}_count"),
            &[("topic", topic)],
            values.count(),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::ErrorKind;
    use crate::metrics::Metrics;

    fn example() -> String {
        let metrics = Metrics::new();
        let topic = metrics.topic("data-quality");
        topic.accepted(3, 600);
        topic.batch(3);
        topic.delivered(2, 400, Duration::from_millis(2));
        topic.failed(ErrorKind::Timeout, 1);
        topic.blocked(Duration::from_millis(1500));
        metrics.topic("odd\"na\\me\n").consumed(1, 2);
        metrics.event_type("DataQualityEvent").add(3);
        metrics.lag("data-quality", 4, 12);
        metrics.committed(true);
        metrics.registry_call(Some(ErrorKind::Unavailable));
        metrics.to_prometheus()
    }

    #[test]
    fn the_text_holds_every_number() {
        let text = example();
        for line in [
            "carbon_events_accepted_records_total{topic=\"data-quality\"} 3",
            "carbon_events_delivered_records_total{topic=\"data-quality\"} 2",
            "carbon_events_failed_records_total{topic=\"data-quality\",kind=\"Timeout\"} 1",
            "carbon_events_in_flight_records{topic=\"data-quality\"} 0",
            "carbon_events_blocked_seconds_total{topic=\"data-quality\"} 1.5",
            "carbon_events_delivery_latency_seconds_bucket{topic=\"data-quality\",le=\"0.001024\"} 0",
            "carbon_events_delivery_latency_seconds_bucket{topic=\"data-quality\",le=\"0.002048\"} 2",
            "carbon_events_delivery_latency_seconds_sum{topic=\"data-quality\"} 0.004",
            "carbon_events_batch_records_bucket{topic=\"data-quality\",le=\"4\"} 1",
            "carbon_events_consumed_records_total{topic=\"odd\\\"na\\\\me\\n\"} 1",
            "carbon_events_accepted_events_total{event=\"DataQualityEvent\"} 3",
            "carbon_events_consumer_lag_records{topic=\"data-quality\",partition=\"4\"} 12",
            "carbon_events_commits_total{outcome=\"succeeded\"} 1",
            "carbon_events_registry_errors_total{kind=\"Unavailable\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn every_sample_follows_its_familys_help_and_type() {
        let text = example();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                assert!(kind.starts_with(&format!("{family} ")), "{line}");
            } else {
                assert!(line.starts_with(&family), "{line} in {family}");
            }
        }
        assert!(text.ends_with('\n'));
    }
}

//! The demo's results.

use std::time::Duration;

use carbon_events::Topic;
use serde_json::{Value, json};

use super::check::Check;
use super::latency::Summary;
use crate::format::{self, counted};
use crate::output::{self, BAD, GOOD, row, styled};

pub(super) struct Report {
    /// Events that the producer accepted.
    pub(super) sent: u64,
    /// Those sent as fast as possible, and how long until they were read back.
    pub(super) bulk: u64,
    pub(super) bulk_took: Duration,
    /// Events that were not delivered.
    pub(super) failed: u64,
    pub(super) latency: Option<Summary>,
    pub(super) check: Check,
}

impl Report {
    fn missing(&self) -> u64 {
        self.sent.saturating_sub(self.check.unique)
    }

    pub(super) fn is_good(&self) -> bool {
        let check = &self.check;
        self.missing() == 0 && self.failed == 0 && check.wrong == 0 && check.duplicates == 0
    }

    fn per_second(&self, events: u64) -> u64 {
        (events as f64 / self.bulk_took.as_secs_f64().max(1e-6)) as u64
    }

    /// The rate of a topic's events in the fast part.
    fn topic_rate(&self, events: u64) -> u64 {
        let share = events as f64 / self.check.unique.max(1) as f64;
        self.per_second((share * self.bulk as f64) as u64)
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        let numbers = ["events", "bytes", "events/s"];
        let mut table = output::table(&["topic", "events", "bytes", "events/s"], &numbers);
        let (mut events, mut bytes) = (0, 0);
        for topic in Topic::ALL {
            let tally = self.check.topics[topic as usize];
            events += tally.events;
            bytes += tally.bytes;
            table.add_row(row([
                topic.name().to_owned(),
                format::count(tally.events),
                format::bytes(tally.bytes),
                format::count(self.topic_rate(tally.events)),
            ]));
        }
        table.add_row(row([
            "total".to_owned(),
            format::count(events),
            format::bytes(bytes),
            format::count(self.per_second(self.bulk)),
        ]));
        output::print_table(&table)?;
        output::line("")?;
        let took = format::duration(self.bulk_took);
        let rate = format::count(self.per_second(self.bulk));
        let bulk = counted(self.bulk, "event", "events");
        output::line(format!("{bulk} sent and read back in {took}: {rate}/s"))?;
        if let Some(latency) = &self.latency {
            output::line(format!(
                "latency from send to read at {} events/s: p50 {}, p99 {}, p99.9 {}",
                format::count(latency.rate),
                format::duration(latency.p50),
                format::duration(latency.p99),
                format::duration(latency.p999),
            ))?;
        }
        let sent = counted(self.sent, "event", "events");
        if self.is_good() {
            output::line(styled(
                GOOD,
                format!("{sent} verified: each was read once, as it was sent"),
            ))?;
            return Ok(());
        }
        output::line(styled(
            BAD,
            format!(
                "of {sent}: {} missing, {} wrong, {} duplicates, {} not delivered",
                format::count(self.missing()),
                format::count(self.check.wrong),
                format::count(self.check.duplicates),
                format::count(self.failed),
            ),
        ))?;
        for fault in &self.check.faults {
            output::line(format!("    {fault}"))?;
        }
        Ok(())
    }

    pub(super) fn print_json(&self) -> anyhow::Result<()> {
        let topics: serde_json::Map<String, Value> = Topic::ALL
            .into_iter()
            .map(|topic| {
                let tally = self.check.topics[topic as usize];
                let counts = json!({ "events": tally.events, "bytes": tally.bytes });
                (topic.name().to_owned(), counts)
            })
            .collect();
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        let latency = self.latency.map(|latency| {
            json!({
                "rate": latency.rate,
                "events": latency.events,
                "p50Micros": micros(latency.p50),
                "p99Micros": micros(latency.p99),
                "p999Micros": micros(latency.p999),
                "maxMicros": micros(latency.max),
            })
        });
        output::json_line(&json!({
            "good": self.is_good(),
            "sent": self.sent,
            "checked": self.check.unique,
            "missing": self.missing(),
            "wrong": self.check.wrong,
            "duplicates": self.check.duplicates,
            "failed": self.failed,
            "faults": self.check.faults,
            "bulkEvents": self.bulk,
            "bulkSeconds": self.bulk_took.as_secs_f64(),
            "eventsPerSecond": self.per_second(self.bulk),
            "latency": latency,
            "topics": topics,
        }))?;
        Ok(())
    }
}

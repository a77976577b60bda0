//! One run of a program: what it sends, and how it finds that again among everything else on a
//! topic.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, ensure};
use carbon_events::config::StartPosition;
use carbon_events::{Delivery, EventConsumer, EventId, TypedEvent};

use crate::lines::bar;

/// How long the brokers may keep us waiting for a record that they have.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one run has sent.
pub struct Run {
    /// The correlation id of all of its events.
    pub id: String,
    /// Accepted records whose outcome is not known yet, oldest first.
    waiting: VecDeque<Delivery>,
    delivered: u64,
    /// The time of the earliest record that was delivered, by which its place is found again.
    since_ms: Option<i64>,
    failed: u64,
    failure: Option<carbon_events::Error>,
}

impl Default for Run {
    fn default() -> Self {
        Run {
            id: EventId::generate().to_string(),
            waiting: VecDeque::new(),
            delivered: 0,
            since_ms: None,
            failed: 0,
            failure: None,
        }
    }
}

impl Run {
    /// Keeps an accepted record's handle, and takes note of what has settled meanwhile: a long log
    /// has more records than handles should pile up.
    pub fn sent(&mut self, delivery: Delivery) {
        self.waiting.push_back(delivery);
        while let Some(outcome) = self.waiting.front().and_then(Delivery::outcome) {
            self.waiting.pop_front();
            self.settled(outcome);
        }
    }

    /// Waits until every record is settled: how many were delivered, or that some were not.
    pub fn settle(&mut self) -> anyhow::Result<u64> {
        while let Some(delivery) = self.waiting.pop_front() {
            self.settled(delivery.wait());
        }
        match self.failure.take() {
            None => Ok(self.delivered),
            Some(error) => Err(error).with_context(|| {
                let (failed, delivered) = (self.failed, self.delivered);
                format!("{failed} records were not delivered, {delivered} were; the first")
            }),
        }
    }

    fn settled(&mut self, outcome: carbon_events::Result<carbon_events::DeliveryReport>) {
        match outcome {
            Ok(report) => {
                self.delivered += 1;
                let since = self.since_ms.unwrap_or(report.timestamp_ms);
                self.since_ms = Some(since.min(report.timestamp_ms));
            }
            Err(error) => {
                self.failed += 1;
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Reads what was delivered, each of it once and nothing else, whatever stands between.
    ///
    /// An error where the topic does not have all of it.
    pub fn read_back<E: TypedEvent>(
        &self,
        mut each: impl FnMut(&E::Of<'_>),
    ) -> anyhow::Result<u64> {
        let Some(since_ms) = self.since_ms else {
            return Ok(0);
        };
        let consumer = EventConsumer::from_env()
            .topic(E::TOPIC)
            .start(StartPosition::TimestampMs(since_ms))
            .standalone()
            .detect_end()
            .build()?;
        let bar = bar(
            Some(self.delivered),
            "reading back",
            "{human_pos}/{human_len}",
        );
        let mut found = 0;
        while found < self.delivered
            && let Some(batch) = consumer.next_batch(PATIENCE)?
        {
            for record in &batch {
                // What cannot be decoded is not ours either: the brokers acknowledged ours.
                let Ok(event) = record.typed::<E>() else {
                    continue;
                };
                if event.envelope().correlation_id.as_deref() == Some(&self.id) {
                    each(&event);
                    found += 1;
                }
            }
            bar.set_position(found);
        }
        bar.finish_and_clear();
        ensure!(
            found == self.delivered,
            "{} records were delivered to {}, and {found} of them can be read",
            self.delivered,
            E::TOPIC
        );
        consumer.close(PATIENCE)?;
        Ok(found)
    }
}

//! Counts of the lines' outcomes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use carbon_events::{Error, Topic};
use serde_json::json;

use crate::exit::Exit;
use crate::format::{self, counted};
use crate::output::{self, BAD, GOOD, styled};

#[derive(Default)]
pub(super) struct Summary {
    /// Lines read, without blank ones.
    pub(super) lines: u64,
    pub(super) rejected: u64,
    pub(super) delivered: u64,
    pub(super) undelivered: u64,
    pub(super) interrupted: bool,
    pub(super) took: Duration,
    /// The prefix of the topics' names.
    topic_prefix: String,
    /// By topic: accepted and delivered.
    topics: BTreeMap<Topic, (u64, u64)>,
    /// Whether all failed deliveries are retryable.
    retryable: bool,
}

impl Summary {
    pub(super) fn new(topic_prefix: String) -> Self {
        Summary {
            topic_prefix,
            ..Summary::default()
        }
    }

    pub(super) fn accepted(&mut self, topic: Topic) {
        self.topics.entry(topic).or_default().0 += 1;
    }

    pub(super) fn delivered(&mut self, topic: Topic) {
        self.delivered += 1;
        self.topics.entry(topic).or_default().1 += 1;
    }

    pub(super) fn undelivered(&mut self, error: &Error) {
        self.retryable = (self.retryable || self.undelivered == 0) && error.retryable();
        self.undelivered += 1;
    }

    pub(super) fn exit(&self) -> Exit {
        if self.interrupted {
            Exit::Interrupted
        } else if self.undelivered > 0 {
            if self.retryable {
                Exit::Unavailable
            } else {
                Exit::Failed
            }
        } else if self.rejected > 0 {
            Exit::Refused
        } else {
            Exit::Done
        }
    }

    pub(super) fn print(
        &self,
        json: bool,
        dry_run: bool,
        rejected_to: Option<&Path>,
    ) -> anyhow::Result<()> {
        if json {
            return self.print_json(dry_run, rejected_to);
        }
        for (topic, (accepted, delivered)) in &self.topics {
            let shown = if dry_run { *accepted } else { *delivered };
            output::line(format!(
                "{}{topic}: {}",
                self.topic_prefix,
                counted(shown, "event", "events")
            ))?;
        }
        let good = if dry_run {
            self.lines - self.rejected
        } else {
            self.delivered
        };
        let verb = if dry_run {
            "would be sent"
        } else {
            "delivered"
        };
        let rate = good as f64 / self.took.as_secs_f64().max(1e-3);
        let took = format::duration(self.took);
        let mut text = styled(GOOD, format!("{} {verb}", counted(good, "event", "events")));
        if !dry_run {
            text.push_str(&format!(" in {took} ({}/s)", format::count(rate as u64)));
        }
        if self.rejected > 0 {
            let rejected = counted(self.rejected, "line rejected", "lines rejected");
            text.push_str(&format!(", {}", styled(BAD, rejected)));
        }
        if self.undelivered > 0 {
            let lost = counted(
                self.undelivered,
                "event not delivered",
                "events not delivered",
            );
            text.push_str(&format!(", {}", styled(BAD, lost)));
        }
        if let Some(path) = rejected_to {
            text.push_str(&format!("; set aside in {}", path.display()));
        }
        output::line(text)?;
        Ok(())
    }

    fn print_json(&self, dry_run: bool, rejected_to: Option<&Path>) -> anyhow::Result<()> {
        let topics: serde_json::Map<_, _> = self
            .topics
            .iter()
            .map(|(topic, (accepted, delivered))| {
                let counts = json!({ "accepted": accepted, "delivered": delivered });
                (format!("{}{topic}", self.topic_prefix), counts)
            })
            .collect();
        output::json_line(&json!({
            "lines": self.lines,
            "delivered": self.delivered,
            "rejected": self.rejected,
            "undelivered": self.undelivered,
            "rejectedFile": rejected_to.map(|path| path.display().to_string()),
            "dryRun": dry_run,
            "interrupted": self.interrupted,
            "seconds": self.took.as_secs_f64(),
            "topics": topics,
        }))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use carbon_events::ErrorKind;

    use super::*;

    #[test]
    fn the_worst_thing_that_happened_decides_the_exit_code() {
        let mut summary = Summary::default();
        assert_eq!(summary.exit(), Exit::Done);
        summary.rejected = 1;
        assert_eq!(summary.exit(), Exit::Refused);
        summary.undelivered(&Error::new(ErrorKind::Timeout, "x"));
        assert_eq!(summary.exit(), Exit::Unavailable);
        summary.undelivered(&Error::new(ErrorKind::Authorization, "x"));
        assert_eq!(summary.exit(), Exit::Failed);
        summary.undelivered(&Error::new(ErrorKind::Timeout, "x"));
        assert_eq!(summary.exit(), Exit::Failed);
        summary.interrupted = true;
        assert_eq!(summary.exit(), Exit::Interrupted);
    }
}

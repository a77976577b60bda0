//! The consumer's own thread: it takes part in the group while the caller processes records.
//!
//! ```text
//! events of librdkafka ──▶ rebalances: assign, revoke      errors, logs, token requests
//! from time to time    ──▶ store what is acknowledged: librdkafka commits it
//!                      ──▶ probe the brokers after a failure, report lag
//! ```
//!
//! It polls on behalf of the caller, so that a slow caller is never taken for a dead consumer
//! (`max.poll.interval.ms`), and takes no records: those wait in librdkafka's queue, which stops
//! fetching at `max_buffered_bytes` and goes on once it has capacity.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use super::assignment::Assignment;
use super::position::TopicPartition;
use super::shared::Shared;
use crate::deadline::Deadline;
use crate::kafka::{Event, Handle, Queue, Rebalance};
use crate::{Error, ErrorKind, Result};

/// How long one request to the brokers may keep the thread from everything else.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The most events that are served before the rest of the work has its turn.
const MOST_EVENTS: usize = 100;
/// How long leaving the group may go on after `close` has returned.
const LEAVE_IN_BACKGROUND: Duration = Duration::from_secs(30);
const LAG_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct PollLoop {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    events: Queue,
    assignment: Assignment,
    lag_at: Deadline,
    leaving: bool,
    cannot_leave: bool,
    failed_commit: Option<Error>,
}

impl PollLoop {
    pub(super) fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        events: Queue,
        assignment: Assignment,
    ) -> Self {
        PollLoop {
            shared,
            handle,
            events,
            assignment,
            lag_at: Deadline::after(Duration::ZERO),
            leaving: false,
            cannot_leave: false,
            failed_commit: None,
        }
    }

    /// Runs until the group is left, sends the outcome to `left`, and hangs up once librdkafka is
    /// destroyed. The caller may have stopped waiting before.
    pub(super) fn run(mut self, left: SyncSender<Result<()>>) {
        let _ended = Ended(Arc::clone(&self.shared));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while !self.handle.has_left() && !self.cannot_leave && !self.has_given_up() {
                self.step();
            }
            self.failed_commit.take().map_or(Ok(()), Err)
        }));
        let outcome = outcome.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Internal, "the consumer's thread panicked");
            self.shared.failures.report_fatal(error.clone());
            Err(error)
        });
        let _ = left.try_send(outcome);
        self.shared.finish_closing();
        let PollLoop {
            handle,
            events,
            assignment,
            ..
        } = self;
        drop((events, assignment));
        handle.destroy_here();
    }

    /// Whether leaving has taken too long even in the background.
    fn has_given_up(&self) -> bool {
        let limit = self.shared.closing_by();
        limit.is_some_and(|limit| limit.plus(LEAVE_IN_BACKGROUND).has_passed())
    }

    fn step(&mut self) {
        // Everything that is known comes before what has to ask the brokers.
        let mut wait = self.patience();
        for _ in 0..MOST_EVENTS {
            let Some(event) = self.events.poll(wait) else {
                break;
            };
            self.serve(&event);
            wait = Duration::ZERO;
        }
        if self.shared.is_closing() && !self.leaving {
            self.leave();
        }
        self.assignment.step(self.leaving);
        if !self.leaving {
            let (shared, handle) = (&self.shared, &self.handle);
            shared
                .failures
                .probe(|| handle.reach(PROBE_TIMEOUT).is_ok());
            shared
                .fetch
                .skip_control_records(|list| handle.position(list));
            shared.store_acknowledged(handle);
            self.report_lag();
        }
    }

    /// How long to wait for an event: no longer than the periodic work can wait.
    fn patience(&self) -> Duration {
        if self.leaving || self.assignment.is_looking() {
            return Duration::from_millis(50);
        }
        let interval = self.shared.settings.commit_interval / 4;
        interval.clamp(Duration::from_millis(20), Duration::from_millis(500))
    }

    fn serve(&mut self, event: &Event) {
        let shared = &self.shared;
        if let Some(rebalance) = event.rebalance() {
            match rebalance {
                Rebalance::Assign(list) => self.assignment.offer(list),
                Rebalance::Revoke(list) => self.assignment.revoke(&list),
            }
        } else if let Some(commit) = event.commit() {
            self.committed(commit.outcome, commit.offsets.len());
        } else {
            if let Some(error) = event.error()
                // A standalone consumer needs no coordinator, and no right to look for one.
                && !(shared.settings.standalone
                    && error.code == RDKafkaErrorCode::GroupAuthorizationFailed)
            {
                let topics = &shared.topics;
                shared
                    .failures
                    .note_client_error(&error, &self.handle, topics);
            }
            let health = shared.failures.health();
            event.serve(&self.handle, health, shared.tokens.as_ref(), None);
        }
    }

    fn committed(&mut self, outcome: Result<()>, partitions: usize) {
        self.shared.metrics.committed(outcome.is_ok());
        match outcome {
            Ok(()) => {
                tracing::debug!(target: "carbon_events", partitions, "offsets committed");
                self.failed_commit = None;
            }
            Err(error) => {
                tracing::warn!(target: "carbon_events", %error, "offsets were not committed");
                self.failed_commit = Some(error);
            }
        }
    }

    fn report_lag(&mut self) {
        if !self.lag_at.has_passed() {
            return;
        }
        self.lag_at = Deadline::after(LAG_INTERVAL);
        for oldest in self.shared.progress().oldest_unacknowledged() {
            let TopicPartition { topic, partition } = &oldest.partition;
            if let Some(end) = self.handle.end_offset(topic, *partition) {
                let lag = (end - oldest.next_offset).max(0);
                self.shared.metrics.lag(topic, *partition, lag);
            }
        }
    }

    /// Begins to leave the group: librdkafka commits what is stored and revokes all partitions.
    fn leave(&mut self) {
        self.leaving = true;
        self.failed_commit = None;
        self.shared.store_acknowledged(&self.handle);
        if self.shared.settings.standalone {
            let _ = self.handle.assign(None);
        }
        if let Err(error) = self.handle.leave(&self.events) {
            // After a fatal error there is no group to leave.
            tracing::debug!(target: "carbon_events", %error, "cannot leave the group");
            self.cannot_leave = true;
        }
    }
}

/// Fails pending reads when the thread ends, even by a panic.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.thread_ended();
    }
}

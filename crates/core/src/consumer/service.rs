//! The consumer's own thread: it takes part in the group while the caller is busy.
//!
//! ```text
//! rebalance ──▶ find where to start ──▶ assign, records flow to the reader's queue
//!          └──▶ wait for batches in hand ──▶ store what is handled ──▶ give up, librdkafka commits
//! commit interval ──▶ store what is handled                   errors, logs, token requests
//! ```
//!
//! It polls on behalf of the caller, so that a slow handler is never taken for a dead consumer
//! (`max.poll.interval.ms`), and leaves records alone: those wait in librdkafka's queue, which
//! stops fetching at `max_buffered_bytes` and goes on once there is room.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::AssignmentChange;
use super::position::{Offsets, TopicPartition};
use super::shared::Shared;
use super::start::{self, Starts};
use crate::config::StartPosition;
use crate::kafka::{
    Event, Handle, PartitionEntry, PartitionList, Queue, Rebalance, TopicHandle, logical,
};
use crate::{Error, ErrorKind, Result};

/// How long one question to the brokers may keep the thread from everything else.
const ASK: Duration = Duration::from_secs(2);
/// The most events that are served before the rest of the work has its turn.
const MOST_EVENTS: usize = 100;
/// How long to wait after a look for new partitions that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long leaving the group may go on after `close` has returned.
const LEAVE_IN_BACKGROUND: Duration = Duration::from_secs(30);
/// How often lag is looked at.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// Is told of partitions that come and go.
pub(super) type Listener = Box<dyn Fn(&AssignmentChange<'_>) + Send>;

pub(super) struct Service {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    events: Queue,
    listener: Option<Listener>,
    /// Where reading starts in some partitions.
    start_at: Offsets,
    /// Partitions that were given to us and whose start is still being looked up.
    pending: Option<PartitionList>,
    /// When to look for partitions to read without a group.
    look_at: Option<Instant>,
    /// Partitions that this consumer had before.
    started: HashSet<TopicPartition>,
    lag_at: Instant,
    /// How many partitions the topics had when they were first given to us.
    first_counts: Option<HashMap<Arc<str>, i32>>,
    leaving: bool,
    cannot_leave: bool,
    failed_commit: Option<Error>,
}

impl Service {
    pub(super) fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        events: Queue,
        listener: Option<Listener>,
        start_at: Offsets,
    ) -> Self {
        Service {
            look_at: shared.settings.standalone.then(Instant::now),
            shared,
            handle,
            events,
            listener,
            start_at,
            pending: None,
            started: HashSet::new(),
            lag_at: Instant::now(),
            first_counts: None,
            leaving: false,
            cannot_leave: false,
            failed_commit: None,
        }
    }

    /// Runs until the group is left, and reports through `left` how that went; hangs up when
    /// librdkafka is destroyed. The caller may have stopped waiting before.
    pub(super) fn run(mut self, left: SyncSender<Result<()>>) {
        let _last_words = LastWords(Arc::clone(&self.shared));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while !self.handle.has_left() && !self.cannot_leave && !self.has_given_up() {
                self.step();
            }
            self.failed_commit.take().map_or(Ok(()), Err)
        }));
        let outcome = outcome.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Internal, "the consumer's thread panicked");
            self.shared.end_with(error.clone());
            Err(error)
        });
        let _ = left.try_send(outcome);
        self.shared.finish_closing();
        let Service { handle, events, .. } = self;
        drop(events);
        handle.destroy_here();
    }

    /// Whether leaving has taken too long, although nobody waits for it any more.
    fn has_given_up(&self) -> bool {
        let late = |deadline: Instant| deadline.checked_add(LEAVE_IN_BACKGROUND);
        let limit = self.shared.closing_by().and_then(late);
        limit.is_some_and(|limit| Instant::now() >= limit)
    }

    fn step(&mut self) {
        // Everything that is known comes before what may take its time to ask for.
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
        if self.pending.is_some() {
            self.assign_pending();
        } else if !self.leaving && self.look_at.is_some_and(|at| at <= Instant::now()) {
            self.assign_alone();
        }
        if !self.leaving {
            self.shared
                .look_at_trouble(|| self.handle.reach(ASK).is_ok());
            self.skip_control_records();
            self.store_handled();
            self.report_lag();
        }
    }

    /// Counts what librdkafka passes over, a transaction's markers and aborted records, as
    /// acknowledged once everything before it is.
    fn skip_control_records(&self) {
        // With the reader's lock: nothing is taken meanwhile, so no record is passed over.
        let reader = self.shared.reader();
        // Closing takes what waits away.
        let is_open = reader.queue().is_some();
        if !is_open || reader.has_waiting() || !reader.trusts_positions() {
            return;
        }
        let places = self.shared.progress.idle_places();
        if places.is_empty() {
            return;
        }
        let mut list = Offsets::from(places).to_list();
        if self.handle.position(&mut list).is_ok() {
            for entry in list.iter() {
                let partition = TopicPartition::from(entry);
                self.shared.progress.skip_to(&partition, entry.offset);
            }
        }
    }

    /// How long to wait for an event: no longer than what is to be done from time to time can wait.
    fn patience(&self) -> Duration {
        let looks_again = self.shared.settings.standalone && self.started.is_empty();
        if self.leaving || self.pending.is_some() || looks_again {
            return Duration::from_millis(50);
        }
        let interval = self.shared.settings.commit_interval / 4;
        interval.clamp(Duration::from_millis(20), Duration::from_millis(500))
    }

    fn serve(&mut self, event: &Event) {
        if let Some(rebalance) = event.rebalance() {
            match rebalance {
                Rebalance::Assign(list) => self.pending = Some(list),
                Rebalance::Revoke(list) => self.revoke(&list),
            }
        } else if let Some(commit) = event.commit() {
            self.committed(commit.outcome, commit.offsets.len());
        } else {
            if let Some(error) = event.error()
                // Without a group there is no coordinator to be found, nor a right to look for it.
                && !(self.shared.settings.standalone
                    && error.code == rdkafka::types::RDKafkaErrorCode::GroupAuthorizationFailed)
            {
                self.shared.note_client_error(&error, &self.handle);
            }
            event.serve(
                &self.handle,
                &self.shared.health,
                self.shared.tokens.as_ref(),
                None,
            );
        }
    }

    /// Takes the partitions that were given to us, once it is known where to start.
    fn assign_pending(&mut self) {
        let Some(mut list) = self.pending.take() else {
            return;
        };
        // Once we are leaving nothing is read: it does not matter where.
        if !self.leaving
            && let Err(error) = self.resolve(&mut list)
        {
            tracing::warn!(target: "carbon_events", %error, "cannot find where to start; trying on");
            self.shared.note(self.shared.health.explain(error), false);
            self.pending = Some(list);
            return;
        }
        self.assign(&list);
    }

    fn resolve(&mut self, list: &mut PartitionList) -> Result<()> {
        let latest = self.shared.settings.start == StartPosition::Latest;
        if latest && self.first_counts.is_none() {
            self.first_counts = Some(self.count_partitions()?);
        }
        start::resolve(&self.handle, &self.starts(), list, ASK)?;
        let Some(counts) = &self.first_counts else {
            return Ok(());
        };
        let is_added = |entry: &PartitionEntry<'_>| {
            counts
                .get(entry.topic)
                .is_some_and(|count| entry.partition >= *count)
        };
        start::at_the_beginning(&self.handle, &self.starts(), list, is_added, ASK)
    }

    /// How many partitions each topic has; none of one that does not exist.
    fn count_partitions(&self) -> Result<HashMap<Arc<str>, i32>> {
        let count = |topic: &Arc<str>| {
            let handle = TopicHandle::new(&self.handle, topic)?;
            let count = match self.handle.partition_count(&handle, ASK) {
                Err(error) if error.kind() == ErrorKind::UnknownTopic => 0,
                count => count?,
            };
            Ok((Arc::clone(topic), i32::try_from(count).unwrap_or(i32::MAX)))
        };
        self.shared.topics.iter().map(count).collect()
    }

    fn starts(&self) -> Starts<'_> {
        Starts {
            settings: &self.shared.settings,
            given: &self.start_at,
            started: &self.started,
        }
    }

    fn assign(&mut self, list: &PartitionList) {
        let (shared, handle) = (&self.shared, &self.handle);
        let partitions: Vec<TopicPartition> = list.iter().map(TopicPartition::from).collect();
        let mut reader = shared.reader();
        shared.progress.assigned(partitions.iter().cloned());
        reader.assigned(&partitions);
        if let Some(queue) = reader.queue() {
            for TopicPartition { topic, partition } in &partitions {
                handle.send_records_to(queue, topic, *partition);
            }
        }
        let outcome = if shared.settings.standalone || handle.is_cooperative() {
            handle.incremental_assign(list)
        } else {
            handle.assign(Some(list))
        };
        drop(reader);
        if let Err(error) = outcome {
            shared.progress.revoked(&partitions);
            shared.show(error);
            return;
        }
        self.started.extend(partitions.iter().cloned());
        self.tell(&AssignmentChange::Assigned(&partitions));
        // For those who wait for an assignment.
        self.shared.wake.wake();
    }

    /// Gives partitions up, after what is in hand of them.
    fn revoke(&mut self, list: &PartitionList) {
        self.pending = None;
        let partitions: Vec<TopicPartition> = list.iter().map(TopicPartition::from).collect();
        let lost = self.handle.assignment_lost();
        if !lost {
            let deadline = Instant::now() + self.shared.settings.revoke_timeout;
            let closing = || self.shared.is_closing();
            if !self
                .shared
                .progress
                .wait_until_handled(&partitions, deadline, closing)
                && !self.shared.is_closing()
            {
                tracing::warn!(
                    target: "carbon_events",
                    "batches in hand were not handled within revoke_timeout; the next owner of \
                     their partitions reads them again"
                );
            }
            self.store_handled();
        }
        self.tell(&if lost {
            AssignmentChange::Lost(&partitions)
        } else {
            AssignmentChange::Revoked(&partitions)
        });
        let (shared, handle) = (&self.shared, &self.handle);
        let mut reader = shared.reader();
        let all = !handle.is_cooperative();
        let outcome = if all {
            handle.assign(None)
        } else {
            handle.incremental_unassign(list)
        };
        shared.progress.revoked(&partitions);
        // A cooperative member that was thrown out of its group loses everything at once.
        let all = all || shared.progress.partitions().is_empty();
        reader.revoked(&partitions, all);
        drop(reader);
        // Records of other partitions, or an end, may have waited behind those that are gone.
        shared.wake.wake();
        for TopicPartition { topic, partition } in &partitions {
            shared.metrics.lag_revoked(topic, *partition);
        }
        if let Err(error) = outcome {
            shared.show(error);
        }
    }

    /// Takes the partitions of the topics that it does not have yet, without a group.
    fn assign_alone(&mut self) {
        let found = self.partitions_to_take().and_then(|mut list| {
            if self.started.is_empty() {
                start::resolve(&self.handle, &self.starts(), &mut list, ASK)?;
            }
            Ok(list)
        });
        match found {
            Ok(list) => {
                let now = Instant::now();
                self.look_at = self
                    .shared
                    .look_every
                    .and_then(|every| now.checked_add(every));
                if list.len() > 0 {
                    self.assign(&list);
                }
            }
            // The first look is tried on at once: nothing is read before.
            Err(error) if self.started.is_empty() => {
                self.shared.note(self.shared.health.explain(error), false);
            }
            Err(error) => {
                tracing::debug!(target: "carbon_events", %error, "cannot look for new partitions");
                self.look_at = Instant::now().checked_add(LOOK_AGAIN);
            }
        }
    }

    /// The partitions that reading alone does not know yet. Those that were added later are read from
    /// their beginning: everything in them is newer than the start.
    fn partitions_to_take(&self) -> Result<PartitionList> {
        let mut list = PartitionList::new();
        for topic in &self.shared.topics {
            let count = self
                .handle
                .partition_count(&TopicHandle::new(&self.handle, topic)?, ASK)?;
            for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
                if !self
                    .started
                    .contains(&TopicPartition::new(Arc::clone(topic), partition))
                {
                    list.push(topic, partition, logical::BEGINNING, None);
                }
            }
        }
        Ok(list)
    }

    fn tell(&self, change: &AssignmentChange<'_>) {
        tracing::info!(target: "carbon_events", %change, "rebalance");
        if let Some(listener) = &self.listener
            && catch_unwind(AssertUnwindSafe(|| listener(change))).is_err()
        {
            tracing::error!(target: "carbon_events", "the assignment listener panicked");
        }
    }

    /// Lets the next automatic commit know what is handled.
    fn store_handled(&self) {
        if !self.shared.settings.auto_commit || self.shared.settings.standalone {
            return;
        }
        let handled = self.shared.progress.take_unstored();
        if !handled.is_empty() {
            self.handle.store_offsets(&Offsets::from(handled).to_list());
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
        let now = Instant::now();
        if now < self.lag_at {
            return;
        }
        self.lag_at = now + LAG_INTERVAL;
        for (TopicPartition { topic, partition }, next) in self.shared.progress.oldest_unhandled() {
            if let Some(end) = self.handle.end_offset(&topic, partition) {
                self.shared
                    .metrics
                    .lag(&topic, partition, (end - next).max(0));
            }
        }
    }

    /// Begins to leave the group: librdkafka commits what is stored and gives everything up.
    fn leave(&mut self) {
        self.leaving = true;
        self.failed_commit = None;
        self.store_handled();
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

/// Tells those who wait for records when the thread ends, even by a panic.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.thread_ended();
    }
}

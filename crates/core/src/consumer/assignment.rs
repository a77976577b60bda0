//! Which partitions the consumer reads, and from where.
//!
//! ```text
//! assigned ──▶ find where to start ──▶ assign: records go to the fetch queue ──▶ listener
//! revoked  ──▶ wait for batches in hand ──▶ store what is acknowledged ──▶ listener ──▶ unassign
//! ```

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::position::{Offsets, TopicPartition};
use super::shared::Shared;
use super::start::{self, Starts};
use crate::config::StartPosition;
use crate::deadline::Deadline;
use crate::kafka::{Handle, PartitionEntry, PartitionList, TopicHandle, logical};
use crate::{Error, ErrorKind, Result};

/// How long one request to the brokers may keep the consumer's thread from everything else.
const ASK: Duration = Duration::from_secs(2);
/// The pause after a failed look for added partitions.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A change of the assigned partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssignmentChange<'a> {
    /// These partitions are assigned to this consumer.
    Assigned(&'a [TopicPartition]),
    /// These partitions are about to be revoked; what is acknowledged of them is committed after this.
    Revoked(&'a [TopicPartition]),
    /// These partitions were assigned to others already, because the group had no heartbeat of this
    /// consumer for too long. Their offsets can no longer be committed: their records are read again.
    Lost(&'a [TopicPartition]),
}

/// Called with each change.
pub(super) type Listener = Box<dyn Fn(&AssignmentChange<'_>) + Send>;

pub(super) struct Assignment {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    listener: Option<Listener>,
    /// Where reading starts in some partitions.
    start_at: Offsets,
    /// Assigned partitions whose start is still being looked up.
    pending: Option<PartitionList>,
    /// When a standalone consumer looks for partitions.
    look_at: Option<Deadline>,
    /// Partitions that this consumer had before.
    started: HashSet<TopicPartition>,
    /// How many partitions the topics had at the first assignment.
    first_counts: Option<HashMap<Arc<str>, i32>>,
}

impl Assignment {
    pub(super) fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        listener: Option<Listener>,
        start_at: Offsets,
    ) -> Self {
        let standalone = shared.settings.standalone;
        Assignment {
            shared,
            handle,
            listener,
            start_at,
            pending: None,
            look_at: standalone.then(|| Deadline::after(Duration::ZERO)),
            started: HashSet::new(),
            first_counts: None,
        }
    }

    /// Whether partitions, or where they start, are still being looked up.
    pub(super) fn is_looking(&self) -> bool {
        let first_look = self.shared.settings.standalone && self.started.is_empty();
        self.pending.is_some() || first_look
    }

    /// Takes the group's assignment; [`step`](Self::step) puts it into force.
    pub(super) fn offer(&mut self, list: PartitionList) {
        self.pending = Some(list);
    }

    /// Goes on with what is pending.
    pub(super) fn step(&mut self, leaving: bool) {
        if self.pending.is_some() {
            self.assign_pending(leaving);
        } else if !leaving && self.look_at.is_some_and(Deadline::has_passed) {
            self.assign_standalone();
        }
    }

    /// Assigns the pending partitions, once it is known where they start.
    fn assign_pending(&mut self, leaving: bool) {
        let Some(mut list) = self.pending.take() else {
            return;
        };
        // A consumer that leaves reads nothing: any start will do.
        if !leaving && let Err(error) = self.resolve(&mut list) {
            tracing::warn!(target: "carbon_events", %error, "cannot find where to start; retrying");
            self.note(error);
            self.pending = Some(list);
            return;
        }
        self.assign(&list);
    }

    fn note(&self, error: Error) {
        let failures = &self.shared.failures;
        failures.note(failures.health().explain(error), false);
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

    /// How many partitions each topic has; zero where the topic does not exist.
    fn count_partitions(&self) -> Result<HashMap<Arc<str>, i32>> {
        let count = |topic: &Arc<str>| {
            let count = match self.count(topic) {
                Err(error) if error.kind() == ErrorKind::UnknownTopic => 0,
                count => count?,
            };
            Ok((Arc::clone(topic), count))
        };
        self.shared.topics.iter().map(count).collect()
    }

    fn count(&self, topic: &Arc<str>) -> Result<i32> {
        let topic = TopicHandle::new(&self.handle, topic)?;
        let count = self.handle.partition_count(&topic, ASK)?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
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
        let outcome = shared.fetch.assign(&partitions, |queue| {
            if let Some(queue) = queue {
                for TopicPartition { topic, partition } in &partitions {
                    handle.send_records_to(queue, topic, *partition);
                }
            }
            if shared.settings.standalone || handle.is_cooperative() {
                handle.incremental_assign(list)
            } else {
                handle.assign(Some(list))
            }
        });
        if let Err(error) = outcome {
            shared.progress().revoked(&partitions);
            shared.failures.report(error);
            return;
        }
        self.started.extend(partitions.iter().cloned());
        self.call_listener(&AssignmentChange::Assigned(&partitions));
        // For callers that wait for an assignment.
        self.shared.notify.notify();
    }

    /// Revokes partitions, once the batches of them that are in hand are processed.
    pub(super) fn revoke(&mut self, list: &PartitionList) {
        self.pending = None;
        let partitions: Vec<TopicPartition> = list.iter().map(TopicPartition::from).collect();
        let lost = self.handle.assignment_lost();
        if !lost {
            self.wait_until_processed(&partitions);
            self.shared.store_acknowledged(&self.handle);
        }
        self.call_listener(&if lost {
            AssignmentChange::Lost(&partitions)
        } else {
            AssignmentChange::Revoked(&partitions)
        });
        let (shared, handle) = (&self.shared, &self.handle);
        let all = !handle.is_cooperative();
        let outcome = shared.fetch.revoke(&partitions, all, || match all {
            true => handle.assign(None),
            false => handle.incremental_unassign(list),
        });
        for TopicPartition { topic, partition } in &partitions {
            shared.metrics.lag_revoked(topic, *partition);
        }
        if let Err(error) = outcome {
            shared.failures.report(error);
        }
    }

    /// Waits for batches in hand, up to `revoke_timeout` or until the consumer closes.
    fn wait_until_processed(&self, partitions: &[TopicPartition]) {
        let shared = &self.shared;
        let deadline = Deadline::after(shared.settings.revoke_timeout);
        let closing = || shared.is_closing();
        let progress = shared.progress();
        if !progress.wait_until_processed(partitions, deadline, closing) && !closing() {
            tracing::warn!(
                target: "carbon_events",
                "batches in hand were not processed within revoke_timeout; the next owner of \
                 their partitions reads them again"
            );
        }
    }

    /// Assigns the partitions of the topics that a standalone consumer does not have yet.
    fn assign_standalone(&mut self) {
        let found = self.new_partitions().and_then(|mut list| {
            if self.started.is_empty() {
                start::resolve(&self.handle, &self.starts(), &mut list, ASK)?;
            }
            Ok(list)
        });
        match found {
            Ok(list) => {
                self.look_at = self.shared.look_every.map(Deadline::after);
                if list.len() > 0 {
                    self.assign(&list);
                }
            }
            // The first look is retried at once: nothing is read before.
            Err(error) if self.started.is_empty() => self.note(error),
            Err(error) => {
                tracing::debug!(target: "carbon_events", %error, "cannot look for new partitions");
                self.look_at = Some(Deadline::after(LOOK_AGAIN));
            }
        }
    }

    /// The partitions that were not assigned before. Those that were added later are read from their
    /// beginning: everything in them is newer than the start.
    fn new_partitions(&self) -> Result<PartitionList> {
        let mut list = PartitionList::new();
        for topic in &self.shared.topics {
            for number in 0..self.count(topic)? {
                let partition = TopicPartition::new(Arc::clone(topic), number);
                if !self.started.contains(&partition) {
                    list.push(topic, number, logical::BEGINNING, None);
                }
            }
        }
        Ok(list)
    }

    fn call_listener(&self, change: &AssignmentChange<'_>) {
        tracing::info!(target: "carbon_events", %change, "rebalance");
        if let Some(listener) = &self.listener
            && catch_unwind(AssertUnwindSafe(|| listener(change))).is_err()
        {
            tracing::error!(target: "carbon_events", "the assignment listener panicked");
        }
    }
}

/// `assigned data-quality-0, data-quality-1`.
impl fmt::Display for AssignmentChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, partitions) = match self {
            AssignmentChange::Assigned(partitions) => ("assigned", partitions),
            AssignmentChange::Revoked(partitions) => ("revoked", partitions),
            AssignmentChange::Lost(partitions) => ("lost", partitions),
        };
        f.write_str(verb)?;
        for (index, partition) in partitions.iter().enumerate() {
            write!(f, "{}{partition}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

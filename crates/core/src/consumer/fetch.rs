//! The queue of fetched records, and what a read takes from it.
//!
//! ```text
//! librdkafka's queue ──▶ schemas known ──▶ cut into runs, tracked ──▶ Fetched ──▶ a batch
//!                   └──▶ else pending: a Lookup asks the registry ──▶┘     ▲
//!                                           returned records, in order ────┘◀── give_back
//! ```
//!
//! Records are taken, and partitions assigned, revoked and sought, under one lock: a batch is always
//! of partitions that are assigned.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::decoders::Decoders;
use super::end::End;
use super::failures::Failures;
use super::fetched::{Fetched, KnownTopic, Segment};
use super::lookup::Lookup;
use super::notify::Notify;
use super::position::{Offsets, TopicPartition};
use super::progress::{Progress, Run};
use super::rewritten::Rewritten;
use super::schemas::Resolved;
use crate::config::{ConnectionSettings, ConsumerSettings};
use crate::kafka::{FetchBuffer, Handle, Message, Messages, PartitionList, Queue, client_error};
use crate::metrics::Metrics;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

pub(super) struct Fetch {
    state: Mutex<State>,
    decoders: Arc<Decoders>,
    progress: Arc<Progress>,
    failures: Arc<Failures>,
    notify: Arc<Notify>,
    metrics: Metrics,
    connection: ConnectionSettings,
    detect_end: bool,
    /// How long an outage of the registry may last before a read fails.
    patience: Duration,
}

/// What a look at the queue found.
pub(super) enum Found {
    Records(Fetched),
    /// The end of every assigned partition was reached.
    End,
    Nothing,
}

struct State {
    /// None once the consumer is closed.
    queue: Option<Queue>,
    buffer: FetchBuffer,
    /// Records of the queue whose schemas are being looked up. The queue comes after them.
    pending: Option<Pending>,
    /// Returned records, in the order in which they were fetched. They come before all others.
    returned: VecDeque<Fetched>,
    topics: HashMap<Arc<str>, Arc<KnownTopic>>,
    /// How many fetches gave records.
    fetches: u64,
    /// Whether a position of librdkafka's may be beyond a record that no batch had. librdkafka counts
    /// the end of a partition and an error as a record, and a seek does not move the position back.
    distrusts_positions: bool,
    end: End,
}

/// Records that wait for schemas. They are in no reader's hands: no rebalance waits for them.
struct Pending {
    messages: Messages,
    /// Partitions that end behind these records.
    ends: Vec<TopicPartition>,
    lookup: Lookup,
}

impl Fetch {
    pub(super) fn new(
        handle: &Arc<Handle>,
        settings: &ConsumerSettings,
        connection: ConnectionSettings,
        metrics: Metrics,
        decoders: Decoders,
        failures: Arc<Failures>,
        notify: Arc<Notify>,
    ) -> Self {
        let mut queue = handle.new_queue();
        let arrival = Arc::clone(&notify);
        queue.on_arrival(move || arrival.notify());
        let records = usize::try_from(settings.max_batch_records).unwrap_or(usize::MAX);
        Fetch {
            state: Mutex::new(State {
                queue: Some(queue),
                buffer: FetchBuffer::new(records.min(1 << 16)),
                pending: None,
                returned: VecDeque::new(),
                topics: HashMap::new(),
                fetches: 0,
                distrusts_positions: false,
                end: End::default(),
            }),
            decoders: Arc::new(decoders),
            progress: Arc::default(),
            failures,
            notify,
            metrics,
            connection,
            detect_end: settings.detect_end,
            patience: settings.unreachable_after,
        }
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Takes what is there, without waiting.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`]; the registry's error, where asking for schemas has failed for a while.
    pub(super) fn take(&self) -> Result<Found> {
        let state = &mut *self.state.lock();
        if let Some(returned) = state.returned.pop_front() {
            state.end.report_again();
            return Ok(Found::Records(returned));
        }
        if state.pending.is_some() {
            return self.take_pending(state);
        }
        let queue = state.queue.as_ref().ok_or_else(closed)?;
        let mut messages = queue.fetch(&mut state.buffer);
        let mut ends = Vec::new();
        if messages.iter().any(|message| message.error().is_some()) {
            state.distrusts_positions = true;
            ends = self.take_errors(&mut messages);
        }
        if messages.len() == 0 {
            state.end.reached_in(&ends);
            // An error about a partition is returned now, not at the next arrival.
            self.failures.check()?;
            return Ok(match state.end.take() {
                true => Found::End,
                false => Found::Nothing,
            });
        }
        let schemas = self.decoders.schemas();
        let named = schemas.named_by(&messages);
        if let Some(registry) = schemas.registry()
            && !named.unknown.is_empty()
        {
            let notify = Arc::clone(&self.notify);
            state.pending = Some(Pending {
                messages,
                ends,
                lookup: Lookup::start(registry.clone(), named, notify, self.patience),
            });
            return self.take_pending(state);
        }
        let resolved = Resolved {
            by_header: named.by_header,
            ..Resolved::default()
        };
        Ok(self.track(state, messages, &ends, resolved))
    }

    /// Takes the pending records once their schemas are known or refused.
    fn take_pending(&self, state: &mut State) -> Result<Found> {
        let outcome = state.pending.as_ref().map(|it| it.lookup.poll());
        let Some(resolved) = outcome.transpose()?.flatten() else {
            return Ok(Found::Nothing);
        };
        Ok(match state.pending.take() {
            Some(Pending { messages, ends, .. }) => self.track(state, messages, &ends, resolved),
            None => Found::Nothing,
        })
    }

    /// Takes what is no record out of `messages`: reports errors, and returns the partitions that end
    /// behind the records.
    fn take_errors(&self, messages: &mut Messages) -> Vec<TopicPartition> {
        let mut ends = Vec::new();
        let mut records = 0;
        messages.retain(|message| {
            let Some(code) = message.error() else {
                records += 1;
                return true;
            };
            if code == Code::PartitionEOF {
                let partition = TopicPartition::new(message.topic(), message.partition());
                ends.push((records, partition));
            } else {
                let error = client_error(code, &message.error_text())
                    .with("topic", message.topic())
                    .with("partition", message.partition())
                    .with("offset", message.offset());
                self.failures.note(error, false);
            }
            false
        });
        // A partition's end may come together with its last records, and before newer ones.
        ends.retain(|(before, partition)| {
            let mut later = messages.iter().skip(*before);
            !later.any(|message| is_of(&message, partition))
        });
        ends.into_iter().map(|(_, partition)| partition).collect()
    }

    /// Cuts the messages into runs of one partition, and tracks those.
    fn track(
        &self,
        state: &mut State,
        messages: Messages,
        ends: &[TopicPartition],
        schemas: Resolved,
    ) -> Found {
        let place = |message: &Message<'_>| (message.topic_id(), message.partition());
        let mut segments = Vec::new();
        let mut start = 0;
        while let Some(first) = messages.get(start) {
            let (mut bytes, mut tombstones) = (0, 0);
            let mut end = start;
            let mut last = first;
            while let Some(message) = messages.get(end)
                && place(&message) == place(&first)
            {
                let value = message.value();
                bytes += value.map_or(0, <[u8]>::len);
                tombstones += u64::from(value.is_none());
                bytes += message.key().map_or(0, <[u8]>::len);
                last = message;
                end += 1;
            }
            let (name, topic) = self.topic(state, first.topic());
            topic.metrics.consumed((end - start) as u64, bytes as u64);
            topic.metrics.tombstones(tombstones);
            let partition = TopicPartition::new(name, first.partition());
            let run = Run::new(first.offset(), last.offset() + 1, last.leader_epoch());
            let run = Arc::new(run);
            self.progress.track(&partition, &run);
            if self.detect_end {
                state.end.moved(&partition);
            }
            segments.push(Segment {
                records: start..end,
                topic,
                partition,
                run,
            });
            start = end;
        }
        state.end.reached_in(ends);
        state.fetches += 1;
        self.failures.recovered();
        Found::Records(Fetched {
            messages,
            segments,
            schemas,
            rewritten: Rewritten::default(),
            number: state.fetches,
            decoders: Arc::clone(&self.decoders),
            progress: Arc::clone(&self.progress),
        })
    }

    fn topic(&self, state: &mut State, name: &str) -> (Arc<str>, Arc<KnownTopic>) {
        if let Some((name, known)) = state.topics.get_key_value(name) {
            return (Arc::clone(name), Arc::clone(known));
        }
        let name: Arc<str> = Arc::from(name);
        let known = Arc::new(KnownTopic {
            event: self.connection.topic_of(&name),
            metrics: self.metrics.topic(&name),
        });
        state.topics.insert(Arc::clone(&name), Arc::clone(&known));
        (name, known)
    }

    /// Returns records, from `index` on, to the next read: those that are not acknowledged, of
    /// partitions that are still assigned.
    pub(super) fn give_back(&self, mut fetched: Fetched, index: usize) {
        let mut state = self.state.lock();
        if state.queue.is_none() {
            return;
        }
        fetched.keep_unacknowledged(index);
        if fetched.messages.len() > 0 {
            let is_later = |one: &Fetched| one.number > fetched.number;
            let place = state.returned.iter().position(is_later);
            let place = place.unwrap_or(state.returned.len());
            state.returned.insert(place, fetched);
        }
        drop(state);
        self.progress.notify();
        self.notify.notify();
    }

    /// How many records are fetched and wait for a read.
    pub(super) fn buffered(&self) -> usize {
        let state = self.state.lock();
        let returned = state.returned.iter().map(|it| it.messages.len());
        let pending = state.pending.as_ref().map_or(0, |it| it.messages.len());
        returned.sum::<usize>() + pending + state.queue.as_ref().map_or(0, Queue::len)
    }

    /// Whether the end of every assigned partition was reached.
    pub(super) fn at_end(&self) -> bool {
        let state = self.state.lock();
        self.detect_end
            && state.end.is_reached()
            && state.pending.is_none()
            && state.returned.is_empty()
    }

    /// Begins with these partitions: `assign` gets the queue for their records, if the consumer is
    /// open.
    pub(super) fn assign(
        &self,
        partitions: &[TopicPartition],
        assign: impl FnOnce(Option<&Queue>) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.state.lock();
        self.progress.assigned(partitions.iter().cloned());
        state.begin(partitions);
        assign(state.queue.as_ref())
    }

    /// Forgets these partitions, after `unassign`. With `all`, no partition is left until the next
    /// assignment.
    pub(super) fn revoke(
        &self,
        partitions: &[TopicPartition],
        all: bool,
        unassign: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut state = self.state.lock();
        let outcome = unassign();
        self.progress.revoked(partitions);
        // A cooperative member that was removed from its group loses all partitions at once.
        let all = all || self.progress.partitions().is_empty();
        state.drop_pending(partitions);
        state.end.revoked(partitions, all);
        state.drop_returned(partitions);
        drop(state);
        // Records of other partitions, or an end, may have been pending behind those that are gone.
        self.notify.notify();
        outcome
    }

    /// Goes on reading at these positions: `seek` moves librdkafka.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownTopic`] for a partition that is not assigned; that of `seek`.
    pub(super) fn seek(&self, to: &Offsets, seek: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.state.lock();
        state.distrusts_positions = true;
        let assigned = self.progress.partitions();
        for position in to.iter() {
            let partition = &position.partition;
            if assigned.binary_search(partition).is_err() {
                let message = format!("{partition} is not assigned to this consumer");
                return Err(Error::new(ErrorKind::UnknownTopic, message)
                    .with("topic", &partition.topic)
                    .with("partition", partition.partition));
            }
        }
        seek()?;
        for position in to.iter() {
            let partition = std::slice::from_ref(&position.partition);
            self.progress.sought(&position.partition);
            state.drop_returned(partition);
            state.begin(partition);
        }
        drop(state);
        // Records of other partitions may have arrived while some were pending.
        self.notify.notify();
        Ok(())
    }

    /// Moves acknowledged positions over what librdkafka passes over: a transaction's markers and
    /// aborted records. `ask` sets each offset to librdkafka's position.
    pub(super) fn skip_control_records(&self, ask: impl FnOnce(&mut PartitionList) -> Result<()>) {
        // Under the lock no record is taken, so none is passed over.
        let state = self.state.lock();
        // A close drops what no batch had.
        if state.queue.is_none() || state.pending.is_some() || state.distrusts_positions {
            return;
        }
        let positions = self.progress.idle_positions();
        if positions.is_empty() {
            return;
        }
        let mut list = Offsets::from(positions).to_list();
        if ask(&mut list).is_ok() {
            for entry in list.iter() {
                self.progress.skip_to(&entry.into(), entry.offset);
            }
        }
    }

    /// Ends reading. librdkafka gets back the records that no batch had.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        let unread = (
            state.queue.take(),
            state.pending.take(),
            std::mem::take(&mut state.returned),
        );
        drop(state);
        drop(unread);
        self.notify.notify();
    }
}

impl State {
    /// Reading begins in these partitions, from wherever.
    fn begin(&mut self, partitions: &[TopicPartition]) {
        self.drop_pending(partitions);
        self.end.assigned(partitions);
    }

    /// Drops pending records that were fetched before their partition was assigned, revoked or sought.
    fn drop_pending(&mut self, partitions: &[TopicPartition]) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        pending
            .messages
            .retain(|message| !partitions.iter().any(|it| is_of(&message, it)));
        pending.ends.retain(|end| !partitions.contains(end));
        if pending.messages.len() == 0 {
            // librdkafka reports an end once.
            self.end.reached_in(&pending.ends);
            self.pending = None;
        }
    }

    fn drop_returned(&mut self, partitions: &[TopicPartition]) {
        for fetched in &mut self.returned {
            fetched.forget(partitions);
        }
        self.returned.retain(|fetched| fetched.messages.len() > 0);
    }
}

fn is_of(message: &Message<'_>, partition: &TopicPartition) -> bool {
    message.partition() == partition.partition && *message.topic() == *partition.topic
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer is closed")
}

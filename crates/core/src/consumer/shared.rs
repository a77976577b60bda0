//! What the callers' threads and the consumer's own thread have in common: the queue of fetched
//! records, how far they are handled, and the errors to show.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;

use super::batch::{Batch, BatchRun, Fetched};
use super::decoding::Decoding;
use super::position::TopicPartition;
use super::progress::{Progress, Run};
use super::reader_id::ReaderId;
use super::trouble::Trouble;
use super::waiting::{Prepared, Waiting};
use super::wake::Wake;
use crate::config::{ConnectionSettings, ConsumerSettings, TokenProvider};
use crate::events::Topic;
use crate::kafka::{
    ClientError, FetchBuffer, Handle, Health, Message, Messages, Queue, client_error, kind_of,
};
use crate::metrics::{Metrics, TopicMetrics};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, ErrorKind, Result};

/// How many errors wait to be shown; beyond that the oldest is dropped.
const MAX_ERRORS: usize = 16;

pub(super) struct Shared {
    /// None once the consumer is closed.
    handle: Mutex<Option<Arc<Handle>>>,
    pub(super) settings: ConsumerSettings,
    pub(super) topics: Vec<Arc<str>>,
    pub(super) progress: Progress,
    pub(super) wake: Arc<Wake>,
    pub(super) decoding: Decoding,
    pub(super) metrics: Metrics,
    connection: ConnectionSettings,
    pub(super) health: Health,
    pub(super) tokens: Option<TokenProvider>,
    /// How often reading alone looks for partitions that were added; never with `None`.
    pub(super) look_every: Option<Duration>,
    reader: Mutex<Reader>,
    trouble: Mutex<Trouble>,
    errors: Mutex<VecDeque<Error>>,
    /// Whether there may be something in `errors` or `fatal`.
    has_errors: AtomicBool,
    fatal: Mutex<Option<Error>>,
    closing_by: Mutex<Option<Instant>>,
    /// librdkafka's threads do not survive a fork.
    process: u32,
}

/// A topic as the consumer knows it.
pub(super) struct KnownTopic {
    pub(super) ours: Option<Topic>,
    pub(super) metrics: Arc<TopicMetrics>,
}

/// What a look at the queue of records found.
pub(super) enum Next {
    Batch(Batch),
    /// Everything has been read that there is.
    End,
    Nothing,
}

/// The reading end. Records are taken and partitions given up under its lock, so that a batch is
/// always of partitions that we have.
pub(super) struct Reader {
    queue: Option<Queue>,
    /// Records that come before those of the queue, and are not handed out yet.
    waiting: Option<Waiting>,
    buffer: FetchBuffer,
    topics: HashMap<Arc<str>, Arc<KnownTopic>>,
    /// Records that were given back, in the order in which they were fetched. The next read gives
    /// these before it looks into the queue.
    given_back: VecDeque<Fetched>,
    /// How many batches were fetched.
    fetched: u64,
    /// Whether a position of librdkafka's may be beyond a record that no batch had: it counts an end
    /// that it tells, and an error, as a record, and does not go back with a seek.
    distrusts_positions: bool,
    end: End,
}

/// How much of what we have is read to its end.
#[derive(Default)]
struct End {
    /// Whether there was an assignment yet.
    assigned: bool,
    unread: HashSet<TopicPartition>,
    /// Whether the end is still to be told.
    news: bool,
}

impl Reader {
    /// The queue that records of our partitions go to; none once the consumer is closed.
    pub(super) fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    pub(super) fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.forget_waiting(partitions);
        self.end.assigned = true;
        self.end.unread.extend(partitions.iter().cloned());
    }

    /// How many records are fetched and not handed out.
    pub(super) fn buffered(&self) -> usize {
        let given_back = self.given_back.iter().map(|fetched| fetched.messages.len());
        let waiting = self.waiting.as_ref().map_or(0, |one| one.messages.len());
        given_back.sum::<usize>() + waiting + self.queue.as_ref().map_or(0, Queue::len)
    }

    /// Whether a position is never beyond a record that no batch had.
    pub(super) fn trusts_positions(&self) -> bool {
        !self.distrusts_positions
    }

    /// Notes that this consumer reads somewhere again.
    pub(super) fn sought(&mut self) {
        self.distrusts_positions = true;
    }

    /// Whether records were taken from the queue that no batch has.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Drops records that were fetched before a partition was assigned, given up or sought in.
    fn forget_waiting(&mut self, partitions: &[TopicPartition]) {
        if let Some(waiting) = &mut self.waiting {
            waiting.forget(partitions);
            if waiting.messages.len() == 0 {
                // Ends are told once.
                std::mem::take(&mut waiting.ends)
                    .iter()
                    .for_each(|end| self.end.read(end));
                self.waiting = None;
            }
        }
    }

    /// `all` tells that no partition is left until the next assignment.
    pub(super) fn revoked(&mut self, partitions: &[TopicPartition], all: bool) {
        self.forget_waiting(partitions);
        self.end.given_up(partitions, all);
        self.forget(partitions);
    }

    /// Drops the records of these partitions that were given back.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        for fetched in &mut self.given_back {
            fetched.keep(|run| !partitions.contains(&run.partition));
        }
        self.given_back.retain(|fetched| fetched.messages.len() > 0);
    }

    fn topic(
        &mut self,
        name: &Arc<str>,
        connection: &ConnectionSettings,
        metrics: &Metrics,
    ) -> Arc<KnownTopic> {
        if let Some(known) = self.topics.get(name) {
            return Arc::clone(known);
        }
        let ours = connection.topic_of(name);
        let known = Arc::new(KnownTopic {
            ours,
            metrics: metrics.topic(name),
        });
        self.topics.insert(Arc::clone(name), Arc::clone(&known));
        known
    }
}

/// What a [`Shared`] is made of.
pub(super) struct Parts {
    pub(super) handle: Arc<Handle>,
    pub(super) settings: ConsumerSettings,
    pub(super) decoding: Decoding,
    pub(super) metrics: Metrics,
    pub(super) connection: ConnectionSettings,
    pub(super) tokens: Option<TokenProvider>,
    pub(super) look_every: Option<Duration>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            handle,
            settings,
            decoding,
            metrics,
            connection,
            tokens,
            look_every,
        } = parts;
        let wake = Arc::new(Wake::default());
        let mut queue = handle.new_queue();
        let arrival = Arc::clone(&wake);
        queue.on_arrival(move || arrival.wake());
        let batch_records = usize::try_from(settings.max_batch_records).unwrap_or(usize::MAX);
        Shared {
            topics: settings
                .topics
                .iter()
                .map(|topic| Arc::from(topic.as_str()))
                .collect(),
            progress: Progress::default(),
            wake,
            decoding,
            metrics,
            connection,
            health: Health::default(),
            tokens,
            look_every,
            reader: Mutex::new(Reader {
                queue: Some(queue),
                waiting: None,
                buffer: FetchBuffer::new(batch_records.min(1 << 16)),
                topics: HashMap::new(),
                given_back: VecDeque::new(),
                fetched: 0,
                distrusts_positions: false,
                end: End::default(),
            }),
            trouble: Mutex::new(Trouble::at_start(
                settings.unreachable_after,
                Instant::now(),
            )),
            errors: Mutex::default(),
            has_errors: AtomicBool::new(false),
            fatal: Mutex::default(),
            closing_by: Mutex::default(),
            process: std::process::id(),
            handle: Mutex::new(Some(handle)),
            settings,
        }
    }

    /// The running client.
    pub(super) fn handle(&self) -> Result<Arc<Handle>> {
        if !self.is_ours() {
            let message = "the consumer was made before a fork: it is the parent process'";
            return Err(Error::new(ErrorKind::Closed, message));
        }
        self.handle.lock().clone().ok_or_else(closed)
    }

    pub(super) fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock()
    }

    /// The next batch for a reader, waiting for one until `deadline`.
    pub(super) fn wait_next(
        self: &Arc<Self>,
        reader: &ReaderId,
        deadline: Option<Instant>,
    ) -> Result<Next> {
        self.progress.confirm(reader);
        loop {
            let seen = self.wake.arrivals();
            match self.look(reader)? {
                Next::Nothing => {}
                found => return Ok(found),
            }
            if !self.wake.wait(seen, deadline) {
                return Ok(Next::Nothing);
            }
        }
    }

    /// As [`wait_next`](Self::wait_next), for a task, which confirms when it begins to wait.
    pub(super) fn poll_next(
        self: &Arc<Self>,
        reader: &ReaderId,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next>> {
        loop {
            let seen = self.wake.arrivals();
            match self.look(reader) {
                Ok(Next::Nothing) => {}
                found => return Poll::Ready(found),
            }
            if self.wake.register(seen, cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// Takes what is there.
    fn look(self: &Arc<Self>, for_reader: &ReaderId) -> Result<Next> {
        if self.has_errors.load(Ordering::Acquire) {
            if let Some(error) = self.errors.lock().pop_front() {
                return Err(error);
            }
            if let Some(error) = &*self.fatal.lock() {
                return Err(error.clone());
            }
        }
        if !self.is_ours() {
            self.handle()?;
        }
        let mut reader = self.reader.lock();
        if let Some(fetched) = reader.given_back.pop_front() {
            // The end comes again behind these.
            reader.end.news = reader.end.is_reached();
            drop(reader);
            return Ok(self.batch(fetched, for_reader));
        }
        if reader.waiting.is_some() {
            return self.look_at_waiting(reader, for_reader);
        }
        let Reader { queue, buffer, .. } = &mut *reader;
        let Some(queue) = queue else {
            return Err(closed());
        };
        let mut messages = queue.fetch(buffer);
        if messages.len() == 0 {
            return Ok(reader.told_end());
        }
        let mut ends = Vec::new();
        if messages.iter().any(|message| message.error().is_some()) {
            reader.distrusts_positions = true;
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
                    self.not_a_record(code, &message);
                }
                false
            });
        }
        // A partition's end can come together with its last records, and be followed by newer ones.
        let goes_on = |before: usize, partition: &TopicPartition| {
            let mut later = messages.iter().skip(before);
            later.any(|it| it.partition() == partition.partition && *it.topic() == *partition.topic)
        };
        let ends: Vec<_> = ends
            .into_iter()
            .filter(|(before, partition)| !goes_on(*before, partition))
            .map(|(_, partition)| partition)
            .collect();
        if messages.len() == 0 {
            ends.iter().for_each(|end| reader.end.read(end));
            let end = reader.told_end();
            drop(reader);
            // An error about a partition is shown now, not at the next arrival.
            let error = self.errors.lock().pop_front();
            return error.map_or(Ok(end), Err);
        }
        let (unknown, by_header) = self.decoding.unknown(&messages);
        let Some(unknown) = unknown else {
            let prepared = Prepared {
                by_header,
                ..Prepared::default()
            };
            return Ok(self.hand_out(reader, messages, &ends, prepared, for_reader));
        };
        let (wake, patience) = (Arc::clone(&self.wake), self.settings.unreachable_after);
        reader.waiting = Some(Waiting::new(messages, ends, unknown, wake, patience));
        self.look_at_waiting(reader, for_reader)
    }

    /// Hands the waiting records out once their schemas are there.
    fn look_at_waiting(
        self: &Arc<Self>,
        mut reader: MutexGuard<'_, Reader>,
        for_reader: &ReaderId,
    ) -> Result<Next> {
        let Some(waiting) = &reader.waiting else {
            return Ok(Next::Nothing);
        };
        let Some(prepared) = waiting.look()? else {
            return Ok(Next::Nothing);
        };
        match reader.waiting.take() {
            Some(Waiting { messages, ends, .. }) => {
                Ok(self.hand_out(reader, messages, &ends, prepared, for_reader))
            }
            None => Ok(Next::Nothing),
        }
    }

    fn hand_out(
        self: &Arc<Self>,
        mut reader: MutexGuard<'_, Reader>,
        messages: Messages,
        ends: &[TopicPartition],
        prepared: Prepared,
        for_reader: &ReaderId,
    ) -> Next {
        let runs = self.runs(&mut reader, &messages);
        ends.iter().for_each(|end| reader.end.read(end));
        reader.fetched += 1;
        let number = reader.fetched;
        drop(reader);
        self.trouble.lock().over();
        let fetched = Fetched {
            messages,
            runs,
            prepared,
            number,
        };
        self.batch(fetched, for_reader)
    }

    fn batch(self: &Arc<Self>, fetched: Fetched, reader: &ReaderId) -> Next {
        Next::Batch(Batch::new(fetched, Arc::clone(self), reader.clone()))
    }

    /// Has the next read give these records again, from `index` on: those that are not acknowledged,
    /// of partitions that we still have.
    pub(super) fn take_back(&self, mut fetched: Fetched, index: usize) {
        let mut reader = self.reader.lock();
        if reader.queue.is_none() {
            return;
        }
        fetched.runs.retain_mut(|run| {
            let start = run.records.start;
            let offset = |index| fetched.messages.get(index).map(|message| message.offset());
            let is_done =
                |index: &usize| offset(*index).is_some_and(|offset| offset < run.run.done());
            let from = (start.max(index)..run.records.end).find(|index| !is_done(index));
            let Some(from) = from else {
                return false;
            };
            let rest = if from == start {
                let tracked = self.progress.is_tracked(&run.partition, &run.run);
                tracked.then(|| Arc::clone(&run.run))
            } else {
                let (last, first) = (offset(from - 1), offset(from));
                last.zip(first).and_then(|(last, first)| {
                    let (partition, end) = (&run.partition, last + 1);
                    self.progress.split(partition, &run.run, end, first)
                })
            };
            let Some(rest) = rest else {
                return false;
            };
            rest.set_idle(true);
            run.records.start = from;
            run.run = rest;
            true
        });
        fetched.keep(|_| true);
        if fetched.messages.len() > 0 {
            let later = |one: &Fetched| one.number > fetched.number;
            let place = reader.given_back.iter().position(later);
            let place = place.unwrap_or(reader.given_back.len());
            reader.given_back.insert(place, fetched);
        }
        drop(reader);
        self.progress.notify();
        self.wake.wake();
    }

    /// Cuts the messages into runs of one partition and writes those down as handed out.
    fn runs(&self, reader: &mut Reader, messages: &Messages) -> Vec<BatchRun> {
        let place = |message: &Message<'_>| (message.topic_id(), message.partition());
        let mut runs = Vec::new();
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
            let name = match reader.topics.get_key_value(first.topic()) {
                Some((name, _)) => Arc::clone(name),
                None => Arc::from(first.topic()),
            };
            let topic = reader.topic(&name, &self.connection, &self.metrics);
            topic.metrics.consumed((end - start) as u64, bytes as u64);
            topic.metrics.tombstones(tombstones);
            let partition = TopicPartition::new(name, first.partition());
            let run = Run::new(first.offset(), last.offset() + 1, last.leader_epoch());
            let run = Arc::new(run);
            self.progress.handed_out(&partition, &run);
            if self.settings.detect_end {
                reader.end.unread.insert(partition.clone());
            }
            runs.push(BatchRun {
                records: start..end,
                topic,
                partition,
                run,
            });
            start = end;
        }
        runs
    }

    fn not_a_record(&self, code: Code, message: &Message<'_>) {
        let error = client_error(code, &message.error_text())
            .with("topic", message.topic())
            .with("partition", message.partition())
            .with("offset", message.offset());
        self.note(error, false);
    }

    /// Whether everything has been read that there is.
    pub(super) fn at_end(&self) -> bool {
        let reader = self.reader.lock();
        self.settings.detect_end
            && reader.end.is_reached()
            && reader.waiting.is_none()
            && reader.given_back.is_empty()
    }

    /// Takes note of an error from librdkafka; it is shown now, later or not at all.
    pub(super) fn note_client_error(&self, error: &ClientError, handle: &Handle) {
        if error.is_fatal {
            let fatal = handle.fatal_error();
            let error = fatal.unwrap_or_else(|| Error::new(kind_of(error.code), &*error.reason));
            self.end_with(error);
            return;
        }
        let connection = matches!(
            error.code,
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::SSL
                | Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::OperationTimedOut
        );
        let noted = client_error(error.code, &error.reason);
        // Of a topic's error librdkafka gives the topic in its sentence alone.
        let about = |topic: &&Arc<str>| error.reason.contains(&format!(": {topic}: "));
        let noted = match self.topics.iter().find(about) {
            Some(topic) if !connection => noted.with("topic", topic),
            _ => noted,
        };
        self.note(noted, connection);
    }

    pub(super) fn note(&self, error: Error, connection: bool) {
        let shown = self.trouble.lock().note(error, connection, Instant::now());
        if let Some(error) = shown {
            self.show(error);
        }
    }

    /// Asks the brokers whether they are there, where there is reason to doubt it.
    pub(super) fn look_at_trouble(&self, reachable: impl FnOnce() -> bool) {
        if !self.trouble.lock().is_due(Instant::now()) {
            return;
        }
        let reachable = reachable();
        if reachable {
            self.health.recovered();
        }
        let lasting = self.trouble.lock().looked(reachable, Instant::now());
        if let Some(error) = lasting {
            self.show(error);
        }
    }

    /// Has the next call of a reader fail with `error`.
    pub(super) fn show(&self, error: Error) {
        let mut errors = self.errors.lock();
        if errors.len() == MAX_ERRORS {
            errors.pop_front();
        }
        errors.push_back(error);
        drop(errors);
        self.has_errors.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Has every call of a reader fail with `error` from now on.
    pub(super) fn end_with(&self, error: Error) {
        tracing::error!(target: "carbon_events", %error, "the consumer cannot go on");
        self.fatal.lock().get_or_insert(error);
        self.has_errors.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Nothing is read any more, and the group is to be left by `deadline`.
    pub(super) fn begin_closing(&self, deadline: Instant) {
        *self.closing_by.lock() = Some(deadline);
        self.progress.notify();
        // What was fetched and not read goes back to librdkafka.
        let mut reader = self.reader.lock();
        let unread = (
            reader.queue.take(),
            reader.waiting.take(),
            std::mem::take(&mut reader.given_back),
        );
        drop(reader);
        drop(unread);
        self.wake.wake();
    }

    pub(super) fn closing_by(&self) -> Option<Instant> {
        *self.closing_by.lock()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing_by.lock().is_some()
    }

    /// The consumer's thread is at its end, whatever ended it: nobody may wait for it any more.
    pub(super) fn thread_ended(&self) {
        if !self.is_over() {
            let message = "the consumer's thread has ended; make a new consumer";
            self.end_with(Error::new(ErrorKind::Internal, message));
        }
    }

    /// The group is left: ends the client once the last batch is dropped.
    pub(super) fn finish_closing(&self) {
        let handle = self.handle.lock().take();
        drop(handle);
    }

    /// Whether no record will come any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_closing() || self.fatal.lock().is_some()
    }

    /// Whether this is the process that the consumer was made in.
    pub(super) fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }
}

impl Reader {
    /// The end, if it was reached and not told yet.
    fn told_end(&mut self) -> Next {
        if std::mem::take(&mut self.end.news) && self.end.is_reached() {
            Next::End
        } else {
            Next::Nothing
        }
    }
}

impl End {
    fn read(&mut self, partition: &TopicPartition) {
        if self.unread.remove(partition) && self.is_reached() {
            self.news = true;
        }
    }

    /// What is left may have been read to its end before. Between two assignments there is no end.
    fn given_up(&mut self, partitions: &[TopicPartition], all: bool) {
        self.assigned &= !all;
        for partition in partitions {
            self.read(partition);
        }
    }

    fn is_reached(&self) -> bool {
        self.assigned && self.unread.is_empty()
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_reached_by_giving_up_what_is_unread_but_not_by_giving_up_all() {
        let partitions = [0, 1].map(|number| TopicPartition::new("t", number));
        let end = || End {
            assigned: true,
            unread: partitions.iter().cloned().collect(),
            news: false,
        };
        let mut one_left = end();
        one_left.read(&partitions[0]);
        one_left.given_up(&partitions[1..], false);
        assert!(one_left.is_reached() && one_left.news);
        let mut all_gone = end();
        all_gone.given_up(&partitions, true);
        assert!(!all_gone.is_reached() && !all_gone.news);
    }
}

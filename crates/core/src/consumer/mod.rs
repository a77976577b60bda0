//! Consuming: events from Kafka, borrowed batch by batch or as a stream.
//!
//! ```text
//!  brokers ──▶ librdkafka ──▶ queue, up to max_buffered_bytes
//!                 ▲              │ next_batch: everything that is there, up to max_batch_records
//!                 │              ▼
//!   consumer's own thread      Batch ─▶ Record ─▶ event(): decoded where it lies
//!   rebalances, commits,         │
//!   errors, tokens               ├─ its reader drops it and reads on, or acknowledges it ─┐
//!                 ▲              └─ given back: the next read gives it again              │
//!                 └──────────────────── how far each partition is acknowledged ◀──────────┘
//! ```
//!
//! # Acknowledgement
//!
//! At least once: an offset is committed when every record before it in its partition is
//! acknowledged. Records belong to the reader that received them, a thread or a task
//! ([`ReaderId`]), and are acknowledged
//!
//! * when that reader has dropped their batch **and reads on**. A record of a
//!   [stream](EventConsumer::stream) is acknowledged when the next one is asked for;
//! * by [`Batch::acknowledge`], [`Record::acknowledge`] or [`EventConsumer::acknowledge`].
//!
//! Nothing else acknowledges: not `close`, not dropping the consumer, not another reader's read,
//! not a panic, not a batch that is dropped by another thread or task than received it (a worker
//! acknowledges its batch itself). So
//!
//! * an error that ends the reading loop (`?`) leaves its batch unacknowledged. The partition's next
//!   owner begins with it, whether the consumer is closed or dropped. The same thread or task
//!   acknowledges it by reading on with this consumer; to read it again instead, call
//!   [`Batch::give_back`];
//! * a loop that is left early (`break`) leaves its last batch unacknowledged too, unless it calls
//!   [`EventConsumer::acknowledge`] before it closes;
//! * a loop that ends because there are no more records has acknowledged all of them.
//!
//! Records that were fetched and that no reader received wait in the consumer, and the next read,
//! whichever reader's, gives them before any others: those of a read that was cancelled, those of a
//! stream or an iterator that ended before them, those of [`Batch::give_back`], and those of a read
//! that failed with a [retryable](crate::Error::retryable) error, so that the same records come
//! again. They are forgotten when their partition is revoked or sought.
//!
//! With `auto_commit` off nothing is committed but what [`EventConsumer::commit`] is given.
//!
//! # Rebalances
//!
//! The consumer's own thread takes part in the group while the caller works, by the classic
//! protocol (all at once or, with `partition.assignment.strategy=cooperative-sticky`, one by one)
//! or by the broker's (KIP-848). Before partitions are given up it waits up to `revoke_timeout` for
//! batches in hand, and commits what is acknowledged; what is still in hand then is read again by
//! the next owner. Nothing is read ahead of the caller but inside librdkafka, which discards it.
//!
//! # Closing
//!
//! `close` returns within its timeout, whatever the brokers do. The consumer's own thread leaves the
//! group; where that takes longer, it goes on in the background for up to half a minute, and then
//! librdkafka is destroyed without it. librdkafka's threads are never waited for beyond the timeout.
//!
//! # Errors
//!
//! librdkafka goes on trying after nearly every error. Reading fails with what somebody must mend
//! (an unknown topic, a right that is missing) at once, with what may pass (no broker answers) after
//! `unreachable_after`, and with a record that is no event not at all: that is the record's own
//! error. The schema registry is one of these: records are handed out once it has answered for the
//! schema of each, so an outage fails the read, and the same records come at the next one. After an error, reading can go on; only [`ErrorKind::Closed`]
//! and what librdkafka calls fatal (a group member fenced by another of its name) stay.
//!
//! Retry topics and dead letters belong where a batch is acknowledged ([`progress`]), worker pools
//! on top of [`EventConsumer::next_batch`] and [`Batch::into_parts`], and transactions where offsets are stored ([`service`]).

mod batch;
mod builder;
mod decoding;
mod owned;
mod parts;
mod position;
mod progress;
mod reader_id;
mod service;
mod shared;
mod start;
mod stream;
mod trouble;
mod waiting;
mod wake;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use batch::{Batch, Record, RecordHeader, Records};
pub use builder::EventConsumerBuilder;
pub use owned::{OwnedRecord, Undecodable};
pub use parts::Part;
pub use position::{Offsets, Position, TopicPartition};
pub use reader_id::ReaderId;
pub use stream::{Any, Cursor, Decode, EventStream, Iteration, One};

use crate::background::on_a_thread;
use crate::events::TypedEvent;
use crate::metrics::Metrics;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};
use shared::{Next, Shared};
use wake::Wake;

/// Reads events from Kafka as a member of a consumer group, or alone.
///
/// Threads and tasks may share it by reference, each asking for batches of its own. See the
/// [module](self) for what is acknowledged when.
pub struct EventConsumer {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

/// The consumer's own thread.
struct Running {
    outcome: Receiver<Result<()>>,
    thread: JoinHandle<()>,
}

/// Partitions that come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssignmentChange<'a> {
    /// These are ours from now on.
    Assigned(&'a [TopicPartition]),
    /// These are about to be given up; what was handled of them is committed after this.
    Revoked(&'a [TopicPartition]),
    /// These were given to others without asking, because the group did not hear of us for too
    /// long. Nothing can be committed for them any more: their records are read again.
    Lost(&'a [TopicPartition]),
}

impl EventConsumer {
    /// A builder with every setting at its default; the environment is not looked at.
    pub fn builder() -> EventConsumerBuilder {
        EventConsumerBuilder::default()
    }

    /// A builder with the environment's settings.
    pub fn from_env() -> EventConsumerBuilder {
        EventConsumerBuilder::from_env()
    }

    /// The next batch; waits for one up to `timeout`. `None` where none came in time or, with
    /// `detect_end`, as soon as everything has been read that there is; [`at_end`](Self::at_end)
    /// tells the two apart. A service goes on after `None`, since more may come:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(consumer: &carbon_events::EventConsumer) -> carbon_events::Result<()> {
    /// loop {
    ///     match consumer.next_batch(Duration::from_secs(1))? {
    ///         Some(batch) => println!("{} records", batch.len()),
    ///         None if consumer.at_end() => break Ok(()), // with detect_end alone
    ///         None => {} // nothing came for a second: a chance to look at something else
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Acknowledges the batches that this thread received and dropped before.
    ///
    /// # Errors
    ///
    /// See the [module](self): [`ErrorKind::UnknownTopic`], [`ErrorKind::Authorization`],
    /// [`ErrorKind::Authentication`], [`ErrorKind::Unavailable`], [`ErrorKind::InvalidConfig`] for
    /// what the group refuses, [`ErrorKind::Closed`].
    pub fn next_batch(&self, timeout: Duration) -> Result<Option<Batch>> {
        self.next_batch_of(&ReaderId::current(), timeout)
    }

    /// As [`next_batch`](Self::next_batch), for a reader that is not known by its thread.
    ///
    /// # Errors
    ///
    /// Those of [`next_batch`](Self::next_batch).
    pub fn next_batch_of(&self, reader: &ReaderId, timeout: Duration) -> Result<Option<Batch>> {
        let deadline = Instant::now().checked_add(timeout);
        match self.shared.wait_next(reader, deadline)? {
            Next::Batch(batch) => Ok(Some(batch)),
            Next::End | Next::Nothing => Ok(None),
        }
    }

    /// As [`next_batch`](Self::next_batch), for a task, and for as long as it takes: `None` comes
    /// with `detect_end` alone. Acknowledges the batches that this task received and dropped before.
    /// Where the future is dropped, the next read gives what it has fetched.
    ///
    /// # Errors
    ///
    /// Those of [`next_batch`](Self::next_batch).
    pub async fn next_batch_async(&self) -> Result<Option<Batch>> {
        self.receive(None).await
    }

    /// As [`next_batch_async`](Self::next_batch_async), for a reader that is not known by the task
    /// that polls.
    ///
    /// # Errors
    ///
    /// Those of [`next_batch`](Self::next_batch).
    pub async fn next_batch_async_of(&self, reader: &ReaderId) -> Result<Option<Batch>> {
        self.receive(Some(reader)).await
    }

    async fn receive(&self, reader: Option<&ReaderId>) -> Result<Option<Batch>> {
        let mut waits = false;
        let next = poll_fn(|cx| {
            let polled;
            let reader = match reader {
                Some(reader) => reader,
                None => {
                    polled = ReaderId::polled(cx.waker());
                    &polled
                }
            };
            // Once: what the reader is given meanwhile is not acknowledged by this read.
            if !std::mem::replace(&mut waits, true) {
                self.shared.progress.confirm(reader);
            }
            self.shared.poll_next(reader, cx)
        });
        match next.await? {
            Next::Batch(batch) => Ok(Some(batch)),
            Next::End | Next::Nothing => Ok(None),
        }
    }

    /// The records one by one, each copied out with its event decoded.
    ///
    /// The stream gives errors of reading as `Err` and goes on; a record that is no event is `Ok`
    /// with the error inside. It ends when the consumer is closed and, with `detect_end`, when
    /// everything has been read that there is.
    pub fn stream(&self) -> EventStream<'_> {
        EventStream::new(self)
    }

    /// As [`stream`](Self::stream), with events of one type; a record that holds another event is
    /// no event to this stream.
    pub fn typed<E: TypedEvent>(&self) -> EventStream<'_, One<E>>
    where
        One<E>: Decode,
    {
        EventStream::new(self)
    }

    /// The partitions that are ours now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.progress.partitions()
    }

    /// With `detect_end`: whether everything has been read that there is, in every partition of
    /// ours.
    pub fn at_end(&self) -> bool {
        self.shared.at_end()
    }

    /// How many records are fetched and wait to be asked for.
    pub fn buffered_records(&self) -> usize {
        self.shared.reader().buffered()
    }

    /// Acknowledges the batches that this thread or task received and dropped, without reading on:
    /// for a loop that is left early and without an error. A task of another executor than tokio's is
    /// not known here: it calls [`Batch::acknowledge`].
    pub fn acknowledge(&self) {
        self.acknowledge_of(&ReaderId::current());
    }

    /// As [`acknowledge`](Self::acknowledge), for a reader that is not known by its thread.
    pub fn acknowledge_of(&self, reader: &ReaderId) {
        self.shared.progress.confirm(reader);
    }

    /// How far each partition is acknowledged of which any record is.
    pub fn handled(&self) -> Offsets {
        self.shared.progress.places().into()
    }

    /// Commits offsets without waiting for the answer; that is logged and counted in the metrics.
    ///
    /// Takes a [`Batch`] or a record (both: up to and with it), or [`Offsets`], such as those of
    /// [`handled`](Self::handled).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`].
    pub fn commit(&self, offsets: impl Into<Offsets>) -> Result<()> {
        let handle = self.shared.handle()?;
        let offsets = self.to_commit(offsets)?;
        if offsets.is_empty() {
            return Ok(());
        }
        // Answers to this queue are served by the consumer's own thread.
        handle.commit(&offsets.to_list(), &handle.consumer_queue())
    }

    /// Commits offsets and waits for the answer up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`]: nobody can say whether they are committed.
    /// [`ErrorKind::Unavailable`]: the group is just being rebalanced. Others as they are.
    pub fn commit_sync(&self, offsets: impl Into<Offsets>, timeout: Duration) -> Result<()> {
        let handle = self.shared.handle()?;
        let offsets = self.to_commit(offsets)?;
        if offsets.is_empty() {
            return Ok(());
        }
        let answers = handle.new_queue();
        handle.commit(&offsets.to_list(), &answers)?;
        match answers.poll(timeout) {
            Some(answer) => self.answered(&answer),
            None => {
                let late = Error::new(ErrorKind::Timeout, "no answer to the commit in time");
                Err(self.shared.health.explain(late))
            }
        }
    }

    /// As [`commit_sync`](Self::commit_sync), without blocking the task's thread, and for as long
    /// as librdkafka waits (`socket.timeout.ms`).
    ///
    /// # Errors
    ///
    /// Those of [`commit_sync`](Self::commit_sync).
    pub async fn commit_async(&self, offsets: impl Into<Offsets>) -> Result<()> {
        let (answers, wake) = {
            let handle = self.shared.handle()?;
            let offsets = self.to_commit(offsets)?;
            if offsets.is_empty() {
                return Ok(());
            }
            let wake = Arc::new(Wake::default());
            let mut answers = handle.new_queue();
            let arrival = Arc::clone(&wake);
            answers.on_arrival(move || arrival.wake());
            handle.commit(&offsets.to_list(), &answers)?;
            (answers, wake)
        };
        let answer = poll_fn(|cx| {
            loop {
                let seen = wake.arrivals();
                if let Some(answer) = answers.poll(Duration::ZERO) {
                    return std::task::Poll::Ready(answer);
                }
                if wake.register(seen, cx.waker()) {
                    return std::task::Poll::Pending;
                }
            }
        });
        self.answered(&answer.await)
    }

    fn to_commit(&self, offsets: impl Into<Offsets>) -> Result<Offsets> {
        if self.shared.settings.standalone {
            let message = "a standalone consumer has no group to commit offsets for";
            return Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", "standalone"));
        }
        Ok(offsets.into())
    }

    fn answered(&self, answer: &crate::kafka::Event) -> Result<()> {
        let unexpected = || {
            let message = "librdkafka answered something else than a commit";
            Err(Error::new(ErrorKind::Internal, message))
        };
        let outcome = answer
            .commit()
            .map_or_else(unexpected, |commit| commit.outcome);
        self.shared.metrics.committed(outcome.is_ok());
        outcome
    }

    /// Goes on reading at these offsets, of partitions that are ours. Batches in hand stay as they
    /// are, and what is handled of them counts no more.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`], [`ErrorKind::UnknownTopic`] for a partition that is not ours,
    /// [`ErrorKind::Closed`].
    pub fn seek(&self, to: impl Into<Offsets>, timeout: Duration) -> Result<()> {
        let handle = self.shared.handle()?;
        let to = to.into();
        // With the reader's lock, so that no batch of before is handed out as one of after.
        let mut reader = self.shared.reader();
        reader.sought();
        let ours = self.shared.progress.partitions();
        for position in to.iter() {
            let partition = &position.partition;
            if ours.binary_search(partition).is_err() {
                let message = format!("{partition} is not assigned to this consumer");
                return Err(Error::new(ErrorKind::UnknownTopic, message)
                    .with("topic", &partition.topic)
                    .with("partition", partition.partition));
            }
        }
        handle.seek(&to.to_list(), timeout)?;
        for position in to.iter() {
            self.shared.progress.sought(&position.partition);
            reader.forget(std::slice::from_ref(&position.partition));
            reader.assigned(std::slice::from_ref(&position.partition));
        }
        drop(reader);
        // Records of other partitions may have come while some waited for their schema.
        self.shared.wake.wake();
        Ok(())
    }

    /// The metrics that this consumer counts into, with the lag of its partitions.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Stops reading, commits what is acknowledged and leaves the group, all within `timeout`. It
    /// acknowledges nothing itself: see [`acknowledge`](Self::acknowledge). Blocks; every later use
    /// fails with [`ErrorKind::Closed`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] where the brokers do not answer in time: leaving goes on in the
    /// background, and what was acknowledged since the last commit may be read again. The error of
    /// the last commit, where that failed.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.leave(timeout)
    }

    /// As [`close`](Self::close), without blocking the task's thread.
    ///
    /// # Errors
    ///
    /// Those of [`close`](Self::close).
    pub async fn close_async(&self, timeout: Duration) -> Result<()> {
        let Some(running) = self.running.lock().take() else {
            return Ok(());
        };
        let deadline = self.begin_leaving(timeout);
        let shared = Arc::clone(&self.shared);
        on_a_thread("carbon-events-close", move || {
            running.leave(&shared, deadline)
        })
        .await?
    }

    fn leave(&self, timeout: Duration) -> Result<()> {
        let Some(running) = self.running.lock().take() else {
            return Ok(());
        };
        let deadline = self.begin_leaving(timeout);
        running.leave(&self.shared, deadline)
    }

    fn begin_leaving(&self, timeout: Duration) -> Instant {
        const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
        let deadline = Instant::now() + timeout.min(FOREVER);
        self.shared.begin_closing(deadline);
        if let Ok(handle) = self.shared.handle() {
            handle.consumer_queue().wake();
        }
        deadline
    }
}

impl Running {
    /// Waits for the consumer's thread until `deadline`: for the group to be left, and then for
    /// librdkafka's threads to end.
    fn leave(self, shared: &Shared, deadline: Instant) -> Result<()> {
        let left = || deadline.saturating_duration_since(Instant::now());
        let outcome = self.outcome.recv_timeout(left());
        shared.finish_closing();
        let Ok(outcome) = outcome else {
            return Err(too_late());
        };
        // The thread hangs up when librdkafka is destroyed.
        if let Err(RecvTimeoutError::Disconnected) = self.outcome.recv_timeout(left()) {
            let _ = self.thread.join();
        }
        outcome
    }
}

fn too_late() -> Error {
    let message = "the group was not left in time; that goes on in the background. What was \
                   acknowledged since the last commit may be read again";
    Error::new(ErrorKind::Timeout, message)
}

impl Drop for EventConsumer {
    fn drop(&mut self) {
        if !self.shared.is_ours() {
            // librdkafka's threads are in the parent process; waiting for them would never end.
            std::mem::forget(Arc::clone(&self.shared));
            std::mem::forget(self.running.lock().take());
            return;
        }
        if let Err(error) = self.leave(self.shared.settings.close_timeout) {
            tracing::warn!(target: "carbon_events", %error, "a consumer was dropped");
        }
    }
}

impl fmt::Debug for EventConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventConsumer")
            .field("topics", &self.shared.topics)
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
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

#[cfg(test)]
mod tests;

//! Consuming: events from Kafka, borrowed batch by batch or as a stream.
//!
//! ```text
//!  brokers ──▶ librdkafka ──▶ queue, up to max_buffered_bytes
//!                 ▲              │ next_batch: everything that is there, up to max_batch_records
//!                 │              ▼
//!   consumer's own thread      Batch ─▶ Record ─▶ event(): decoded where it lies
//!   rebalances, commits,         │
//!   errors, tokens               │ the next batch is asked for: the one before is handled
//!                 ▲              ▼
//!                 └─────── how far each partition is handled
//! ```
//!
//! # What counts as handled
//!
//! Offsets are committed of records that were handled, never of records that were merely read: at
//! least once. A batch counts as handled when it was dropped **and** the next one is asked for,
//! when [`Batch::acknowledge`] says so, or when it was dropped before [`EventConsumer::close`]. A
//! record of a [stream](EventConsumer::stream) counts as handled when the next is asked for. So
//!
//! * an error that ends the reading loop (`?`) leaves its batch unhandled: whoever reads the
//!   partition next begins with it. So does a consumer that is dropped instead of closed;
//! * a panic while a batch is held leaves that batch unhandled;
//! * [`Batch::abandon`] leaves it unhandled on purpose.
//!
//! Batches may be handled by several threads: an offset moves only over batches that are handled
//! without a gap. With `auto_commit` off nothing is committed but what [`EventConsumer::commit`]
//! is given.
//!
//! # Rebalances
//!
//! The consumer's own thread takes part in the group while the caller works, by the classic
//! protocol (all at once or, with `partition.assignment.strategy=cooperative-sticky`, one by one)
//! or by the broker's (KIP-848). Before partitions are given up it waits up to `revoke_timeout` for
//! batches in hand, and commits what is handled; what is still in hand then is read again by the
//! next owner. Nothing is read ahead of the caller but inside librdkafka, which discards it.
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
//! Retry topics and dead letters belong where a batch becomes handled ([`progress`]), worker pools
//! on top of [`EventConsumer::next_batch`], and transactions where offsets are stored ([`service`]).

mod batch;
mod builder;
mod decoding;
mod owned;
mod position;
mod progress;
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
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use batch::{Batch, Record, RecordHeader, Records};
pub use builder::EventConsumerBuilder;
pub use owned::{OwnedRecord, Undecodable};
pub use position::{Offsets, Position, TopicPartition};
pub use stream::{Any, Cursor, Decode, EventStream, One};

use crate::background::on_a_thread;
use crate::events::TypedEvent;
use crate::metrics::Metrics;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};
use shared::{Next, Shared};
use wake::Wake;

/// Reads events from Kafka as a member of a consumer group, or alone.
///
/// Threads may share it by reference, each asking for batches of its own.
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
    /// Says that the batches dropped before are handled.
    ///
    /// # Errors
    ///
    /// See the [module](self): [`ErrorKind::UnknownTopic`], [`ErrorKind::Authorization`],
    /// [`ErrorKind::Authentication`], [`ErrorKind::Unavailable`], [`ErrorKind::InvalidConfig`] for
    /// what the group refuses, [`ErrorKind::Closed`].
    pub fn next_batch(&self, timeout: Duration) -> Result<Option<Batch>> {
        match self.shared.wait_next(Instant::now().checked_add(timeout))? {
            Next::Batch(batch) => Ok(Some(batch)),
            Next::End | Next::Nothing => Ok(None),
        }
    }

    /// As [`next_batch`](Self::next_batch), for a task, and for as long as it takes: `None` comes
    /// with `detect_end` alone. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Those of [`next_batch`](Self::next_batch).
    pub async fn next_batch_async(&self) -> Result<Option<Batch>> {
        match poll_fn(|cx| self.shared.poll_next(cx)).await? {
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

    /// How far each partition is handled of which any record is.
    pub fn handled(&self) -> Offsets {
        self.shared.progress.confirm_released();
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
            reader.assigned(std::slice::from_ref(&position.partition));
        }
        Ok(())
    }

    /// The metrics that this consumer counts into, with the lag of its partitions.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Stops reading, commits what was handled and leaves the group, all within `timeout`. Batches
    /// that were dropped count as handled; one still in hand does not. Blocks; every later use
    /// fails with [`ErrorKind::Closed`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] where the brokers do not answer in time: what was handled since the
    /// last commit may be read again. The error of the last commit, where that failed.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.shared.progress.confirm_released();
        self.leave(timeout)
    }

    /// As [`close`](Self::close), without blocking the task's thread.
    ///
    /// # Errors
    ///
    /// Those of [`close`](Self::close).
    pub async fn close_async(&self, timeout: Duration) -> Result<()> {
        self.shared.progress.confirm_released();
        let Some(running) = self.running.lock().take() else {
            return Ok(());
        };
        self.begin_leaving(timeout);
        let shared = Arc::clone(&self.shared);
        // Ending librdkafka's threads blocks, in however small a way.
        on_a_thread("carbon-events-close", move || {
            running.leave(&shared, timeout)
        })
        .await?
    }

    fn leave(&self, timeout: Duration) -> Result<()> {
        let Some(running) = self.running.lock().take() else {
            return Ok(());
        };
        self.begin_leaving(timeout);
        running.leave(&self.shared, timeout)
    }

    fn begin_leaving(&self, timeout: Duration) {
        const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
        self.shared
            .begin_closing(Instant::now() + timeout.min(FOREVER));
        if let Ok(handle) = self.shared.handle() {
            handle.consumer_queue().wake();
        }
    }
}

impl Running {
    fn leave(self, shared: &Shared, timeout: Duration) -> Result<()> {
        // The thread keeps the deadline itself; only a listener of the caller's can hold it up.
        let patience = timeout.saturating_add(Duration::from_secs(1));
        let outcome = self.outcome.recv_timeout(patience);
        if outcome.is_ok() {
            let _ = self.thread.join();
        }
        shared.finish_closing();
        outcome.unwrap_or_else(|_| {
            let message = "the consumer's thread did not end in time";
            Err(Error::new(ErrorKind::Timeout, message))
        })
    }
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

//! The consumer as its callers see it.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use super::batch::Batch;
use super::notify::Notify;
use super::position::{Offsets, TopicPartition};
use super::reader_id::ReaderId;
use super::shared::Shared;
use super::stream::{Decode, EventStream, One};
use crate::background::on_a_thread;
use crate::deadline::Deadline;
use crate::events::TypedEvent;
use crate::kafka::Event;
use crate::metrics::Metrics;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// Reads events from Kafka as a member of a consumer group, or standalone.
///
/// Threads and tasks may share it by reference; each reads batches of its own. See the
/// [module](super) for what is acknowledged when.
pub struct EventConsumer {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

/// The consumer's own thread.
struct Running {
    outcome: Receiver<Result<()>>,
    thread: JoinHandle<()>,
}

impl EventConsumer {
    pub(super) fn new(
        shared: Arc<Shared>,
        outcome: Receiver<Result<()>>,
        thread: JoinHandle<()>,
    ) -> Self {
        EventConsumer {
            shared,
            running: Mutex::new(Some(Running { outcome, thread })),
        }
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Waits for the next batch up to `timeout`. Returns `None` if no record arrives in time or, with
    /// `detect_end`, as soon as the end of every assigned partition is reached; [`at_end`](Self::at_end)
    /// tells the two apart. A service goes on after `None`, since more may come:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(consumer: &carbon_events::EventConsumer) -> carbon_events::Result<()> {
    /// loop {
    ///     match consumer.next_batch(Duration::from_secs(1))? {
    ///         Some(batch) => println!("{} records", batch.len()),
    ///         None if consumer.at_end() => break Ok(()), // with detect_end only
    ///         None => {} // no record for a second: a chance for other work
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Acknowledges the batches that this thread received and dropped before.
    ///
    /// # Errors
    ///
    /// See the [module](super): [`ErrorKind::UnknownTopic`], [`ErrorKind::Authorization`],
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
        self.shared.wait_next(reader, Deadline::after(timeout))
    }

    /// As [`next_batch`](Self::next_batch), for a task, and without a timeout: `None` comes with
    /// `detect_end` only. Acknowledges the batches that this task received and dropped before. Dropping
    /// the future loses no record.
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
        poll_fn(|cx| match reader {
            Some(reader) => self.shared.poll_next(reader, &mut waits, cx),
            None => {
                let reader = ReaderId::polled(cx.waker());
                self.shared.poll_next(&reader, &mut waits, cx)
            }
        })
        .await
    }

    /// The records one by one, each copied out with its event decoded.
    ///
    /// The stream gives errors of reading as `Err` and goes on; an undecodable record is `Ok` with the
    /// error inside. It ends when the consumer is closed and, with `detect_end`, when the end of every
    /// assigned partition is reached.
    pub fn stream(&self) -> EventStream<'_> {
        EventStream::new(&self.shared)
    }

    /// As [`stream`](Self::stream), with events of one type; a record that holds another event is
    /// undecodable to this stream.
    pub fn typed<E: TypedEvent>(&self) -> EventStream<'_, One<E>>
    where
        One<E>: Decode,
    {
        EventStream::new(&self.shared)
    }

    /// The partitions that are assigned to this consumer now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.progress().partitions()
    }

    /// Whether the end of every assigned partition was reached, with `detect_end`.
    pub fn at_end(&self) -> bool {
        self.shared.fetch.at_end()
    }

    /// How many records are fetched and wait for a read.
    pub fn buffered_records(&self) -> usize {
        self.shared.fetch.buffered()
    }

    /// Acknowledges the batches that this thread or task received and dropped, without reading on:
    /// for a loop that is left early and without an error. A task of another executor than tokio's
    /// calls [`Batch::acknowledge`] instead: it cannot be identified here.
    pub fn acknowledge(&self) {
        self.acknowledge_of(&ReaderId::current());
    }

    /// As [`acknowledge`](Self::acknowledge), for a reader that is not known by its thread.
    pub fn acknowledge_of(&self, reader: &ReaderId) {
        self.shared.progress().acknowledge_released(reader);
    }

    /// How far each partition is acknowledged; partitions without an acknowledged record are left out.
    pub fn handled(&self) -> Offsets {
        self.shared.progress().acknowledged().into()
    }

    /// Commits offsets without waiting for the answer, which is logged and counted in the metrics.
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
        // The consumer's own thread serves the answers in this queue.
        handle.commit(&offsets.to_list(), &handle.consumer_queue())
    }

    /// Commits offsets and waits for the answer up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`]: the offsets may or may not be committed.
    /// [`ErrorKind::Unavailable`]: the group is being rebalanced. Other errors of the brokers.
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
                Err(self.shared.failures.health().explain(late))
            }
        }
    }

    /// As [`commit_sync`](Self::commit_sync), without blocking the task's thread, and within
    /// librdkafka's own timeout (`socket.timeout.ms`).
    ///
    /// # Errors
    ///
    /// Those of [`commit_sync`](Self::commit_sync).
    pub async fn commit_async(&self, offsets: impl Into<Offsets>) -> Result<()> {
        let (answers, notify) = {
            let handle = self.shared.handle()?;
            let offsets = self.to_commit(offsets)?;
            if offsets.is_empty() {
                return Ok(());
            }
            let notify = Arc::new(Notify::default());
            let mut answers = handle.new_queue();
            let arrival = Arc::clone(&notify);
            answers.on_arrival(move || arrival.notify());
            handle.commit(&offsets.to_list(), &answers)?;
            (answers, notify)
        };
        let answer = poll_fn(|cx| {
            loop {
                let seen = notify.count();
                if let Some(answer) = answers.poll(Duration::ZERO) {
                    return Poll::Ready(answer);
                }
                if notify.register(seen, cx.waker()) {
                    return Poll::Pending;
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

    fn answered(&self, answer: &Event) -> Result<()> {
        let unexpected = || Error::new(ErrorKind::Internal, "librdkafka's answer is no commit");
        let outcome = answer.commit().ok_or_else(unexpected);
        let outcome = outcome.and_then(|commit| commit.outcome);
        self.shared.metrics.committed(outcome.is_ok());
        outcome
    }

    /// Goes on reading at these offsets, of assigned partitions. Batches in hand stay readable;
    /// acknowledging them no longer has an effect.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`], [`ErrorKind::UnknownTopic`] for a partition that is not assigned,
    /// [`ErrorKind::Closed`].
    pub fn seek(&self, to: impl Into<Offsets>, timeout: Duration) -> Result<()> {
        let handle = self.shared.handle()?;
        let to = to.into();
        self.shared
            .fetch
            .seek(&to, || handle.seek(&to.to_list(), timeout))
    }

    /// The metrics of this consumer, with the lag of its partitions.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Stops reading, commits what is acknowledged and leaves the group, all within `timeout`. Blocks.
    /// It acknowledges nothing itself: see [`acknowledge`](Self::acknowledge). Every later use fails
    /// with [`ErrorKind::Closed`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] where the brokers do not answer in time: leaving goes on in the
    /// background, and what was acknowledged since the last commit may be read again. The error of
    /// the last commit, where that failed.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        let Some(running) = self.running.lock().take() else {
            return Ok(());
        };
        let deadline = self.begin_leaving(timeout);
        running.leave(&self.shared, deadline)
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

    fn begin_leaving(&self, timeout: Duration) -> Deadline {
        let deadline = Deadline::after(timeout);
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
    fn leave(self, shared: &Shared, deadline: Deadline) -> Result<()> {
        let outcome = self.outcome.recv_timeout(deadline.remaining());
        shared.finish_closing();
        let Ok(outcome) = outcome else {
            let message = "the group was not left in time; leaving goes on in the background. What was \
                           acknowledged since the last commit may be read again";
            return Err(Error::new(ErrorKind::Timeout, message));
        };
        // The thread hangs up when librdkafka is destroyed.
        if let Err(RecvTimeoutError::Disconnected) = self.outcome.recv_timeout(deadline.remaining())
        {
            let _ = self.thread.join();
        }
        outcome
    }
}

impl Drop for EventConsumer {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            // librdkafka's threads are in the parent process; waiting for them would never end.
            std::mem::forget(Arc::clone(&self.shared));
            std::mem::forget(self.running.lock().take());
            return;
        }
        if let Err(error) = self.close(self.shared.settings.close_timeout) {
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

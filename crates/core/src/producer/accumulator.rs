//! The accumulator: gathers accepted records in batches, a queue a partition, and decides when a
//! batch goes to the sender.
//!
//! A record that finds none in flight goes at once, on the sending thread. Later records gather until
//! the next delivery report, until the batch is full, or for `linger`; then the event thread sends
//! them, or the thread that filled the batch. One thread at a time sends a queue's batches.
//!
//! Lock order: the waiting queue of a topic, then a partition queue, then `gathered`. No lock of a
//! queue is held while its records are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::admission::AdmissionControl;
use super::batch::in_flight::InFlight;
use super::batch::{Batch, Buffers, MIXED, Pool, RecordParts};
use super::delivery::Delivery;
use super::failure::no_partition;
use super::headers::Header;
use super::partition_queue::{PartitionQueue, QueueState};
use super::sender::Sender;
use super::tally::Tally;
use super::topic_queues::{Routes, TopicQueues};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, ErrorKind, Result};

/// The most that the oldest and the youngest record of a batch that waits may differ in age: a batch
/// expires as a whole.
const GATHERS: Duration = Duration::from_millis(250);

/// A record to accept, without its value.
pub(super) struct NewRecord<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) partition: Option<i32>,
    pub(super) headers: Vec<Header>,
    pub(super) owner: Option<&'a Arc<Tally>>,
    /// Whether the value is framed as a typed event of its topic.
    pub(super) framed: bool,
    /// Whether the calling thread sends what has gathered soon, in any case.
    pub(super) deferred: bool,
}

/// See the module.
pub(super) struct Accumulator {
    admission: Arc<AdmissionControl>,
    sender: Arc<Sender>,
    pool: Arc<Pool>,
    linger: Duration,
    /// How many flushes run: then nothing lingers.
    flushing: AtomicUsize,
    /// Queues with records that the event thread is to send.
    gathered: Mutex<Vec<Arc<PartitionQueue>>>,
}

impl Accumulator {
    pub(super) fn new(
        admission: Arc<AdmissionControl>,
        sender: Arc<Sender>,
        pool: Arc<Pool>,
        linger: Duration,
    ) -> Self {
        Accumulator {
            admission,
            sender,
            pool,
            linger,
            flushing: AtomicUsize::new(0),
            gathered: Mutex::default(),
        }
    }

    pub(super) fn sender(&self) -> &Arc<Sender> {
        &self.sender
    }

    /// Appends a record whose capacity is taken; `write` appends its value, or returns `false` for a
    /// null one. Also returns whether the topic is to be looked up. Releases the capacity on errors.
    #[inline]
    pub(super) fn append(
        &self,
        queues: &TopicQueues,
        record: NewRecord<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<(Delivery, bool)> {
        let topic = queues.topic();
        let awaits_schema_id = record.framed && !topic.knows_schema();
        if awaits_schema_id {
            return self.append_waiting(queues, record, true, write);
        }
        let routes = queues.routes();
        let Some(routes) = &*routes else {
            return self.append_waiting(queues, record, false, write);
        };
        let partition = routes.partition(record.key, record.partition);
        let Some(queue) = routes.queue(partition) else {
            self.admission.release(1, 0);
            return Err(no_partition(topic, routes.count(), partition));
        };
        let parts = RecordParts {
            key: record.key,
            partition,
            headers: record.headers,
            framed: record.framed,
            awaits_schema_id: false,
            owner: record.owner,
        };
        let mut state = queue.lock();
        let (delivery, cost) = state
            .append(topic, partition, || self.buffers(), parts, write)
            .inspect_err(|_| self.admission.release(1, 0))?;
        if !state.has_open() && record.key.is_none() {
            routes.move_on();
        }
        self.admission.limit().charge(cost);
        let idle = self.sender.in_flight() == 0;
        if !record.deferred && (idle || state.has_sealed()) {
            self.send(queue, state, idle);
        } else {
            self.note(queue, state);
        }
        Ok((delivery, false))
    }

    /// Appends a record of a topic whose partitions or schema id are not known yet.
    fn append_waiting(
        &self,
        queues: &TopicQueues,
        record: NewRecord<'_>,
        awaits_schema_id: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<(Delivery, bool)> {
        let topic = queues.topic();
        let mut waiting = queues.waiting().lock();
        if awaits_schema_id && !topic.knows_schema() {
            // Later records of the same key must not overtake this one, so all of them wait.
            queues.set_routes(None);
        } else if queues.routes().is_some() {
            drop(waiting);
            return self.append(queues, record, write);
        }
        if let Some(partition) = record.partition.filter(|partition| *partition < 0) {
            self.admission.release(1, 0);
            let error = Error::new(ErrorKind::UnknownTopic, "partitions are counted from 0");
            return Err(error
                .with("topic", topic.name())
                .with("partition", partition));
        }
        let parts = RecordParts {
            key: record.key,
            partition: record.partition.unwrap_or(MIXED),
            headers: record.headers,
            framed: record.framed,
            awaits_schema_id,
            owner: record.owner,
        };
        waiting.seal_if_older(GATHERS);
        let (delivery, cost) = waiting
            .append(topic, MIXED, || self.buffers(), parts, write)
            .inspect_err(|_| self.admission.release(1, 0))?;
        self.admission.limit().charge(cost);
        Ok((delivery, true))
    }

    fn buffers(&self) -> Buffers {
        self.pool.take()
    }

    /// Frees the memory of a burst that is over.
    pub(super) fn trim(&self) {
        self.pool.trim();
    }

    /// Has the event thread send what the queue has gathered.
    #[inline]
    fn note(&self, queue: &Arc<PartitionQueue>, mut state: MutexGuard<'_, QueueState>) {
        if state.note() {
            drop(state);
            self.gathered.lock().push(Arc::clone(queue));
        }
    }

    /// Sends a queue's sealed batches, and the open one if `all`, unless another thread does (which
    /// goes on with what this one sealed).
    pub(super) fn send<'q>(
        &self,
        queue: &'q Arc<PartitionQueue>,
        mut state: MutexGuard<'q, QueueState>,
        mut all: bool,
    ) {
        if state.begin_sending() {
            while let Some((batch, from)) = state.next(all) {
                // The open batch goes once: what gathers meanwhile may gather on.
                all &= state.has_open();
                drop(state);
                let rest = self.sender.send(batch, from);
                state = queue.lock();
                if let Some(rest) = rest {
                    state.put_back(rest);
                    break;
                }
            }
            state.end_sending();
        }
        self.note(queue, state);
    }

    /// Sends all that the queue holds; whether all of it went.
    pub(super) fn send_all(&self, queue: &Arc<PartitionQueue>) -> bool {
        self.send(queue, queue.lock(), true);
        queue.lock().is_done()
    }

    /// Sends what a queue got while it was [held back](PartitionQueue::hold_back).
    pub(super) fn release(&self, queue: &Arc<PartitionQueue>) {
        let mut state = queue.lock();
        state.end_sending();
        self.send(queue, state, true);
    }

    /// Sends what has gathered: all of it if nothing is in flight or a flush runs, else what is full
    /// or has gathered for `linger`. On the event thread.
    pub(super) fn send_gathered(&self) {
        let queues = std::mem::take(&mut *self.gathered.lock());
        if queues.is_empty() {
            return;
        }
        let idle = self.sender.in_flight() == 0 || self.flushing.load(Ordering::Relaxed) > 0;
        let mut waiting = Vec::new();
        for queue in queues {
            let mut state = queue.lock();
            let due = idle || state.has_gathered_for(self.linger);
            if due || state.has_sealed() {
                state.forget_note();
                self.send(&queue, state, due);
            } else if state.is_empty() {
                state.forget_note();
            } else {
                drop(state);
                waiting.push(queue);
            }
        }
        self.gathered.lock().append(&mut waiting);
    }

    /// Whether records wait for the event thread to send them.
    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.lock().is_empty()
    }

    /// Begins a flush: nothing lingers until [`end_flush`](Self::end_flush).
    pub(super) fn begin_flush(&self) {
        self.flushing.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn end_flush(&self) {
        self.flushing.fetch_sub(1, Ordering::SeqCst);
    }

    /// Fails what a topic's queues have held for longer than the delivery timeout. On the event
    /// thread.
    pub(super) fn expire(&self, queues: &TopicQueues) {
        if let Some(routes) = queues.last_routes() {
            for (partition, queue) in routes.queues().iter().enumerate() {
                self.expire_queue(queues, partition as i32, queue);
            }
        }
        self.expire_waiting(queues);
    }

    fn is_late(&self, batch: &Batch) -> bool {
        self.sender.is_late(batch.opened())
    }

    fn expire_queue(&self, queues: &TopicQueues, partition: i32, queue: &PartitionQueue) {
        let mut state = queue.lock();
        if state.is_empty() || state.is_sending() {
            return;
        }
        if state.has_sealed() {
            // It cannot go: what it gathers meanwhile must not expire with what came long before.
            state.seal_if_older(GATHERS);
        }
        let partly = state.take_partly(|batch| self.is_late(batch));
        let late = || state.take_late(|batch| self.is_late(batch));
        let batches: Vec<_> = std::iter::from_fn(late).collect();
        drop(state);
        if partly.is_none() && batches.is_empty() {
            return;
        }
        let error = self.sender.timed_out(queues.topic(), partition);
        if let Some((batch, from)) = partly {
            self.sender.expire_rest(&batch, from, &error);
        }
        for batch in batches {
            self.sender.completion().fail(batch, &error);
        }
    }

    /// Fails the records that have waited for their topic or schema id for too long, with the reason
    /// why it is not known.
    fn expire_waiting(&self, queues: &TopicQueues) {
        let late = || {
            let mut waiting = queues.waiting().lock();
            waiting.take_late(|batch| self.is_late(batch))
        };
        while let Some(batch) = late() {
            let cause = queues.lookup_error().unwrap_or_else(|| {
                let message = "no broker answered within the delivery timeout";
                let silence = Error::new(ErrorKind::Timeout, message);
                let silence = silence.with("topic", queues.topic().name());
                self.sender.health().explain(silence)
            });
            self.sender.completion().fail(batch, &cause);
        }
    }

    /// Fails the records that wait for a topic; the next record has it looked up again.
    pub(super) fn give_up(&self, queues: &TopicQueues, error: &Error) {
        let mut waiting = queues.waiting().lock();
        let batches: Vec<_> = std::iter::from_fn(|| waiting.take(true)).collect();
        queues.lookup_failed(error.clone(), false);
        drop(waiting);
        for batch in batches {
            self.sender.completion().fail(batch, error);
        }
    }

    /// A batch that waited for its topic, with its schema id and partitions. Fails the records that
    /// chose a partition which the topic lacks: librdkafka would keep them.
    pub(super) fn route(
        &self,
        queues: &TopicQueues,
        routes: &Routes,
        mut batch: Batch,
    ) -> Option<InFlight> {
        let topic = queues.topic();
        if let Some(id) = topic.subject().and_then(|subject| subject.get()) {
            batch.fill_schema_id(id);
        }
        batch.assign_partitions(|key| routes.partition(key, None));
        while let Some(wrong) = batch.partition_beyond(routes.count()) {
            let error = no_partition(topic, routes.count(), wrong);
            let refused = batch.split_off(wrong);
            self.sender.completion().fail(refused, &error);
        }
        (batch.len() > 0).then(|| InFlight::new(batch))
    }
}

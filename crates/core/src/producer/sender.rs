//! The sender: owns librdkafka's handle and the count of records in flight, and sends batches in the
//! order of their partition queues.
//!
//! What flow control keeps back, and what librdkafka's own queue has no capacity for, goes back to the
//! caller. What librdkafka refuses fails here. Everything else is in flight until its delivery report
//! ([`super::reports`]).

use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaErrorCode, RDKafkaMessage, RDKafkaRespErr};
use rdkafka_sys as sys;

use super::batch::completing::Completing;
use super::batch::in_flight::{InFlight, RecordView, look_up};
use super::completion::Completion;
use super::failure::{about, log_failed};
use super::flow::Flow;
use super::flow_control::{FlowControl, overtaken};
use super::late::{LateBatch, LateRecords, TOLERANCE};
use super::produce::{NO_ERROR, message, produce_one, produce_run, with_messages};
use super::topic::{TopicState, flow_of};
use super::window::Window;
use crate::kafka::{Handle, Health, Queue, TopicHandle, broker_error};
use crate::{Error, ErrorKind};

const QUEUE_FULL: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR__QUEUE_FULL;

/// See the module.
pub(super) struct Sender {
    handle: Arc<Handle>,
    /// librdkafka's events, polled by the event thread.
    events: Arc<Queue>,
    health: Health,
    /// Records that librdkafka has and has not reported on.
    in_flight: AtomicUsize,
    flow: FlowControl,
    late: LateRecords,
    completion: Completion,
    delivery_timeout: Duration,
    /// Whether the session numbers its records.
    is_idempotent: bool,
    /// Why every record fails from now on, once the session gives up.
    gave_up: OnceLock<Error>,
}

impl Sender {
    pub(super) fn new(
        handle: Arc<Handle>,
        events: Arc<Queue>,
        completion: Completion,
        delivery_timeout: Duration,
        is_idempotent: bool,
    ) -> Self {
        Sender {
            handle,
            events,
            health: Health::default(),
            in_flight: AtomicUsize::new(0),
            flow: FlowControl::default(),
            late: LateRecords::default(),
            completion,
            delivery_timeout,
            is_idempotent,
            gave_up: OnceLock::new(),
        }
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub(super) fn events(&self) -> &Queue {
        &self.events
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn flow(&self) -> &FlowControl {
        &self.flow
    }

    pub(super) fn late(&self) -> &LateRecords {
        &self.late
    }

    pub(super) fn completion(&self) -> &Completion {
        &self.completion
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }

    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Notes that librdkafka has reported on that many records.
    pub(super) fn reported(&self, records: usize) {
        self.in_flight.fetch_sub(records, Ordering::Relaxed);
    }

    /// Fails every later record with `error`, unless there is another one already.
    pub(super) fn give_up(&self, error: Error) {
        let _ = self.gave_up.set(error);
    }

    pub(super) fn gave_up(&self) -> Option<&Error> {
        self.gave_up.get()
    }

    /// Sends the records of `batch` that may go now, from `from` on. Returns the batch with the first
    /// record that did not go, if there is one.
    pub(super) fn send(&self, batch: InFlight, from: usize) -> Option<(InFlight, usize)> {
        let count = batch.batch().len();
        let to = if self.gave_up.get().is_some() {
            count
        } else {
            self.flow.allowed(&batch, from)
        };
        if to == from {
            return Some((batch, from));
        }
        let topic = batch.batch().topic();
        topic.metrics().batch((to - from) as u64);
        let mut completing = Completing::default();
        let next = match (self.gave_up.get(), topic.native()) {
            (Some(error), _) => {
                let error = about(error, topic);
                self.refuse_all(&batch, from, &error, &mut completing);
                count
            }
            (None, None) => {
                self.refuse_all(&batch, from, &no_handle(), &mut completing);
                count
            }
            (None, Some(native)) => self.produce(&batch, native, from..to, &mut completing),
        };
        self.completion.finish(&mut completing);
        // The batch may be freed once its last record is sent.
        if next == count {
            return None;
        }
        let not_taken = batch.records(next).take(to.saturating_sub(next));
        not_taken.for_each(|record| self.withdraw(record.opaque));
        Some((batch, next))
    }

    /// Enqueues records of `batch`, and watches those that are late already. Returns the first that
    /// did not go because librdkafka's own queue is full (only a user's property can make it smaller
    /// than the buffer limit).
    fn produce(
        &self,
        batch: &InFlight,
        native: &TopicHandle,
        range: Range<usize>,
        completing: &mut Completing,
    ) -> usize {
        let from = range.start;
        let opened = batch.batch().opened();
        // Before it is sent: afterwards the batch may be freed.
        let late = self.late_batch(opened, || LateBatch {
            topic: Arc::clone(batch.batch().topic()),
            partition: batch.batch().partition(),
            deadline: opened,
            records: batch.watched(from, range.end),
        });
        let next =
            with_messages(|messages| self.enqueue(batch, native, range, messages, completing));
        if let Some(mut late) = late {
            late.records.truncate(next - from);
            self.late.watch(late);
        }
        next
    }

    fn enqueue(
        &self,
        batch: &InFlight,
        native: &TopicHandle,
        range: Range<usize>,
        messages: &mut Vec<RDKafkaMessage>,
        completing: &mut Completing,
    ) -> usize {
        let mut next = range.start;
        let partition = batch.batch().partition();
        let mut rest = batch.records(next).take(range.len()).peekable();
        while rest.peek().is_some() {
            messages.clear();
            while let Some(record) = rest.next_if(|record| record.headers.is_empty()) {
                messages.push(message(&record));
            }
            let run = messages.len();
            let taken = self.enqueue_run(native, partition, messages, completing);
            next += taken;
            if taken < run {
                break;
            }
            if let Some(record) = rest.next() {
                match self.enqueue_one(native, &record) {
                    Err(error) if error.kind() == ErrorKind::QueueFull => break,
                    Err(error) => self.refuse(record.opaque, &error, completing),
                    Ok(()) => {}
                }
                next += 1;
            }
        }
        next
    }

    /// Enqueues a run of records. Returns how many were taken or refused: less than all if
    /// librdkafka's queue is full.
    fn enqueue_run(
        &self,
        native: &TopicHandle,
        partition: i32,
        messages: &mut [RDKafkaMessage],
        completing: &mut Completing,
    ) -> usize {
        let count = messages.len();
        if count == 0 {
            return 0;
        }
        // Before the call: the first report may come before it returns.
        self.in_flight.fetch_add(count, Ordering::Relaxed);
        let taken = produce_run(native, partition, messages);
        if taken == count {
            return count;
        }
        self.reported(count - taken);
        let full = messages
            .iter()
            .position(|message| message.err == QUEUE_FULL)
            .unwrap_or(count);
        for message in messages[..full]
            .iter()
            .filter(|message| message.err != NO_ERROR)
        {
            let error = self.refusal(message.err, native);
            self.refuse(message._private, &error, completing);
        }
        full
    }

    fn enqueue_one(&self, native: &TopicHandle, record: &RecordView<'_>) -> Result<(), Error> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        produce_one(&self.handle, native, record).map_err(|code| {
            self.reported(1);
            self.refusal(code, native)
        })
    }

    /// The error of a code that librdkafka refuses records with. For a fatal one (an idempotent
    /// producer that cannot go on without breaking its promises), what it was.
    fn refusal(&self, code: RDKafkaRespErr, native: &TopicHandle) -> Error {
        let fatal = (RDKafkaErrorCode::from(code) == RDKafkaErrorCode::Fatal)
            .then(|| self.fatal_error())
            .flatten();
        fatal
            .unwrap_or_else(|| broker_error(code, "enqueue a record"))
            .with("topic", native.name())
    }

    /// What ended the librdkafka instance, if anything did.
    pub(super) fn fatal_error(&self) -> Option<Error> {
        let fatal = self.handle.fatal_error()?;
        let message = format!(
            "the session ended, and later records go in a new one: {}",
            fatal.message()
        );
        Some(Error::new(fatal.kind(), message))
    }

    /// Takes a record out of its window that librdkafka did not take.
    fn withdraw(&self, opaque: *mut c_void) {
        if self.flow.withdraw(opaque) {
            self.events.wake();
        }
    }

    /// Completes a record that librdkafka did not take.
    fn refuse(&self, opaque: *mut c_void, error: &Error, completing: &mut Completing) {
        self.withdraw(opaque);
        self.completion.count(0, 1);
        self.flow.opening_ended(opaque, false);
        // SAFETY: the record was not taken, so no other thread completes it.
        unsafe { look_up(opaque) }.count_for_owner(false);
        // SAFETY: the record was not taken, so this is its only completion.
        if let Some(run) = unsafe { completing.complete(opaque, Err(error)) } {
            self.completion.release_run(run);
        }
    }

    fn refuse_all(
        &self,
        batch: &InFlight,
        from: usize,
        error: &Error,
        completing: &mut Completing,
    ) {
        for record in batch.records(from) {
            self.refuse(record.opaque, error, completing);
        }
    }

    /// Fails the records of a batch that librdkafka has not taken, because their time is up.
    pub(super) fn expire_rest(&self, batch: &InFlight, from: usize, error: &Error) {
        let records = batch.batch().len() - from;
        let mut completing = Completing::default();
        self.refuse_all(batch, from, error, &mut completing);
        self.completion.finish(&mut completing);
        log_failed(records, error);
    }

    /// Fails single records that librdkafka does not have.
    pub(super) fn refuse_each(&self, records: Vec<(*mut c_void, Error)>) {
        let mut completing = Completing::default();
        for (opaque, error) in records {
            self.refuse(opaque, &error, &mut completing);
        }
        self.completion.finish(&mut completing);
    }

    /// Whether the delivery timeout of a batch that was opened then has passed.
    pub(super) fn is_late(&self, opened: Instant) -> bool {
        self.deadline(opened)
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    fn deadline(&self, opened: Instant) -> Option<Instant> {
        opened.checked_add(self.delivery_timeout)
    }

    /// The records that `late` makes, with their deadline, if they waited long enough to be watched.
    fn late_batch(&self, opened: Instant, late: impl FnOnce() -> LateBatch) -> Option<LateBatch> {
        if opened.elapsed() <= TOLERANCE {
            return None;
        }
        let deadline = self.deadline(opened)?;
        Some(LateBatch { deadline, ..late() })
    }

    /// Fails watched records whose time is up. On the event thread.
    pub(super) fn expire_watched(&self) {
        for batch in self.late.due(Instant::now()) {
            let error = self.timed_out(&batch.topic, batch.partition);
            let expired = batch.records.incomplete();
            self.completion.count(0, expired as u64);
            self.late.expired(expired);
            // SAFETY: on the event thread, which completes librdkafka's reports.
            let runs = unsafe { batch.records.expire(&error) };
            for run in runs {
                self.completion.release_run(run);
            }
            log_failed(expired, &error);
        }
    }

    /// The error of a record whose time is up.
    pub(super) fn timed_out(&self, topic: &TopicState, partition: i32) -> Error {
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
        let error = self.health.explain(broker_error(code, "deliver a record"));
        let error = error.with("topic", topic.name());
        if partition < 0 {
            return error;
        }
        error.with("partition", partition)
    }

    /// Sends refused records again, as far as their windows allow. On the event thread.
    pub(super) fn send_again(&self) {
        let Some(flows) = self.flow.take_again() else {
            return;
        };
        for flow in flows {
            let (mut failed, mut expired) = (Vec::new(), Vec::new());
            let is_left = self.flow.change(&flow, |window| {
                for opaque in window.take_lost() {
                    let opaque = opaque as *mut c_void;
                    // SAFETY: it is in the window, and completes only after it left the list.
                    let record = unsafe { look_up(opaque) };
                    if record.is_complete() {
                        expired.push(opaque);
                    } else {
                        failed.push((opaque, overtaken(&record)));
                    }
                }
                self.send_window_again(&flow, window, &mut failed, &mut expired);
                window.next_again().is_some()
            });
            if is_left {
                self.flow.note_again(&flow);
            }
            self.late.reported(expired.len());
            self.refuse_each(failed);
            let mut completing = Completing::default();
            for opaque in expired {
                let error = Error::new(ErrorKind::Timeout, "expired");
                // SAFETY: librdkafka does not have it any more, so this is its only completion. Its
                // outcome was stored and counted when it expired.
                if let Some(run) = unsafe { completing.complete(opaque, Err(&error)) } {
                    self.completion.release_run(run);
                }
            }
            self.completion.finish(&mut completing);
        }
        self.flow.again_sent();
    }

    fn send_window_again(
        &self,
        flow: &Arc<Flow>,
        window: &mut Window,
        failed: &mut Vec<(*mut c_void, Error)>,
        expired: &mut Vec<*mut c_void>,
    ) {
        let pass = self.flow.next_pass();
        while let Some(first) = window.next_again() {
            let opaque = first as *mut c_void;
            // SAFETY: it is in the window, and completes only after it left the list.
            let found = unsafe { look_up(opaque) };
            let (topic, record) = (found.topic(), found.view());
            if found.is_complete() {
                expired.push(opaque);
            } else if let Some(error) = self.gave_up.get() {
                failed.push((opaque, about(error, topic)));
            } else if self.is_late(found.opened()) {
                failed.push((opaque, self.timed_out(topic, found.partition())));
            } else {
                let limit = topic.batch_limit().bytes();
                let is_admitted = self.flow.opening_admits(flow, opaque)
                    && window.admit(pass, first, record.wire_len(), limit);
                if !is_admitted {
                    return;
                }
                let late = self.late_batch(found.opened(), || LateBatch {
                    topic: Arc::clone(topic),
                    partition: found.partition(),
                    deadline: found.opened(),
                    records: found.watched(),
                });
                let sent = match topic.native() {
                    Some(native) => self.enqueue_one(native, &record),
                    None => Err(no_handle()),
                };
                match sent {
                    Ok(()) => late.into_iter().for_each(|late| self.late.watch(late)),
                    Err(error) => {
                        window.remove(first);
                        if error.kind() == ErrorKind::QueueFull {
                            return;
                        }
                        failed.push((opaque, error));
                    }
                }
            }
            window.pop_again();
        }
    }

    /// Leaves the record at `from` to the event thread, if its partition's window keeps it from going;
    /// whether it does.
    pub(super) fn queue_behind_window(&self, batch: &InFlight, from: usize) -> bool {
        let flows = batch.batch().topic().flows();
        let first = batch.records(from).next();
        first.is_some_and(|record| {
            flow_of(&flows, record.partition)
                .is_some_and(|flow| self.flow.queue_behind_window(flow, record.opaque))
        })
    }

    /// Has librdkafka give back what it holds in its queues, and with `in_flight` what is on the wire
    /// too. Without that, requests on the wire end as they end: only then is their outcome known.
    pub(super) fn purge(&self, in_flight: bool) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE
            | if in_flight {
                sys::RD_KAFKA_PURGE_F_INFLIGHT
            } else {
                sys::RD_KAFKA_PURGE_F_NON_BLOCKING
            };
        // SAFETY: the instance is live.
        unsafe { sys::rd_kafka_purge(self.handle.ptr(), flags) };
    }
}

fn no_handle() -> Error {
    Error::new(ErrorKind::Internal, "the topic has no librdkafka handle")
}

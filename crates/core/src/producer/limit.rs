//! Batches no larger than their topic takes.
//!
//! librdkafka has one bound for the batches of all topics, and a broker refuses a batch as a whole
//! that is larger than its topic's own `max.message.bytes`. librdkafka makes its batches of what it
//! has of a partition. So where a topic takes less than our largest batch, librdkafka gets no more
//! of a partition at once, and the next records once those have their reports.
//!
//! ```text
//!  a lane's records ──▶ window: in flight together, within the topic's limit
//!                         │ all reported                │ refused as too large, with others
//!                         ▼                             ▼
//!                       the next window               again: in smaller windows, before all others
//! ```
//!
//! The cluster is asked for a topic's limit when the topic is resolved. Where it does not answer, or
//! we may not ask, the limit begins low and doubles with every full window that is delivered, until
//! it is no limit any more. A record that is refused alone has failed.
//!
//! Nothing overtakes what is sent again: the lane's later records wait for it. librdkafka may make two
//! batches of one window; a refused record behind which one of the same key was delivered fails.

use std::collections::{HashSet, VecDeque};
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::types::{RDKafkaMessage, RDKafkaRespErr};

use super::engine::Engine;
use super::handover::{produce_one, settle_refused};
use super::lane::Lane;
use super::slab::{Found, InFlight, MIXED, Outgoing, Settling, look_up};
use super::topic::Topic;
use crate::kafka::broker_error;
use crate::sync::Mutex;
use crate::{Error, ErrorKind};

const TOO_LARGE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
const NO_LIMIT: usize = usize::MAX;
/// What is sent at once to a topic of which nothing is known.
const FIRST: usize = 16 << 10;
/// What a batch has besides its records (61 bytes, `DefaultRecordBatch` in Kafka's protocol), rounded
/// up.
const BATCH_OVERHEAD: usize = 100;

/// The largest batch that a topic takes, as far as is known.
pub(crate) struct BatchLimit {
    /// Our own largest batch.
    largest: usize,
    bytes: AtomicUsize,
    /// The topic's `max.message.bytes`; 0 where the cluster does not say.
    stated: AtomicUsize,
    /// Whether a refusal has set it: then it does not grow.
    found: AtomicBool,
}

impl BatchLimit {
    pub(crate) fn new(largest: usize) -> Self {
        BatchLimit {
            largest,
            bytes: AtomicUsize::new(if largest > FIRST { FIRST } else { NO_LIMIT }),
            stated: AtomicUsize::new(0),
            found: AtomicBool::new(false),
        }
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The topic's `max.message.bytes`, where the cluster says.
    fn stated(&self) -> Option<usize> {
        Some(self.stated.load(Ordering::Relaxed)).filter(|stated| *stated > 0)
    }

    /// Notes what the cluster says.
    pub(crate) fn state(&self, stated: usize) {
        let before = self.stated.swap(stated, Ordering::Relaxed);
        if before != stated {
            self.found.store(false, Ordering::Relaxed);
            self.set(stated.saturating_sub(BATCH_OVERHEAD).max(1));
        }
    }

    fn set(&self, bytes: usize) {
        let bytes = if bytes >= self.largest {
            NO_LIMIT
        } else {
            bytes
        };
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes that a batch of several records was refused.
    fn refused(&self, bytes: usize) {
        self.found.store(true, Ordering::Relaxed);
        self.bytes.fetch_min((bytes / 2).max(1), Ordering::Relaxed);
    }

    /// Notes that so much was delivered at once.
    fn delivered(&self, bytes: usize) {
        let limit = self.bytes();
        let settled = self.found.load(Ordering::Relaxed) || self.stated().is_some();
        if !settled && limit != NO_LIMIT && bytes > limit / 2 {
            self.set(limit * 2);
        }
    }
}

/// What of a lane is in flight while its topic has a limit.
#[derive(Default)]
pub(crate) struct Window(Mutex<State>);

#[derive(Default)]
struct State {
    /// The hand-over that it began with: only its records join.
    pass: u64,
    /// The opaques of the records in flight, in order.
    records: VecDeque<usize>,
    count: usize,
    bytes: usize,
    /// The bytes of those that were delivered.
    delivered: usize,
    /// Those that were refused together with others, and their bytes.
    refused: Vec<usize>,
    refused_bytes: usize,
    /// The keys of records that were delivered behind a refused one.
    overtaken: HashSet<Box<[u8]>>,
    /// Those that go next: refused ones of earlier windows, and those that waited for their topic.
    again: VecDeque<usize>,
    /// Overtaken records of a window that a sending thread ended: the event thread fails them.
    lost: Vec<usize>,
}

impl State {
    fn is_open(&self) -> bool {
        !(self.records.is_empty() && self.refused.is_empty() && self.again.is_empty())
    }

    /// Whether a record may go now: in this window, or without one where there is no limit.
    fn lets_go(&mut self, pass: u64, opaque: usize, bytes: usize, limit: usize) -> bool {
        if limit == NO_LIMIT && !self.is_open() {
            return true;
        }
        self.again.is_empty() && self.refused.is_empty() && self.admit(pass, opaque, bytes, limit)
    }

    /// Takes a record in, unless it would be too much or is of another hand-over.
    fn admit(&mut self, pass: u64, opaque: usize, bytes: usize, limit: usize) -> bool {
        if self.records.is_empty() {
            (self.pass, self.count) = (pass, 0);
            (self.bytes, self.delivered) = (0, 0);
        } else if self.pass != pass || self.bytes + bytes > limit {
            return false;
        }
        self.records.push_back(opaque);
        self.count += 1;
        self.bytes += bytes;
        true
    }

    fn note_delivered(&mut self, record: &Outgoing<'_>) {
        self.delivered += record.wire_len();
        if !self.refused.is_empty()
            && let Some(key) = record.key
        {
            self.overtaken.insert(key.into());
        }
    }

    /// Ends a window of which nothing is in flight any more: its refused records go again. Gives those
    /// that were overtaken, which fail.
    fn end(&mut self, topic: &Topic) -> Vec<usize> {
        if self.refused.is_empty() {
            topic.limit.delivered(self.delivered);
            return Vec::new();
        }
        topic.limit.refused(std::mem::take(&mut self.refused_bytes));
        let overtaken = std::mem::take(&mut self.overtaken);
        let mut lost = Vec::new();
        for opaque in std::mem::take(&mut self.refused).into_iter().rev() {
            // SAFETY: a refused record is kept, and not settled yet.
            let found = unsafe { look_up(opaque as *mut c_void) };
            let is_overtaken = |key: &[u8]| overtaken.contains(key);
            // One that expired meanwhile has its outcome.
            if !found.is_settled() && found.outgoing().key.is_some_and(is_overtaken) {
                lost.push(opaque);
            } else {
                self.again.push_front(opaque);
            }
        }
        lost
    }

    /// Takes a record out that librdkafka did not take: it may be the last that its window waits for.
    fn withdraw(&mut self, opaque: usize, topic: &Topic) {
        if self.remove(opaque) && self.records.is_empty() && !self.refused.is_empty() {
            let mut lost = self.end(topic);
            self.lost.append(&mut lost);
        }
    }

    /// Whether the event thread has records of the window to send again or to fail.
    fn is_left(&self) -> bool {
        !(self.again.is_empty() && self.lost.is_empty())
    }

    fn remove(&mut self, opaque: usize) -> bool {
        let index = self.records.iter().position(|one| *one == opaque);
        index.and_then(|index| self.records.remove(index)).is_some()
    }
}

/// The lanes with a window.
#[derive(Default)]
pub(crate) struct Windows {
    /// How many have something in it; looked at with every report.
    open: AtomicUsize,
    passes: AtomicU64,
    /// Those with records to be sent again.
    again: Mutex<Vec<Arc<Lane>>>,
    has_again: AtomicBool,
}

impl Windows {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    fn next_pass(&self) -> u64 {
        self.passes.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn with<T>(&self, lane: &Lane, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lane.window.0.lock();
        let was_open = state.is_open();
        let outcome = change(&mut state);
        match (was_open, state.is_open()) {
            (false, true) => drop(self.open.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(self.open.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        }
        outcome
    }
}

/// What of an event's reports is not an outcome.
#[derive(Default)]
pub(super) struct Kept {
    /// The opaques of records that are sent again.
    pub(super) opaques: HashSet<*mut c_void>,
    /// Those of records that were refused although they went alone.
    pub(super) alone: HashSet<*mut c_void>,
    /// Records of earlier events that were overtaken.
    lost: Vec<(*mut c_void, Error)>,
}

impl Kept {
    /// Notes a record that was refused and overtaken.
    fn lose(&mut self, opaque: *mut c_void, error: Error) {
        // One of this event's reports is settled with it.
        if !self.opaques.remove(&opaque) {
            self.lost.push((opaque, error));
        }
    }
}

fn lane_of(found: &Found<'_>) -> Option<Arc<Lane>> {
    let routes = found.topic().lanes.load();
    routes.as_ref()?.any_lane(found.partition()).map(Arc::clone)
}

impl Engine {
    /// The index up to which the records of `slab` may go now, from `from` on and up to `to`.
    #[inline]
    pub(super) fn within_limit<'lane>(
        &self,
        slab: &InFlight,
        from: usize,
        to: usize,
        lane_of: impl Fn(i32) -> Option<&'lane Arc<Lane>>,
    ) -> usize {
        let limit = slab.slab().topic.limit.bytes();
        if limit == NO_LIMIT && self.windows.is_empty() {
            return to;
        }
        let partition = slab.slab().partition;
        if limit == NO_LIMIT
            && partition != MIXED
            && let Some(lane) = lane_of(partition)
            && !lane.window.0.lock().is_open()
        {
            // None opens meanwhile: one thread at a time hands over a lane's records.
            return to;
        }
        let pass = self.windows.next_pass();
        for (index, record) in slab.outgoing(from).take(to - from).enumerate() {
            let Some(lane) = lane_of(record.partition) else {
                continue;
            };
            let admitted = self.windows.with(lane, |state| {
                state.lets_go(pass, record.opaque as usize, record.wire_len(), limit)
            });
            if !admitted {
                return from + index;
            }
        }
        to
    }

    /// Leaves a record that waited for its topic to the event thread, where its lane's window keeps it
    /// from going: those of other lanes need not wait for that. Whether it does.
    pub(super) fn leave(&self, lane: &Arc<Lane>, opaque: *mut c_void) -> bool {
        let is_left = self.windows.with(lane, |state| {
            let waits = state.is_open();
            if waits {
                state.again.push_back(opaque as usize);
            }
            waits
        });
        if is_left {
            self.note_again(lane);
        }
        is_left
    }

    fn note_again(&self, lane: &Arc<Lane>) {
        let mut lanes = self.windows.again.lock();
        if !lanes.iter().any(|known| Arc::ptr_eq(known, lane)) {
            lanes.push(Arc::clone(lane));
        }
        self.windows.has_again.store(true, Ordering::Release);
    }

    /// Takes records out of their windows that librdkafka did not take.
    pub(super) fn withdraw(&self, opaque: *mut c_void) {
        if self.windows.is_empty() {
            return;
        }
        // SAFETY: the record is not settled.
        let found = unsafe { look_up(opaque) };
        if let Some(lane) = lane_of(&found) {
            let is_left = self.windows.with(&lane, |state| {
                state.withdraw(opaque as usize, found.topic());
                state.is_left()
            });
            if is_left {
                self.note_again(&lane);
                self.queue.wake();
            }
        }
    }

    /// Notes reports on records that are not settled yet. On the event thread.
    pub(super) fn note_windows(
        &self,
        reports: &[&RDKafkaMessage],
        is_delivered: impl Fn(&RDKafkaMessage) -> bool,
    ) -> Kept {
        let mut kept = Kept::default();
        if self.windows.is_empty() {
            return kept;
        }
        let mut has_ended = false;
        for report in reports {
            let opaque = report._private;
            // SAFETY: the opaque is the one that was handed over, and not settled yet.
            let found = unsafe { look_up(opaque) };
            let Some(lane) = lane_of(&found) else {
                continue;
            };
            let has_again = self.windows.with(&lane, |state| {
                if !state.remove(opaque as usize) {
                    return false;
                }
                if report.err == TOO_LARGE && state.count > 1 && !found.is_settled() {
                    state.refused.push(opaque as usize);
                    state.refused_bytes += found.outgoing().wire_len();
                    kept.opaques.insert(opaque);
                } else if report.err == TOO_LARGE {
                    kept.alone.insert(opaque);
                } else if is_delivered(report) {
                    state.note_delivered(&found.outgoing());
                }
                if !state.records.is_empty() {
                    return false;
                }
                has_ended = true;
                for lost in state.end(found.topic()) {
                    let error = too_large(found.topic(), found.partition(), 2);
                    kept.lose(lost as *mut c_void, error);
                }
                !state.again.is_empty()
            });
            if has_again {
                self.note_again(&lane);
            }
        }
        if has_ended {
            self.wake_resolver();
        }
        kept
    }

    /// Notes what the cluster says late of topics' limits.
    pub(super) fn note_limits(&self) {
        for topic in self.topics() {
            let asked = topic.asked_limit.lock().take();
            if let Some(asked) = asked {
                topic.note_limit(asked, Duration::ZERO);
            }
        }
    }

    /// Fails what was overtaken, once the event's own reports are settled.
    pub(super) fn settle_lost(&self, kept: Kept) {
        self.refuse_each(kept.lost);
    }

    fn refuse_each(&self, records: Vec<(*mut c_void, Error)>) {
        let mut settling = Settling::default();
        for (opaque, error) in records {
            settle_refused(self, opaque, &error, &mut settling);
        }
        self.book_last(&mut settling);
    }

    /// Sends refused records again, as far as their windows are free. On the event thread.
    pub(super) fn send_again(&self) {
        if !self.windows.has_again.load(Ordering::Acquire) {
            return;
        }
        let lanes = std::mem::take(&mut *self.windows.again.lock());
        for lane in lanes {
            let (mut failed, mut expired) = (Vec::new(), Vec::new());
            let is_left = self.windows.with(&lane, |state| {
                fail_lost(state, &mut failed, &mut expired);
                self.send_lane_again(&lane, state, &mut failed, &mut expired);
                !state.again.is_empty()
            });
            if is_left {
                self.note_again(&lane);
            }
            self.late.reported(expired.len());
            self.refuse_each(failed);
            let mut settling = Settling::default();
            for opaque in expired {
                let error = Error::new(ErrorKind::Timeout, "expired");
                // SAFETY: librdkafka does not have it any more, so this is its only settlement; its
                // outcome and its counts were given when it expired.
                if let Some(settled) = unsafe { settling.settle(opaque, Err(&error)) } {
                    self.book(settled);
                }
            }
            self.book_last(&mut settling);
        }
        let lanes = self.windows.again.lock();
        self.windows
            .has_again
            .store(!lanes.is_empty(), Ordering::Release);
        drop(lanes);
        self.wake_resolver();
    }

    fn send_lane_again(
        &self,
        lane: &Arc<Lane>,
        state: &mut State,
        failed: &mut Vec<(*mut c_void, Error)>,
        expired: &mut Vec<*mut c_void>,
    ) {
        let pass = self.windows.next_pass();
        while let Some(first) = state.again.front().copied() {
            let opaque = first as *mut c_void;
            // SAFETY: it is kept, and not settled before it leaves this list.
            let found = unsafe { look_up(opaque) };
            let (topic, outgoing) = (found.topic(), found.outgoing());
            let given_up = self.gave_up.get();
            let error = if found.is_settled() {
                expired.push(opaque);
                None
            } else if let Some(error) = given_up {
                Some(super::session::about(error, topic))
            } else if self.is_late(found.opened()) {
                Some(self.timed_out(topic, found.partition()))
            } else {
                let admitted = self.openings.admits(lane, opaque)
                    && state.admit(pass, first, outgoing.wire_len(), topic.limit.bytes());
                if !admitted {
                    return;
                }
                let watched = self.before_handover(found.opened(), || found.watched());
                let sent = produce_one(self, topic, &outgoing);
                match sent {
                    Ok(()) => {
                        if let Some(watched) = watched {
                            self.watch(topic, (found.partition(), found.opened()), watched);
                        }
                        None
                    }
                    Err(error) => {
                        state.remove(first);
                        if error.kind() == ErrorKind::QueueFull {
                            return;
                        }
                        Some(error)
                    }
                }
            };
            state.again.pop_front();
            failed.extend(error.map(|error| (opaque, error)));
        }
    }

    /// The error of a record that a broker refused as too large. `with` are the reports on it and on
    /// those that may have been in its batch.
    pub(super) fn refused_as_too_large<'r>(
        &self,
        report: &RDKafkaMessage,
        kept: &Kept,
        with: impl Iterator<Item = &'r RDKafkaMessage>,
    ) -> Error {
        // SAFETY: the report's record is not settled yet.
        let found = unsafe { look_up(report._private) };
        let about = |one: &RDKafkaMessage| (one.err, one.rkt, one.partition);
        let run = with.take_while(|one| about(one) == about(report));
        let (mut count, bytes) = run.fold((0, 0), |(count, bytes), one| {
            (count + 1, bytes + one.len + one.key_len)
        });
        if kept.alone.contains(&report._private) {
            count = 1;
        }
        if count > 1 {
            found.topic().limit.refused(bytes);
        }
        too_large(found.topic(), report.partition, count)
    }
}

/// Fails the overtaken records of a window that a sending thread ended.
fn fail_lost(
    state: &mut State,
    failed: &mut Vec<(*mut c_void, Error)>,
    expired: &mut Vec<*mut c_void>,
) {
    for opaque in std::mem::take(&mut state.lost) {
        let opaque = opaque as *mut c_void;
        // SAFETY: it is kept, and not settled before it leaves this list.
        let found = unsafe { look_up(opaque) };
        if found.is_settled() {
            expired.push(opaque);
        } else {
            failed.push((opaque, too_large(found.topic(), found.partition(), 2)));
        }
    }
}

fn too_large(topic: &Topic, partition: i32, records: usize) -> Error {
    let refusal = broker_error(TOO_LARGE, "deliver a record");
    let error = if records > 1 {
        let message = format!(
            "{}; its batch was larger than the topic takes. Later batches are smaller: send it \
             again, and set batch_max_bytes to the topic's max.message.bytes",
            refusal.message()
        );
        Error::new(refusal.kind(), message).with_code(refusal.code().zip(refusal.code_name()))
    } else {
        refusal
    };
    let error = error
        .with("topic", topic.name())
        .with("partition", partition);
    match topic.limit.stated() {
        Some(stated) => error.with("max.message.bytes", stated),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::producer::slab::{Buffers, Parts, Slab};
    use crate::producer::topic::Framing;

    /// A topic, and records of it with these keys in librdkafka's hands.
    fn handed_over(keys: &[&str]) -> (Arc<Topic>, Handed) {
        let limit = BatchLimit::new(1 << 20);
        let framing = Framing::SingleObject;
        let topic = Topic::new(
            Arc::from("topic"),
            framing,
            None,
            limit,
            &Metrics::default(),
        );
        let count = keys.len() as u32;
        let mut slab = Slab::new(Arc::clone(&topic), 0, count, 1, Buffers::default());
        for key in keys {
            let parts = Parts {
                owner: None,
                key: Some(key.as_bytes()),
                partition: 0,
                headers: Vec::new(),
                framed: false,
                awaits_schema_id: false,
            };
            drop(slab.append(parts, |_| Ok(false)).unwrap());
        }
        let slab = InFlight::new(slab);
        let opaques = slab.outgoing(0).map(|one| one.opaque as usize).collect();
        (topic, Handed(opaques))
    }

    struct Handed(Vec<usize>);

    impl Drop for Handed {
        fn drop(&mut self) {
            let mut settling = Settling::default();
            for opaque in &self.0 {
                // SAFETY: the records were handed over, and are settled here alone.
                let _ = unsafe { settling.settle(*opaque as *mut c_void, Ok((0, 0, 0))) };
            }
            settling.finish();
        }
    }

    fn delivered(state: &mut State, opaque: usize) {
        assert!(state.remove(opaque));
        // SAFETY: not settled before it is dropped.
        let found = unsafe { look_up(opaque as *mut c_void) };
        state.note_delivered(&found.outgoing());
    }

    fn refused(state: &mut State, opaque: usize) {
        assert!(state.remove(opaque));
        state.refused.push(opaque);
        state.refused_bytes += 100;
    }

    #[test]
    fn nothing_overtakes_a_window_whose_topic_has_no_limit_any_more() {
        let mut state = State::default();
        assert!(state.lets_go(1, 0xa, 100, 1000));
        assert!(!state.lets_go(2, 0xb, 100, NO_LIMIT));
        assert!(state.remove(0xa));
        assert!(state.lets_go(3, 0xb, 100, NO_LIMIT));
        assert!(!state.is_open());
    }

    #[test]
    fn the_limit_grows_with_what_was_delivered_alone() {
        let (topic, records) = handed_over(&["a", &"b".repeat(FIRST)]);
        let mut state = State::default();
        let fill = |state: &mut State, pass| {
            for opaque in &records.0 {
                assert!(state.admit(pass, *opaque, FIRST / 2, FIRST));
            }
        };
        fill(&mut state, 1);
        delivered(&mut state, records.0[0]);
        // This one timed out.
        assert!(state.remove(records.0[1]));
        assert!(state.end(&topic).is_empty());
        assert_eq!(topic.limit.bytes(), FIRST);
        fill(&mut state, 2);
        for opaque in &records.0 {
            delivered(&mut state, *opaque);
        }
        assert!(state.end(&topic).is_empty());
        assert_eq!(topic.limit.bytes(), FIRST * 2);
    }

    /// All of them in flight, in a window of the first hand-over.
    fn in_flight(records: &Handed) -> State {
        let mut state = State::default();
        for opaque in &records.0 {
            assert!(state.admit(1, *opaque, 100, 1000));
        }
        state
    }

    #[test]
    fn a_refused_record_that_was_overtaken_by_its_key_is_lost() {
        let (topic, records) = handed_over(&["a", "b", "a"]);
        let mut state = in_flight(&records);
        refused(&mut state, records.0[0]);
        refused(&mut state, records.0[1]);
        delivered(&mut state, records.0[2]);
        assert_eq!(state.end(&topic), [records.0[0]]);
        assert_eq!(state.again, [records.0[1]]);
    }

    #[test]
    fn a_refused_record_that_expired_meanwhile_is_not_failed_twice() {
        let (topic, records) = handed_over(&["a", "a"]);
        let mut state = in_flight(&records);
        refused(&mut state, records.0[0]);
        // SAFETY: not settled before it is dropped, and no report on it is.
        let found = unsafe { look_up(records.0[0] as *mut c_void) };
        let error = Error::new(ErrorKind::Timeout, "expired");
        // SAFETY: as above.
        assert!(!unsafe { found.watched().expire(&error) }.is_empty());
        delivered(&mut state, records.0[1]);
        assert!(state.end(&topic).is_empty());
        assert_eq!(state.again, [records.0[0]]);
    }

    #[test]
    fn a_window_whose_last_record_librdkafka_does_not_take_ends() {
        let (topic, records) = handed_over(&["a", "b", "a", "c"]);
        let mut state = in_flight(&records);
        refused(&mut state, records.0[0]);
        refused(&mut state, records.0[1]);
        delivered(&mut state, records.0[2]);
        assert!(!state.is_left());
        state.withdraw(records.0[3], &topic);
        assert_eq!(state.lost, [records.0[0]]);
        assert_eq!(state.again, [records.0[1]]);
        assert!(state.is_left());
    }
}

//! Flow control: which records of a batch may go to librdkafka now. A partition's first record goes
//! alone ([`super::flow`]), and windows keep batches within a topic's limit ([`super::window`]).

use std::collections::HashSet;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::types::RDKafkaMessage;

use super::batch::MIXED;
use super::batch::in_flight::{InFlight, RecordRef, look_up};
use super::batch_limit::NO_LIMIT;
use super::failure::{TOO_LARGE, too_large};
use super::flow::Flow;
use super::topic::flow_of;
use super::window::Window;
use crate::Error;
use crate::sync::{Condvar, Mutex};

/// The flow control of all partitions of a session.
#[derive(Default)]
pub(super) struct FlowControl {
    /// The partitions whose first record is in flight.
    openings: Mutex<Vec<Arc<Flow>>>,
    /// How many there are; read with every delivery report.
    opening_count: AtomicUsize,
    /// How many windows are open; read with every delivery report.
    open_windows: AtomicUsize,
    passes: AtomicU64,
    /// The partitions with records to be sent again.
    again: Mutex<Vec<Arc<Flow>>>,
    has_again: AtomicBool,
    /// How many openings and windows have ended, for the resolver, which waits for that.
    ended: Mutex<usize>,
    ended_changed: Condvar,
}

/// Reports that are no outcomes, and what follows from the others.
#[derive(Default)]
pub(super) struct Kept {
    /// The opaques of records that are sent again.
    pub(super) opaques: HashSet<*mut c_void>,
    /// Those of records that were refused although they went alone.
    pub(super) alone: HashSet<*mut c_void>,
    /// Records of earlier events that were overtaken.
    pub(super) lost: Vec<(*mut c_void, Error)>,
}

impl FlowControl {
    /// The index up to which the records of `batch` may go now, from `from` on.
    pub(super) fn allowed(&self, batch: &InFlight, from: usize) -> usize {
        let (len, partition) = (batch.batch().len(), batch.batch().partition());
        let topic = batch.batch().topic();
        let flows = topic.flows();
        let own = flow_of(&flows, partition).filter(|_| partition != MIXED);
        let is_open = own.is_some_and(|flow| flow.opening().is_over());
        let to = if is_open {
            len
        } else {
            let allowed = batch.records(from).take_while(|record| {
                flow_of(&flows, record.partition)
                    .is_none_or(|flow| self.opening_admits(flow, record.opaque))
            });
            from + allowed.count()
        };
        let limit = topic.batch_limit().bytes();
        if limit == NO_LIMIT && self.has_no_window() {
            return to;
        }
        if limit == NO_LIMIT && own.is_some_and(|flow| !flow.window().lock().is_open()) {
            // None opens meanwhile: one thread at a time sends a partition's records.
            return to;
        }
        let pass = self.next_pass();
        for (index, record) in batch.records(from).take(to - from).enumerate() {
            let Some(flow) = flow_of(&flows, record.partition) else {
                continue;
            };
            let is_allowed = self.change(flow, |window| {
                window.allows(pass, record.opaque as usize, record.wire_len(), limit)
            });
            if !is_allowed {
                return from + index;
            }
        }
        to
    }

    /// Whether a record may go now, as the first of its partition or behind it.
    pub(super) fn opening_admits(&self, flow: &Arc<Flow>, opaque: *mut c_void) -> bool {
        if flow.opening().is_over() {
            return true;
        }
        match flow.opening().alone() {
            0 => {
                flow.opening().begin(opaque as usize);
                self.openings.lock().push(Arc::clone(flow));
                self.opening_count.fetch_add(1, Ordering::AcqRel);
                true
            }
            // librdkafka's queue was full for it.
            alone => alone == opaque as usize,
        }
    }

    #[inline]
    pub(super) fn has_openings(&self) -> bool {
        self.opening_count.load(Ordering::Acquire) > 0
    }

    /// Notes a record's outcome, if it went alone. Before it completes: until then its opaque is no
    /// other record's.
    pub(super) fn opening_ended(&self, opaque: *mut c_void, delivered: bool) {
        if !self.has_openings() {
            return;
        }
        {
            let mut openings = self.openings.lock();
            let went_alone = |flow: &Arc<Flow>| flow.opening().alone() == opaque as usize;
            let Some(index) = openings.iter().position(went_alone) else {
                return;
            };
            let flow = openings.swap_remove(index);
            self.opening_count.fetch_sub(1, Ordering::AcqRel);
            flow.opening().end(delivered);
        }
        self.note_end();
    }

    /// How many openings and windows have ended.
    pub(super) fn ended(&self) -> usize {
        *self.ended.lock()
    }

    /// Waits until an opening or a window has ended since `seen`, for up to `timeout`. Returns how
    /// many have by now.
    pub(super) fn wait_for_end(&self, seen: usize, timeout: Duration) -> usize {
        let mut ended = self.ended.lock();
        if *ended == seen {
            (ended, _) = self.ended_changed.wait_for(ended, timeout);
        }
        *ended
    }

    pub(super) fn note_end(&self) {
        *self.ended.lock() += 1;
        self.ended_changed.notify_all();
    }

    #[inline]
    fn has_no_window(&self) -> bool {
        self.open_windows.load(Ordering::Acquire) == 0
    }

    pub(super) fn next_pass(&self) -> u64 {
        self.passes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Changes a window, under its lock.
    pub(super) fn change<T>(&self, flow: &Flow, change: impl FnOnce(&mut Window) -> T) -> T {
        let mut window = flow.window().lock();
        let was_open = window.is_open();
        let outcome = change(&mut window);
        match (was_open, window.is_open()) {
            (false, true) => drop(self.open_windows.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(self.open_windows.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        }
        outcome
    }

    /// Leaves a record that waited for its topic to the event thread, if its partition's window keeps
    /// it from going: those of other partitions need not wait for that. Whether it does.
    pub(super) fn queue_behind_window(&self, flow: &Arc<Flow>, opaque: *mut c_void) -> bool {
        let waits = self.change(flow, |window| window.queue_behind(opaque as usize));
        if waits {
            self.note_again(flow);
        }
        waits
    }

    pub(super) fn note_again(&self, flow: &Arc<Flow>) {
        let mut flows = self.again.lock();
        if !flows.iter().any(|known| Arc::ptr_eq(known, flow)) {
            flows.push(Arc::clone(flow));
        }
        self.has_again.store(true, Ordering::Release);
    }

    /// The partitions with records to be sent again; [`again_sent`](Self::again_sent) must follow.
    pub(super) fn take_again(&self) -> Option<Vec<Arc<Flow>>> {
        let has_again = self.has_again.load(Ordering::Acquire);
        has_again.then(|| std::mem::take(&mut *self.again.lock()))
    }

    pub(super) fn again_sent(&self) {
        let flows = self.again.lock();
        self.has_again.store(!flows.is_empty(), Ordering::Release);
        drop(flows);
        self.note_end();
    }

    /// Takes a record out of its window that librdkafka did not take. Whether the event thread has
    /// records to send again.
    pub(super) fn withdraw(&self, opaque: *mut c_void) -> bool {
        if self.has_no_window() {
            return false;
        }
        // SAFETY: the record is not completed.
        let found = unsafe { look_up(opaque) };
        let flows = found.topic().flows();
        let Some(flow) = flow_of(&flows, found.partition()) else {
            return false;
        };
        let is_left = self.change(flow, |window| {
            window.withdraw(opaque as usize, found.topic().batch_limit(), key_of)
        });
        if is_left {
            self.note_again(flow);
        }
        is_left
    }

    /// Notes reports on records that are not completed yet. On the event thread.
    pub(super) fn reported(
        &self,
        reports: &[&RDKafkaMessage],
        is_delivered: impl Fn(&RDKafkaMessage) -> bool,
    ) -> Kept {
        let mut kept = Kept::default();
        if self.has_no_window() {
            return kept;
        }
        let mut has_ended = false;
        for report in reports {
            let opaque = report._private;
            // SAFETY: the opaque is the one that was sent, and not completed yet.
            let found = unsafe { look_up(opaque) };
            let flows = found.topic().flows();
            let Some(flow) = flow_of(&flows, found.partition()) else {
                continue;
            };
            let has_again = self.change(flow, |window| {
                if !window.remove(opaque as usize) {
                    return false;
                }
                if report.err == TOO_LARGE && window.has_several() && !found.is_complete() {
                    window.refused(opaque as usize, found.view().wire_len());
                    kept.opaques.insert(opaque);
                } else if report.err == TOO_LARGE {
                    kept.alone.insert(opaque);
                } else if is_delivered(report) {
                    let record = found.view();
                    window.delivered(record.key, record.wire_len());
                }
                if !window.is_reported() {
                    return false;
                }
                has_ended = true;
                for lost in window.end(found.topic().batch_limit(), key_of) {
                    let opaque = lost as *mut c_void;
                    // One of this event's reports completes with it.
                    if !kept.opaques.remove(&opaque) {
                        kept.lost.push((opaque, overtaken(&found)));
                    }
                }
                window.next_again().is_some()
            });
            if has_again {
                self.note_again(flow);
            }
        }
        if has_ended {
            self.note_end();
        }
        kept
    }
}

/// The key of a record in a window that has no outcome yet.
fn key_of<'k>(opaque: usize) -> Option<&'k [u8]> {
    // SAFETY: a record stays in its window until it completes.
    let found = unsafe { look_up(opaque as *mut c_void) };
    // One that expired meanwhile has its outcome.
    if found.is_complete() {
        return None;
    }
    found.view().key
}

/// The error of a refused record that another one of its key has overtaken.
pub(super) fn overtaken(record: &RecordRef<'_>) -> Error {
    too_large(record.topic(), record.partition(), 2)
}

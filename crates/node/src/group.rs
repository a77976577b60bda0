//! The records of one call, until JavaScript has their outcomes.
//!
//! Only the last record of each batch notifies the group: the records before it in the batch are
//! completed by then. Of the records that wait for capacity the first one does: it is accepted first,
//! usually with many others. A notification reports all completed records of the group to JavaScript.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use carbon_events::producer::{Admission, DeliveryReport};
use carbon_events::sync::Mutex;
use carbon_events::{Delivery, Error, Result};

use crate::mailbox::Post;

/// See the module.
pub(crate) struct Group {
    id: u32,
    /// Whether only failures and the end are reported.
    quiet: bool,
    post: Arc<Post>,
    posted: AtomicBool,
    records: Mutex<Records>,
}

struct Records {
    waiting: Vec<(u32, Sent)>,
    refused: Vec<(u32, Error)>,
    /// Records that are not reported to JavaScript.
    unreported: u32,
    delivered: u32,
}

/// A record that was sent: it waits for capacity, or it is accepted.
pub(crate) enum Sent {
    Waiting(Admission),
    Accepted(Delivery),
}

impl Sent {
    pub(crate) fn new(admission: Admission) -> Self {
        match admission.at_once() {
            Ok(delivery) => Sent::Accepted(delivery),
            Err(admission) => Sent::Waiting(admission),
        }
    }

    fn outcome(&mut self) -> Option<Result<DeliveryReport>> {
        if let Sent::Waiting(admission) = self {
            match admission.outcome()? {
                Ok(delivery) => *self = Sent::Accepted(delivery),
                Err(error) => return Some(Err(error)),
            }
        }
        match self {
            Sent::Accepted(delivery) => delivery.outcome(),
            Sent::Waiting(_) => None,
        }
    }
}

impl Group {
    /// Creates a group for `count` records.
    pub(crate) fn new(id: u32, count: u32, quiet: bool, post: Arc<Post>) -> Arc<Self> {
        let records = Records {
            waiting: Vec::with_capacity(count as usize),
            refused: Vec::new(),
            unreported: count,
            delivered: 0,
        };
        Arc::new(Group {
            id,
            quiet,
            post,
            posted: AtomicBool::new(false),
            records: Mutex::new(records),
        })
    }

    /// Adds the records that were sent, and those that were rejected.
    pub(crate) fn add(self: &Arc<Self>, sent: Vec<(u32, Sent)>, refused: Vec<(u32, Error)>) {
        let mut records = self.records.lock();
        let any_refused = !refused.is_empty();
        records.refused.extend(refused);
        if records.waiting.is_empty() {
            records.waiting = sent;
        } else {
            records.waiting.extend(sent);
        }
        let ready = self.watch(&mut records);
        drop(records);
        if any_refused || ready {
            self.wake_by_ref();
        }
    }

    /// Registers the group's waker with the last record of each batch, and with the first record that
    /// waits for capacity. Returns whether one of them is ready.
    fn watch(self: &Arc<Self>, records: &mut Records) -> bool {
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        let mut watched: Vec<Delivery> = Vec::with_capacity(16);
        let mut first_waiting = None;
        for (_, sent) in records.waiting.iter_mut().rev() {
            match sent {
                Sent::Waiting(admission) => first_waiting = Some(admission),
                Sent::Accepted(delivery) => {
                    if watched.iter().any(|other| other.shares_batch(delivery)) {
                        continue;
                    }
                    if Pin::new(&mut *delivery).poll(&mut context).is_ready() {
                        return true;
                    }
                    watched.push(delivery.clone());
                }
            }
        }
        first_waiting.is_some_and(|first| Pin::new(first).poll(&mut context).is_ready())
    }

    /// Writes the known outcomes into `rows`. Returns false if `rows` is full or the turn has checked
    /// enough records.
    pub(crate) fn report(self: &Arc<Self>, rows: &mut Rows<'_>) -> bool {
        self.posted.store(false, Ordering::SeqCst);
        let mut guard = self.records.lock();
        let records = &mut *guard;
        if !rows.check(records.waiting.len()) {
            return self.later();
        }
        while let Some((index, error)) = records.refused.pop() {
            if rows.is_full() {
                records.refused.push((index, error));
                return self.later();
            }
            rows.failed(self.id, index, error);
            records.unreported -= 1;
        }
        let mut full = false;
        records.waiting.retain_mut(|(index, sent)| {
            if full {
                return true;
            }
            if rows.is_full() {
                full = true;
                return true;
            }
            match sent.outcome() {
                None => return true,
                Some(Err(error)) => rows.failed(self.id, *index, error),
                Some(Ok(report)) => {
                    records.delivered += 1;
                    if !self.quiet {
                        let place = [
                            f64::from(report.partition),
                            report.offset as f64,
                            report.timestamp_ms as f64,
                        ];
                        rows.push(self.id, f64::from(*index), place);
                    }
                }
            }
            records.unreported -= 1;
            false
        });
        if full || rows.is_full() {
            return self.later();
        }
        if records.unreported == 0 {
            rows.push(self.id, -1.0, [f64::from(records.delivered), 0.0, 0.0]);
        } else if self.watch(records) {
            drop(guard);
            self.wake_by_ref();
        }
        true
    }

    /// The group stays in the mailbox.
    fn later(&self) -> bool {
        self.posted.store(true, Ordering::SeqCst);
        false
    }
}

impl Wake for Group {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.posted.swap(true, Ordering::SeqCst) {
            self.post.group(Arc::clone(self));
        }
    }
}

/// The rows that JavaScript reads outcomes from.
pub(crate) struct Rows<'r> {
    cells: &'r mut [f64],
    used: usize,
    /// Records that may still be checked in this turn.
    checks: usize,
    errors: Vec<Error>,
}

/// The cells of a row.
const ROW: usize = 5;

/// Records that one turn checks, which takes a tenth of a millisecond. Not all of them need a row.
const CHECKS: usize = 4096;

impl<'r> Rows<'r> {
    pub(crate) fn new(cells: &'r mut [f64]) -> Self {
        Rows {
            cells,
            used: 0,
            checks: CHECKS,
            errors: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.used + ROW > self.cells.len()
    }

    /// Whether the turn has time for a group of so many records. The first group is always checked.
    fn check(&mut self, records: usize) -> bool {
        let checks = self.checks.checked_sub(records);
        if checks.is_none() && self.checks < CHECKS {
            return false;
        }
        self.checks = checks.unwrap_or(0);
        true
    }

    fn push(&mut self, group: u32, index: f64, place: [f64; 3]) {
        if let Some(row) = self.cells.get_mut(self.used..self.used + ROW) {
            row[0] = f64::from(group);
            row[1] = index;
            row[2..].copy_from_slice(&place);
            self.used += ROW;
        }
    }

    fn failed(&mut self, group: u32, index: u32, error: Error) {
        // A batch that failed as a whole has one error.
        if self.errors.last() != Some(&error) {
            self.errors.push(error);
        }
        let number = (self.errors.len() - 1) as f64;
        self.push(group, f64::from(index), [-1.0, number, 0.0]);
    }

    pub(crate) fn count(&self) -> u32 {
        (self.used / ROW) as u32
    }

    pub(crate) fn errors(&self) -> &[Error] {
        &self.errors
    }
}

//! The records that one call sent, on the way to their outcomes.
//!
//! Only the last record of each batch wakes the group: those before it in the batch are settled by
//! then. Of records in line, the first one does: it is accepted first, usually with many others. A
//! wake-up looks at the group's records and tells JavaScript of all that are settled.

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
    /// Whether only failures are told, and the end.
    quiet: bool,
    post: Arc<Post>,
    posted: AtomicBool,
    records: Mutex<Records>,
}

struct Records {
    waiting: Vec<(u32, Fate)>,
    refused: Vec<(u32, Error)>,
    /// Records that JavaScript has not been told of.
    untold: u32,
    delivered: u32,
}

/// Where a record is that was sent.
pub(crate) enum Fate {
    InLine(Admission),
    Accepted(Delivery),
}

impl Fate {
    pub(crate) fn of(admission: Admission) -> Self {
        match admission.at_once() {
            Ok(delivery) => Fate::Accepted(delivery),
            Err(admission) => Fate::InLine(admission),
        }
    }

    fn outcome(&mut self) -> Option<Result<DeliveryReport>> {
        if let Fate::InLine(admission) = self {
            match admission.outcome()? {
                Ok(delivery) => *self = Fate::Accepted(delivery),
                Err(error) => return Some(Err(error)),
            }
        }
        match self {
            Fate::Accepted(delivery) => delivery.outcome(),
            Fate::InLine(_) => None,
        }
    }
}

impl Group {
    /// A group of `count` records, of which none has been sent yet.
    pub(crate) fn new(id: u32, count: u32, quiet: bool, post: Arc<Post>) -> Arc<Self> {
        let records = Records {
            waiting: Vec::with_capacity(count as usize),
            refused: Vec::new(),
            untold: count,
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

    /// Records were sent, or refused.
    pub(crate) fn add(self: &Arc<Self>, sent: Vec<(u32, Fate)>, refused: Vec<(u32, Error)>) {
        let mut records = self.records.lock();
        let tell = !refused.is_empty();
        records.refused.extend(refused);
        if records.waiting.is_empty() {
            records.waiting = sent;
        } else {
            records.waiting.extend(sent);
        }
        let settled = self.watch(&mut records);
        drop(records);
        if tell || settled {
            self.wake_by_ref();
        }
    }

    /// Has the last waiting record of each batch wake the group, and the first one in line. True where
    /// one is settled or accepted.
    fn watch(self: &Arc<Self>, records: &mut Records) -> bool {
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        let mut watched: Vec<Delivery> = Vec::with_capacity(16);
        let mut first_in_line = None;
        for (_, fate) in records.waiting.iter_mut().rev() {
            match fate {
                Fate::InLine(admission) => first_in_line = Some(admission),
                Fate::Accepted(delivery) => {
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
        first_in_line.is_some_and(|first| Pin::new(first).poll(&mut context).is_ready())
    }

    /// Writes the outcomes that are known into `rows`; false where there is no room for all, or the
    /// turn has looked at enough records.
    pub(crate) fn tell(self: &Arc<Self>, rows: &mut Rows<'_>) -> bool {
        self.posted.store(false, Ordering::SeqCst);
        let mut guard = self.records.lock();
        let records = &mut *guard;
        if !rows.look_at(records.waiting.len()) {
            return self.later();
        }
        while let Some((index, error)) = records.refused.pop() {
            if rows.is_full() {
                records.refused.push((index, error));
                return self.later();
            }
            rows.failed(self.id, index, error);
            records.untold -= 1;
        }
        let mut full = false;
        records.waiting.retain_mut(|(index, fate)| {
            if full {
                return true;
            }
            if rows.is_full() {
                full = true;
                return true;
            }
            match fate.outcome() {
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
            records.untold -= 1;
            false
        });
        if full || rows.is_full() {
            return self.later();
        }
        if records.untold == 0 {
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
    /// Records that may still be looked at in this turn.
    looks: usize,
    errors: Vec<Error>,
}

/// The cells of a row.
const ROW: usize = 5;

/// Records that one turn looks at, of which only failures need rows: a tenth of a millisecond.
const LOOKS: usize = 4096;

impl<'r> Rows<'r> {
    pub(crate) fn new(cells: &'r mut [f64]) -> Self {
        Rows {
            cells,
            used: 0,
            looks: LOOKS,
            errors: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.used + ROW > self.cells.len()
    }

    /// Whether there is time for a group of so many records; the first always is looked at.
    fn look_at(&mut self, records: usize) -> bool {
        let looks = self.looks.checked_sub(records);
        if looks.is_none() && self.looks < LOOKS {
            return false;
        }
        self.looks = looks.unwrap_or(0);
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

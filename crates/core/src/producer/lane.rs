//! A lane: the slabs of one partition on their way to librdkafka, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery::Delivery;
use super::limit::Window;
use super::opening::Opening;
use super::slab::{Buffers, InFlight, Parts, Slab};
use super::topic::Topic;
use crate::Result;
use crate::sync::Mutex;

/// The records that a slab holds at first, at most, and in bytes.
const SLAB_MIN_RECORDS: u32 = 16;
const SLAB_MAX_RECORDS: u32 = 1024;
pub(crate) const SLAB_MAX_BYTES: usize = 512 << 10;

/// One partition's lane; its lock is held to append and to take slabs, never to hand them over.
pub(crate) struct Lane {
    pub(crate) opening: Opening,
    pub(crate) window: Window,
    pub(crate) state: Mutex<LaneState>,
}

/// What a lane holds.
pub(crate) struct LaneState {
    open: Option<Slab>,
    sealed: VecDeque<Slab>,
    /// A slab that librdkafka took only in part: it goes on with the record of that index.
    pub(crate) partly: Option<(InFlight, usize)>,
    /// Whether a thread is handing over this lane's slabs: only one does, to keep their order.
    pub(crate) handing_over: bool,
    /// Whether the event thread knows that this lane has gathered something.
    pub(crate) noted: bool,
    /// The next slab's capacity: doubled by a slab that fills up, halved by one that goes nearly
    /// empty, so that a lone record does not pay for a thousand.
    capacity: u32,
    /// The bytes of a record of the last slab, on average.
    record_bytes: usize,
}

impl Lane {
    pub(crate) fn new(opening: Opening) -> Arc<Self> {
        Arc::new(Lane {
            opening,
            window: Window::default(),
            state: Mutex::new(LaneState {
                open: None,
                sealed: VecDeque::new(),
                partly: None,
                handing_over: false,
                noted: false,
                capacity: SLAB_MIN_RECORDS,
                record_bytes: 0,
            }),
        })
    }
}

impl Lane {
    /// Keeps an empty lane's records from going, as a thread that hands them over does; whether it
    /// is empty.
    pub(crate) fn hold_back(&self) -> bool {
        let mut state = self.state.lock();
        let is_free = state.is_empty() && !state.handing_over;
        state.handing_over |= is_free;
        is_free
    }
}

impl LaneState {
    /// Appends a record to the open slab, and seals the slab if that filled it.
    pub(crate) fn append(
        &mut self,
        topic: &Arc<Topic>,
        partition: i32,
        buffers: impl FnOnce() -> Buffers,
        parts: Parts<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
    ) -> Result<(Delivery, u64)> {
        let (capacity, record_bytes) = (self.capacity, self.record_bytes);
        let slab = self.open.get_or_insert_with(|| {
            // A little more, for records differ; no more than a slab is let grow to.
            let expected = capacity as usize * (record_bytes + record_bytes / 8);
            let expected = expected.min(SLAB_MAX_BYTES);
            Slab::new(Arc::clone(topic), partition, capacity, expected, buffers())
        });
        let appended = slab.append(parts, write);
        if slab.len() == 0 {
            self.open = None;
            return appended;
        }
        if slab.is_full(SLAB_MAX_BYTES) {
            self.capacity = (capacity * 2).min(SLAB_MAX_RECORDS);
            self.record_bytes = slab.record_bytes();
            self.seal();
        }
        appended
    }

    /// Ends the open slab, so that it goes with the sealed ones.
    pub(crate) fn seal(&mut self) {
        self.sealed.extend(self.open.take());
    }

    /// Ends an open slab that has gathered for longer than that: a slab expires as a whole.
    pub(crate) fn seal_if_older(&mut self, age: std::time::Duration) {
        if self.open().is_some_and(|slab| slab.opened.elapsed() > age) {
            self.seal();
        }
    }

    pub(crate) fn open(&self) -> Option<&Slab> {
        self.open.as_ref()
    }

    pub(crate) fn has_sealed(&self) -> bool {
        !self.sealed.is_empty() || self.partly.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && !self.has_sealed()
    }

    /// The next slab to go: a sealed one, else the open one where `all` is asked for.
    pub(crate) fn take(&mut self, all: bool) -> Option<Slab> {
        self.sealed.pop_front().or_else(|| {
            let slab = if all { self.open.take() } else { None }?;
            if slab.len() < (self.capacity / 4) as usize {
                self.capacity = (self.capacity / 2).max(SLAB_MIN_RECORDS);
            }
            Some(slab)
        })
    }

    /// The oldest slab that was not handed over at all, for deadlines.
    pub(crate) fn oldest(&self) -> Option<&Slab> {
        self.sealed.front().or(self.open.as_ref())
    }

    /// Every slab, in order.
    pub(crate) fn slabs_mut(&mut self) -> impl Iterator<Item = &mut Slab> {
        self.sealed.iter_mut().chain(self.open.as_mut())
    }
}

//! The first record of a partition goes alone: nothing follows it before it is acknowledged.
//!
//! A broker that has no record of an idempotent session yet takes any sequence number for its first
//! one. So where it refuses the first batch, because it is only just becoming the leader of a new
//! topic's partition, and takes the second one, it answers the first one's retry with
//! `DUPLICATE_SEQUENCE_NUMBER`, which librdkafka reports as a delivery, without an offset: the
//! records are lost. One round trip, once a partition and session, leaves no second batch. Where it
//! takes longer than a second the others go too; a delivery without an offset is no delivery then.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::slab::InFlight;
use crate::sync::Mutex;

/// How long a partition's other records wait for its first: one that has no leader must not keep
/// theirs, whose time runs out together, nor those of other partitions.
const LONGEST: Duration = Duration::from_secs(1);

/// Whether a partition has acknowledged a record of this session.
#[derive(Default)]
pub(crate) struct Opening {
    acknowledged: AtomicBool,
    /// The opaque of the record that went alone and has no outcome yet; 0 where none has.
    alone: AtomicUsize,
    /// When the first one went.
    began: OnceLock<Instant>,
}

impl Opening {
    /// Of a session without sequence numbers, which needs none.
    pub(crate) fn not_needed() -> Self {
        Opening {
            acknowledged: AtomicBool::new(true),
            ..Opening::default()
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.acknowledged.load(Ordering::Acquire)
            || self
                .began
                .get()
                .is_some_and(|began| began.elapsed() >= LONGEST)
    }
}

/// The lanes whose first record is on its way.
#[derive(Default)]
pub(crate) struct Openings {
    /// How many there are; looked at with every delivery report.
    count: AtomicUsize,
    ended: AtomicUsize,
    lanes: Mutex<Vec<Arc<Lane>>>,
}

impl Openings {
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// How many have ended, and windows (see [`super::limit`]).
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::Acquire)
    }

    /// The index up to which the records of `slab` may go now, from `from` on.
    pub(crate) fn reach<'lane>(
        &self,
        slab: &InFlight,
        from: usize,
        lane_of: impl Fn(i32) -> Option<&'lane Arc<Lane>>,
    ) -> usize {
        let mut to = from;
        for record in slab.outgoing(from) {
            if let Some(lane) = lane_of(record.partition)
                && !self.admits(lane, record.opaque)
            {
                return to;
            }
            to += 1;
        }
        to
    }

    /// Whether a record may go now.
    pub(crate) fn admits(&self, lane: &Arc<Lane>, opaque: *mut std::ffi::c_void) -> bool {
        if lane.opening.is_over() {
            return true;
        }
        match lane.opening.alone.load(Ordering::Acquire) {
            0 => self.begin(lane, opaque as usize),
            // librdkafka's queue was full for it.
            alone => return alone == opaque as usize,
        }
        true
    }

    fn begin(&self, lane: &Arc<Lane>, opaque: usize) {
        lane.opening.began.get_or_init(Instant::now);
        lane.opening.alone.store(opaque, Ordering::Release);
        self.lanes.lock().push(Arc::clone(lane));
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes the outcome of the record with that opaque, if it went alone; whether it did.
    pub(crate) fn end(&self, opaque: *mut std::ffi::c_void, delivered: bool) -> bool {
        let mut lanes = self.lanes.lock();
        let went_alone =
            |lane: &Arc<Lane>| lane.opening.alone.load(Ordering::Acquire) == opaque as usize;
        let Some(index) = lanes.iter().position(went_alone) else {
            return false;
        };
        let lane = lanes.swap_remove(index);
        self.count.fetch_sub(1, Ordering::AcqRel);
        if delivered {
            lane.opening.acknowledged.store(true, Ordering::Release);
        }
        lane.opening.alone.store(0, Ordering::Release);
        true
    }

    /// Notes that something has ended that the resolver may wait for.
    pub(crate) fn note_end(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }
}

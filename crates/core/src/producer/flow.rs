//! What keeps the records of one partition from going all at once: its first record goes alone, and
//! a topic's limit puts the others in a [window](super::window).
//!
//! # The first record
//!
//! No other record follows it before it is acknowledged.
//!
//! A broker that has no record of an idempotent session yet takes any sequence number for its first
//! one. If it refuses the first batch, because it is only just becoming the leader of a new topic's
//! partition, and takes the second one, it answers the first one's retry with
//! `DUPLICATE_SEQUENCE_NUMBER`. librdkafka reports that as a delivery, without an offset: the records
//! are lost. One round trip, once a partition and session, leaves no second batch. If it takes longer
//! than a second, the others go too; a delivery without an offset counts as a failure then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::window::Window;
use crate::sync::Mutex;

/// How long a partition's other records wait for its first: one without a leader must not keep
/// them, whose time runs out together, nor those of other partitions.
const LONGEST: Duration = Duration::from_secs(1);

/// Whether a partition has acknowledged a record of this session.
#[derive(Default)]
pub(super) struct Opening {
    acknowledged: AtomicBool,
    /// The opaque of the record that went alone and has no outcome yet; 0 if none is in flight.
    alone: AtomicUsize,
    /// When the first one was sent.
    began: OnceLock<Instant>,
}

impl Opening {
    /// For a session without sequence numbers, which needs none.
    pub(super) fn not_needed() -> Self {
        Opening {
            acknowledged: AtomicBool::new(true),
            ..Opening::default()
        }
    }

    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.acknowledged.load(Ordering::Acquire)
            || self
                .began
                .get()
                .is_some_and(|began| began.elapsed() >= LONGEST)
    }

    /// The opaque of the record that went alone; 0 if none is in flight.
    pub(super) fn alone(&self) -> usize {
        self.alone.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self, opaque: usize) {
        self.began.get_or_init(Instant::now);
        self.alone.store(opaque, Ordering::Release);
    }

    pub(super) fn end(&self, delivered: bool) {
        if delivered {
            self.acknowledged.store(true, Ordering::Release);
        }
        self.alone.store(0, Ordering::Release);
    }
}

/// The flow control of one partition.
#[derive(Default)]
pub(super) struct Flow {
    opening: Opening,
    window: Mutex<Window>,
}

impl Flow {
    pub(super) fn new(is_idempotent: bool) -> Self {
        if is_idempotent {
            return Flow::default();
        }
        Flow {
            opening: Opening::not_needed(),
            ..Flow::default()
        }
    }

    #[inline]
    pub(super) fn opening(&self) -> &Opening {
        &self.opening
    }

    #[inline]
    pub(super) fn window(&self) -> &Mutex<Window> {
        &self.window
    }
}

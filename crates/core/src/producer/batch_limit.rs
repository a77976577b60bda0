//! How large a topic's batches may be.
//!
//! The producer asks the cluster for the limit when it looks the topic up. Without an answer, or
//! without the right to ask, the limit begins low and doubles with every full window that is
//! delivered, until it is no limit any more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(super) const NO_LIMIT: usize = usize::MAX;
/// The limit of a topic of which nothing is known.
pub(super) const FIRST: usize = 16 << 10;
/// What a batch has besides its records (61 bytes, `DefaultRecordBatch` in Kafka's protocol), rounded
/// up.
const BATCH_OVERHEAD: usize = 100;

/// The largest batch that a topic takes, as far as is known.
pub(super) struct BatchLimit {
    /// The largest batch that librdkafka makes.
    largest: usize,
    bytes: AtomicUsize,
    /// The topic's `max.message.bytes`; 0 while it is unknown.
    stated: AtomicUsize,
    /// Whether a refusal has set it: then it does not grow.
    found: AtomicBool,
}

impl BatchLimit {
    pub(super) fn new(largest: usize) -> Self {
        BatchLimit {
            largest,
            bytes: AtomicUsize::new(if largest > FIRST { FIRST } else { NO_LIMIT }),
            stated: AtomicUsize::new(0),
            found: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The topic's `max.message.bytes`, if the cluster has stated it.
    pub(super) fn stated(&self) -> Option<usize> {
        Some(self.stated.load(Ordering::Relaxed)).filter(|stated| *stated > 0)
    }

    /// Notes what the cluster states.
    pub(super) fn state(&self, stated: usize) {
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
    pub(super) fn refused(&self, bytes: usize) {
        self.found.store(true, Ordering::Relaxed);
        self.bytes.fetch_min((bytes / 2).max(1), Ordering::Relaxed);
    }

    /// Notes how many bytes of one window were delivered.
    pub(super) fn delivered(&self, bytes: usize) {
        let limit = self.bytes();
        let is_known = self.found.load(Ordering::Relaxed) || self.stated().is_some();
        if !is_known && limit != NO_LIMIT && bytes > limit / 2 {
            self.set(limit * 2);
        }
    }
}

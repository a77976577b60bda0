//! Latencies from send to read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When each event of the steady phase was sent and read.
pub(super) struct Latencies {
    first: u64,
    start: Instant,
    /// Nanoseconds since `start`; after the read, the latency with this bit set.
    slots: Vec<AtomicU64>,
}

const BACK: u64 = 1 << 63;

/// The latencies of a phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub(super) rate: u64,
    pub(super) events: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
    pub(super) max: Duration,
}

impl Latencies {
    /// For `count` events from number `first` on.
    pub(super) fn new(first: u64, count: u64) -> Self {
        let slots = (0..count).map(|_| AtomicU64::new(0)).collect();
        Latencies {
            first,
            start: Instant::now(),
            slots,
        }
    }

    fn slot(&self, index: u64) -> Option<&AtomicU64> {
        self.slots
            .get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX) & !BACK
    }

    /// The event is about to be sent.
    pub(super) fn sent(&self, index: u64) {
        if let Some(slot) = self.slot(index) {
            slot.store(self.now(), Ordering::Release);
        }
    }

    /// The event was read.
    pub(super) fn came_back(&self, index: u64) {
        if let Some(slot) = self.slot(index) {
            let sent = slot.load(Ordering::Acquire);
            slot.store(BACK | self.now().saturating_sub(sent), Ordering::Release);
        }
    }

    /// The latencies of the events that were read; `None` if none was.
    pub(super) fn summary(&self, rate: u64) -> Option<Summary> {
        let found = self.slots.iter().map(|slot| slot.load(Ordering::Acquire));
        let mut nanos: Vec<u64> = found
            .filter(|slot| slot & BACK != 0)
            .map(|s| s & !BACK)
            .collect();
        nanos.sort_unstable();
        let last = nanos.len().checked_sub(1)?;
        // Nearest rank: the smallest latency that this share does not exceed.
        let rank = |share: f64| (share * nanos.len() as f64).ceil() as usize;
        let at = |share: f64| Duration::from_nanos(nanos[rank(share).saturating_sub(1).min(last)]);
        Some(Summary {
            rate,
            events: nanos.len() as u64,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_came_back() {
        let latencies = Latencies::new(100, 1000);
        assert!(latencies.summary(10).is_none());
        for (index, slot) in latencies.slots.iter().enumerate() {
            slot.store(BACK | ((index as u64 + 1) * 1_000_000), Ordering::Relaxed);
        }
        latencies.sent(1099);
        latencies.sent(5);
        latencies.sent(5000);
        let summary = latencies.summary(10).unwrap();
        assert_eq!(summary.events, 999);
        assert_eq!(summary.p50, Duration::from_millis(500));
        assert_eq!(summary.p99, Duration::from_millis(990));
        assert_eq!(summary.p999, Duration::from_millis(999));
        assert_eq!(summary.max, Duration::from_millis(999));
    }
}

//! A histogram that many threads record into without a lock and that costs one addition a value.
//!
//! Buckets are log-linear: every doubling of the value is cut into [`PARTS`] equal parts, so a
//! quantile is at most 1/[`PARTS`] too high, whatever the magnitude. A bucket's upper bound belongs
//! to it, as Prometheus' `le` does, and every power of two is a bound: the exposition's coarse buckets
//! are exact sums of ours.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Parts of one doubling.
const PARTS: usize = 16;
const PART_BITS: u32 = PARTS.trailing_zeros();
/// The largest power of two with buckets of its own; above it everything falls into the last one.
const MAX_BITS: u32 = 31;
const BUCKETS: usize = PARTS * (MAX_BITS - PART_BITS + 1) as usize;

/// Counts of values by magnitude.
pub(super) struct Histogram {
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Records `count` values of the same size.
    pub(super) fn record(&self, value: u64, count: u64) {
        self.counts[bucket_of(value)].fetch_add(count, Relaxed);
        self.sum.fetch_add(value.saturating_mul(count), Relaxed);
    }

    pub(super) fn read(&self) -> Distribution {
        Distribution {
            counts: self
                .counts
                .iter()
                .map(|count| count.load(Relaxed))
                .collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// The bucket of a value: those up to [`PARTS`] have one each, then [`PARTS`] a doubling.
fn bucket_of(value: u64) -> usize {
    // Counting from the value below makes upper bounds inclusive.
    let below = value.saturating_sub(1).min((1 << MAX_BITS) - 1);
    if below < PARTS as u64 {
        return below as usize;
    }
    let doubling = below.ilog2() - PART_BITS;
    let part = (below >> doubling) as usize - PARTS;
    PARTS * (doubling as usize + 1) + part
}

/// The largest value that belongs to a bucket.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64 + 1;
    }
    let doubling = bucket / PARTS - 1;
    ((PARTS + bucket % PARTS + 1) as u64) << doubling
}

/// What a histogram held when it was read.
#[derive(Clone)]
pub(super) struct Distribution {
    counts: Vec<u64>,
    sum: u64,
}

impl Distribution {
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// A value that `quantile` (0.0 to 1.0) of all values do not exceed; 0 where there are none.
    pub(super) fn quantile(&self, quantile: f64) -> u64 {
        let total = self.count();
        let rank = ((total as f64 * quantile).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(bucket);
            }
        }
        0
    }

    /// How many values do not exceed `2^bits`.
    pub(super) fn up_to_power_of_two(&self, bits: u32) -> u64 {
        let bound = 1_u64 << bits;
        let buckets = self.counts.iter().enumerate();
        buckets
            .take_while(|(bucket, _)| upper_bound(*bucket) <= bound)
            .map(|(_, count)| count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        let values = (0..5_000).chain((12..31).flat_map(|bits| {
            let power = 1_u64 << bits;
            [power - 1, power, power + 1, power + power / 3]
        }));
        for value in values {
            let bucket = bucket_of(value);
            assert!(value <= upper_bound(bucket), "{value} in {bucket}");
            assert!(
                bucket == 0 || value > upper_bound(bucket - 1),
                "{value} in {bucket}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_bound(BUCKETS - 1), 1 << MAX_BITS);
    }

    #[test]
    fn quantiles_are_close_and_never_too_low() {
        let histogram = Histogram::new();
        for value in 1..=10_000 {
            histogram.record(value, 1);
        }
        let read = histogram.read();
        assert_eq!((read.count(), read.sum()), (10_000, 50_005_000));
        for (quantile, exact) in [(0.5, 5_000), (0.99, 9_900), (0.999, 9_990), (1.0, 10_000)] {
            let found = read.quantile(quantile);
            assert!(
                found >= exact && found <= exact + exact / PARTS as u64,
                "{quantile}: {found}"
            );
        }
        assert_eq!(read.quantile(0.0), 1);
        assert_eq!(Histogram::new().read().quantile(0.5), 0);
    }

    #[test]
    fn powers_of_two_are_exact_bounds() {
        let histogram = Histogram::new();
        for value in [1, 1_024, 1_025, 2_048, 1 << 40] {
            histogram.record(value, 2);
        }
        let read = histogram.read();
        let up_to = |bits| read.up_to_power_of_two(bits);
        assert_eq!(
            [up_to(0), up_to(9), up_to(10), up_to(11), up_to(30)],
            [2, 2, 4, 8, 8]
        );
        assert_eq!(read.count(), 10);
    }
}

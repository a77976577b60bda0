//! Numbers that look random and are the same each time that they are asked for.

/// The stream of one event: splitmix64 (Steele, Lea and Flood), which takes any seed.
pub(super) struct Random(u64);

impl Random {
    /// The stream of event `index` in the run with this seed.
    pub(super) fn of(seed: u64, index: u64) -> Self {
        let mut random = Random(seed ^ index.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.next();
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // The high half of the product: as even as anybody needs here, and without a division.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number in `from..to`, mostly near `from`, as sizes and latencies are.
    pub(super) fn skewed(&mut self, from: i64, to: i64) -> i64 {
        let unit = self.unit();
        from + ((to - from) as f64 * unit * unit * unit) as i64
    }

    /// A fraction from 0 up to, but not, 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something that happens once in `times` happens.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

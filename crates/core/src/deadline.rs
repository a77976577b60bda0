//! The end of a timeout.

use std::time::{Duration, Instant};

/// A point in time by which something returns. Computed once, where a call begins, so that all of its
/// steps share the caller's timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `timeout` from now. A timeout beyond the clock's range ends in thirty years.
    pub(crate) fn after(timeout: Duration) -> Self {
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
        Deadline(Instant::now() + timeout.min(FAR))
    }

    /// The point in time itself, for waits that take one.
    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// This deadline, put off by `extra`.
    pub(crate) fn plus(self, extra: Duration) -> Self {
        Deadline(self.0 + extra)
    }

    /// The time left; zero once it has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_any_length_has_a_deadline() {
        assert!(Deadline::after(Duration::ZERO).has_passed());
        assert_eq!(Deadline::after(Duration::ZERO).remaining(), Duration::ZERO);
        let far = Deadline::after(Duration::MAX);
        assert!(!far.has_passed() && far.remaining() > Duration::from_secs(3600));
        assert!(far > Deadline::after(Duration::from_secs(3600)));
    }
}

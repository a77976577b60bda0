//! Says it when nothing at all is acknowledged: a mistyped address shows long before the first record
//! is given up.

use std::time::{Duration, Instant};

use crate::format;

/// How long nothing may be heard of any record before that is said.
const PATIENCE: Duration = Duration::from_secs(2);

/// That nothing has been heard of any record yet.
pub(super) struct Silence {
    brokers: String,
    tried_for: Duration,
    /// When a record was first seen waiting.
    since: Option<Instant>,
    over: bool,
}

impl Silence {
    pub(super) fn new(brokers: String, tried_for: Duration) -> Self {
        Silence {
            brokers,
            tried_for,
            since: None,
            over: false,
        }
    }

    /// Whether something was heard, or the silence spoken of.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes note of whether any record's outcome is known and whether none waits for it; gives what
    /// is to be said, once.
    pub(super) fn look(&mut self, heard: bool, none_waits: bool) -> Option<String> {
        self.over |= heard;
        if self.over || none_waits {
            return None;
        }
        self.over = self.since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        self.over.then(|| {
            let time = format::duration(self.tried_for);
            format!(
                "nothing is acknowledged yet by {}; trying for up to {time}",
                self.brokers
            )
        })
    }
}

//! What one partition has in flight while its topic limits the size of batches.
//!
//! librdkafka has one limit for the batches of all topics, and a broker refuses a batch as a whole
//! that is larger than its topic's own `max.message.bytes`. librdkafka makes its batches of what it
//! has of a partition. So if a topic takes less than librdkafka's largest batch, librdkafka gets no
//! more than that of a partition at once, and the next records when all of those have their reports.
//!
//! ```text
//!  a partition's records ──▶ window: in flight together, within the topic's limit
//!                              │ all reported                │ refused as too large, with others
//!                              ▼                             ▼
//!                            the next window               again: in smaller windows, first of all
//! ```
//!
//! No record overtakes one that is sent again: the partition's later records wait for it. librdkafka
//! may make two batches of one window; a refused record fails if one of the same key was delivered
//! behind it. A record that is refused alone fails.

use std::collections::{HashSet, VecDeque};

use super::batch_limit::{BatchLimit, NO_LIMIT};

/// The window of a partition. Records are known by their opaques.
#[derive(Default)]
pub(super) struct Window {
    /// The send that it began with: only its records join.
    pass: u64,
    /// The records in flight, in order.
    records: VecDeque<usize>,
    count: usize,
    bytes: usize,
    /// The bytes of those that were delivered.
    delivered: usize,
    /// Those that were refused together with others, and their bytes.
    refused: Vec<usize>,
    refused_bytes: usize,
    /// The keys of records that were delivered behind a refused one.
    overtaken: HashSet<Box<[u8]>>,
    /// Those that go next: refused ones of earlier windows, and those that waited for their topic.
    again: VecDeque<usize>,
    /// Overtaken records of a window that a sending thread ended: the event thread fails them.
    lost: Vec<usize>,
}

impl Window {
    pub(super) fn is_open(&self) -> bool {
        !(self.records.is_empty() && self.refused.is_empty() && self.again.is_empty())
    }

    /// Whether a new record may go now: in this window, or without one if there is no limit.
    pub(super) fn allows(&mut self, pass: u64, opaque: usize, bytes: usize, limit: usize) -> bool {
        if limit == NO_LIMIT && !self.is_open() {
            return true;
        }
        self.again.is_empty() && self.refused.is_empty() && self.admit(pass, opaque, bytes, limit)
    }

    /// Takes a record in, unless it exceeds the limit or belongs to another send.
    pub(super) fn admit(&mut self, pass: u64, opaque: usize, bytes: usize, limit: usize) -> bool {
        if self.records.is_empty() {
            (self.pass, self.count) = (pass, 0);
            (self.bytes, self.delivered) = (0, 0);
        } else if self.pass != pass || self.bytes + bytes > limit {
            return false;
        }
        self.records.push_back(opaque);
        self.count += 1;
        self.bytes += bytes;
        true
    }

    /// Takes a record out that is no longer in flight; whether it was in.
    pub(super) fn remove(&mut self, opaque: usize) -> bool {
        let index = self.records.iter().position(|one| *one == opaque);
        index.and_then(|index| self.records.remove(index)).is_some()
    }

    /// Whether none of its records is in flight.
    pub(super) fn is_reported(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether a record of it went together with others.
    pub(super) fn has_several(&self) -> bool {
        self.count > 1
    }

    /// Notes the delivery of a record that was removed.
    pub(super) fn delivered(&mut self, key: Option<&[u8]>, bytes: usize) {
        self.delivered += bytes;
        if !self.refused.is_empty()
            && let Some(key) = key
        {
            self.overtaken.insert(key.into());
        }
    }

    /// Notes the refusal of a record that was removed.
    pub(super) fn refused(&mut self, opaque: usize, bytes: usize) {
        self.refused.push(opaque);
        self.refused_bytes += bytes;
    }

    /// Ends a window whose records are all reported: those that were refused go again. Returns those
    /// that were overtaken, which fail. `key_of` is the key of a record that has no outcome yet.
    pub(super) fn end<'k>(
        &mut self,
        limit: &BatchLimit,
        key_of: impl Fn(usize) -> Option<&'k [u8]>,
    ) -> Vec<usize> {
        if self.refused.is_empty() {
            limit.delivered(self.delivered);
            return Vec::new();
        }
        limit.refused(std::mem::take(&mut self.refused_bytes));
        let overtaken = std::mem::take(&mut self.overtaken);
        let mut lost = Vec::new();
        for opaque in std::mem::take(&mut self.refused).into_iter().rev() {
            if key_of(opaque).is_some_and(|key| overtaken.contains(key)) {
                lost.push(opaque);
            } else {
                self.again.push_front(opaque);
            }
        }
        lost
    }

    /// Takes a record out that librdkafka did not take: it may be the last that its window waits for.
    /// Whether the event thread has records to send again or to fail.
    pub(super) fn withdraw<'k>(
        &mut self,
        opaque: usize,
        limit: &BatchLimit,
        key_of: impl Fn(usize) -> Option<&'k [u8]>,
    ) -> bool {
        if self.remove(opaque) && self.records.is_empty() && !self.refused.is_empty() {
            let mut lost = self.end(limit, key_of);
            self.lost.append(&mut lost);
        }
        !(self.again.is_empty() && self.lost.is_empty())
    }

    /// Keeps a record behind those that go again, if the window is open; whether it is.
    pub(super) fn queue_behind(&mut self, opaque: usize) -> bool {
        let waits = self.is_open();
        if waits {
            self.again.push_back(opaque);
        }
        waits
    }

    /// The record that goes again next.
    pub(super) fn next_again(&self) -> Option<usize> {
        self.again.front().copied()
    }

    /// Takes the [`next_again`](Self::next_again) off the list.
    pub(super) fn pop_again(&mut self) {
        self.again.pop_front();
    }

    pub(super) fn take_lost(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch_limit::FIRST;
    use super::*;

    /// All of them in flight, in a window of the first send.
    fn in_flight(records: usize) -> Window {
        let mut window = Window::default();
        for opaque in 0..records {
            assert!(window.admit(1, opaque, 100, 1000));
        }
        window
    }

    fn limit() -> BatchLimit {
        BatchLimit::new(1 << 20)
    }

    /// The keys of the records by their opaques; `-` for one that has expired.
    fn keys<'k>(keys: &'k [&'k str]) -> impl Fn(usize) -> Option<&'k [u8]> {
        |opaque| Some(keys[opaque].as_bytes()).filter(|key| key != b"-")
    }

    fn deliver(window: &mut Window, opaque: usize, key: &str, bytes: usize) {
        assert!(window.remove(opaque));
        window.delivered(Some(key.as_bytes()), bytes);
    }

    fn refuse(window: &mut Window, opaque: usize) {
        assert!(window.remove(opaque));
        window.refused(opaque, 100);
    }

    #[test]
    fn nothing_overtakes_a_window_whose_topic_has_no_limit_any_more() {
        let mut window = Window::default();
        assert!(window.allows(1, 0xa, 100, 1000));
        assert!(!window.allows(2, 0xb, 100, NO_LIMIT));
        assert!(window.remove(0xa));
        assert!(window.allows(3, 0xb, 100, NO_LIMIT));
        assert!(!window.is_open());
    }

    #[test]
    fn the_limit_grows_with_what_was_delivered_alone() {
        let (limit, mut window) = (limit(), Window::default());
        let fill = |window: &mut Window, pass| {
            for opaque in 0..2 {
                assert!(window.admit(pass, opaque, FIRST / 2, FIRST));
            }
        };
        fill(&mut window, 1);
        deliver(&mut window, 0, "a", 100);
        // This one timed out.
        assert!(window.remove(1));
        assert!(window.end(&limit, keys(&["a", "b"])).is_empty());
        assert_eq!(limit.bytes(), FIRST);
        fill(&mut window, 2);
        deliver(&mut window, 0, "a", 100);
        deliver(&mut window, 1, "b", FIRST);
        assert!(window.end(&limit, keys(&["a", "b"])).is_empty());
        assert_eq!(limit.bytes(), FIRST * 2);
    }

    #[test]
    fn a_refused_record_that_was_overtaken_by_its_key_is_lost() {
        let mut window = in_flight(3);
        refuse(&mut window, 0);
        refuse(&mut window, 1);
        deliver(&mut window, 2, "a", 100);
        assert_eq!(window.end(&limit(), keys(&["a", "b", "a"])), [0]);
        assert_eq!(window.again, [1]);
    }

    #[test]
    fn a_refused_record_that_expired_meanwhile_is_not_failed_twice() {
        let mut window = in_flight(2);
        refuse(&mut window, 0);
        deliver(&mut window, 1, "a", 100);
        assert!(window.end(&limit(), keys(&["-", "a"])).is_empty());
        assert_eq!(window.again, [0]);
    }

    #[test]
    fn a_window_whose_last_record_librdkafka_does_not_take_ends() {
        let mut window = in_flight(4);
        refuse(&mut window, 0);
        refuse(&mut window, 1);
        deliver(&mut window, 2, "a", 100);
        assert!(window.again.is_empty() && window.lost.is_empty());
        assert!(window.withdraw(3, &limit(), keys(&["a", "b", "a", "c"])));
        assert_eq!(window.take_lost(), [0]);
        assert_eq!(window.again, [1]);
    }
}

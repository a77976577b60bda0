//! The line: encoded records that wait for capacity, in the order of their sends.
//!
//! A waiting sender is a blocked thread, a future or a binding's callback. Each is one waker here, and
//! none has a thread or a timer of its own.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::producer::batch::RECORD_OVERHEAD_BYTES;
use crate::producer::delivery::Delivery;
use crate::producer::headers::Header;
use crate::producer::tally::Tally;
use crate::sync::Mutex;
use crate::{Error, Result};

/// How many records are admitted under one hold of the line's lock.
pub(in crate::producer) const AT_ONCE: usize = 256;

/// An encoded record that is not accepted yet.
pub(in crate::producer) struct WaitingRecord {
    pub(in crate::producer) topic: Arc<str>,
    pub(in crate::producer) key: Option<Vec<u8>>,
    pub(in crate::producer) value: Option<Vec<u8>>,
    pub(in crate::producer) partition: Option<i32>,
    pub(in crate::producer) headers: Vec<Header>,
    pub(in crate::producer) framed: bool,
    /// The owner, which counts the record as pending.
    pub(in crate::producer) owner: Option<Arc<Tally>>,
}

impl WaitingRecord {
    /// The bytes that it will take of the buffer limit.
    fn cost(&self) -> u64 {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len) as u64;
        len(&self.key) + len(&self.value) + RECORD_OVERHEAD_BYTES
    }
}

/// The records that wait for capacity.
#[derive(Default)]
pub(in crate::producer) struct Line {
    len: AtomicUsize,
    /// What they will take of the buffer limit. Changes under the lock.
    bytes: AtomicU64,
    /// Whether a sender waits until the line is empty.
    watched: AtomicBool,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// The number of the first place.
    first: u64,
    /// `None` if its sender has given up.
    list: VecDeque<Option<Place>>,
    watchers: Vec<Waker>,
}

/// A record in line.
pub(in crate::producer) struct Place {
    record: WaitingRecord,
    began: Instant,
    deadline: Instant,
    ticket: Arc<Ticket>,
}

/// Where a sender finds the outcome of its place.
#[derive(Default)]
pub(in crate::producer) struct Ticket(Mutex<(Option<Result<Delivery>>, Option<Waker>)>);

impl Ticket {
    /// Stores the outcome. Call the returned waker without a lock.
    fn complete(&self, outcome: Result<Delivery>) -> Option<Waker> {
        let mut ticket = self.0.lock();
        ticket.0 = Some(outcome);
        ticket.1.take()
    }

    pub(in crate::producer) fn outcome(&self) -> Option<Result<Delivery>> {
        self.0.lock().0.clone()
    }

    /// The outcome; without one, `waker` is woken when there is one.
    pub(in crate::producer) fn poll(&self, waker: &Waker) -> Option<Result<Delivery>> {
        let mut ticket = self.0.lock();
        if ticket.0.is_none() && !ticket.1.as_ref().is_some_and(|one| one.will_wake(waker)) {
            ticket.1 = Some(waker.clone());
        }
        ticket.0.clone()
    }
}

impl Place {
    pub(in crate::producer) fn new(
        record: WaitingRecord,
        began: Instant,
        deadline: Instant,
        ticket: Arc<Ticket>,
    ) -> Self {
        Place {
            record,
            began,
            deadline,
            ticket,
        }
    }

    /// Stores the outcome. Call the returned waker without a lock.
    pub(in crate::producer) fn complete(self, outcome: Result<Delivery>) -> Option<Waker> {
        if let (Err(_), Some(owner)) = (&outcome, &self.record.owner) {
            owner.refused();
        }
        self.ticket.complete(outcome)
    }
}

impl Line {
    #[inline]
    pub(in crate::producer) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(in crate::producer) fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst) as u64
    }

    pub(in crate::producer) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether no sender waits for capacity.
    #[inline]
    pub(in crate::producer) fn is_idle(&self) -> bool {
        self.is_empty() && !self.watched.load(Ordering::SeqCst)
    }

    /// Appends a place. Returns its number, and whether it is the only one.
    pub(in crate::producer) fn join(&self, place: Place) -> (u64, bool) {
        let mut places = self.places.lock();
        self.bytes.fetch_add(place.record.cost(), Ordering::Relaxed);
        places.list.push_back(Some(place));
        let number = places.first + places.list.len() as u64 - 1;
        let before = self.len.fetch_add(1, Ordering::SeqCst);
        (number, before == 0)
    }

    /// Removes the place of a sender that gives up. `None` if its record was accepted meanwhile.
    pub(in crate::producer) fn leave(&self, number: u64) -> Option<Place> {
        let mut places = self.places.lock();
        let index = usize::try_from(number.checked_sub(places.first)?).ok()?;
        let place = places.list.get_mut(index)?.take()?;
        places.trim();
        self.bytes.fetch_sub(place.record.cost(), Ordering::Relaxed);
        self.len.fetch_sub(1, Ordering::SeqCst);
        Some(place)
    }

    /// Takes up to [`AT_ONCE`] records off the front. `decide` gets the front's deadline: `true`
    /// accepts the record, `false` refuses it, `None` stops. `complete` gets the record, how long it
    /// waited and that decision, and returns the outcome. If the line is empty then and the queue
    /// `has_capacity`, senders that watch the line are notified too. Returns how many records left,
    /// and the wakers to call.
    pub(in crate::producer) fn admit(
        &self,
        decide: impl Fn(Instant) -> Option<bool>,
        mut complete: impl FnMut(&mut WaitingRecord, Duration, bool) -> Result<Delivery>,
        has_capacity: impl Fn() -> bool,
    ) -> (usize, Vec<Waker>) {
        let mut places = self.places.lock();
        let (mut left, mut notified) = (0, Vec::new());
        while left < AT_ONCE
            && let Some(front) = places.front()
            && let Some(is_accepted) = decide(front.deadline)
            && let Some(mut place) = places.pop()
        {
            self.bytes.fetch_sub(place.record.cost(), Ordering::Relaxed);
            let waited = place.began.elapsed();
            let outcome = complete(&mut place.record, waited, is_accepted);
            notified.extend(place.complete(outcome));
            left += 1;
            // Last of all: a sender that finds the line empty comes after this record.
            self.len.fetch_sub(1, Ordering::SeqCst);
        }
        if self.is_empty() && has_capacity() {
            notified.append(&mut self.unwatch(&mut places));
        }
        (left, notified)
    }

    /// How long the first record may still wait.
    pub(in crate::producer) fn time_left(&self) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let mut places = self.places.lock();
        let deadline = places.front()?.deadline;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Completes every place with `error`, and notifies every sender.
    pub(in crate::producer) fn refuse_all(&self, error: &Error) {
        let (list, mut notified) = {
            let mut places = self.places.lock();
            places.first += places.list.len() as u64;
            let list = mem::take(&mut places.list);
            self.len.store(0, Ordering::SeqCst);
            self.bytes.store(0, Ordering::Relaxed);
            (list, self.unwatch(&mut places))
        };
        for place in list.into_iter().flatten() {
            let error = error.clone().with("topic", &place.record.topic);
            notified.extend(place.complete(Err(error)));
        }
        notified.into_iter().for_each(Waker::wake);
    }

    /// Notifies every sender, to look at the producer again.
    pub(in crate::producer) fn notify_all(&self) {
        if self.is_idle() {
            return;
        }
        let notified = {
            let mut places = self.places.lock();
            let waiting = places.list.iter().flatten();
            let mut notified: Vec<_> = waiting
                .filter_map(|place| place.ticket.0.lock().1.take())
                .collect();
            notified.append(&mut self.unwatch(&mut places));
            notified
        };
        notified.into_iter().for_each(Waker::wake);
    }

    /// Has `waker` woken when the line is empty and the queue has capacity.
    pub(in crate::producer) fn watch(&self, waker: &Waker) {
        let mut places = self.places.lock();
        if !places.watchers.iter().any(|one| one.will_wake(waker)) {
            places.watchers.push(waker.clone());
        }
        self.watched.store(true, Ordering::SeqCst);
    }

    fn unwatch(&self, places: &mut Places) -> Vec<Waker> {
        self.watched.store(false, Ordering::SeqCst);
        mem::take(&mut places.watchers)
    }
}

impl Places {
    /// Drops the places at the front whose senders have given up.
    fn trim(&mut self) {
        while let Some(None) = self.list.front() {
            self.list.pop_front();
            self.first += 1;
        }
    }

    fn front(&mut self) -> Option<&Place> {
        self.trim();
        self.list.front()?.as_ref()
    }

    fn pop(&mut self) -> Option<Place> {
        self.trim();
        let place = self.list.pop_front()?;
        self.first += 1;
        place
    }
}

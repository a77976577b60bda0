//! Admission: which record is accepted next while the queue is full.
//!
//! ```text
//!  send, send_async, submit ── capacity, and no record in line ──▶ partition queue, at once
//!      │ the queue is full, or others are in line
//!      ▼
//!  line: encoded records, in the order of their sends
//!      │ event thread, whenever records complete: from the front, as many as there is capacity for
//!      ▼
//!  partition queue ── the record's Delivery ──▶ the sender's waker
//! ```
//!
//! A sender is a blocked thread, a future or a binding's callback; all of them are one waker here, and
//! none has a thread or a timer of its own.
//!
//! # Invariants
//!
//! - No record is accepted before one that was in line when its send began. The length of the line is
//!   read before capacity is taken, and falls only after the record is in its partition queue.
//! - A record leaves the line once: accepted by the event thread of the running session, or given up by
//!   its sender (dropped, timed out) or by `close`. The line's lock decides which.
//! - No wake-up is lost. A sender counts itself and then looks for capacity; completed records give
//!   capacity back and then look at the count. Both are sequentially consistent, so one sees the other,
//!   and either wakes the event thread.
//! - The next session has the same line. A child process has one of its own, and leaves the parent's,
//!   whose lock may be held for ever, alone.
//! - Every record may wait equally long (`block_timeout`), so the front is the first to be late.
//! - Lock order: the line's, then a partition queue's. Wakers run without the line's.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::delivery::{Delivery, this_threads_waker};
use super::engine::{Engine, Head, closed};
use super::shutdown::deadline;
use super::slab::{Header, RECORD_OVERHEAD_BYTES};
use super::tally::Tally;
use super::topic::Topic;
use super::{EventProducer, Shared};
use crate::fork;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// How many records are admitted under one hold of the line's lock.
const AT_ONCE: usize = 256;

/// An encoded record that is not accepted yet.
pub(super) struct Held {
    pub(super) topic: Arc<str>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) partition: Option<i32>,
    pub(super) headers: Vec<Header>,
    pub(super) framed: bool,
    /// Whose record it is; it counts as pending there.
    pub(super) owner: Option<Arc<Tally>>,
}

impl Held {
    /// The bytes that it will take of the queue's limit.
    fn cost(&self) -> u64 {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len) as u64;
        len(&self.key) + len(&self.value) + RECORD_OVERHEAD_BYTES
    }
}

/// The records that wait for capacity.
#[derive(Default)]
pub(crate) struct Line {
    len: AtomicUsize,
    /// What they will take of the queue's limit in bytes. Changes under the lock.
    bytes: AtomicU64,
    /// Whether a sender waits until the line is empty.
    watched: AtomicBool,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    /// The number of the first place.
    first: u64,
    /// `None` where a sender has given up.
    list: VecDeque<Option<Place>>,
    watchers: Vec<Waker>,
}

struct Place {
    held: Held,
    began: Instant,
    deadline: Instant,
    ticket: Arc<Ticket>,
}

/// Where a sender learns what became of its place.
#[derive(Default)]
struct Ticket(Mutex<(Option<Result<Delivery>>, Option<Waker>)>);

impl Ticket {
    /// Stores the outcome; the waker is to be called without a lock.
    fn complete(&self, outcome: Result<Delivery>) -> Option<Waker> {
        let mut ticket = self.0.lock();
        ticket.0 = Some(outcome);
        ticket.1.take()
    }

    fn outcome(&self) -> Option<Result<Delivery>> {
        self.0.lock().0.clone()
    }

    fn poll(&self, waker: &Waker) -> Option<Result<Delivery>> {
        let mut ticket = self.0.lock();
        if ticket.0.is_none() && !ticket.1.as_ref().is_some_and(|one| one.will_wake(waker)) {
            ticket.1 = Some(waker.clone());
        }
        ticket.0.clone()
    }
}

impl Line {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst) as u64
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether a change of the queue concerns a sender.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && !self.watched.load(Ordering::SeqCst)
    }

    /// Appends a place: its number, and whether it is the only one.
    fn join(&self, place: Place) -> (u64, bool) {
        let mut places = self.places.lock();
        self.bytes.fetch_add(place.held.cost(), Ordering::Relaxed);
        places.list.push_back(Some(place));
        let number = places.first + places.list.len() as u64 - 1;
        let before = self.len.fetch_add(1, Ordering::SeqCst);
        (number, before == 0)
    }

    /// Takes a place out whose sender gives up. `None` where its record was accepted meanwhile.
    fn leave(&self, number: u64) -> Option<Place> {
        let mut places = self.places.lock();
        let index = usize::try_from(number.checked_sub(places.first)?).ok()?;
        let place = places.list.get_mut(index)?.take()?;
        places.trim();
        self.bytes.fetch_sub(place.held.cost(), Ordering::Relaxed);
        self.len.fetch_sub(1, Ordering::SeqCst);
        Some(place)
    }

    /// How long the first record may still wait.
    fn time_left(&self) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let mut places = self.places.lock();
        let deadline = places.front()?.deadline;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Completes every place with `error`, and wakes all that wait.
    fn refuse_all(&self, error: &Error) {
        let (list, mut woken) = {
            let mut places = self.places.lock();
            places.first += places.list.len() as u64;
            let list = mem::take(&mut places.list);
            self.len.store(0, Ordering::SeqCst);
            self.bytes.store(0, Ordering::Relaxed);
            (list, self.unwatch(&mut places))
        };
        for place in list.into_iter().flatten() {
            let error = error.clone().with("topic", &place.held.topic);
            woken.extend(place.refuse(error));
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Wakes every sender, to look at the producer anew.
    pub(super) fn rouse(&self) {
        if self.is_idle() {
            return;
        }
        let woken = {
            let mut places = self.places.lock();
            let wakers = places.list.iter().flatten();
            let mut woken: Vec<_> = wakers
                .filter_map(|place| place.ticket.0.lock().1.take())
                .collect();
            woken.append(&mut self.unwatch(&mut places));
            woken
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn watch(&self, waker: &Waker) {
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
    /// Drops what senders have left at the front.
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

impl Place {
    /// Completes a place whose record is not accepted.
    fn refuse(self, error: Error) -> Option<Waker> {
        if let Some(owner) = &self.held.owner {
            owner.refused();
        }
        self.ticket.complete(Err(error))
    }
}

impl Engine {
    /// Takes capacity for one record, unless the queue is full or others are in line.
    #[inline]
    pub(super) fn try_take(&self) -> bool {
        self.line.is_empty() && self.budget.try_take()
    }

    /// Gives back the capacity of a record that is not accepted after all.
    pub(super) fn give_back(&self) {
        self.budget.release(1, 0);
        self.note_capacity();
    }

    /// Has the event thread admit records, where any are in line.
    #[inline]
    pub(super) fn note_capacity(&self) {
        if !self.line.is_idle() {
            self.queue.wake();
        }
    }

    /// Refuses every record in line, because the producer closes. After `closing` is set: a sender that
    /// joins later sees that.
    pub(super) fn refuse_line(&self) {
        self.line.refuse_all(&closed());
    }

    /// Records in line that this session is to accept.
    pub(super) fn waiting(&self) -> u64 {
        if self.has_failed() {
            0
        } else {
            self.line.len()
        }
    }

    /// How long the first record in line may still wait for this session.
    pub(super) fn line_time_left(&self) -> Option<Duration> {
        if self.has_failed() {
            None
        } else {
            self.line.time_left()
        }
    }

    /// Accepts records from the front of the line while there is capacity, and refuses those that have
    /// waited for too long. On the event thread.
    pub(super) fn admit(self: &Arc<Self>) {
        while !self.line.is_idle() {
            let mut woken = Vec::new();
            let left = self.admit_some(&mut woken);
            woken.into_iter().for_each(Waker::wake);
            if left < AT_ONCE {
                return;
            }
            self.hand_over_gathered();
        }
    }

    /// As [`admit`](Self::admit), for some records; how many left the line.
    fn admit_some(self: &Arc<Self>, woken: &mut Vec<Waker>) -> usize {
        let line = &self.line;
        let mut places = line.places.lock();
        let mut left = 0;
        while left < AT_ONCE
            && !self.closing.load(Ordering::SeqCst)
            && let Some(front) = places.front()
        {
            let is_late = front.deadline <= Instant::now();
            // Capacity first: one that is late only because a session ended is not refused.
            let is_taken = self.takes_one();
            let is_refused = is_late && !self.closing.load(Ordering::SeqCst);
            if !is_taken && !is_refused {
                break;
            }
            let Some(place) = places.pop() else {
                break;
            };
            line.bytes.fetch_sub(place.held.cost(), Ordering::Relaxed);
            let topic = self.topic(&place.held.topic);
            let waited = place.began.elapsed();
            topic.metrics.blocked(waited);
            woken.extend(if is_taken {
                self.accept_held(place, &topic)
            } else {
                place.refuse(self.is_full(Some(topic.name()), Some(waited)))
            });
            left += 1;
            // Last of all: who finds the line empty comes after this record.
            line.len.fetch_sub(1, Ordering::SeqCst);
        }
        if line.is_empty() && self.budget.has_room() {
            woken.append(&mut line.unwatch(&mut places));
        }
        drop(places);
        if left > 0 {
            self.budget.wake_waiting();
        }
        left
    }

    /// Takes capacity for a record of the line.
    fn takes_one(&self) -> bool {
        if !self.budget.try_take() {
            return false;
        }
        // After the capacity is taken, as in `admits`.
        let is_closing = self.closing.load(Ordering::SeqCst);
        if is_closing {
            self.give_back();
        }
        !is_closing
    }

    fn accept_held(self: &Arc<Self>, place: Place, topic: &Arc<Topic>) -> Option<Waker> {
        let Place { held, ticket, .. } = place;
        if held.owner.is_some() {
            self.note_owner();
        }
        let head = Head {
            key: held.key.as_deref(),
            partition: held.partition,
            headers: held.headers,
            owner: held.owner.as_ref(),
            framed: held.framed,
            deferred: true,
        };
        let accepted = self.accept(topic, head, |out| {
            let Some(value) = &held.value else {
                return Ok(false);
            };
            let start = out.len();
            out.extend_from_slice(value);
            if held.framed {
                topic.renew_frame(&mut out[start..]);
            }
            Ok(true)
        });
        if let (Err(_), Some(owner)) = (&accepted, &held.owner) {
            owner.refused();
        }
        ticket.complete(accepted)
    }

    /// The error of a record that found the queue full, at once or for as long as it `waited`.
    pub(super) fn is_full(&self, topic: Option<&str>, waited: Option<Duration>) -> Error {
        let (records, bytes) = (self.budget.records(), self.budget.bytes());
        let waited = waited.map_or_else(String::new, |waited| format!(" after {waited:?}"));
        let because = self.health.trouble();
        let message = format!(
            "the queue is full{waited}: {records} records ({bytes} bytes) wait for their \
             acknowledgement{}",
            because.map_or_else(String::new, |trouble| format!("; {}", trouble.message())),
        );
        let error = Error::new(ErrorKind::QueueFull, message);
        match topic {
            Some(topic) => error.with("topic", topic),
            None => error,
        }
    }
}

impl EventProducer {
    /// Fails where as many records or bytes are in line as the queue holds: for callers that send on without
    /// waiting for what they sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`].
    pub fn check_line(&self) -> Result<()> {
        let may_wait = |engine: &Engine| {
            let line = &engine.line;
            engine.budget.may_wait(line.len(), line.bytes())
        };
        match self.shared.running() {
            Some(engine) if !may_wait(&engine) => Err(engine.is_full(None, None)),
            _ => Ok(()),
        }
    }

    /// Completes when no record is in line and the queue has capacity, or the producer is closed: for
    /// senders that hold back what they have until then.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(engine) = self.shared.running() else {
            return Poll::Ready(());
        };
        let is_ready = || {
            let has_capacity = engine.line.is_empty() && engine.budget.has_room();
            has_capacity || engine.closing.load(Ordering::SeqCst)
        };
        if is_ready() {
            return Poll::Ready(());
        }
        engine.line.watch(context.waker());
        if is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Puts a record in line. Where the queue has capacity by now, it is accepted at once.
    pub(super) fn join(&self, engine: &Arc<Engine>, held: Held) -> Admission {
        let (began, topic) = (Instant::now(), Arc::clone(&held.topic));
        let deadline = deadline(engine.settings.block_timeout);
        let ticket = Arc::<Ticket>::default();
        let place = Place {
            held,
            began,
            deadline,
            ticket: Arc::clone(&ticket),
        };
        let (number, is_first) = engine.line.join(place);
        let waiting = Waiting {
            producer: self.clone(),
            line: Arc::clone(&engine.line),
            engine: Arc::downgrade(engine),
            generation: engine.generation,
            number,
            ticket,
            topic,
            began,
            deadline,
        };
        // The first one's deadline is news, too.
        if is_first || engine.budget.has_room() {
            engine.queue.wake();
        }
        if engine.closing.load(Ordering::SeqCst) {
            waiting.look_at_producer();
        }
        Admission(State::Waiting(Box::new(waiting)))
    }
}

/// A record that was sent, or is in line until the queue has capacity for it: await it, or wait for it,
/// for its [`Delivery`].
///
/// Dropping it while the record is in line takes the record out: it is not sent. A record that was
/// accepted is sent whatever becomes of this.
#[must_use = "dropping it takes the record out of the line"]
pub struct Admission(State);

enum State {
    Accepted(Delivery),
    Waiting(Box<Waiting>),
}

/// A sender's place in line.
struct Waiting {
    producer: EventProducer,
    line: Arc<Line>,
    /// The session that it joined the line of.
    engine: Weak<Engine>,
    /// Which fork of the process it is good in.
    generation: u32,
    number: u64,
    ticket: Arc<Ticket>,
    topic: Arc<str>,
    began: Instant,
    deadline: Instant,
}

impl Admission {
    pub(super) fn accepted(delivery: Delivery) -> Self {
        Admission(State::Accepted(delivery))
    }

    /// The delivery of a record that was accepted when it was sent; else gives itself back.
    #[inline]
    pub fn at_once(self) -> std::result::Result<Delivery, Self> {
        match self.0 {
            State::Accepted(delivery) => Ok(delivery),
            waiting => Err(Admission(waiting)),
        }
    }

    /// The delivery of the accepted record, or why it was not accepted, if that is known by now.
    pub fn outcome(&self) -> Option<Result<Delivery>> {
        match &self.0 {
            State::Accepted(delivery) => Some(Ok(delivery.clone())),
            State::Waiting(waiting) => waiting.ticket.outcome(),
        }
    }

    /// Blocks until the record is accepted, up to the block timeout.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::QueueFull`] after the block timeout, [`ErrorKind::Closed`].
    pub fn wait(&self) -> Result<Delivery> {
        loop {
            if let Some(outcome) = self.wait_timeout(Duration::MAX) {
                return outcome;
            }
        }
    }

    /// As [`wait`](Self::wait), for up to `timeout`; `None` where it is still in line then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Delivery>> {
        let waiting = match &self.0 {
            State::Accepted(delivery) => return Some(Ok(delivery.clone())),
            State::Waiting(waiting) => waiting,
        };
        let until = deadline(timeout);
        let waker = this_threads_waker();
        loop {
            if let Some(outcome) = waiting.poll(&waker) {
                return Some(outcome);
            }
            let now = Instant::now();
            if now >= waiting.deadline {
                return Some(waiting.time_out());
            }
            let left = until.min(waiting.deadline).checked_duration_since(now)?;
            if left.is_zero() {
                return None;
            }
            std::thread::park_timeout(left);
        }
    }
}

impl Waiting {
    /// Whether this is the process that it waits in.
    fn is_here(&self) -> bool {
        self.generation == fork::generation()
    }

    fn poll(&self, waker: &Waker) -> Option<Result<Delivery>> {
        if !self.is_here() {
            return None;
        }
        self.ticket.poll(waker).or_else(|| {
            self.look_at_producer();
            self.ticket.outcome()
        })
    }

    /// Starts the next session where the last one is over, and leaves the line of a producer that is
    /// closed.
    fn look_at_producer(&self) {
        // An engine that closes is there until it is closed.
        let is_closed = self.producer.shared.closed.load(Ordering::SeqCst);
        let running = if is_closed {
            Err(closed())
        } else {
            self.producer.engine()
        };
        match running {
            // It may have looked at the line before this place was in it.
            Ok(running) if !std::ptr::eq(Arc::as_ptr(&running), self.engine.as_ptr()) => {
                running.queue.wake();
            }
            Ok(_) => {}
            Err(error) => self.give_up(|| error.with("topic", &self.topic)),
        }
    }

    fn time_out(&self) -> Result<Delivery> {
        let waited = Some(self.began.elapsed());
        let full = || match self.producer.shared.running() {
            Some(engine) => {
                engine
                    .topic(&self.topic)
                    .metrics
                    .blocked(self.began.elapsed());
                engine.is_full(Some(&self.topic), waited)
            }
            None => {
                Error::new(ErrorKind::QueueFull, "the queue is full").with("topic", &self.topic)
            }
        };
        if !self.is_here() {
            return Err(full());
        }
        self.give_up(full);
        self.ticket.outcome().unwrap_or_else(|| Err(closed()))
    }

    /// Takes the record out of the line, unless it was accepted.
    fn give_up(&self, why: impl FnOnce() -> Error) {
        if let Some(place) = self.line.leave(self.number) {
            let waker = place.refuse(why());
            self.producer.shared.note_left();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Shared {
    /// A record left the line: flushes and those behind it are concerned.
    fn note_left(&self) {
        if let Some(engine) = self.running() {
            engine.budget.wake_waiting();
            engine.note_capacity();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // In a child the line is the parent's, and a thread that is not here may hold its lock.
        if self.is_here() {
            self.give_up(closed);
        }
    }
}

impl Future for Admission {
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &self.0 {
            State::Accepted(delivery) => Some(Ok(delivery.clone())),
            State::Waiting(waiting) => waiting.poll(context.waker()),
        };
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admission").field(&self.outcome()).finish()
    }
}

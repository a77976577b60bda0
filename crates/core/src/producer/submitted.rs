//! A submitted record: accepted at once, or in line until the queue has capacity.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::admission::line::{Line, Place, Ticket, WaitingRecord};
use super::delivery::{Delivery, this_threads_waker};
use super::failure::closed;
use super::lifecycle::Lifecycle;
use super::session::Session;
use crate::deadline::Deadline;
use crate::fork;
use crate::{Error, ErrorKind, Result};

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
    producer: Arc<Lifecycle>,
    line: Arc<Line>,
    /// The session whose line it joined.
    session: Weak<Session>,
    /// The fork of the process that it waits in.
    generation: u32,
    number: u64,
    ticket: Arc<Ticket>,
    topic: Arc<str>,
    began: Instant,
    deadline: Instant,
}

impl Admission {
    #[inline]
    pub(super) fn accepted(delivery: Delivery) -> Self {
        Admission(State::Accepted(delivery))
    }

    /// Puts a record in line. If the queue has capacity by now, it is accepted at once.
    pub(super) fn join(
        producer: &Arc<Lifecycle>,
        session: &Arc<Session>,
        record: WaitingRecord,
    ) -> Self {
        let (began, topic) = (Instant::now(), Arc::clone(&record.topic));
        let deadline = Deadline::after(session.settings().block_timeout).instant();
        let ticket = Arc::<Ticket>::default();
        let admission = session.admission();
        let place = Place::new(record, began, deadline, Arc::clone(&ticket));
        let (number, is_first) = admission.line().join(place);
        let waiting = Waiting {
            producer: Arc::clone(producer),
            line: Arc::clone(admission.line()),
            session: Arc::downgrade(session),
            generation: session.generation(),
            number,
            ticket,
            topic,
            began,
            deadline,
        };
        // The event thread must learn of the first one's deadline, too.
        if is_first || admission.limit().has_capacity() {
            session.sender().events().wake();
        }
        if admission.is_closing() {
            waiting.check_producer();
        }
        Admission(State::Waiting(Box::new(waiting)))
    }

    /// The delivery of a record that was accepted when it was sent; else returns itself.
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

    /// As [`wait`](Self::wait), for up to `timeout`; `None` if the record is still in line then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Delivery>> {
        let waiting = match &self.0 {
            State::Accepted(delivery) => return Some(Ok(delivery.clone())),
            State::Waiting(waiting) => waiting,
        };
        let until = Deadline::after(timeout).instant();
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
            self.check_producer();
            self.ticket.outcome()
        })
    }

    /// Starts the next session if the last one has failed, and leaves the line of a producer that is
    /// closed.
    fn check_producer(&self) {
        // A session that closes is there until it is closed.
        let running = if self.producer.is_closed() {
            Err(closed())
        } else {
            self.producer.session()
        };
        match running {
            // It may have checked the line before this place was in it.
            Ok(running) if !std::ptr::eq(Arc::as_ptr(&running), self.session.as_ptr()) => {
                running.sender().events().wake();
            }
            Ok(_) => {}
            Err(error) => self.give_up(|| error.with("topic", &self.topic)),
        }
    }

    fn time_out(&self) -> Result<Delivery> {
        let waited = self.began.elapsed();
        let full = || match self.producer.running() {
            Some(session) => {
                let topic = session.topics().get(&self.topic);
                topic.topic().metrics().blocked(waited);
                session.is_full(Some(&self.topic), Some(waited))
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
        let Some(place) = self.line.leave(self.number) else {
            return;
        };
        let waker = place.complete(Err(why()));
        // Flushes, and the records behind it, may wait no longer.
        if let Some(session) = self.producer.running() {
            session.admission().limit().notify_waiting();
            session.admission().notify_line();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // In a child the line is the parent's, and a thread that is not there may hold its lock.
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

//! What became of a record: the handle that the caller holds and the slots behind it.
//!
//! The records of one batch share one [`Outcomes`]. Each slot completes once, and notifies its waiters;
//! a [`Delivery`] is a reference to one slot. Dropping a handle does not recall its record: the record
//! is delivered or fails, and is counted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// Where the broker put a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset in the partition; -1 where `acks=0` leaves it unknown.
    pub offset: i64,
    /// The record's timestamp in milliseconds UTC.
    pub timestamp_ms: i64,
}

/// A slot without an outcome. Delivered slots hold the offset (-1 and up), failed ones
/// `FAILED - index` into the errors of their batch.
const PENDING: i64 = i64::MIN;
const FAILED: i64 = -2;

struct Slot {
    state: AtomicI64,
    timestamp_ms: AtomicI64,
    partition: AtomicI32,
}

/// The outcomes of the records of one batch.
pub(crate) struct Outcomes {
    topic: Arc<str>,
    slots: Box<[Slot]>,
    errors: Mutex<Vec<Error>>,
    /// Whether anything waits. A waiter sets it and then reads its slot; a slot is completed and then
    /// this is read. Both are sequentially consistent, so one of the two sees the other.
    awaited: AtomicBool,
    waiters: Mutex<Waiters>,
}

/// The waiters for the slots of a batch: nearly always one at most for each.
#[derive(Default)]
struct Waiters {
    first: Vec<Option<Waker>>,
    more: Vec<(u32, Waker)>,
    /// Those that are notified of every slot.
    of_all: Vec<Waker>,
}

impl Outcomes {
    pub(crate) fn new(topic: Arc<str>, capacity: usize) -> Arc<Self> {
        let slot = || Slot {
            state: AtomicI64::new(PENDING),
            timestamp_ms: AtomicI64::new(0),
            partition: AtomicI32::new(-1),
        };
        Arc::new(Outcomes {
            topic,
            slots: (0..capacity).map(|_| slot()).collect(),
            errors: Mutex::new(Vec::new()),
            awaited: AtomicBool::new(false),
            waiters: Mutex::default(),
        })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Whether a slot has its outcome.
    pub(crate) fn is_complete(&self, index: u32) -> bool {
        self.slots[index as usize].state.load(Ordering::Acquire) != PENDING
    }

    /// Completes a slot as delivered. [`notify`](Self::notify) must follow.
    pub(crate) fn deliver(&self, index: u32, partition: i32, offset: i64, timestamp_ms: i64) {
        let slot = &self.slots[index as usize];
        slot.partition.store(partition, Ordering::Relaxed);
        slot.timestamp_ms.store(timestamp_ms, Ordering::Relaxed);
        slot.state.store(offset.max(-1), Ordering::Release);
    }

    /// Completes a slot as failed. [`notify`](Self::notify) must follow.
    pub(crate) fn fail(&self, index: u32, error: &Error) {
        let mut errors = self.errors.lock();
        // A batch usually fails as a whole: its records share the error.
        if errors.last() != Some(error) {
            errors.push(error.clone());
        }
        let state = FAILED - (errors.len() as i64 - 1);
        self.slots[index as usize]
            .state
            .store(state, Ordering::Release);
    }

    /// Wakes the waiters of all completed slots.
    pub(crate) fn notify(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
        if !self.awaited.load(Ordering::SeqCst) {
            return;
        }
        let mut notified = Vec::new();
        {
            let mut waiters = self.waiters.lock();
            let Waiters {
                first,
                more,
                of_all,
            } = &mut *waiters;
            notified.clone_from(of_all);
            let is_complete = |slot: &Slot| slot.state.load(Ordering::Acquire) != PENDING;
            for (slot, waker) in self.slots.iter().zip(first) {
                if waker.is_some() && is_complete(slot) {
                    notified.extend(waker.take());
                }
            }
            let late = more.extract_if(.., |(index, _)| is_complete(&self.slots[*index as usize]));
            notified.extend(late.map(|(_, waker)| waker));
        }
        // Outside the lock: a waker may run arbitrary code, such as polling the next handle.
        notified.into_iter().for_each(Waker::wake);
    }

    fn outcome(&self, index: u32) -> Option<Result<DeliveryReport>> {
        let slot = &self.slots[index as usize];
        match slot.state.load(Ordering::Acquire) {
            PENDING => None,
            offset if offset > FAILED => Some(Ok(DeliveryReport {
                topic: Arc::clone(&self.topic),
                partition: slot.partition.load(Ordering::Relaxed),
                offset,
                timestamp_ms: slot.timestamp_ms.load(Ordering::Relaxed),
            })),
            failed => Some(Err(self.errors.lock()[(FAILED - failed) as usize].clone())),
        }
    }

    fn register(&self, index: u32, waker: &Waker) {
        {
            let mut waiters = self.waiters.lock();
            let Waiters { first, more, .. } = &mut *waiters;
            if first.is_empty() {
                first.resize_with(self.slots.len(), || None);
            }
            let known = |known: &Waker| known.will_wake(waker);
            match &mut first[index as usize] {
                Some(one) if known(one) => {}
                // Another handle of the same record waits as well.
                Some(_) if more.iter().any(|(of, one)| *of == index && known(one)) => {}
                Some(_) => more.push((index, waker.clone())),
                entry => *entry = Some(waker.clone()),
            }
        }
        self.is_awaited();
    }

    fn register_for_all(&self, waker: &Waker) {
        self.waiters.lock().of_all.push(waker.clone());
        self.is_awaited();
    }

    /// Called before a waiter reads its slot once more.
    fn is_awaited(&self) {
        self.awaited.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// The fate of one accepted record: await it, wait for it, look at it, keep it or drop it.
///
/// It completes once, within the delivery timeout (up to a second later: librdkafka checks once a
/// second). As a future it returns the same outcome however often it is polled. Dropping it (in a
/// cancelled task, for example) does not recall the record.
#[must_use = "a record's failure is seen only here and in the counters; drop it on purpose with `drop`"]
#[derive(Clone)]
pub struct Delivery {
    outcomes: Arc<Outcomes>,
    index: u32,
}

impl Delivery {
    pub(crate) fn new(outcomes: Arc<Outcomes>, index: u32) -> Self {
        Delivery { outcomes, index }
    }

    /// Whether both records went into one batch of one partition. Such records complete in the order
    /// in which they were sent: of many handles it is enough to await the last one.
    pub fn shares_batch(&self, other: &Delivery) -> bool {
        Arc::ptr_eq(&self.outcomes, &other.outcomes)
    }

    /// A number of the record's batch, which no other batch has while a handle of this one exists.
    pub fn batch(&self) -> usize {
        Arc::as_ptr(&self.outcomes).addr()
    }

    /// Wakes `waker` whenever records of this one's batch have completed, those that are sent later
    /// included. Call this first, and then read the [`outcome`](Self::outcome) of those that were sent
    /// before.
    pub fn wake_with_batch(&self, waker: &Waker) {
        self.outcomes.register_for_all(waker);
    }

    /// The outcome, if it is known by now.
    pub fn outcome(&self) -> Option<Result<DeliveryReport>> {
        self.outcomes.outcome(self.index)
    }

    /// Blocks until the record completes. Not for async code: await the handle there.
    pub fn wait(&self) -> Result<DeliveryReport> {
        const LONG: Duration = Duration::from_secs(3600);
        loop {
            if let Some(outcome) = self.wait_until(Instant::now() + LONG) {
                return outcome;
            }
        }
    }

    /// Blocks until the record completes or `timeout` has passed, which is an [`ErrorKind::Timeout`]
    /// although the record may still be delivered.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<DeliveryReport> {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.wait();
        };
        self.wait_until(deadline).unwrap_or_else(|| {
            let message = "the record is not acknowledged yet; it is still in flight";
            Err(Error::new(ErrorKind::Timeout, message).with("topic", &self.outcomes.topic))
        })
    }

    fn wait_until(&self, deadline: Instant) -> Option<Result<DeliveryReport>> {
        if let Some(outcome) = self.outcome() {
            return Some(outcome);
        }
        let waker = this_threads_waker();
        loop {
            self.outcomes.register(self.index, &waker);
            if let Some(outcome) = self.outcome() {
                return Some(outcome);
            }
            std::thread::park_timeout(deadline.checked_duration_since(Instant::now())?);
        }
    }
}

/// The thread's waker, always the same one: a wait that is taken up again is known.
pub(super) fn this_threads_waker() -> Waker {
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    }
    WAKER
        .try_with(Waker::clone)
        .unwrap_or_else(|_| Waker::from(Arc::new(Unpark(std::thread::current()))))
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Future for Delivery {
    type Output = Result<DeliveryReport>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        self.outcomes.register(self.index, context.waker());
        // The slot may have completed between the first read and the registration.
        match self.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.outcome()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> (Arc<Outcomes>, Delivery) {
        let outcomes = Outcomes::new("t".into(), 4);
        let delivery = Delivery::new(Arc::clone(&outcomes), 2);
        (outcomes, delivery)
    }

    #[test]
    fn a_waiting_thread_wakes_when_its_record_is_delivered() {
        let (outcomes, delivery) = pending();
        let waiter = std::thread::spawn(move || delivery.wait());
        outcomes.deliver(2, 7, 42, 1000);
        outcomes.notify();
        let report = waiter.join().unwrap().unwrap();
        assert_eq!(
            (report.partition, report.offset, report.timestamp_ms),
            (7, 42, 1000)
        );
    }

    #[test]
    fn a_failed_record_gives_its_error_to_every_handle() {
        let (outcomes, delivery) = pending();
        assert!(delivery.outcome().is_none());
        let error = Error::new(ErrorKind::RecordTooLarge, "too large");
        outcomes.fail(1, &error);
        outcomes.fail(2, &error);
        outcomes.notify();
        assert_eq!(delivery.clone().wait().unwrap_err(), error);
        assert_eq!(delivery.wait_timeout(Duration::ZERO).unwrap_err(), error);
    }

    #[tokio::test]
    async fn every_handle_of_a_record_is_woken() {
        let (outcomes, delivery) = pending();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let delivery = delivery.clone();
                std::thread::spawn(move || delivery.wait())
            })
            .collect();
        let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(delivery.clone())).collect();
        tokio::task::yield_now().await;
        outcomes.deliver(2, 0, 9, 0);
        outcomes.notify();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().offset, 9);
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap().unwrap().offset, 9);
        }
    }

    #[test]
    fn a_waker_of_a_batch_is_woken_by_each_of_its_records() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (outcomes, delivery) = pending();
        let count = Arc::new(Count(0.into()));
        delivery.wake_with_batch(&Waker::from(Arc::clone(&count)));
        for index in [0, 2, 3] {
            outcomes.deliver(index, 0, 0, 0);
            outcomes.notify();
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 3);
        let other = pending().1;
        assert_ne!(delivery.batch(), other.batch());
        assert_eq!(delivery.batch(), delivery.clone().batch());
    }

    #[test]
    fn waiting_with_a_timeout_fails_while_the_record_is_in_flight() {
        let (_outcomes, delivery) = pending();
        let error = delivery.wait_timeout(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn an_awaited_handle_wakes_its_task() {
        let (outcomes, delivery) = pending();
        let task = tokio::spawn(delivery);
        tokio::task::yield_now().await;
        outcomes.deliver(2, 0, 0, 0);
        outcomes.notify();
        assert_eq!(task.await.unwrap().unwrap().offset, 0);
    }
}

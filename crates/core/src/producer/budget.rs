//! How much may be accepted and not yet settled: the bound behind back-pressure, and the count that
//! `flush` waits for. Who waits for capacity is [`super::admission`]'s.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::sync::{Condvar, Mutex};
use tokio::sync::Notify;

/// Accepted and unsettled records and bytes, and those who wait for them to become fewer.
///
/// Taking room is a load and one exchange. The bound is soft by one record a sending thread: bytes are
/// charged once a record is encoded.
pub(crate) struct Budget {
    max_records: u64,
    max_bytes: u64,
    records: AtomicU64,
    bytes: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    threads: Condvar,
    tasks: Notify,
}

impl Budget {
    pub(crate) fn new(max_records: u64, max_bytes: u64) -> Self {
        Budget {
            max_records: if max_records == 0 {
                u64::MAX
            } else {
                max_records
            },
            max_bytes: max_bytes.max(1),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            threads: Condvar::new(),
            tasks: Notify::new(),
        }
    }

    /// Takes room for one record, unless the queue is full.
    pub(crate) fn try_take(&self) -> bool {
        if self.bytes.load(Ordering::Relaxed) >= self.max_bytes {
            return false;
        }
        // Not an addition that is taken back when it was too much: meanwhile others would find the
        // queue full that is not, and nobody would wake them.
        self.records
            .try_update(Ordering::SeqCst, Ordering::Relaxed, |records| {
                (records < self.max_records).then_some(records + 1)
            })
            .is_ok()
    }

    /// Whether there is capacity for a record.
    pub(crate) fn has_room(&self) -> bool {
        self.records() < self.max_records && self.bytes() < self.max_bytes
    }

    /// Whether another record may wait where so many do, of so many bytes: no more than may be
    /// accepted.
    pub(crate) fn may_wait(&self, waiting: u64, bytes: u64) -> bool {
        waiting < self.max_records && bytes < self.max_bytes
    }

    /// Adds a record's bytes to what it has taken.
    pub(crate) fn charge(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what settled records had taken.
    pub(crate) fn release(&self, records: u64, bytes: u64) {
        // Sequentially consistent with `waiting`: either the waiter sees this release or this call
        // sees the waiter.
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.records.fetch_sub(records, Ordering::SeqCst);
        self.wake_waiting();
    }

    /// Wakes everybody, if anybody waits: something that is waited for has changed.
    pub(crate) fn wake_waiting(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
    }

    /// Wakes everybody who waits, for example because the producer closes.
    pub(crate) fn wake_all(&self) {
        // The lock orders this behind a waiter that has looked but does not wait yet.
        drop(self.lock.lock());
        self.threads.notify_all();
        self.tasks.notify_waiters();
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::SeqCst)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Blocks until `ready` gives an answer, asking anew whenever records have settled; `None` when
    /// `deadline` passes first.
    pub(crate) fn wait<T>(&self, deadline: Instant, ready: impl Fn() -> Option<T>) -> Option<T> {
        let _waiting = self.enter();
        let mut lock = self.lock.lock();
        loop {
            if let Some(answer) = ready() {
                return Some(answer);
            }
            let late;
            (lock, late) = self.threads.wait_until(lock, deadline);
            if late {
                return ready();
            }
        }
    }

    /// As [`wait`](Self::wait), for a task. Needs a tokio runtime with its timer for the deadline.
    pub(crate) async fn wait_async<T>(
        &self,
        deadline: Instant,
        ready: impl Fn() -> Option<T>,
    ) -> Option<T> {
        let _waiting = self.enter();
        loop {
            let mut notified = pin!(self.tasks.notified());
            notified.as_mut().enable();
            if let Some(answer) = ready() {
                return Some(answer);
            }
            if tokio::time::timeout_at(deadline.into(), notified)
                .await
                .is_err()
            {
                return ready();
            }
        }
    }

    /// Counts a waiter until the guard is dropped, also when its task is cancelled.
    fn enter(&self) -> impl Drop + '_ {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Leave(&self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_full_queue_takes_no_more_until_records_settle() {
        let budget = Arc::new(Budget::new(2, 1000));
        assert!(budget.try_take() && budget.try_take());
        assert!(!budget.try_take());
        let waiter = Arc::clone(&budget);
        let thread =
            std::thread::spawn(move || waiter.wait(soon(), || waiter.try_take().then_some(())));
        budget.release(1, 0);
        assert_eq!(thread.join().unwrap(), Some(()));
        assert_eq!(budget.records(), 2);
    }

    #[test]
    fn bytes_bound_the_queue_as_well() {
        let budget = Budget::new(100, 10);
        assert!(budget.try_take());
        budget.charge(10);
        assert!(!budget.try_take());
        budget.release(1, 10);
        assert!(budget.try_take());
    }

    #[test]
    fn no_more_may_wait_than_may_be_accepted() {
        let budget = Budget::new(2, 10);
        assert!(budget.may_wait(1, 9));
        assert!(!budget.may_wait(2, 0));
        assert!(!budget.may_wait(1, 10));
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let budget = Budget::new(1, 1);
        assert_eq!(budget.wait(Instant::now(), || None::<()>), None);
    }

    #[tokio::test]
    async fn a_task_waits_without_blocking_and_a_cancelled_one_leaves() {
        let budget = Arc::new(Budget::new(1, 1000));
        assert!(budget.try_take());
        let waiter = Arc::clone(&budget);
        let task = tokio::spawn(async move {
            waiter
                .wait_async(soon(), || waiter.try_take().then_some(()))
                .await
        });
        tokio::task::yield_now().await;
        budget.release(1, 0);
        assert_eq!(task.await.unwrap(), Some(()));
        {
            let mut cancelled = pin!(budget.wait_async(soon(), || None::<()>));
            assert!(futures::poll!(&mut cancelled).is_pending());
            assert_eq!(budget.waiting.load(Ordering::SeqCst), 1);
        }
        assert_eq!(budget.waiting.load(Ordering::SeqCst), 0);
    }
}

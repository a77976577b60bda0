//! The buffer limit: how many records, and how many bytes, may be accepted and incomplete. It is the
//! bound behind back-pressure, and the count that `flush` waits for.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::sync::{Condvar, Mutex};
use tokio::sync::Notify;

/// Accepted and incomplete records and bytes, and the threads and tasks that wait for fewer.
///
/// Taking capacity is a load and one exchange. The limit is soft by one record a sending thread: bytes
/// are charged once a record is encoded.
pub(in crate::producer) struct BufferLimit {
    max_records: u64,
    max_bytes: u64,
    records: AtomicU64,
    bytes: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    threads: Condvar,
    tasks: Notify,
}

impl BufferLimit {
    pub(in crate::producer) fn new(max_records: u64, max_bytes: u64) -> Self {
        BufferLimit {
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

    /// Takes capacity for one record, unless the queue is full.
    #[inline]
    pub(in crate::producer) fn try_take(&self) -> bool {
        if self.bytes.load(Ordering::Relaxed) >= self.max_bytes {
            return false;
        }
        // Not an addition that is undone if it was too much: meanwhile others would find the queue
        // full that is not, and no release would notify them.
        self.records
            .try_update(Ordering::SeqCst, Ordering::Relaxed, |records| {
                (records < self.max_records).then_some(records + 1)
            })
            .is_ok()
    }

    /// Whether the queue has capacity for a record.
    pub(in crate::producer) fn has_capacity(&self) -> bool {
        self.records() < self.max_records && self.bytes() < self.max_bytes
    }

    /// Whether another record may wait behind `waiting` records of `bytes` bytes: no more may wait
    /// than may be accepted.
    pub(in crate::producer) fn may_wait(&self, waiting: u64, bytes: u64) -> bool {
        waiting < self.max_records && bytes < self.max_bytes
    }

    /// Adds a record's bytes to the capacity that it has taken.
    #[inline]
    pub(in crate::producer) fn charge(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Releases the capacity of completed records.
    pub(in crate::producer) fn release(&self, records: u64, bytes: u64) {
        // Sequentially consistent with `waiting`: either the waiter sees this release or this call
        // sees the waiter.
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.records.fetch_sub(records, Ordering::SeqCst);
        self.notify_waiting();
    }

    /// Notifies all threads and tasks that wait, if there are any.
    #[inline]
    pub(in crate::producer) fn notify_waiting(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.notify_all();
        }
    }

    /// Notifies all threads and tasks that wait, for example because the producer closes.
    pub(in crate::producer) fn notify_all(&self) {
        // The lock orders this behind a waiter that has looked but does not wait yet.
        drop(self.lock.lock());
        self.threads.notify_all();
        self.tasks.notify_waiters();
    }

    pub(in crate::producer) fn records(&self) -> u64 {
        self.records.load(Ordering::SeqCst)
    }

    pub(in crate::producer) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Blocks until `ready` returns an answer, asking again whenever records have completed; `None` if
    /// `deadline` passes first.
    pub(in crate::producer) fn wait<T>(
        &self,
        deadline: Instant,
        ready: impl Fn() -> Option<T>,
    ) -> Option<T> {
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
    pub(in crate::producer) async fn wait_async<T>(
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

    /// Counts a waiter until the guard is dropped, even if its task is cancelled.
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
    fn a_full_queue_takes_no_more_until_records_complete() {
        let limit = Arc::new(BufferLimit::new(2, 1000));
        assert!(limit.try_take() && limit.try_take());
        assert!(!limit.try_take());
        let waiter = Arc::clone(&limit);
        let thread =
            std::thread::spawn(move || waiter.wait(soon(), || waiter.try_take().then_some(())));
        limit.release(1, 0);
        assert_eq!(thread.join().unwrap(), Some(()));
        assert_eq!(limit.records(), 2);
    }

    #[test]
    fn bytes_bound_the_queue_as_well() {
        let limit = BufferLimit::new(100, 10);
        assert!(limit.try_take());
        limit.charge(10);
        assert!(!limit.try_take());
        limit.release(1, 10);
        assert!(limit.try_take());
    }

    #[test]
    fn no_more_may_wait_than_may_be_accepted() {
        let limit = BufferLimit::new(2, 10);
        assert!(limit.may_wait(1, 9));
        assert!(!limit.may_wait(2, 0));
        assert!(!limit.may_wait(1, 10));
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let limit = BufferLimit::new(1, 1);
        assert_eq!(limit.wait(Instant::now(), || None::<()>), None);
    }

    #[tokio::test]
    async fn a_task_waits_without_blocking_and_a_cancelled_one_leaves() {
        let limit = Arc::new(BufferLimit::new(1, 1000));
        assert!(limit.try_take());
        let waiter = Arc::clone(&limit);
        let task = tokio::spawn(async move {
            waiter
                .wait_async(soon(), || waiter.try_take().then_some(()))
                .await
        });
        tokio::task::yield_now().await;
        limit.release(1, 0);
        assert_eq!(task.await.unwrap(), Some(()));
        {
            let mut cancelled = pin!(limit.wait_async(soon(), || None::<()>));
            assert!(futures::poll!(&mut cancelled).is_pending());
            assert_eq!(limit.waiting.load(Ordering::SeqCst), 1);
        }
        assert_eq!(limit.waiting.load(Ordering::SeqCst), 0);
    }
}

//! How far each partition is acknowledged.
//!
//! ```text
//! returned     [0 ── 100)   [100 ── 180) [180 ── 300)     runs: neighbours of one partition
//!            acknowledged     in hand    acknowledged        in one batch
//!                    └── 100 may be committed; 300 once the middle is acknowledged too
//! ```
//!
//! Several readers may finish batches in any order, so a partition's offset moves only over runs
//! that are acknowledged without a gap. A run that never is (its batch was abandoned, or dropped by
//! a failure) holds the offset back: the partition's next owner reads its records again.
//!
//! A run is split where its reader stops in the middle of it: the records behind are returned to the
//! next read, whose reader acknowledges them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use super::position::{Position, TopicPartition};
use super::reader_id::ReaderId;
use crate::deadline::Deadline;
use crate::sync::{Condvar, Mutex};

/// From how many runs of a partition on acknowledged neighbours are joined.
const MANY_RUNS: usize = 64;
/// From how many released runs on those of revoked partitions are dropped.
const MANY_RELEASED: usize = 256;

/// Neighbouring records of one partition that one batch returned.
#[derive(Debug)]
pub(super) struct Run {
    first: i64,
    /// The offset behind the last record. Changed under the lock of the partitions only.
    end: AtomicI64,
    leader_epoch: Option<i32>,
    /// Every record of the run before this offset is acknowledged.
    acknowledged_to: AtomicI64,
    /// Whether no reader has it in hand: a rebalance does not wait for it.
    idle: AtomicBool,
}

impl Run {
    pub(super) fn new(first: i64, end: i64, leader_epoch: Option<i32>) -> Self {
        Run {
            first,
            end: AtomicI64::new(end),
            leader_epoch,
            acknowledged_to: AtomicI64::new(first),
            idle: AtomicBool::new(false),
        }
    }

    /// Acknowledges the records before `next_offset`.
    pub(super) fn acknowledge_to(&self, next_offset: i64) {
        self.acknowledged_to
            .fetch_max(next_offset.min(self.end()), Ordering::AcqRel);
    }

    /// Every record of the run before this offset is acknowledged.
    pub(super) fn acknowledged_to(&self) -> i64 {
        self.acknowledged_to.load(Ordering::Acquire)
    }

    fn is_acknowledged(&self) -> bool {
        self.acknowledged_to() >= self.end()
    }

    fn is_in_hand(&self) -> bool {
        !self.is_acknowledged() && !self.idle.load(Ordering::Acquire)
    }

    /// With `true`, no reader has it in hand any more.
    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Release);
    }

    pub(super) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }
}

/// The assigned partitions and how far each is acknowledged.
#[derive(Default)]
pub(super) struct Progress {
    partitions: Mutex<HashMap<TopicPartition, Tracked>>,
    /// What readers have dropped. A reader's next read acknowledges it.
    released: Mutex<Vec<Released>>,
    changed: Condvar,
    /// Threads that wait for `changed`.
    waiters: AtomicUsize,
}

/// Records up to an offset that a reader has dropped.
struct Released {
    reader: ReaderId,
    run: Arc<Run>,
    next_offset: i64,
}

#[derive(Default)]
struct Tracked {
    /// In the order of their offsets; the first is not acknowledged to its end.
    runs: VecDeque<Arc<Run>>,
    acknowledged: Option<Place>,
    stored: Option<Place>,
}

#[derive(Clone, Copy, PartialEq)]
struct Place {
    next_offset: i64,
    leader_epoch: Option<i32>,
}

impl Tracked {
    fn advance(&mut self) {
        while let Some(run) = self.runs.front() {
            let next_offset = run.acknowledged_to();
            if next_offset > run.first {
                self.acknowledged = Some(Place {
                    next_offset,
                    leader_epoch: run.leader_epoch,
                });
            }
            if next_offset < run.end() {
                break;
            }
            self.runs.pop_front();
        }
        if self.runs.len() > MANY_RUNS {
            self.join_acknowledged();
        }
    }

    /// Joins acknowledged neighbours behind a run that is not acknowledged, so that the list stays
    /// short however long that takes.
    fn join_acknowledged(&mut self) {
        let mut joined: VecDeque<Arc<Run>> = VecDeque::new();
        for run in self.runs.drain(..) {
            match joined.back_mut() {
                Some(last) if last.is_acknowledged() && run.is_acknowledged() => {
                    let both = Run::new(last.first, run.end(), run.leader_epoch);
                    both.acknowledge_to(run.end());
                    *last = Arc::new(both);
                }
                _ => joined.push_back(run),
            }
        }
        self.runs = joined;
    }
}

impl Progress {
    /// Begins with these partitions; nothing of them is in hand.
    pub(super) fn assigned(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let mut tracked = self.partitions.lock();
        tracked.extend(partitions.into_iter().map(|p| (p, Tracked::default())));
    }

    /// Forgets these partitions, and the runs of them that are in hand.
    pub(super) fn revoked<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        let mut tracked = self.partitions.lock();
        for partition in partitions {
            tracked.remove(partition);
        }
    }

    /// Reading goes on elsewhere in a partition: forgets the runs of it that are in hand.
    pub(super) fn sought(&self, partition: &TopicPartition) {
        if let Some(tracked) = self.partitions.lock().get_mut(partition) {
            *tracked = Tracked::default();
        }
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        let mut partitions: Vec<_> = self.partitions.lock().keys().cloned().collect();
        partitions.sort_unstable();
        partitions
    }

    /// Adds a run that a batch returns, behind those before it.
    pub(super) fn track(&self, partition: &TopicPartition, run: &Arc<Run>) {
        if let Some(tracked) = self.partitions.lock().get_mut(partition) {
            tracked.runs.push_back(Arc::clone(run));
        }
    }

    /// Whether a run is of an assigned partition, and no seek has left it.
    pub(super) fn is_tracked(&self, partition: &TopicPartition, run: &Arc<Run>) -> bool {
        let tracked = self.partitions.lock();
        tracked
            .get(partition)
            .is_some_and(|tracked| tracked.runs.iter().any(|one| Arc::ptr_eq(one, run)))
    }

    /// Splits a run at `end`, and returns the rest, which begins with `first`. Between them there may
    /// be offsets without a record.
    pub(super) fn split(
        &self,
        partition: &TopicPartition,
        run: &Arc<Run>,
        end: i64,
        first: i64,
    ) -> Option<Arc<Run>> {
        let mut tracked = self.partitions.lock();
        let runs = &mut tracked.get_mut(partition)?.runs;
        let place = runs.iter().position(|one| Arc::ptr_eq(one, run))?;
        let behind = Arc::new(Run::new(first, run.end(), run.leader_epoch));
        run.end.store(end, Ordering::Release);
        runs.insert(place + 1, Arc::clone(&behind));
        Some(behind)
    }

    /// A reader has dropped these runs, each up to an offset. They count as processed when it reads on.
    pub(super) fn release(
        &self,
        reader: &ReaderId,
        runs: impl IntoIterator<Item = (Arc<Run>, i64)>,
    ) {
        let mut released = self.released.lock();
        if released.len() > MANY_RELEASED {
            released.retain(|one| Arc::strong_count(&one.run) > 1);
        }
        released.extend(runs.into_iter().map(|(run, next_offset)| Released {
            reader: reader.clone(),
            run,
            next_offset,
        }));
    }

    /// Acknowledges what this reader has dropped so far.
    pub(super) fn acknowledge_released(&self, reader: &ReaderId) {
        let mut released = self.released.lock();
        if released.is_empty() {
            return;
        }
        let before = released.len();
        released.retain(|one| {
            let same = one.reader.is(reader);
            if same {
                one.run.acknowledge_to(one.next_offset);
            }
            !same
        });
        let any = released.len() < before;
        drop(released);
        if any {
            self.notify();
        }
    }

    /// Acknowledges these runs.
    pub(super) fn acknowledge<'a>(&self, runs: impl IntoIterator<Item = &'a Arc<Run>>) {
        for run in runs {
            run.acknowledge_to(run.end());
        }
        self.notify();
    }

    /// Notifies a rebalance that waits for runs in hand.
    pub(super) fn notify(&self) {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            // Under the lock: no thread is between its look and its wait.
            let _partitions = self.partitions.lock();
            self.changed.notify_all();
        }
    }

    /// Waits until nothing of these partitions is in hand, until `deadline`, or until `stop`. Returns
    /// whether nothing is in hand.
    pub(super) fn wait_until_processed(
        &self,
        partitions: &[TopicPartition],
        deadline: Deadline,
        stop: impl Fn() -> bool,
    ) -> bool {
        let in_hand = |tracked: &mut HashMap<TopicPartition, Tracked>| {
            partitions.iter().any(|partition| {
                tracked.get_mut(partition).is_some_and(|tracked| {
                    tracked.advance();
                    tracked.runs.iter().any(|run| run.is_in_hand())
                })
            })
        };
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut tracked = self.partitions.lock();
        let mut processed = !in_hand(&mut tracked);
        while !processed && !stop() {
            let late;
            (tracked, late) = self.changed.wait_for(tracked, deadline.remaining());
            processed = !in_hand(&mut tracked);
            if late {
                break;
            }
        }
        drop(tracked);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        processed
    }

    /// The positions of partitions of which every returned record is acknowledged.
    pub(super) fn idle_positions(&self) -> Vec<Position> {
        self.positions(|tracked| {
            let idle = tracked.runs.is_empty();
            tracked.acknowledged.filter(|_| idle)
        })
    }

    /// There is no record in a partition before `next_offset`. Call it while no record is returned.
    pub(super) fn skip_to(&self, partition: &TopicPartition, next_offset: i64) {
        if let Some(tracked) = self.partitions.lock().get_mut(partition)
            && tracked.runs.is_empty()
            && let Some(place) = &mut tracked.acknowledged
        {
            place.next_offset = place.next_offset.max(next_offset);
        }
    }

    /// The positions that moved since the last call.
    pub(super) fn take_unstored(&self) -> Vec<Position> {
        self.positions(|tracked| {
            let moved = tracked.acknowledged != tracked.stored;
            tracked.stored = tracked.acknowledged;
            tracked.acknowledged.filter(|_| moved)
        })
    }

    /// The positions of partitions of which any record is acknowledged.
    pub(super) fn acknowledged(&self) -> Vec<Position> {
        self.positions(|tracked| tracked.acknowledged)
    }

    /// The positions of the oldest records that are not acknowledged, where they are known.
    pub(super) fn oldest_unacknowledged(&self) -> Vec<Position> {
        self.positions(|tracked| {
            let first = tracked.runs.front().map(|run| Place {
                next_offset: run.first,
                leader_epoch: run.leader_epoch,
            });
            tracked.acknowledged.or(first)
        })
    }

    /// The place in each partition that `place` returns.
    fn positions(&self, mut place: impl FnMut(&mut Tracked) -> Option<Place>) -> Vec<Position> {
        let mut positions = Vec::new();
        for (partition, tracked) in &mut *self.partitions.lock() {
            tracked.advance();
            positions.extend(place(tracked).map(|place| Position {
                partition: partition.clone(),
                next_offset: place.next_offset,
                leader_epoch: place.leader_epoch,
            }));
        }
        positions
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn progress() -> Progress {
        let progress = Progress::default();
        progress.assigned([partition()]);
        progress
    }

    fn returned(progress: &Progress, first: i64, end: i64) -> Arc<Run> {
        let run = Arc::new(Run::new(first, end, None));
        progress.track(&partition(), &run);
        run
    }

    fn unstored(progress: &Progress) -> Option<i64> {
        let moved = progress.take_unstored();
        assert!(moved.len() <= 1);
        moved.first().map(|position| position.next_offset)
    }

    #[test]
    fn an_offset_moves_only_over_runs_without_a_gap() {
        let progress = progress();
        let runs = [(0, 100), (100, 180), (180, 300)].map(|(a, b)| returned(&progress, a, b));
        progress.acknowledge([&runs[0], &runs[2]]);
        assert_eq!(unstored(&progress), Some(100));
        assert_eq!(unstored(&progress), None, "nothing moved since");
        runs[1].acknowledge_to(150);
        assert_eq!(unstored(&progress), Some(150));
        progress.acknowledge([&runs[1]]);
        assert_eq!(unstored(&progress), Some(300));
    }

    #[test]
    fn a_dropped_batch_is_acknowledged_when_its_own_reader_reads_on() {
        let progress = progress();
        let (one, other) = (ReaderId::numbered(1), ReaderId::numbered(2));
        progress.release(&one, [(returned(&progress, 5, 9), 9)]);
        progress.acknowledge_released(&other);
        assert_eq!(unstored(&progress), None);
        progress.acknowledge_released(&one);
        assert_eq!(unstored(&progress), Some(9));
    }

    #[test]
    fn the_rest_of_a_run_is_acknowledged_by_itself() {
        let progress = progress();
        let run = returned(&progress, 0, 10);
        let rest = progress.split(&partition(), &run, 3, 4).unwrap();
        progress.acknowledge([&rest]);
        assert_eq!(unstored(&progress), None);
        run.acknowledge_to(3);
        assert_eq!(unstored(&progress), Some(10));
        assert!(
            progress.split(&partition(), &rest, 5, 5).is_none(),
            "all acknowledged"
        );
    }

    #[test]
    fn a_rebalance_does_not_wait_for_what_no_reader_has_in_hand() {
        let progress = progress();
        returned(&progress, 0, 10).set_idle(true);
        let far = Deadline::after(Duration::from_secs(60));
        assert!(progress.wait_until_processed(&[partition()], far, || false));
    }

    #[test]
    fn a_run_that_is_never_acknowledged_holds_the_offset_and_little_memory() {
        let progress = progress();
        returned(&progress, 0, 10);
        for first in (10..100_000).step_by(10) {
            let run = returned(&progress, first, first + 10);
            progress.acknowledge([&run]);
            assert_eq!(unstored(&progress), None);
        }
        let tracked = progress.partitions.lock();
        assert!(tracked[&partition()].runs.len() <= MANY_RUNS + 1);
    }

    #[test]
    fn runs_of_a_partition_that_was_revoked_or_sought_are_forgotten() {
        let progress = progress();
        let before = returned(&progress, 0, 10);
        progress.sought(&partition());
        let after = returned(&progress, 50, 60);
        progress.acknowledge([&before]);
        assert_eq!(unstored(&progress), None);
        progress.acknowledge([&after]);
        assert_eq!(unstored(&progress), Some(60));
        progress.revoked([&partition()]);
        assert_eq!(unstored(&progress), None);
        assert!(progress.acknowledged().is_empty());
    }

    #[test]
    fn a_rebalance_waits_for_what_is_in_hand() {
        let progress = progress();
        let run = returned(&progress, 0, 10);
        let soon = || Deadline::after(Duration::from_millis(20));
        let far = Deadline::after(Duration::from_secs(60));
        assert!(!progress.wait_until_processed(&[partition()], soon(), || false));
        assert!(!progress.wait_until_processed(&[partition()], far, || true));
        std::thread::scope(|scope| {
            let waits =
                scope.spawn(|| progress.wait_until_processed(&[partition()], far, || false));
            let reader = ReaderId::current();
            progress.release(&reader, [(run, 10)]);
            progress.acknowledge_released(&reader);
            assert!(waits.join().unwrap());
        });
    }
}

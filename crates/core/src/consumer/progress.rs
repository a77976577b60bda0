//! What is acknowledged: the offset up to which every record of a partition is.
//!
//! ```text
//! handed out   [0 ── 100) [100 ── 180) [180 ── 300)      runs: neighbours of one partition
//!            acknowledged    in hand   acknowledged         in one batch
//!                    └── 100 may be committed: 180 only once the middle is acknowledged too
//! ```
//!
//! Several readers may finish batches in any order, so a partition's offset moves only over runs
//! that are acknowledged without a gap. A run that never is (its batch was abandoned, or dropped by
//! a failure) holds the offset back: the partition's next owner reads its records again.
//!
//! A run is cut in two when its reader stops in the middle of it: the part behind is handed out
//! again, to any reader, and is acknowledged by that one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use super::position::{Position, TopicPartition};
use super::reader_id::ReaderId;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// From how many waiting runs of a partition on it is worth joining them.
const MANY_RUNS: usize = 64;
/// From how many released runs on it is worth looking for those of partitions that are gone.
const MANY_RELEASED: usize = 256;

/// Neighbouring records of one partition, handed out in one batch.
#[derive(Debug)]
pub(super) struct Run {
    first: i64,
    /// The offset behind the last record. Changed with the lock of the partitions alone.
    end: AtomicI64,
    leader_epoch: Option<i32>,
    /// Every record of the run before this offset is handled.
    handled_to: AtomicI64,
    /// Whether no reader is at work on it: a rebalance need not wait for it.
    idle: AtomicBool,
}

impl Run {
    pub(super) fn new(first: i64, end: i64, leader_epoch: Option<i32>) -> Self {
        Run {
            first,
            end: AtomicI64::new(end),
            leader_epoch,
            handled_to: AtomicI64::new(first),
            idle: AtomicBool::new(false),
        }
    }

    /// The records up to `next_offset` are handled.
    pub(super) fn handled_to(&self, next_offset: i64) {
        self.handled_to
            .fetch_max(next_offset.min(self.end()), Ordering::AcqRel);
    }

    /// Every record of the run before this offset is handled.
    pub(super) fn done(&self) -> i64 {
        self.handled_to.load(Ordering::Acquire)
    }

    fn is_handled(&self) -> bool {
        self.done() >= self.end()
    }

    fn is_in_hand(&self) -> bool {
        !self.is_handled() && !self.idle.load(Ordering::Acquire)
    }

    /// Whether a reader is at work on it.
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

/// The partitions that we have and how far each is handled.
#[derive(Default)]
pub(super) struct Progress {
    partitions: Mutex<HashMap<TopicPartition, Tracked>>,
    /// What readers have dropped; acknowledged as soon as the same reader reads on.
    released: Mutex<Vec<Released>>,
    settled: Condvar,
    waiting: AtomicUsize,
}

/// Records up to an offset that a reader has dropped.
struct Released {
    reader: ReaderId,
    run: Arc<Run>,
    next_offset: i64,
}

#[derive(Default)]
struct Tracked {
    /// In the order in which they were handed out, the first of them not handled to its end.
    runs: VecDeque<Arc<Run>>,
    handled: Option<Place>,
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
            let done = run.done();
            if done > run.first {
                self.handled = Some(Place {
                    next_offset: done,
                    leader_epoch: run.leader_epoch,
                });
            }
            if done < run.end() {
                break;
            }
            self.runs.pop_front();
        }
        if self.runs.len() > MANY_RUNS {
            self.join_handled();
        }
    }

    /// Makes one of handled neighbours that wait behind a run which is not, so that the list stays
    /// short however long that takes.
    fn join_handled(&mut self) {
        let mut joined: VecDeque<Arc<Run>> = VecDeque::new();
        for run in self.runs.drain(..) {
            match joined.back_mut() {
                Some(last) if last.is_handled() && run.is_handled() => {
                    let both = Run::new(last.first, run.end(), run.leader_epoch);
                    both.handled_to(run.end());
                    *last = Arc::new(both);
                }
                _ => joined.push_back(run),
            }
        }
        self.runs = joined;
    }
}

impl Progress {
    /// These partitions are ours from now on; nothing of them is in hand.
    pub(super) fn assigned(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let mut tracked = self.partitions.lock();
        tracked.extend(partitions.into_iter().map(|p| (p, Tracked::default())));
    }

    /// These partitions are no longer ours; what is in hand of them counts no more.
    pub(super) fn revoked<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        let mut tracked = self.partitions.lock();
        for partition in partitions {
            tracked.remove(partition);
        }
    }

    /// Reading goes on elsewhere in a partition: what is in hand of it counts no more.
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

    /// Records were handed out, behind those handed out before.
    pub(super) fn handed_out(&self, partition: &TopicPartition, run: &Arc<Run>) {
        if let Some(tracked) = self.partitions.lock().get_mut(partition) {
            tracked.runs.push_back(Arc::clone(run));
        }
    }

    /// Whether a run is of a partition that is ours, and was not left by a seek.
    pub(super) fn is_tracked(&self, partition: &TopicPartition, run: &Arc<Run>) -> bool {
        let tracked = self.partitions.lock();
        tracked
            .get(partition)
            .is_some_and(|tracked| tracked.runs.iter().any(|one| Arc::ptr_eq(one, run)))
    }

    /// Cuts a run behind `end`, and gives the part that begins with `first`. Between them there may be
    /// offsets without a record.
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

    /// A reader has dropped these records of runs, up to an offset each. Whether it has processed
    /// them shows when it reads on.
    pub(super) fn released(
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
    pub(super) fn confirm(&self, reader: &ReaderId) {
        let mut released = self.released.lock();
        if released.is_empty() {
            return;
        }
        let before = released.len();
        released.retain(|one| {
            let same = one.reader.is(reader);
            if same {
                one.run.handled_to(one.next_offset);
            }
            !same
        });
        let confirmed = released.len() < before;
        drop(released);
        if confirmed {
            self.notify();
        }
    }

    /// These runs are handled.
    pub(super) fn handled<'a>(&self, runs: impl IntoIterator<Item = &'a Arc<Run>>) {
        for run in runs {
            run.handled_to(run.end());
        }
        self.notify();
    }

    /// Wakes who waits for runs to be handled.
    pub(super) fn notify(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // With the lock, so that no one is between looking and waiting.
            let _partitions = self.partitions.lock();
            self.settled.notify_all();
        }
    }

    /// Waits until nothing of these partitions is in hand, until `deadline`, or until `stop`.
    pub(super) fn wait_until_handled(
        &self,
        partitions: &[TopicPartition],
        deadline: Instant,
        stop: impl Fn() -> bool,
    ) -> bool {
        let in_hand = |tracked: &mut MutexGuard<'_, HashMap<TopicPartition, Tracked>>| {
            partitions.iter().any(|partition| {
                tracked.get_mut(partition).is_some_and(|tracked| {
                    tracked.advance();
                    tracked.runs.iter().any(|run| run.is_in_hand())
                })
            })
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut tracked = self.partitions.lock();
        let mut handled = !in_hand(&mut tracked);
        while !handled && !stop() {
            let late;
            (tracked, late) = self.settled.wait_until(tracked, deadline);
            handled = !in_hand(&mut tracked);
            if late {
                break;
            }
        }
        drop(tracked);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        handled
    }

    /// How far each partition is acknowledged of which every record handed out is.
    pub(super) fn idle_places(&self) -> Vec<Position> {
        let mut places = Vec::new();
        for (partition, tracked) in &mut *self.partitions.lock() {
            tracked.advance();
            if tracked.runs.is_empty() {
                places.extend(tracked.handled.map(|place| position(partition, place)));
            }
        }
        places
    }

    /// There is no record in a partition up to `next_offset`. To be called while none is handed out.
    pub(super) fn skip_to(&self, partition: &TopicPartition, next_offset: i64) {
        if let Some(tracked) = self.partitions.lock().get_mut(partition)
            && tracked.runs.is_empty()
            && let Some(place) = &mut tracked.handled
        {
            place.next_offset = place.next_offset.max(next_offset);
        }
    }

    /// The places that moved since the last call.
    pub(super) fn take_unstored(&self) -> Vec<Position> {
        let mut moved = Vec::new();
        for (partition, tracked) in &mut *self.partitions.lock() {
            tracked.advance();
            if let Some(place) = tracked.handled
                && tracked.stored != Some(place)
            {
                tracked.stored = Some(place);
                moved.push(position(partition, place));
            }
        }
        moved
    }

    /// How far every partition is handled of which anything is.
    pub(super) fn places(&self) -> Vec<Position> {
        let mut places = Vec::new();
        for (partition, tracked) in &mut *self.partitions.lock() {
            tracked.advance();
            places.extend(tracked.handled.map(|place| position(partition, place)));
        }
        places
    }

    /// For each partition the offset of the oldest record that is not handled, where it is known.
    pub(super) fn oldest_unhandled(&self) -> Vec<(TopicPartition, i64)> {
        let mut oldest = Vec::new();
        for (partition, tracked) in &mut *self.partitions.lock() {
            tracked.advance();
            let handled = tracked.handled.map(|place| place.next_offset);
            let next = handled.or_else(|| tracked.runs.front().map(|run| run.first));
            oldest.extend(next.map(|next| (partition.clone(), next)));
        }
        oldest
    }
}

fn position(partition: &TopicPartition, place: Place) -> Position {
    Position {
        partition: partition.clone(),
        next_offset: place.next_offset,
        leader_epoch: place.leader_epoch,
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

    fn hand_out(progress: &Progress, first: i64, end: i64) -> Arc<Run> {
        let run = Arc::new(Run::new(first, end, None));
        progress.handed_out(&partition(), &run);
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
        let runs = [(0, 100), (100, 180), (180, 300)].map(|(a, b)| hand_out(&progress, a, b));
        progress.handled([&runs[0], &runs[2]]);
        assert_eq!(unstored(&progress), Some(100));
        assert_eq!(unstored(&progress), None, "nothing moved since");
        runs[1].handled_to(150);
        assert_eq!(unstored(&progress), Some(150));
        progress.handled([&runs[1]]);
        assert_eq!(unstored(&progress), Some(300));
    }

    #[test]
    fn a_dropped_batch_counts_when_its_own_reader_reads_on() {
        let progress = progress();
        let (one, other) = (ReaderId::numbered(1), ReaderId::numbered(2));
        progress.released(&one, [(hand_out(&progress, 5, 9), 9)]);
        progress.confirm(&other);
        assert_eq!(unstored(&progress), None);
        progress.confirm(&one);
        assert_eq!(unstored(&progress), Some(9));
    }

    #[test]
    fn the_rest_of_a_run_is_acknowledged_by_itself() {
        let progress = progress();
        let run = hand_out(&progress, 0, 10);
        let rest = progress.split(&partition(), &run, 3, 4).unwrap();
        progress.handled([&rest]);
        assert_eq!(unstored(&progress), None);
        run.handled_to(3);
        assert_eq!(unstored(&progress), Some(10));
        assert!(
            progress.split(&partition(), &rest, 5, 5).is_none(),
            "all done"
        );
    }

    #[test]
    fn a_rebalance_does_not_wait_for_what_no_reader_works_on() {
        let progress = progress();
        hand_out(&progress, 0, 10).set_idle(true);
        let far = Instant::now() + Duration::from_secs(60);
        assert!(progress.wait_until_handled(&[partition()], far, || false));
    }

    #[test]
    fn a_run_that_is_never_handled_holds_the_offset_and_little_memory() {
        let progress = progress();
        hand_out(&progress, 0, 10);
        for first in (10..100_000).step_by(10) {
            let run = hand_out(&progress, first, first + 10);
            progress.handled([&run]);
            assert_eq!(unstored(&progress), None);
        }
        let tracked = progress.partitions.lock();
        assert!(tracked[&partition()].runs.len() <= MANY_RUNS + 1);
    }

    #[test]
    fn runs_of_a_partition_that_was_given_up_or_left_count_no_more() {
        let progress = progress();
        let before = hand_out(&progress, 0, 10);
        progress.sought(&partition());
        let after = hand_out(&progress, 50, 60);
        progress.handled([&before]);
        assert_eq!(unstored(&progress), None);
        progress.handled([&after]);
        assert_eq!(unstored(&progress), Some(60));
        progress.revoked([&partition()]);
        assert_eq!(unstored(&progress), None);
        assert!(progress.places().is_empty());
    }

    #[test]
    fn a_rebalance_waits_for_what_is_in_hand() {
        let progress = progress();
        let run = hand_out(&progress, 0, 10);
        let soon = || Instant::now() + Duration::from_millis(20);
        let far = Instant::now() + Duration::from_secs(60);
        assert!(!progress.wait_until_handled(&[partition()], soon(), || false));
        assert!(!progress.wait_until_handled(&[partition()], far, || true));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| progress.wait_until_handled(&[partition()], far, || false));
            let reader = ReaderId::current();
            progress.released(&reader, [(run, 10)]);
            progress.confirm(&reader);
            assert!(waits.join().unwrap());
        });
    }
}

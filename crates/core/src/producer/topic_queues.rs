//! The queues of one topic: one a partition, and one for the records that wait until the topic's
//! partitions and schema id are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use super::partition_queue::PartitionQueue;
use super::partitioner::Partitioner;
use super::topic::TopicState;
use crate::Error;
use crate::sync::Mutex;

/// The partition queues of a topic.
pub(super) struct Routes {
    /// Those too of partitions that a recreated topic lacks now, for what is in them.
    queues: Box<[Arc<PartitionQueue>]>,
    /// How many partitions the topic has.
    count: u32,
    partitioner: Partitioner,
    /// Where records without a key go for now; moves on with each batch that fills up.
    sticky: AtomicU32,
}

impl Routes {
    /// Queues for `count` partitions, keeping those that exist.
    pub(super) fn new(count: u32, partitioner: Partitioner, existing: Option<&Routes>) -> Self {
        let existing = existing.map_or(&[][..], |routes| &routes.queues);
        let queues = (0..existing.len().max(count as usize))
            .map(|index| existing.get(index).map(Arc::clone).unwrap_or_default())
            .collect();
        Routes {
            queues,
            count,
            partitioner,
            sticky: AtomicU32::new(0),
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Every queue that the topic has or had, by its partition.
    pub(super) fn queues(&self) -> &[Arc<PartitionQueue>] {
        &self.queues
    }

    /// The partition of a record: the caller's, else its key's, else the current sticky one.
    #[inline]
    pub(super) fn partition(&self, key: Option<&[u8]>, chosen: Option<i32>) -> i32 {
        chosen
            .or_else(|| self.partitioner.partition(key, self.count()))
            .unwrap_or_else(|| (self.sticky.load(Ordering::Relaxed) % self.count()) as i32)
    }

    /// The queue of a partition, if the topic has it.
    #[inline]
    pub(super) fn queue(&self, partition: i32) -> Option<&Arc<PartitionQueue>> {
        self.queues
            .get(usize::try_from(partition).ok()?)
            .filter(|_| partition.unsigned_abs() < self.count)
    }

    /// Sends the next records without a key to another partition, so that they spread batch by batch.
    pub(super) fn move_on(&self) {
        self.sticky.fetch_add(1, Ordering::Relaxed);
    }
}

/// A topic's queues.
pub(super) struct TopicQueues {
    topic: Arc<TopicState>,
    /// `None` until the partitions (and the schema id, if one is needed) are known.
    routes: ArcSwapOption<Routes>,
    /// What `routes` was last: its queues stay, and what is in them goes first.
    last_routes: ArcSwapOption<Routes>,
    /// The records that wait for the routes. Its lock also guards every change of `routes`.
    waiting: PartitionQueue,
    lookup: Mutex<Lookup>,
}

/// The state of a topic's lookup.
#[derive(Default)]
struct Lookup {
    /// Whether the resolver has the topic on its list.
    running: bool,
    /// Why the topic is not known yet.
    last_error: Option<Error>,
}

impl TopicQueues {
    pub(super) fn new(topic: Arc<TopicState>) -> Self {
        TopicQueues {
            topic,
            routes: ArcSwapOption::empty(),
            last_routes: ArcSwapOption::empty(),
            waiting: PartitionQueue::default(),
            lookup: Mutex::default(),
        }
    }

    #[inline]
    pub(super) fn topic(&self) -> &Arc<TopicState> {
        &self.topic
    }

    #[inline]
    pub(super) fn routes(&self) -> Guard<Option<Arc<Routes>>> {
        self.routes.load()
    }

    /// Opens the routes, or closes them. Under the lock of [`waiting`](Self::waiting).
    pub(super) fn set_routes(&self, routes: Option<Arc<Routes>>) {
        self.routes.store(routes);
    }

    /// The queues that the topic has or had.
    pub(super) fn last_routes(&self) -> Option<Arc<Routes>> {
        self.last_routes.load_full()
    }

    pub(super) fn set_last_routes(&self, routes: Arc<Routes>) {
        self.last_routes.store(Some(routes));
    }

    pub(super) fn waiting(&self) -> &PartitionQueue {
        &self.waiting
    }

    /// Notes that the topic is to be looked up; `false` if it is on the resolver's list already.
    pub(super) fn begin_lookup(&self) -> bool {
        !std::mem::replace(&mut self.lookup.lock().running, true)
    }

    /// Notes why the topic is not known; `retry` if it stays on the resolver's list.
    pub(super) fn lookup_failed(&self, error: Error, retry: bool) {
        let mut lookup = self.lookup.lock();
        lookup.running = retry;
        lookup.last_error = Some(error);
    }

    pub(super) fn lookup_done(&self) {
        *self.lookup.lock() = Lookup::default();
    }

    pub(super) fn lookup_error(&self) -> Option<Error> {
        self.lookup.lock().last_error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_fewer_partitions_than_before_keeps_the_queues_of_the_others() {
        let routes = |count, before| Routes::new(count, Partitioner::Murmur2Random, before);
        let before = routes(3, None);
        let fewer = routes(1, Some(&before));
        assert_eq!((fewer.count(), fewer.queues().len()), (1, 3));
        assert!(fewer.queue(0).is_some() && fewer.queue(2).is_none());
        assert!(fewer.queue(-1).is_none());
        assert_eq!(fewer.partition(Some(b"key"), None), 0);
        let more = routes(4, Some(&fewer));
        for (partition, queue) in before.queues().iter().enumerate() {
            assert!(Arc::ptr_eq(queue, more.queue(partition as i32).unwrap()));
        }
        assert!(more.queue(3).is_some());
    }
}

//! A topic as the producer knows it: how its values are framed and, once the cluster has been
//! asked, the lanes of its partitions.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::lane::Lane;
use super::limit::BatchLimit;
use super::opening::Opening;
use super::partitioner::Partitioner;
use crate::codec::frame::{write_confluent_header, write_single_object_header};
use crate::events::Topic as EventTopic;
use crate::kafka::{AskedConfig, TopicHandle};
use crate::metrics::{Counter, Metrics, TopicMetrics};
use crate::registry::SubjectId;
use crate::sync::Mutex;

/// The lanes of a topic's partitions.
pub(crate) struct Routes {
    /// Those too of partitions that a recreated topic has no more, for what is in them.
    lanes: Box<[Arc<Lane>]>,
    /// How many partitions the topic has.
    count: u32,
    partitioner: Partitioner,
    /// Where records without a key go for now; moves on with each slab that fills up.
    sticky: AtomicU32,
}

impl Routes {
    /// Lanes for `count` partitions, keeping those that exist.
    pub(crate) fn new(
        count: u32,
        partitioner: Partitioner,
        opening: fn() -> Opening,
        existing: Option<&Routes>,
    ) -> Self {
        let existing = existing.map_or(&[][..], |routes| &routes.lanes);
        let lanes = (0..existing.len().max(count as usize))
            .map(|index| {
                let known = existing.get(index);
                known.map_or_else(|| Lane::new(opening()), Arc::clone)
            })
            .collect();
        Routes {
            lanes,
            count,
            partitioner,
            sticky: AtomicU32::new(0),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Every lane that the topic has or had, by its partition.
    pub(crate) fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// The partition of a record: the caller's, else its key's, else the current sticky one.
    pub(crate) fn partition(&self, key: Option<&[u8]>, chosen: Option<i32>) -> i32 {
        chosen
            .or_else(|| self.partitioner.partition(key, self.count()))
            .unwrap_or_else(|| (self.sticky.load(Ordering::Relaxed) % self.count()) as i32)
    }

    /// The lane of a partition, if the topic has it.
    pub(crate) fn lane(&self, partition: i32) -> Option<&Arc<Lane>> {
        self.any_lane(partition)
            .filter(|_| partition.unsigned_abs() < self.count)
    }

    /// The lane of a partition that the topic has or had.
    pub(crate) fn any_lane(&self, partition: i32) -> Option<&Arc<Lane>> {
        self.lanes.get(usize::try_from(partition).ok()?)
    }

    /// Sends the next records without a key to another partition, so that they spread slab by slab.
    pub(crate) fn move_on(&self) {
        self.sticky.fetch_add(1, Ordering::Relaxed);
    }
}

/// What stands before the Avro body of the typed events of a topic.
pub(crate) enum Framing {
    /// The registry's framing; the id is known once the registry (or the configuration) gave it.
    Confluent(SubjectId),
    /// Single-object encoding, which needs nobody.
    SingleObject,
    /// JSON: nothing.
    Json,
}

/// A topic that records have been sent to.
pub(crate) struct Topic {
    name: Arc<str>,
    pub(crate) framing: Framing,
    pub(crate) metrics: Arc<TopicMetrics>,
    /// Typed events of this topic's record that were handed over.
    pub(crate) events: Option<Arc<Counter>>,
    pub(crate) native: OnceLock<TopicHandle>,
    pub(crate) limit: BatchLimit,
    /// The question for that, where the answer is late.
    pub(crate) asked_limit: Mutex<Option<AskedConfig>>,
    /// `None` until the partitions (and the schema id, where one is needed) are known.
    pub(crate) routes: ArcSwapOption<Routes>,
    /// The lanes that `routes` had last: they stay, and what is in them goes first.
    pub(crate) lanes: ArcSwapOption<Routes>,
    /// The records that wait for that. Its lock also guards every change of `routes`.
    pub(crate) waiting: Arc<Lane>,
    pub(crate) resolution: Mutex<Resolution>,
}

/// Where asking for a topic's partitions and schema id stands.
#[derive(Default)]
pub(crate) struct Resolution {
    /// Whether the resolver has the topic on its list.
    pub(crate) running: bool,
    /// Why it is not known yet.
    pub(crate) last_error: Option<crate::Error>,
}

impl Resolution {
    pub(crate) fn resolved(&mut self) {
        self.running = false;
        self.last_error = None;
    }
}

impl Topic {
    pub(crate) fn new(
        name: Arc<str>,
        framing: Framing,
        event: Option<EventTopic>,
        limit: BatchLimit,
        metrics: &Metrics,
    ) -> Arc<Self> {
        Arc::new(Topic {
            metrics: metrics.topic(&name),
            events: event.map(|topic| metrics.event_type(topic.spec().record)),
            name,
            framing,
            native: OnceLock::new(),
            limit,
            asked_limit: Mutex::default(),
            routes: ArcSwapOption::empty(),
            lanes: ArcSwapOption::empty(),
            waiting: Lane::new(Opening::not_needed()),
            resolution: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Notes how large the topic's batches may be; later, if the answer does not come in that time.
    pub(crate) fn note_limit(&self, asked: AskedConfig, timeout: Duration) {
        match asked.answer(timeout) {
            Some(answer) => {
                if let Some(stated) = answer.and_then(|limit| limit.parse().ok()) {
                    self.limit.state(stated);
                }
            }
            None => *self.asked_limit.lock() = Some(asked),
        }
    }

    /// Whether a typed event can be framed right now.
    pub(crate) fn knows_schema(&self) -> bool {
        match &self.framing {
            Framing::Confluent(id) => id.get().is_some(),
            Framing::SingleObject | Framing::Json => true,
        }
    }

    /// Appends what stands before a typed event's body; an unknown schema id is filled in later.
    pub(crate) fn write_frame(&self, fingerprint: u64, out: &mut Vec<u8>) {
        match &self.framing {
            Framing::Confluent(id) => {
                write_confluent_header(id.get().unwrap_or(0), out);
            }
            Framing::SingleObject => {
                write_single_object_header(fingerprint, out);
            }
            Framing::Json => {}
        }
    }

    /// Writes the schema id into a frame that may be older than it.
    pub(crate) fn renew_frame(&self, value: &mut [u8]) {
        if let Framing::Confluent(id) = &self.framing
            && let (Some(id), Some(place)) = (id.get(), value.get_mut(1..5))
        {
            place.copy_from_slice(&id.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_fewer_partitions_than_before_keeps_the_lanes_of_the_others() {
        let routes = |count, before| {
            Routes::new(
                count,
                Partitioner::Murmur2Random,
                Opening::not_needed,
                before,
            )
        };
        let before = routes(3, None);
        let fewer = routes(1, Some(&before));
        assert_eq!((fewer.count(), fewer.lanes().len()), (1, 3));
        assert!(fewer.lane(0).is_some() && fewer.lane(2).is_none());
        assert!(fewer.lane(-1).is_none());
        assert_eq!(fewer.partition(Some(b"key"), None), 0);
        let more = routes(4, Some(&fewer));
        for (partition, lane) in before.lanes().iter().enumerate() {
            assert!(Arc::ptr_eq(lane, more.lane(partition as i32).unwrap()));
        }
        assert!(more.lane(3).is_some());
    }
}

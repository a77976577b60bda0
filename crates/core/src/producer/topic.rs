//! What sending needs to know of a topic: how its values are framed, how large its batches may be,
//! and what each partition has in flight.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::batch_limit::BatchLimit;
use super::flow::Flow;
use crate::Result;
use crate::codec::frame::{write_confluent_header, write_single_object_header};
use crate::kafka::{AskedConfig, Handle, TopicHandle};
use crate::metrics::{Counter, TopicMetrics};
use crate::registry::SubjectId;
use crate::sync::Mutex;

/// What stands before the Avro body of the typed events of a topic.
pub(super) enum Framing {
    /// The registry's framing; the id is known once the registry (or the configuration) gave it.
    Confluent(SubjectId),
    /// Single-object encoding.
    SingleObject,
    /// JSON: nothing.
    Json,
}

/// A topic that records have been sent to.
pub(super) struct TopicState {
    name: Arc<str>,
    framing: Framing,
    metrics: Arc<TopicMetrics>,
    /// Typed events of this topic's record that were sent.
    events: Option<Arc<Counter>>,
    native: OnceLock<TopicHandle>,
    batch_limit: BatchLimit,
    /// The question for that limit, if the answer is late.
    asked_limit: Mutex<Option<AskedConfig>>,
    /// By partition; those too that a recreated topic lacks now, for what is in flight.
    flows: ArcSwap<Vec<Arc<Flow>>>,
}

impl TopicState {
    pub(super) fn new(
        name: Arc<str>,
        framing: Framing,
        batch_limit: BatchLimit,
        metrics: Arc<TopicMetrics>,
        events: Option<Arc<Counter>>,
    ) -> Arc<Self> {
        Arc::new(TopicState {
            name,
            framing,
            metrics,
            events,
            native: OnceLock::new(),
            batch_limit,
            asked_limit: Mutex::default(),
            flows: ArcSwap::default(),
        })
    }

    #[inline]
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    #[inline]
    pub(super) fn metrics(&self) -> &TopicMetrics {
        &self.metrics
    }

    /// Counts records that leave their queue; `framed` of them are typed events.
    pub(super) fn count_accepted(&self, records: u64, bytes: u64, framed: u64) {
        self.metrics.accepted(records, bytes);
        if let Some(events) = &self.events {
            events.add(framed);
        }
    }

    pub(super) fn batch_limit(&self) -> &BatchLimit {
        &self.batch_limit
    }

    /// Notes how large the topic's batches may be. If there is no answer within `timeout`,
    /// [`note_late_limit`](Self::note_late_limit) finds it.
    pub(super) fn note_limit(&self, asked: AskedConfig, timeout: Duration) {
        match asked.answer(timeout) {
            Some(answer) => {
                if let Some(stated) = answer.and_then(|limit| limit.parse().ok()) {
                    self.batch_limit.state(stated);
                }
            }
            None => *self.asked_limit.lock() = Some(asked),
        }
    }

    pub(super) fn note_late_limit(&self) {
        let asked = self.asked_limit.lock().take();
        if let Some(asked) = asked {
            self.note_limit(asked, Duration::ZERO);
        }
    }

    /// librdkafka's handle of the topic, once the topic was looked up.
    #[inline]
    pub(super) fn native(&self) -> Option<&TopicHandle> {
        self.native.get()
    }

    /// As [`native`](Self::native), created if there is none. Only the resolver calls this.
    pub(super) fn open(&self, handle: &Arc<Handle>) -> Result<&TopicHandle> {
        if let Some(native) = self.native.get() {
            return Ok(native);
        }
        let native = TopicHandle::new(handle, &self.name)?;
        Ok(self.native.get_or_init(|| native))
    }

    /// The flow control of each partition.
    #[inline]
    pub(super) fn flows(&self) -> Guard<Arc<Vec<Arc<Flow>>>> {
        self.flows.load()
    }

    /// Adds flow control for partitions up to `count`. Only the resolver calls this.
    pub(super) fn grow(&self, count: u32, is_idempotent: bool) {
        let mut flows = Vec::clone(&self.flows.load());
        while flows.len() < count as usize {
            flows.push(Arc::new(Flow::new(is_idempotent)));
        }
        self.flows.store(Arc::new(flows));
    }

    /// The subject whose schema id the framing needs.
    pub(super) fn subject(&self) -> Option<&SubjectId> {
        match &self.framing {
            Framing::Confluent(subject) => Some(subject),
            Framing::SingleObject | Framing::Json => None,
        }
    }

    /// Whether a typed event can be framed right now.
    #[inline]
    pub(super) fn knows_schema(&self) -> bool {
        self.subject().is_none_or(|subject| subject.get().is_some())
    }

    /// Appends what stands before a typed event's body; an unknown schema id is filled in later.
    #[inline]
    pub(super) fn write_frame(&self, fingerprint: u64, out: &mut Vec<u8>) {
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
    pub(super) fn renew_frame(&self, value: &mut [u8]) {
        if let Some(id) = self.subject().and_then(SubjectId::get)
            && let Some(place) = value.get_mut(1..5)
        {
            place.copy_from_slice(&id.to_be_bytes());
        }
    }
}

/// The flow control of one partition.
#[inline]
pub(super) fn flow_of(flows: &[Arc<Flow>], partition: i32) -> Option<&Arc<Flow>> {
    flows.get(usize::try_from(partition).ok()?)
}

//! Records that were fetched together, with all that decoding and acknowledging them needs.

use std::ops::Range;
use std::sync::Arc;

use super::decoders::Decoders;
use super::position::TopicPartition;
use super::progress::{Progress, Run};
use super::rewritten::Rewritten;
use super::schemas::Resolved;
use crate::events::Topic;
use crate::kafka::Messages;
use crate::metrics::TopicMetrics;

/// The content of a batch, while a reader has it and while it is returned to the consumer.
pub(super) struct Fetched {
    pub(super) messages: Messages,
    /// In order, without gaps; none once a reader has dropped or acknowledged the batch.
    pub(super) segments: Vec<Segment>,
    pub(super) schemas: Resolved,
    pub(super) rewritten: Rewritten,
    /// Counts the fetches: returned records come again in this order.
    pub(super) number: u64,
    pub(super) decoders: Arc<Decoders>,
    pub(super) progress: Arc<Progress>,
}

/// Neighbouring records of one partition.
pub(super) struct Segment {
    pub(super) records: Range<usize>,
    pub(super) topic: Arc<KnownTopic>,
    pub(super) partition: TopicPartition,
    pub(super) run: Arc<Run>,
}

/// What the consumer knows of a topic.
pub(super) struct KnownTopic {
    /// Which of the twelve it is.
    pub(super) event: Option<Topic>,
    pub(super) metrics: Arc<TopicMetrics>,
}

impl Fetched {
    /// Which segment the record at `index` is in.
    pub(super) fn segment_of(&self, index: usize) -> usize {
        self.segments
            .partition_point(|segment| segment.records.end <= index)
    }

    /// Takes the records out; none are left.
    pub(super) fn take(&mut self) -> Fetched {
        Fetched {
            messages: std::mem::take(&mut self.messages),
            segments: std::mem::take(&mut self.segments),
            schemas: std::mem::take(&mut self.schemas),
            rewritten: Rewritten::default(),
            number: self.number,
            decoders: Arc::clone(&self.decoders),
            progress: Arc::clone(&self.progress),
        }
    }

    /// With `true`, no reader has the records in hand any more.
    pub(super) fn set_idle(&self, idle: bool) {
        for segment in &self.segments {
            segment.run.set_idle(idle);
        }
    }

    /// Keeps the records from `index` on that are not acknowledged and whose partitions are still
    /// assigned; no reader has them in hand. Runs that begin before are split.
    pub(super) fn keep_unacknowledged(&mut self, index: usize) {
        let (messages, progress) = (&self.messages, &self.progress);
        let offset = |index| messages.get(index).map(|message| message.offset());
        self.segments.retain_mut(|segment| {
            let Segment {
                records,
                partition,
                run,
                ..
            } = segment;
            let is_open =
                |index: &usize| offset(*index).is_none_or(|offset| offset >= run.acknowledged_to());
            let Some(from) = (records.start.max(index)..records.end).find(is_open) else {
                return false;
            };
            let rest = if from == records.start {
                let tracked = progress.is_tracked(partition, run);
                tracked.then(|| Arc::clone(run))
            } else {
                let before = offset(from - 1).zip(offset(from));
                before.and_then(|(last, first)| progress.split(partition, run, last + 1, first))
            };
            let Some(rest) = rest else {
                return false;
            };
            rest.set_idle(true);
            records.start = from;
            *run = rest;
            true
        });
        self.drop_unsegmented();
    }

    /// Drops the records of these partitions.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.segments
            .retain(|segment| !partitions.contains(&segment.partition));
        self.drop_unsegmented();
    }

    /// Drops the records that are in no segment.
    fn drop_unsegmented(&mut self) {
        let mut segments = self.segments.iter().peekable();
        let mut index = 0;
        self.messages.retain(|_| {
            while segments.next_if(|it| it.records.end <= index).is_some() {}
            let kept = segments
                .peek()
                .is_some_and(|it| it.records.contains(&index));
            index += 1;
            kept
        });
        let mut start = 0;
        for segment in &mut self.segments {
            let end = start + segment.records.len();
            segment.records = start..end;
            start = end;
        }
    }
}

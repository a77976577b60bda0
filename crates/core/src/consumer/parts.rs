//! A batch that several readers process in parts, in any order.
//!
//! ```text
//! records of a partition   [0 ─ 512)   [512 ─ 1024)   [1024 ─ 1100)    three parts
//!                           in hand     processed      processed
//!                           └── nothing of them is committed: 0 comes first
//! ```
//!
//! The parts share their batch. A partition's records are acknowledged up to the first that is not
//! processed, whichever part has it. No rebalance waits for a part that no reader has in hand; what
//! such a part has of partitions that were revoked meanwhile is dropped when it is taken.

use std::ops::Range;
use std::sync::Arc;

use super::batch::Batch;
use super::record::Record;
use crate::sync::Mutex;

/// Some of a batch's records, to be processed by one reader.
///
/// No reader has it in hand at first: [`take`](Self::take) it before processing. Dropping it
/// acknowledges nothing; the partition's next owner reads its records again.
#[derive(Debug)]
pub struct Part {
    whole: Arc<Whole>,
    /// The indices of its records.
    spans: Vec<Range<usize>>,
    in_hand: bool,
}

#[derive(Debug)]
struct Whole {
    /// None once no part is left.
    batch: Option<Batch>,
    runs: Mutex<Vec<Processed>>,
}

/// What the parts share about neighbours of one partition.
#[derive(Debug)]
struct Processed {
    records: Range<usize>,
    /// The first record that is not processed.
    next: usize,
    /// Processed records behind that one, in order and without touching each other.
    later: Vec<Range<usize>>,
    /// How many parts with records of it are in hand.
    in_hand: usize,
}

impl Processed {
    fn process(&mut self, records: Range<usize>) {
        let place = self.later.partition_point(|one| one.end < records.start);
        let mut joined = records;
        let mut end = place;
        while let Some(one) = self.later.get(end)
            && one.start <= joined.end
        {
            joined = one.start.min(joined.start)..one.end.max(joined.end);
            end += 1;
        }
        self.later.splice(place..end, [joined]);
        while let Some(first) = self.later.first()
            && first.start <= self.next
        {
            self.next = self.next.max(first.end);
            self.later.remove(0);
        }
    }
}

impl Batch {
    /// Cuts the batch into parts of these records, which may be processed by several readers.
    pub fn into_parts(self, records: impl IntoIterator<Item = Range<usize>>) -> Vec<Part> {
        let fetched = self.fetched();
        fetched.set_idle(true);
        fetched.progress.notify();
        let runs = fetched.segments.iter().map(|segment| Processed {
            records: segment.records.clone(),
            next: segment.records.start,
            later: Vec::new(),
            in_hand: 0,
        });
        let whole = Arc::new(Whole {
            runs: Mutex::new(runs.collect()),
            batch: Some(self),
        });
        let part = |records| Part {
            whole: Arc::clone(&whole),
            spans: vec![records],
            in_hand: false,
        };
        records.into_iter().map(part).collect()
    }
}

impl Part {
    /// How many records it has.
    pub fn len(&self) -> usize {
        self.spans.iter().map(Range::len).sum()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.spans.iter().all(Range::is_empty)
    }

    /// The records, those of one partition in the order of their offsets.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let indices = self.spans.iter().cloned().flatten();
        indices.filter_map(|index| self.whole.batch.as_ref()?.get(index))
    }

    /// Whether this part comes before another one, as their records were fetched.
    pub fn is_before(&self, other: &Part) -> bool {
        let place = |part: &Part| {
            let number = part.whole.batch.as_ref().map(|it| it.fetched().number);
            (number, part.spans.first().map(|span| span.start))
        };
        place(self) < place(other)
    }

    /// Puts it into a reader's hands: a rebalance waits for it. Drops records of partitions that were
    /// revoked or sought; returns whether there were any.
    pub fn take(&mut self) -> bool {
        let Some(batch) = &self.whole.batch else {
            return false;
        };
        let before = self.len();
        let mut runs = self.whole.runs.lock();
        let mut kept = Vec::with_capacity(self.spans.len());
        for (segment, shared) in batch.fetched().segments.iter().zip(runs.iter_mut()) {
            let mut spans = within(&self.spans, &shared.records).peekable();
            let progress = &batch.fetched().progress;
            if spans.peek().is_none() || !progress.is_tracked(&segment.partition, &segment.run) {
                continue;
            }
            for span in spans {
                match kept.last_mut() {
                    Some(Range { end, .. }) if *end == span.start => *end = span.end,
                    _ => kept.push(span),
                }
            }
            if !self.in_hand {
                shared.in_hand += 1;
                segment.run.set_idle(false);
            }
        }
        drop(runs);
        self.spans = kept;
        self.in_hand = true;
        self.len() < before
    }

    /// Acknowledges its first `count` records.
    pub fn acknowledge(&self, count: usize) {
        let Some(batch) = &self.whole.batch else {
            return;
        };
        let spans = first(&self.spans, count);
        let mut runs = self.whole.runs.lock();
        for (segment, shared) in batch.fetched().segments.iter().zip(runs.iter_mut()) {
            let before = shared.next;
            within(&spans, &shared.records).for_each(|span| shared.process(span));
            if shared.next > before
                && let Some(record) = batch.get(shared.next - 1)
            {
                segment.run.acknowledge_to(record.offset() + 1);
            }
        }
        drop(runs);
        batch.fetched().progress.notify();
    }

    /// Takes it out of its reader's hands; keeps the records behind the first `count`.
    pub fn leave(&mut self, count: usize) {
        self.lay_down();
        let left = self.len().saturating_sub(count);
        let mut skip = self.len() - left;
        self.spans.retain_mut(|span| {
            let skipped = skip.min(span.len());
            span.start += skipped;
            skip -= skipped;
            span.start < span.end
        });
    }

    fn lay_down(&mut self) {
        let Some(batch) = &self.whole.batch else {
            return;
        };
        if !std::mem::take(&mut self.in_hand) {
            return;
        }
        let mut runs = self.whole.runs.lock();
        for (segment, shared) in batch.fetched().segments.iter().zip(runs.iter_mut()) {
            if within(&self.spans, &shared.records).next().is_some() {
                shared.in_hand -= 1;
                if shared.in_hand == 0 {
                    segment.run.set_idle(true);
                }
            }
        }
        drop(runs);
        batch.fetched().progress.notify();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.lay_down();
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            batch.abandon();
        }
    }
}

/// The pieces of these spans that are among `records`.
fn within<'a>(
    spans: &'a [Range<usize>],
    records: &Range<usize>,
) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let records = records.clone();
    let pieces = spans
        .iter()
        .map(move |span| span.start.max(records.start)..span.end.min(records.end));
    pieces.filter(|piece| !piece.is_empty())
}

/// The first `count` of the records of these spans.
fn first(spans: &[Range<usize>], mut count: usize) -> Vec<Range<usize>> {
    let mut found = Vec::with_capacity(spans.len());
    for span in spans {
        let taken = count.min(span.len());
        found.push(span.start..span.start + taken);
        count -= taken;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_processed_up_to_the_first_gap() {
        let mut run = Processed {
            records: 10..100,
            next: 10,
            later: Vec::new(),
            in_hand: 0,
        };
        for (processed, next) in [
            (30..40, 10),
            (50..60, 10),
            (40..45, 10),
            (10..20, 20),
            (10..12, 20),
            (20..35, 45),
            (45..50, 60),
            (90..100, 60),
            (55..100, 100),
        ] {
            run.process(processed.clone());
            assert_eq!(run.next, next, "{processed:?}");
        }
        assert!(run.later.is_empty());
    }

    #[test]
    fn spans_are_cut_where_records_end() {
        let spans = [0..4, 8..10];
        assert_eq!(Vec::from_iter(within(&spans, &(2..9))), [2..4, 8..9]);
        assert_eq!(within(&spans, &(4..8)).count(), 0);
        assert_eq!(first(&spans, 5), [0..4, 8..9]);
        assert_eq!(first(&spans, 9), [0..4, 8..10]);
    }
}

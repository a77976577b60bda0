//! A batch that several readers process part by part, in any order.
//!
//! ```text
//! records of a partition   [0 ─ 512)   [512 ─ 1024)   [1024 ─ 1100)    three parts
//!                           in hand     processed      processed
//!                           └── nothing of them is committed: 0 comes first
//! ```
//!
//! The parts share their batch. A partition's records are acknowledged up to the first that is not
//! processed, whichever part has it. A part that no reader has in hand holds up no rebalance; what
//! it has of partitions that were given up meanwhile is forgotten when it is taken.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Record};
use crate::sync::Mutex;

/// Some of a batch's records, to be processed by one reader.
///
/// It begins without a reader: [`take`](Self::take) it before it is processed. Dropping it
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

/// What parts know together about neighbours of one partition.
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
        for run in self.runs() {
            run.run.set_idle(true);
        }
        self.shared().progress.notify();
        let runs = self.runs().iter().map(|run| Processed {
            records: run.records.clone(),
            next: run.records.start,
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
            let number = part.whole.batch.as_ref().map(Batch::number);
            (number, part.spans.first().map(|span| span.start))
        };
        place(self) < place(other)
    }

    /// A reader has it in hand: a rebalance waits for it. Records of partitions that were given up
    /// or sought in are forgotten; returns whether there were any.
    pub fn take(&mut self) -> bool {
        let Some(batch) = &self.whole.batch else {
            return false;
        };
        let before = self.len();
        let mut runs = self.whole.runs.lock();
        let mut kept = Vec::with_capacity(self.spans.len());
        for (run, shared) in batch.runs().iter().zip(runs.iter_mut()) {
            let mut spans = within(&self.spans, &shared.records).peekable();
            let progress = &batch.shared().progress;
            if spans.peek().is_none() || !progress.is_tracked(&run.partition, &run.run) {
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
                run.run.set_idle(false);
            }
        }
        drop(runs);
        self.spans = kept;
        self.in_hand = true;
        self.len() < before
    }

    /// Its first `count` records are processed.
    pub fn acknowledge(&self, count: usize) {
        let Some(batch) = &self.whole.batch else {
            return;
        };
        let spans = first(&self.spans, count);
        let mut runs = self.whole.runs.lock();
        for (run, shared) in batch.runs().iter().zip(runs.iter_mut()) {
            let before = shared.next;
            within(&spans, &shared.records).for_each(|span| shared.process(span));
            if shared.next > before
                && let Some(record) = batch.get(shared.next - 1)
            {
                run.run.handled_to(record.offset() + 1);
            }
        }
        drop(runs);
        batch.shared().progress.notify();
    }

    /// Its reader has it in hand no longer; those of its records behind the first `count` are left.
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
        for (run, shared) in batch.runs().iter().zip(runs.iter_mut()) {
            if within(&self.spans, &shared.records).next().is_some() {
                shared.in_hand -= 1;
                if shared.in_hand == 0 {
                    run.run.set_idle(true);
                }
            }
        }
        drop(runs);
        batch.shared().progress.notify();
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
    fn what_is_processed_counts_up_to_the_first_gap() {
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

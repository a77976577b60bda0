//! Records of a batch one by one: the base of streams and of other languages' iterators.

use std::fmt;

use super::batch::Batch;
use super::reader_id::ReaderId;
use super::record::Record;
use crate::Result;
use crate::sync::Mutex;

/// A place in a batch that is read record by record.
///
/// Asking for the next record acknowledges the one before it. Dropping the cursor returns the records
/// behind it to the consumer, for the next read; the record that it gave last counts as a [`Batch`] of
/// one record that is dropped then.
pub struct Cursor {
    /// None once every record is acknowledged.
    batch: Option<Batch>,
    segment: usize,
    index: usize,
}

impl Cursor {
    /// At the first record of a batch.
    pub fn new(batch: Batch) -> Self {
        Cursor {
            batch: Some(batch),
            segment: 0,
            index: 0,
        }
    }

    /// Acknowledges the record given last.
    fn acknowledge_last(&self, batch: &Batch) {
        let Some(last) = self.index.checked_sub(1) else {
            return;
        };
        if let Some(record) = Record::new(batch.fetched(), self.segment, last) {
            record.acknowledge();
        }
    }

    /// The next record; `None` behind the last one, and the whole batch is acknowledged.
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        self.acknowledge_last(self.batch.as_ref()?);
        if self.index == self.batch.as_ref()?.len() {
            self.batch.take()?.acknowledge();
            return None;
        }
        let batch = self.batch.as_ref()?;
        while batch.fetched().segments.get(self.segment)?.records.end <= self.index {
            self.segment += 1;
        }
        self.index += 1;
        Record::new(batch.fetched(), self.segment, self.index - 1)
    }

    /// Steps back before the record given last: it comes again.
    fn step_back(&mut self) {
        self.index = self.index.saturating_sub(1);
        if let Some(batch) = &self.batch {
            let before = self.index.saturating_sub(1);
            self.segment = batch.fetched().segment_of(before);
        }
    }

    /// Ends it for its reader, which still has the record given last.
    fn end(mut self) {
        self.leave(true);
    }

    fn leave(&mut self, reader_goes_on: bool) {
        let Some(batch) = self.batch.take() else {
            return;
        };
        if let Some(last) = self.index.checked_sub(1) {
            match batch.fetched().segments.get(self.segment) {
                _ if reader_goes_on => batch.release_to(last),
                // No rebalance waits for a record that no reader has.
                Some(segment) => segment.run.set_idle(true),
                None => {}
            }
        }
        batch.give_back_from(self.index);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let by_reader = self
            .batch
            .as_ref()
            .is_some_and(Batch::is_dropped_by_its_reader);
        self.leave(by_reader);
    }
}

/// The batch that is read record by record: by one reader at a time.
///
/// For other languages, whose consumers are iterators themselves. A reader that asks while another one
/// has a batch ends that iteration, and gets the records behind it from the next read.
#[derive(Debug, Default)]
pub struct Iteration(Mutex<Option<(ReaderId, Cursor)>>);

impl Iteration {
    /// Passes the next record of the reader's batch to `take`; returns `None` where there is none. A
    /// record whose `take` fails comes again.
    ///
    /// # Errors
    ///
    /// That of `take`.
    pub fn next<T, E>(
        &self,
        reader: &ReaderId,
        take: impl FnOnce(&Record<'_>) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        // Not locked while `take` runs, which may call anything.
        let Some((owner, mut cursor)) = self.0.lock().take() else {
            return Ok(None);
        };
        if !owner.is(reader) {
            cursor.end();
            return Ok(None);
        }
        let Some(record) = cursor.next_record() else {
            return Ok(None);
        };
        let taken = take(&record);
        if taken.is_err() {
            cursor.step_back();
        }
        let mut current = self.0.lock();
        if current.is_none() {
            *current = Some((owner, cursor));
        } else {
            drop(current);
            cursor.end();
        }
        taken.map(Some)
    }

    /// Begins with a batch of the reader's.
    pub fn begin(&self, reader: &ReaderId, batch: Batch) {
        let begun = (reader.clone(), Cursor::new(batch));
        let before = self.0.lock().replace(begun);
        if let Some((_, cursor)) = before {
            cursor.end();
        }
    }

    /// Ends the iteration: the next read gets the records that were not given.
    pub fn end(&self) {
        let ended = self.0.lock().take();
        if let Some((_, cursor)) = ended {
            cursor.end();
        }
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("batch", &self.batch)
            .field("given", &self.index)
            .finish()
    }
}

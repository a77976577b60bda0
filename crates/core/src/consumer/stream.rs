//! Records one by one, as a stream.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::EventConsumer;
use super::batch::{Batch, Record};
use super::owned::OwnedRecord;
use super::reader_id::ReaderId;
use super::shared::Next;
use crate::events::{Event, TypedEvent};
use crate::sync::Mutex;
use crate::{ErrorKind, Result};

/// How a record of a stream is decoded.
pub trait Decode {
    /// What the stream gives.
    type Event: Send + 'static;

    #[doc(hidden)]
    fn record(record: &Record<'_>) -> OwnedRecord<Self::Event>;
}

/// Any of the twelve events.
#[derive(Debug)]
pub struct Any;

impl Decode for Any {
    type Event = Event<'static>;

    fn record(record: &Record<'_>) -> OwnedRecord<Event<'static>> {
        record.to_owned()
    }
}

/// One event alone.
#[derive(Debug)]
pub struct One<E>(PhantomData<fn() -> E>);

impl<E: TypedEvent> Decode for One<E>
where
    E::Of<'static>: 'static,
{
    type Event = E::Of<'static>;

    fn record(record: &Record<'_>) -> OwnedRecord<E::Of<'static>> {
        record.to_typed::<E>()
    }
}

/// The stream of [`EventConsumer::stream`] and [`EventConsumer::typed`].
///
/// Asking for the next record acknowledges the one before it. The records that a stream has not
/// given when it is dropped come at the next read, such as that of another stream. The record that
/// it gave last is acknowledged if the same thread or task reads on, and not by closing.
#[must_use = "streams do nothing unless polled"]
pub struct EventStream<'c, D = Any> {
    consumer: &'c EventConsumer,
    current: Option<Cursor>,
    /// Whether the next batch is being waited for.
    waits: bool,
    ended: bool,
    decode: PhantomData<fn() -> D>,
}

/// A batch that is taken apart record by record.
///
/// Asking for the next record acknowledges the one before it. The records that a cursor has not
/// given when it is dropped come at the next read; the record that it gave last is acknowledged as
/// a [`Batch`] of one record that is dropped then.
pub struct Cursor {
    /// None once every record is handled.
    batch: Option<Batch>,
    run: usize,
    index: usize,
}

impl<'c, D> EventStream<'c, D> {
    pub(super) fn new(consumer: &'c EventConsumer) -> Self {
        EventStream {
            consumer,
            current: None,
            waits: false,
            ended: false,
            decode: PhantomData,
        }
    }
}

impl Cursor {
    /// At the first record of a batch.
    pub fn new(batch: Batch) -> Self {
        Cursor {
            batch: Some(batch),
            run: 0,
            index: 0,
        }
    }

    /// Marks the record given last as handled.
    fn confirm(&self, batch: &Batch) {
        let Some(last) = self.index.checked_sub(1) else {
            return;
        };
        let (Some(run), Some(record)) = (
            batch.runs().get(self.run),
            batch.record_of_run(self.run, last),
        ) else {
            return;
        };
        run.run.handled_to(record.offset() + 1);
        if run.records.end == self.index {
            batch.shared().progress.notify();
        }
    }

    /// The next record; `None` when there is none, and the whole batch is handled.
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        self.confirm(self.batch.as_ref()?);
        if self.index == self.batch.as_ref()?.len() {
            self.batch.take()?.acknowledge();
            return None;
        }
        let batch = self.batch.as_ref()?;
        while batch.runs().get(self.run)?.records.end <= self.index {
            self.run += 1;
        }
        self.index += 1;
        batch.record_of_run(self.run, self.index - 1)
    }
}

impl Cursor {
    /// Takes the record given last as not given: it comes again.
    fn step_back(&mut self) {
        self.index = self.index.saturating_sub(1);
        let Some(batch) = &self.batch else {
            return;
        };
        let before = self.index.saturating_sub(1);
        while self.run > 0
            && batch
                .runs()
                .get(self.run)
                .is_some_and(|run| run.records.start > before)
        {
            self.run -= 1;
        }
    }
}

impl Cursor {
    /// Ends it for its reader, which still has the record given last.
    fn end(mut self) {
        self.leave(true);
    }

    fn leave(&mut self, reader_goes_on: bool) {
        let Some(batch) = self.batch.take() else {
            return;
        };
        if let Some(last) = self.index.checked_sub(1) {
            match batch.runs().get(self.run) {
                _ if reader_goes_on => batch.release_to(last),
                // No rebalance waits for a record that no reader has.
                Some(run) => run.run.set_idle(true),
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

/// The batch that readers take apart record by record: one reader at a time.
///
/// For other languages, whose consumers are iterators themselves. A reader that asks while another
/// one has a batch reads what that one has not been given.
#[derive(Debug, Default)]
pub struct Iteration(Mutex<Option<(ReaderId, Cursor)>>);

impl Iteration {
    /// Gives the next record of the reader's batch to `take`; `None` where there is none. A record
    /// whose `take` fails comes again.
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

    /// Has the reader take this batch apart.
    pub fn begin(&self, reader: &ReaderId, batch: Batch) {
        let begun = (reader.clone(), Cursor::new(batch));
        let before = self.0.lock().replace(begun);
        if let Some((_, cursor)) = before {
            cursor.end();
        }
    }

    /// Ends it: the records that were not given come at the next read.
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

impl<D: Decode> Stream for EventStream<'_, D> {
    type Item = Result<OwnedRecord<D::Event>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(cursor) = &mut this.current {
                if let Some(record) = cursor.next_record() {
                    return Poll::Ready(Some(Ok(D::record(&record))));
                }
                this.current = None;
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let reader = ReaderId::polled(cx.waker());
            let shared = &this.consumer.shared;
            if !std::mem::replace(&mut this.waits, true) {
                shared.progress.confirm(&reader);
            }
            let next = shared.poll_next(&reader, cx);
            this.waits = next.is_pending();
            match next {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    // Nothing comes behind these two.
                    this.ended = this.consumer.shared.is_over();
                    if this.ended && error.kind() == ErrorKind::Closed {
                        return Poll::Ready(None);
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Ok(Next::Nothing | Next::End)) => return Poll::Ready(None),
                Poll::Ready(Ok(Next::Batch(batch))) => {
                    this.current = Some(Cursor::new(batch));
                }
            }
        }
    }
}

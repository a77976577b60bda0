//! Records one by one, as a stream.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::EventConsumer;
use super::batch::{Batch, Record};
use super::owned::OwnedRecord;
use super::shared::Next;
use crate::events::{Event, TypedEvent};
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
/// Asking for the next record says that the one before it is handled. A stream that is dropped
/// leaves the record it gave last, and those behind it, unhandled.
#[must_use = "streams do nothing unless polled"]
pub struct EventStream<'c, D = Any> {
    consumer: &'c EventConsumer,
    current: Option<Cursor>,
    ended: bool,
    decode: PhantomData<fn() -> D>,
}

/// A batch that is taken apart record by record.
///
/// Asking for the next record says that the one before it is handled. A cursor that is dropped
/// leaves the record it gave last, and those behind it, unhandled.
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

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            batch.abandon();
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
            match this.consumer.shared.poll_next(cx) {
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

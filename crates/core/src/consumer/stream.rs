//! Records one by one, as a stream.

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

/// Where in a batch the stream is.
struct Cursor {
    batch: Batch,
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
    /// Marks the record given last as handled.
    fn confirm(&self) {
        let Some(last) = self.index.checked_sub(1) else {
            return;
        };
        let (Some(run), Some(record)) = (
            self.batch.runs().get(self.run),
            self.batch.record_of_run(self.run, last),
        ) else {
            return;
        };
        run.run.handled_to(record.offset() + 1);
        if run.records.end == self.index {
            self.batch.shared().progress.notify();
        }
    }

    fn next(&mut self) -> Option<Record<'_>> {
        while self.batch.runs().get(self.run)?.records.end <= self.index {
            self.run += 1;
        }
        self.index += 1;
        self.batch.record_of_run(self.run, self.index - 1)
    }
}

impl<D: Decode> Stream for EventStream<'_, D> {
    type Item = Result<OwnedRecord<D::Event>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(cursor) = &mut this.current {
                cursor.confirm();
                if let Some(record) = cursor.next() {
                    return Poll::Ready(Some(Ok(D::record(&record))));
                }
                if let Some(cursor) = this.current.take() {
                    cursor.batch.acknowledge();
                }
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
                    this.current = Some(Cursor {
                        batch,
                        run: 0,
                        index: 0,
                    });
                }
            }
        }
    }
}

impl<D> Drop for EventStream<'_, D> {
    fn drop(&mut self) {
        if let Some(cursor) = self.current.take() {
            cursor.batch.abandon();
        }
    }
}

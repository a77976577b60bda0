//! Records of a consumer one by one, as a stream.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::cursor::Cursor;
use super::owned::OwnedRecord;
use super::reader_id::ReaderId;
use super::record::Record;
use super::shared::Shared;
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

/// Events of one type.
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
/// Asking for the next record acknowledges the one before it. Dropping the stream returns the records
/// behind it to the consumer, for the next read, such as that of another stream. The record that it
/// gave last is acknowledged if the same thread or task reads on, and not by a close.
///
/// [`EventConsumer::stream`]: super::EventConsumer::stream
/// [`EventConsumer::typed`]: super::EventConsumer::typed
#[must_use = "streams do nothing unless polled"]
pub struct EventStream<'c, D = Any> {
    shared: &'c Shared,
    current: Option<Cursor>,
    /// Whether it waits for the next batch.
    waits: bool,
    ended: bool,
    decode: PhantomData<fn() -> D>,
}

impl<'c, D> EventStream<'c, D> {
    pub(super) fn new(shared: &'c Shared) -> Self {
        EventStream {
            shared,
            current: None,
            waits: false,
            ended: false,
            decode: PhantomData,
        }
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
            match this.shared.poll_next(&reader, &mut this.waits, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    // A close and a fatal error are the last.
                    this.ended = this.shared.is_over();
                    if this.ended && error.kind() == ErrorKind::Closed {
                        return Poll::Ready(None);
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(None),
                Poll::Ready(Ok(Some(batch))) => this.current = Some(Cursor::new(batch)),
            }
        }
    }
}

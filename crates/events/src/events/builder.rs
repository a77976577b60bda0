//! What the generated builders have in common.

use std::borrow::Cow;

use super::{Envelope, Event, HashedText, TypedEvent};

/// What an optional text field's setter takes: text, or an `Option` of it. `T` is the field's type.
pub trait OptionalText<'a, T = Cow<'a, str>> {
    /// The text, if there is any.
    fn into_optional_text(self) -> Option<T>;
}

macro_rules! optional_text {
    ($($text:ty),*) => {
        $(
            impl<'a, T: From<$text>> OptionalText<'a, T> for $text {
                #[inline(always)]
                fn into_optional_text(self) -> Option<T> {
                    Some(self.into())
                }
            }

            impl<'a, T: From<$text>> OptionalText<'a, T> for Option<$text> {
                #[inline(always)]
                fn into_optional_text(self) -> Option<T> {
                    self.map(Into::into)
                }
            }
        )*
    };
}

optional_text!(&'a str, &'a String, String, Cow<'a, str>, HashedText<'a>);

/// What can have caused an event: an event of one type or of any, or the envelope of one.
pub trait Cause {
    /// Its envelope.
    fn cause(&self) -> &Envelope<'_>;
}

impl<E: TypedEvent> Cause for E {
    fn cause(&self) -> &Envelope<'_> {
        self.envelope()
    }
}

impl Cause for Event<'_> {
    fn cause(&self) -> &Envelope<'_> {
        self.envelope()
    }
}

impl Cause for Envelope<'_> {
    fn cause(&self) -> &Envelope<'_> {
        self
    }
}

/// The setters of the envelope, the same for each builder.
macro_rules! envelope_setters {
    () => {
        /// Sets `eventId`, which is a new UUIDv7 otherwise.
        #[inline(always)]
        pub fn event_id(mut self, event_id: impl Into<EventId<'a>>) -> Self {
            self.envelope.event_id = Some(event_id.into());
            self
        }

        /// Sets `timestamp`, in milliseconds since 1970-01-01T00:00:00 UTC; now otherwise.
        #[inline(always)]
        pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
            self.envelope.timestamp_ms = Some(timestamp_ms);
            self
        }

        /// Sets `source`, which is the producer's service otherwise.
        #[inline(always)]
        pub fn source(mut self, source: impl Into<Cow<'a, str>>) -> Self {
            self.envelope.source = source.into();
            self
        }

        /// Sets `version`, the version of the event's schema; `1.0.0` otherwise.
        #[inline(always)]
        pub fn version(mut self, version: impl Into<Cow<'a, str>>) -> Self {
            self.envelope.version = Some(version.into());
            self
        }

        /// Sets `correlationId`, shared by all events of one request or workflow.
        #[inline(always)]
        pub fn correlation_id(mut self, correlation_id: impl OptionalText<'a>) -> Self {
            self.envelope.correlation_id = correlation_id.into_optional_text();
            self
        }

        /// Sets `causationId`, the id of the event that caused this one.
        #[inline(always)]
        pub fn causation_id(mut self, causation_id: impl OptionalText<'a>) -> Self {
            self.envelope.causation_id = causation_id.into_optional_text();
            self
        }

        /// Sets `cause` as what caused this event: its id becomes the causation id, and its
        /// correlation id, or its id where it has none, becomes the correlation id.
        pub fn caused_by(mut self, cause: &impl $crate::events::Cause) -> Self {
            self.envelope.caused_by(cause.cause());
            self
        }
    };
}

pub(super) use envelope_setters;

//! The seven fields that every event begins with.

use std::borrow::Cow;

use super::event_id::EventId;
use super::record::Visitor;
use super::{text, uuid};
use crate::avro::{MAX_VARINT_LEN, Reader, Writer};
use crate::error::Result;

/// The version of the events' schemas, where the caller gives none.
const SCHEMA_VERSION: &str = "1.0.0";

/// The fields that every event has.
///
/// A builder fills it: `event_id`, `event_type`, `timestamp_ms` and `version` at once, and the
/// producer puts its service's name where `source` is empty.
#[derive(Clone, PartialEq)]
pub struct Envelope<'a> {
    /// `eventId`: identifies this event and no other. A UUIDv7 where the library makes it.
    pub event_id: EventId<'a>,
    /// `eventType`: the record's name, such as `AuditAPICallEvent`.
    pub event_type: Cow<'a, str>,
    /// `timestamp`: when it happened, in milliseconds since 1970-01-01T00:00:00 UTC.
    pub timestamp_ms: i64,
    /// `source`: the service that produced the event; empty until the producer fills it.
    pub source: Cow<'a, str>,
    /// `version`: the version of the event's schema.
    pub version: Cow<'a, str>,
    /// `correlationId`: shared by all events of one request or workflow.
    pub correlation_id: Option<Cow<'a, str>>,
    /// `causationId`: the `eventId` of the event that caused this one.
    pub causation_id: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// The envelope of an event that happens now.
    pub fn new(event_type: &'static str) -> Self {
        EnvelopeBuilder::default().build(event_type)
    }

    /// The `source`, or `default_source` if it is empty.
    #[inline(always)]
    pub(crate) fn source_or<'s>(&'s self, default_source: &'s str) -> &'s str {
        if self.source.is_empty() {
            default_source
        } else {
            &self.source
        }
    }

    /// The same envelope without what it borrows.
    pub fn into_owned(self) -> Envelope<'static> {
        Envelope {
            event_id: self.event_id.into_owned(),
            event_type: text::owned(self.event_type),
            timestamp_ms: self.timestamp_ms,
            source: text::owned(self.source),
            version: text::owned(self.version),
            correlation_id: self.correlation_id.map(text::owned),
            causation_id: self.causation_id.map(text::owned),
        }
    }

    /// At least as many bytes as [`write`](Envelope::write) writes, without the default source.
    #[inline(always)]
    pub(super) fn bound(&self) -> usize {
        // A length or a value for each field, and a branch for the last two.
        9 * MAX_VARINT_LEN
            + self.event_id.bound()
            + self.event_type.len()
            + self.source.len()
            + self.version.len()
            + text::optional_len(&self.correlation_id)
            + text::optional_len(&self.causation_id)
    }

    #[inline(always)]
    pub(super) fn write(&self, default_source: &str, writer: &mut Writer<'_>) {
        self.event_id.write(writer);
        writer.string(&self.event_type);
        writer.long(self.timestamp_ms);
        writer.string(self.source_or(default_source));
        writer.string(&self.version);
        writer.optional_string(self.correlation_id.as_deref());
        writer.optional_string(self.causation_id.as_deref());
    }

    #[inline(always)]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(Envelope {
            event_id: reader.text("eventId")?.into(),
            event_type: reader.text("eventType")?,
            timestamp_ms: reader.long("timestamp")?,
            source: reader.text("source")?,
            version: reader.text("version")?,
            correlation_id: reader.optional_text("correlationId")?,
            causation_id: reader.optional_text("causationId")?,
        })
    }

    /// Shows the fields to `visitor`; `version` only where no field of the event has that name in
    /// JSON.
    pub(super) fn visit<V: Visitor>(
        &self,
        default_source: &str,
        with_version: bool,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        visitor.field("eventId", &self.event_id)?;
        visitor.field("eventType", &self.event_type)?;
        visitor.field("timestamp", &self.timestamp_ms)?;
        visitor.field("source", self.source_or(default_source))?;
        if with_version {
            visitor.field("version", &self.version)?;
        }
        visitor.field("correlationId", &self.correlation_id)?;
        visitor.field("causationId", &self.causation_id)
    }
}

/// What a builder knows about the envelope.
#[derive(Default)]
pub(super) struct EnvelopeBuilder<'a> {
    pub(super) event_id: Option<EventId<'a>>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) source: Cow<'a, str>,
    pub(super) version: Option<Cow<'a, str>>,
    pub(super) correlation_id: Option<Cow<'a, str>>,
    pub(super) causation_id: Option<Cow<'a, str>>,
}

impl<'a> EnvelopeBuilder<'a> {
    /// Takes correlation and causation from the event that caused this one.
    pub(super) fn caused_by(&mut self, cause: &Envelope<'_>) {
        let cause_id = cause.event_id.as_str();
        let correlation_id = cause.correlation_id.as_deref().unwrap_or(cause_id);
        self.correlation_id = Some(Cow::Owned(correlation_id.to_owned()));
        self.causation_id = Some(Cow::Owned(cause_id.to_owned()));
    }

    /// Fills what was not given. The clock is read once, for the id and for the timestamp.
    #[inline(always)]
    pub(super) fn build(self, event_type: &'static str) -> Envelope<'a> {
        let now_ms = uuid::now_ms();
        Envelope {
            event_id: match self.event_id {
                Some(event_id) => event_id,
                None => EventId::at(now_ms),
            },
            event_type: Cow::Borrowed(event_type),
            timestamp_ms: self.timestamp_ms.unwrap_or(now_ms),
            source: self.source,
            version: match self.version {
                Some(version) => version,
                None => Cow::Borrowed(SCHEMA_VERSION),
            },
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
        }
    }
}

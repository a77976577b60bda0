//! Reads the flat JSON of producers before Avro into an Avro body of the event's schema.
//!
//! ```text
//! {"eventId": …, "statusCode": "200", …} --read--> Avro body --generated decoder--> event
//! ```
//!
//! The schema drives the reader: it encodes each value as its field's type when it reads it, and
//! brings the fields into the schema's order at the end, which moves nothing if the producer wrote
//! them in that order. So JSON and Avro share one decoder.
//!
//! [`Rules::Lenient`] is for topics whose producers cannot be changed: the reader takes what they
//! meant and counts what it corrected. [`Rules::Strict`] is for input that can still be corrected.

mod draft;
mod read;
mod relaxed;
mod shape;
mod time;
mod value;

pub use self::relaxed::relaxed;
pub(crate) use self::shape::Shape;

use crate::events::Envelope;
use crate::{Error, ErrorKind, Result};

/// How strictly JSON is checked against the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Every value has the JSON type of its field, every field is known, and those without a
    /// default are present; only the envelope's may be left out. A timestamp whose size shows that
    /// it is not in milliseconds is refused. Errors are [`ErrorKind::InvalidEvent`].
    Strict,
    /// Whatever can be understood is read. Errors are [`ErrorKind::Undecodable`].
    ///
    /// - Numbers and booleans may be strings. Numbers, booleans, arrays and objects become text (as
    ///   their JSON) in a text field.
    /// - Whole numbers are rounded to, and are 0 where they are missing or null: JavaScript leaves
    ///   `undefined` out and writes NaN as null.
    /// - Timestamps may be RFC 3339 text; without an offset they are UTC. Numbers whose size shows
    ///   that they are seconds, microseconds or nanoseconds are converted.
    /// - Symbols may be in lower case, and null is the default if the field has one.
    /// - `NaN` and the infinities, as Python's `json` writes them, are numbers; as a whole number
    ///   they are 0. Half a surrogate pair is U+FFFD.
    /// - Fields that the schema does not have are skipped.
    Lenient,
}

/// The values of the envelope's fields that the JSON leaves out. `eventType` is the record's name
/// then, and `version` the schema's default.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    /// `eventId`.
    pub event_id: &'a str,
    /// `timestamp`, in milliseconds since 1970-01-01T00:00:00 UTC.
    pub timestamp_ms: i64,
    /// `source`.
    pub source: &'a str,
}

impl<'a> Fill<'a> {
    /// The values of an envelope, such as a new one.
    pub fn from_envelope(envelope: &'a Envelope<'_>) -> Self {
        Fill {
            event_id: envelope.event_id.as_str(),
            timestamp_ms: envelope.timestamp_ms,
            source: &envelope.source,
        }
    }
}

/// How many fields of one JSON event were skipped or corrected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leniency {
    /// Fields that the schema does not have.
    pub unknown_fields: u32,
    /// Values that were missing, or not of their field's type.
    pub mended_fields: u32,
}

/// Appends to `out` the Avro body of the event that is the JSON object `json`.
///
/// On an error `out` is as before.
pub(crate) fn read(
    event: &Shape,
    json: &[u8],
    rules: Rules,
    fill: &Fill<'_>,
    out: &mut Vec<u8>,
) -> Result<Leniency> {
    let start = out.len();
    let mut result = read::event(event, json, rules, fill, out);
    if result.is_err()
        && rules == Rules::Lenient
        && let Some(json) = relaxed(json)
    {
        out.truncate(start);
        result = read::event(event, &json, rules, fill, out).map(|leniency| Leniency {
            mended_fields: leniency.mended_fields.max(1),
            ..leniency
        });
    }
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// An error of the kind that the rules give.
fn refuse(rules: Rules, event: &str, field: &str, why: &str) -> Error {
    if rules == Rules::Strict && !field.is_empty() {
        return Error::invalid_field(event, field, why);
    }
    let kind = match rules {
        Rules::Strict => ErrorKind::InvalidEvent,
        Rules::Lenient => ErrorKind::Undecodable,
    };
    if field.is_empty() {
        return Error::new(kind, format!("{event} {why}")).with("event", event);
    }
    let error = Error::new(kind, format!("{event}.{field} {why}"));
    error.with("event", event).with("field", field)
}

#[cfg(test)]
mod tests;

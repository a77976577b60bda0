//! The rules that an event's values must keep, beyond their types.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::envelope::Envelope;
use crate::error::{Error, Result};

/// The default source while an event is built; the producer has the real one.
pub(super) const SOURCE_COMES_LATER: &str = "?";

/// A required field of a builder.
#[inline(always)]
pub(super) fn required<T>(value: Option<T>, event: &str, field: &str) -> Result<T> {
    match value {
        Some(value) => Ok(value),
        None => Err(refused(event, field, "is required")),
    }
}

/// The id must be a UUID, as the schema requires and other languages' readers check.
#[inline(always)]
pub(super) fn event_id(event: &str, envelope: &Envelope<'_>) -> Result<()> {
    if envelope.event_id.is_uuid() {
        Ok(())
    } else {
        Err(refused(event, "eventId", "must be a UUID"))
    }
}

/// A field of the record's key.
#[inline(always)]
pub(super) fn key(event: &str, field: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        Err(refused(
            event,
            field,
            "must not be empty: it is the record's key",
        ))
    } else {
        Ok(())
    }
}

/// A number with limits. NaN is within none.
#[inline(always)]
pub(super) fn range(
    event: &str,
    field: &str,
    value: f64,
    range: RangeInclusive<f64>,
) -> Result<()> {
    if range.contains(&value) {
        Ok(())
    } else {
        let (start, end) = range.into_inner();
        Err(refused(
            event,
            field,
            format_args!("must be in {start:?}..={end:?}, got {value}"),
        ))
    }
}

#[cold]
#[inline(never)]
fn refused(event: &str, field: &str, why: impl Display) -> Error {
    Error::invalid_field(event, field, why)
}

//! The values that a caller gave, matched with a record's fields and converted one by one.
//!
//! Converting runs no code of Python's own: values that need that (a numpy integer, a datetime, a
//! mapping that is no dict) are refused here as not of their field's type, and [`super::object`]
//! then asks `carbon_events._coerce` for a plain value and converts once more. So text can be
//! borrowed from the caller's objects while an event is encoded.

use carbon_events::events::{Envelope, EventId};
use pyo3::ffi;
use pyo3::prelude::*;

use super::from_arrow::{Column, FromArrow};
use super::from_python::{FromPython, Refusal, Text, Timestamp};

/// How many fields of the envelope a caller can give; they come before a record's own.
pub(crate) const ENVELOPE: [&str; 6] = [
    "event_id",
    "timestamp",
    "source",
    "version",
    "correlation_id",
    "causation_id",
];

/// The most fields that any record has, with the envelope's.
pub(crate) const MAX_FIELDS: usize = 24;

/// Columns by field.
pub(crate) type Columns<'p> = [Option<Column<'p>>; MAX_FIELDS];

/// Borrowed values by field; null where none was given.
pub(crate) type Slots = [*mut ffi::PyObject; MAX_FIELDS];

/// Why no event was made.
pub(crate) enum Refused {
    /// A value, by the number of its field.
    Field(usize, Refusal),
    /// The event as a whole.
    Event(carbon_events::Error),
}

impl From<carbon_events::Error> for Refused {
    fn from(error: carbon_events::Error) -> Self {
        Refused::Event(error)
    }
}

/// Where an event's values come from, in the order of its fields.
pub(crate) trait Source<'p> {
    /// The next field's value, if there is one.
    fn take<T: Value<'p>>(&mut self) -> Result<Option<T>, Refused>;

    /// The number of the field that is taken next.
    fn place(&self) -> usize;

    /// The next field's value.
    #[inline]
    fn required<T: Value<'p>>(&mut self) -> Result<T, Refused> {
        let index = self.place();
        self.take()?.ok_or(Refused::Field(index, Refusal::Missing))
    }

    /// The next field's value, or what stands where none is given.
    #[inline]
    fn or<T: Value<'p>>(&mut self, default: impl FnOnce() -> T) -> Result<T, Refused> {
        Ok(self.take()?.unwrap_or_else(default))
    }

    /// The envelope, filled where nothing is given; `None` counts as nothing.
    #[inline]
    fn envelope(&mut self, event: &'static str) -> Result<Envelope<'p>, Refused> {
        let mut envelope = Envelope::new(event);
        if let Some(event_id) = self.or::<Option<Text<'p>>>(|| None)? {
            envelope.event_id = EventId::from(event_id.0);
        }
        if let Some(Timestamp(timestamp_ms)) = self.or(|| None)? {
            envelope.timestamp_ms = timestamp_ms;
        }
        if let Some(source) = self.or(|| None)? {
            envelope.source = source;
        }
        if let Some(version) = self.or(|| None)? {
            envelope.version = version;
        }
        envelope.correlation_id = self.or(|| None)?;
        envelope.causation_id = self.or(|| None)?;
        Ok(envelope)
    }
}

/// A value that every source can give.
pub(crate) trait Value<'p>: FromPython<'p> + FromArrow<'p> {}

impl<'p, T: FromPython<'p> + FromArrow<'p>> Value<'p> for T {}

/// A row of Arrow's columns.
pub(crate) struct Row<'r, 'p> {
    columns: &'r Columns<'p>,
    row: usize,
    next: usize,
}

impl<'r, 'p> Row<'r, 'p> {
    pub(crate) fn new(columns: &'r Columns<'p>, row: usize) -> Self {
        Row {
            columns,
            row,
            next: 0,
        }
    }
}

impl<'p> Source<'p> for Row<'_, 'p> {
    #[inline]
    fn take<T: Value<'p>>(&mut self) -> Result<Option<T>, Refused> {
        let index = self.next;
        self.next += 1;
        let Some(column) = &self.columns[index] else {
            return Ok(None);
        };
        match T::from_arrow(column, self.row) {
            Ok(value) => Ok(Some(value)),
            Err(refusal) => Err(Refused::Field(index, refusal)),
        }
    }

    fn place(&self) -> usize {
        self.next
    }
}

/// The values of one event, taken in the order of its fields.
pub(crate) struct Arguments<'p> {
    py: Python<'p>,
    slots: &'p Slots,
    next: usize,
}

impl<'p> Arguments<'p> {
    /// # Safety
    ///
    /// The slots hold null or objects that live as long as `'p`.
    pub(crate) unsafe fn new(py: Python<'p>, slots: &'p Slots) -> Self {
        Arguments { py, slots, next: 0 }
    }
}

impl<'p> Source<'p> for Arguments<'p> {
    #[inline]
    fn take<T: Value<'p>>(&mut self) -> Result<Option<T>, Refused> {
        let index = self.next;
        self.next += 1;
        let value = self.slots[index];
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: the slots hold live objects, as `new` was promised.
        match unsafe { T::from_python(self.py, value) } {
            Ok(value) => Ok(Some(value)),
            Err(refusal) => Err(Refused::Field(index, refusal)),
        }
    }

    fn place(&self) -> usize {
        self.next
    }
}

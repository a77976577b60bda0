//! Converts the caller's values to the fields of a record, one by one.
//!
//! The conversion runs no Python code, so that text can be borrowed from the caller's objects while an
//! event is encoded. It rejects values that need Python code (a numpy integer, a datetime, a mapping that
//! is not a dict). For these, [`super::object`] calls `carbon_events._coerce` and converts again.

use carbon_events::events::{Envelope, EventId};
use pyo3::ffi;
use pyo3::prelude::*;

use super::from_arrow::{Column, FromArrow};
use super::from_python::{FromPython, Refusal, Text, Timestamp};

/// The envelope's fields that a caller can pass. They come before the record's own.
pub(crate) const ENVELOPE: [&str; 6] = [
    "event_id",
    "timestamp",
    "source",
    "version",
    "correlation_id",
    "causation_id",
];

/// The most fields of a record, including the envelope's.
pub(crate) const MAX_FIELDS: usize = 24;

/// Columns by field.
pub(crate) type Columns<'p> = [Option<Column<'p>>; MAX_FIELDS];

/// Borrowed values by field; null for a missing one.
pub(crate) type Slots = [*mut ffi::PyObject; MAX_FIELDS];

/// Why an event was not created.
pub(crate) enum Refused {
    /// The index of a field, and what is wrong with its value.
    Field(usize, Refusal),
    /// The event as a whole is invalid.
    Event(carbon_events::Error),
}

impl From<carbon_events::Error> for Refused {
    fn from(error: carbon_events::Error) -> Self {
        Refused::Event(error)
    }
}

/// The source of an event's values, in the order of its fields.
pub(crate) trait Source<'p> {
    /// The next field's value, if there is one.
    fn take<T: Value<'p>>(&mut self) -> Result<Option<T>, Refused>;

    /// The index of the next field.
    fn place(&self) -> usize;

    /// The next field's value.
    #[inline]
    fn required<T: Value<'p>>(&mut self) -> Result<T, Refused> {
        let index = self.place();
        self.take()?.ok_or(Refused::Field(index, Refusal::Missing))
    }

    /// The next field's value, or its default.
    #[inline]
    fn or<T: Value<'p>>(&mut self, default: impl FnOnce() -> T) -> Result<T, Refused> {
        Ok(self.take()?.unwrap_or_else(default))
    }

    /// The envelope. A missing field and `None` get the default.
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

/// A value that every source can provide.
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
        // SAFETY: the slots hold live objects, as `new` requires.
        match unsafe { T::from_python(self.py, value) } {
            Ok(value) => Ok(Some(value)),
            Err(refusal) => Err(Refused::Field(index, refusal)),
        }
    }

    fn place(&self) -> usize {
        self.next
    }
}

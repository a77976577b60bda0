//! Creates events from Python values. Values of other types are coerced; an error names the field.

use carbon_events::Delivery;

use super::*;
use crate::producer::Running;

impl Class {
    /// Creates an object from these values. Returns null with an exception set on failure.
    #[inline]
    pub(super) fn make(&self, py: Python<'_>, slots: Slots) -> *mut ffi::PyObject {
        match self.build(py, slots) {
            // SAFETY: one of our classes.
            Ok(encoded) => unsafe { allocate(self.class.as_ptr().cast(), encoded) },
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    }

    /// Encodes an event from these values.
    #[inline]
    pub(crate) fn build(&self, py: Python<'_>, slots: Slots) -> PyResult<EncodedEvent> {
        // SAFETY: the caller's objects, alive during its call.
        let mut arguments = unsafe { Arguments::new(py, &slots) };
        match (self.record.build)(&mut arguments) {
            Ok(encoded) => Ok(encoded),
            Err(refused) => self.build_coerced(py, slots, refused),
        }
    }

    /// Encodes again, with each value of another type coerced.
    #[cold]
    fn build_coerced(
        &self,
        py: Python<'_>,
        mut slots: Slots,
        mut refused: Refused,
    ) -> PyResult<EncodedEvent> {
        // Coercing runs Python code, which could release the caller's values.
        let given = slots.iter().filter(|value| !value.is_null());
        // SAFETY: live objects, because no Python code has run since the call.
        let _given: Vec<_> = given
            .map(|value| unsafe { Bound::from_borrowed_ptr(py, *value) })
            .collect();
        let mut coerced: Vec<(usize, Bound<'_, PyAny>)> = Vec::new();
        loop {
            let (index, expected) = match refused {
                Refused::Field(index, Refusal::Type(expected)) => (index, expected),
                other => return Err(self.error(py, &slots, other)),
            };
            // SAFETY: a live object of the caller.
            let value = unsafe { Bound::from_borrowed_ptr(py, slots[index]) };
            let again = coerced.iter().any(|(done, _)| *done == index);
            let plain = if again {
                None
            } else {
                errors::coerce(py, expected, &value).map_err(|error| {
                    let field = self.field_name(py, index);
                    errors::refused_value(py, self.record.name, &field, error)
                })?
            };
            let Some(plain) = plain else {
                return Err(self.error(py, &slots, refused));
            };
            slots[index] = plain.as_ptr();
            coerced.push((index, plain));
            // SAFETY: the caller's objects, and those in `coerced`.
            let mut arguments = unsafe { Arguments::new(py, &slots) };
            match (self.record.build)(&mut arguments) {
                Ok(encoded) => return Ok(encoded),
                Err(next) => refused = next,
            }
        }
    }

    /// Sends an event from these values.
    #[inline]
    pub(crate) fn send(
        &self,
        py: Python<'_>,
        running: &Running,
        slots: Slots,
    ) -> PyResult<Delivery> {
        // SAFETY: the caller's objects, alive during its call.
        let mut arguments = unsafe { Arguments::new(py, &slots) };
        match (self.record.send)(&mut arguments, &running.core) {
            Ok(admission) => running.admitted(py, admission),
            Err(refused) => {
                let event = self.build_coerced(py, slots, refused)?;
                running.send(py, || running.core.encoded(&event).submit())
            }
        }
    }

    /// Sends an event from a dict of fields.
    pub(crate) fn send_dict(
        &self,
        py: Python<'_>,
        running: &Running,
        fields: &Bound<'_, PyDict>,
    ) -> PyResult<Delivery> {
        let mut slots: Slots = [std::ptr::null_mut(); MAX_FIELDS];
        // SAFETY: a live dict.
        match unsafe { self.names.fill_from_dict(py, fields.as_ptr(), &mut slots) } {
            Ok(()) => self.send(py, running, slots),
            Err(name) => {
                // SAFETY: a key of that dict.
                let name = unsafe { Bound::from_borrowed_ptr(py, name) };
                Err(self.unknown(&name))
            }
        }
    }

    /// Sends an event from a row of columns.
    pub(crate) fn send_row(
        &self,
        py: Python<'_>,
        running: &Running,
        columns: &Columns<'_>,
        row: usize,
    ) -> PyResult<Delivery> {
        match (self.record.send_row)(&mut Row::new(columns, row), &running.core) {
            Ok(admission) => running.admitted(py, admission),
            Err(refused) => {
                // The error needs to know which values are present.
                let given = columns.each_ref().map(|column| match column {
                    Some(_) => py.None().into_ptr(),
                    None => std::ptr::null_mut(),
                });
                Err(self.error(py, &given, refused))
            }
        }
    }

    /// The slot of a field.
    pub(crate) fn place(&self, name: &Bound<'_, PyAny>) -> PyResult<usize> {
        let place = self.names.find(name.py(), name.as_ptr(), 0);
        place.ok_or_else(|| self.unknown(name))
    }

    fn field_name(&self, py: Python<'_>, index: usize) -> String {
        self.names.get(py, index).to_string()
    }

    pub(super) fn unknown(&self, name: &Bound<'_, PyAny>) -> PyErr {
        let event = self.record.name;
        let message = format!("{event}() got an unexpected keyword argument: '{name}'");
        errors::field_type(name.py(), event, &name.to_string(), &message)
    }

    fn error(&self, py: Python<'_>, slots: &Slots, refused: Refused) -> PyErr {
        let event = self.record.name;
        let (index, refusal) = match refused {
            Refused::Event(error) => return errors::raised(py, &error),
            Refused::Field(index, refusal) => (index, refusal),
        };
        let field = self.field_name(py, index);
        match refusal {
            Refusal::Missing => {
                let missing = self.missing(slots);
                let (s, names) = match &missing[..] {
                    [one] => ("", format!("'{one}'")),
                    more => ("s", format!("'{}'", more.join("', '"))),
                };
                let message = format!("{event}() missing required keyword argument{s}: {names}");
                errors::field_type(py, event, missing.first().unwrap_or(&""), &message)
            }
            Refusal::Value(why) => {
                let separator = if why.starts_with('[') { "" } else { " " };
                errors::value(
                    py,
                    event,
                    &field,
                    &format!("{event}.{field}{separator}{why}"),
                )
            }
            Refusal::Type(expected) => {
                // SAFETY: a live object of the caller.
                let got = unsafe { crate::events::from_python::type_name(py, slots[index]) };
                let message = format!("{event}.{field} must be {expected}, got {got}");
                errors::field_type(py, event, &field, &message)
            }
            Refusal::Item {
                place,
                expected,
                got,
            } => {
                let message = format!("{event}.{field}{place} must be {expected}, got {got}");
                errors::field_type(py, event, &field, &message)
            }
        }
    }

    fn missing(&self, slots: &Slots) -> Vec<&'static str> {
        let own = self.record.fields.iter().zip(&slots[ENVELOPE.len()..]);
        own.filter(|(field, value)| field.required && value.is_null())
            .map(|(field, _)| field.name)
            .collect()
    }
}

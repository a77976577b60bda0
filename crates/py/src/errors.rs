//! The core's errors as Python exceptions: one class for each kind, in `carbon_events.errors`.

use carbon_events::{Error, ErrorKind, Result};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

static BY_KIND: PyOnceLock<Vec<Py<PyType>>> = PyOnceLock::new();
static FIELD_TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static COERCE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Converts the core's errors to exceptions.
pub(crate) trait Raise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> Raise<T> for Result<T> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raised(py, &error))
    }
}

/// The exception of an error.
#[cold]
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).unwrap_or_else(|failed| failed)
}

/// The exception class of a kind.
pub(crate) fn class_of(py: Python<'_>, kind: ErrorKind) -> PyResult<&Bound<'_, PyType>> {
    let classes = BY_KIND.get_or_try_init(py, || {
        let by_kind = py.import("carbon_events.errors")?.getattr("BY_KIND")?;
        ErrorKind::ALL
            .iter()
            .map(|kind| {
                let class = by_kind.get_item(kind.as_str())?;
                Ok(class.cast_into::<PyType>()?.unbind())
            })
            .collect::<PyResult<Vec<_>>>()
    })?;
    let place = ErrorKind::ALL.iter().position(|one| *one == kind);
    Ok(classes[place.unwrap_or(ErrorKind::ALL.len() - 1)].bind(py))
}

/// The exception of an error, or the error of creating it.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let context = PyDict::new(py);
    for (name, value) in error.context() {
        context.set_item(name, value)?;
    }
    make(py, class_of(py, error.kind())?, error.message(), &context)
}

fn make(
    _: Python<'_>,
    class: &Bound<'_, PyType>,
    message: &str,
    context: &Bound<'_, PyDict>,
) -> PyResult<PyErr> {
    Ok(PyErr::from_value(class.call1((message, context))?))
}

fn about<'py>(py: Python<'py>, event: &str, field: &str) -> PyResult<Bound<'py, PyDict>> {
    let context = PyDict::new(py);
    context.set_item("event", event)?;
    if !field.is_empty() {
        context.set_item("field", field)?;
    }
    Ok(context)
}

/// A `FieldTypeError`: a keyword is missing or unknown, or a value has the wrong type.
#[cold]
pub(crate) fn field_type(py: Python<'_>, event: &str, field: &str, message: &str) -> PyErr {
    let made = || {
        let class = FIELD_TYPE.get_or_try_init(py, || {
            let class = py
                .import("carbon_events.errors")?
                .getattr("FieldTypeError")?;
            PyResult::Ok(class.cast_into::<PyType>()?.unbind())
        })?;
        make(py, class.bind(py), message, &about(py, event, field)?)
    };
    made().unwrap_or_else(|failed| failed)
}

/// An `InvalidEventError`: a value is invalid.
#[cold]
pub(crate) fn value(py: Python<'_>, event: &str, field: &str, message: &str) -> PyErr {
    let made = || {
        let class = class_of(py, ErrorKind::InvalidEvent)?;
        make(py, class, message, &about(py, event, field)?)
    };
    made().unwrap_or_else(|failed| failed)
}

/// The error of `coerce` as an error of the field.
#[cold]
pub(crate) fn refused_value(py: Python<'_>, event: &str, field: &str, why: PyErr) -> PyErr {
    if !why.is_instance_of::<pyo3::exceptions::PyValueError>(py) {
        return why;
    }
    value(
        py,
        event,
        field,
        &format!("{event}.{field} {}", why.value(py)),
    )
}

/// Converts a value to the type of its field. `None` if there is no conversion.
pub(crate) fn coerce<'py>(
    py: Python<'py>,
    expected: &'static str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let coerce = COERCE.get_or_try_init(py, || {
        let function = py.import("carbon_events._coerce")?.getattr("coerce")?;
        PyResult::Ok(function.unbind())
    })?;
    let plain = coerce.bind(py).call1((expected, value))?;
    Ok((!plain.is(value)).then_some(plain))
}

//! The native functions behind `carbon_events._methods`.

use carbon_events::codec::{Fill, Rules, event_from_json};
use carbon_events::events::{EncodedEvent, Envelope};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::from_python::keep_hashes_of;
use super::object::{add_classes, class_of, decoded_of, encoded_of, event_object, topic_of};
use crate::errors::Raise;

/// The flat JSON object of an event.
#[pyfunction]
fn event_to_json<'py>(event: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let mut json = Vec::new();
    decoded_of(event)?
        .write_json("", &mut json)
        .or_raise(event.py())?;
    Ok(PyString::new(event.py(), &String::from_utf8_lossy(&json)))
}

/// The Avro body of an event.
#[pyfunction]
fn event_to_avro<'py>(event: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let encoded = encoded_of(event).ok_or_else(|| PyTypeError::new_err("not an event"))?;
    Ok(PyBytes::new(event.py(), encoded.body()))
}

/// Creates an event from a flat JSON object.
#[pyfunction]
fn event_from_json_text<'py>(
    class: &Bound<'py, PyAny>,
    text: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    let (py, topic) = (class.py(), topic_of(class)?);
    let envelope = Envelope::new(topic.spec().record);
    let mut scratch = Vec::new();
    let fill = Fill::from_envelope(&envelope);
    let decoded = event_from_json(topic, text, Rules::Strict, &fill, &mut scratch).or_raise(py)?;
    event_object(py, EncodedEvent::from_event(&decoded.event).or_raise(py)?)
}

/// Creates an event from an Avro body.
#[pyfunction]
fn event_from_avro<'py>(class: &Bound<'py, PyAny>, body: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (py, topic) = (class.py(), topic_of(class)?);
    event_object(py, EncodedEvent::from_body(topic, body).or_raise(py)?)
}

/// The names of a record's fields.
#[pyfunction]
fn event_fields(class: &Bound<'_, PyAny>) -> PyResult<Vec<&'static str>> {
    Ok(class_of(class)?
        .record
        .fields
        .iter()
        .map(|field| field.name)
        .collect())
}

/// A record's Avro schema, as JSON.
#[pyfunction]
fn event_schema(class: &Bound<'_, PyAny>) -> PyResult<&'static str> {
    Ok(topic_of(class)?.spec().schema_json)
}

/// Adds classes and functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add_classes(module)?;
    module.add_function(wrap_pyfunction!(event_to_json, module)?)?;
    module.add_function(wrap_pyfunction!(event_to_avro, module)?)?;
    module.add_function(wrap_pyfunction!(event_from_json_text, module)?)?;
    module.add_function(wrap_pyfunction!(event_from_avro, module)?)?;
    module.add_function(wrap_pyfunction!(event_schema, module)?)?;
    module.add_function(wrap_pyfunction!(keep_hashes_of, module)?)?;
    module.add_function(wrap_pyfunction!(event_fields, module)?)
}

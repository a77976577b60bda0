//! Converts headers.

use carbon_events::producer::Header;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

/// Headers from a mapping or from pairs. Values are bytes, text or `None`.
pub(crate) fn from_python(headers: &Bound<'_, PyAny>) -> PyResult<Vec<Header>> {
    let pairs = match headers.cast::<PyDict>() {
        Ok(dict) => dict.items().into_any(),
        Err(_) => headers.clone(),
    };
    pairs
        .try_iter()?
        .map(|pair| {
            let (name, value): (String, Bound<'_, PyAny>) = pair?.extract().map_err(|_| {
                PyTypeError::new_err("headers must be a dict, or pairs of a name and a value")
            })?;
            let value = value_of(&value)?;
            Ok(Header { name, value })
        })
        .collect()
}

fn value_of(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    if value.is_none() {
        return Ok(None);
    }
    bytes_of(value, "a header's value").map(Some)
}

/// The bytes of bytes or of text.
pub(crate) fn bytes_of(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_cow()?.as_bytes().to_vec());
    }
    if let Ok(bytes) = value.extract::<Vec<u8>>()
        && value.hasattr("tobytes")? | value.hasattr("append")?
    {
        return Ok(bytes);
    }
    let class = value.get_type().qualname()?;
    Err(PyTypeError::new_err(format!(
        "{what} must be bytes, a str or None, got {class}"
    )))
}

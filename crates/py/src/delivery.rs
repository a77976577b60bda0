//! Delivery handles and reports for Python: to wait for, to await, or with a callback.

use carbon_events::{Delivery as CoreDelivery, DeliveryReport as CoreReport, Result};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors::{self, Raise};
use crate::{asyncio, blocking, dispatch};

/// Where the broker wrote a record.
#[pyclass(frozen, eq, module = "carbon_events")]
#[derive(Clone, PartialEq)]
pub(crate) struct DeliveryReport(CoreReport);

#[pymethods]
impl DeliveryReport {
    /// The topic.
    #[getter]
    fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The partition, from 0.
    #[getter]
    fn partition(&self) -> i32 {
        self.0.partition
    }

    /// The offset in the partition; -1 with `acks=0`.
    #[getter]
    fn offset(&self) -> i64 {
        self.0.offset
    }

    /// The record's timestamp in milliseconds UTC.
    #[getter]
    fn timestamp(&self) -> i64 {
        self.0.timestamp_ms
    }

    fn __repr__(&self) -> String {
        let CoreReport {
            topic,
            partition,
            offset,
            ..
        } = &self.0;
        format!("DeliveryReport(topic='{topic}', partition={partition}, offset={offset})")
    }

    fn __hash__(&self) -> u64 {
        (self.0.offset as u64).wrapping_mul(31) ^ self.0.partition as u64
    }
}

/// The delivery of one accepted record.
#[pyclass(frozen, module = "carbon_events")]
pub(crate) struct Delivery(pub(crate) CoreDelivery);

/// Converts an outcome: returns the report or raises the error.
pub(crate) fn outcome(py: Python<'_>, outcome: Result<CoreReport>) -> PyResult<Py<PyAny>> {
    report_object(py, outcome.or_raise(py)?)
}

/// Converts a report.
pub(crate) fn report_object(py: Python<'_>, report: CoreReport) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, DeliveryReport(report))?.into_any())
}

#[pymethods]
impl Delivery {
    /// Whether the record is delivered or failed.
    fn done(&self) -> bool {
        self.0.outcome().is_some()
    }

    /// Waits for the delivery. Returns the report or raises the error.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        if let Some(known) = self.0.outcome() {
            return outcome(py, known);
        }
        let timeout = blocking::seconds(timeout)?;
        let known = blocking::until(py, timeout, |step| {
            let outcome = self.0.wait_timeout(step);
            // A timeout of this step is not the record's error.
            self.0.outcome().or(outcome.ok().map(Ok))
        })?;
        outcome(
            py,
            known.unwrap_or_else(|| self.0.wait_timeout(std::time::Duration::ZERO)),
        )
    }

    /// Like `result`, but returns the error instead of raising it; `None` if delivered.
    #[pyo3(signature = (timeout=None))]
    fn exception(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        if self.0.outcome().is_none() {
            // Raises if the wait itself timed out.
            let waited = self.result(py, timeout);
            if self.0.outcome().is_none() {
                waited?;
            }
        }
        match self.0.outcome() {
            Some(Err(error)) => Ok(Some(
                errors::exception(py, &error)?.into_value(py).into_any(),
            )),
            _ => Ok(None),
        }
    }

    /// Calls `callback` with this handle, on a thread of the library, once the record is delivered
    /// or failed.
    fn add_done_callback(slf: &Bound<'_, Self>, callback: Py<PyAny>) -> PyResult<()> {
        dispatch::call_when_completed(slf.py(), slf.clone().unbind(), callback)
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static DUNDER: PyOnceLock<Py<pyo3::types::PyString>> = PyOnceLock::new();
        let future = asyncio::Running::get(py)?.future_of_delivery(self.0.clone())?;
        let name = DUNDER.get_or_init(py, || {
            pyo3::types::PyString::intern(py, "__await__").unbind()
        });
        future.call_method0(name.bind(py))
    }

    fn __repr__(&self) -> String {
        match self.0.outcome() {
            None => "<Delivery pending>".to_owned(),
            Some(Ok(report)) => format!(
                "<Delivery {} [{}] at offset {}>",
                report.topic, report.partition, report.offset
            ),
            Some(Err(error)) => format!("<Delivery failed: {error}>"),
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Delivery>()?;
    module.add_class::<DeliveryReport>()
}

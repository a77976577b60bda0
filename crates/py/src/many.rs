//! Sends many events in one call into Rust.

use carbon_events::events::EncodedEvent;
use carbon_events::{Delivery as CoreDelivery, Error};
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::asyncio::{self, Answer};
use crate::delivery::Delivery;
use crate::errors::{self, Raise};
use crate::producer::{ProducerBase, Running};
use crate::{blocking, events};

/// The deliveries of one `send_many`.
#[pyclass(frozen, module = "carbon_events")]
pub(crate) struct Deliveries(Vec<CoreDelivery>);

impl Deliveries {
    /// The index and error of the first record that failed.
    fn first_error(&self) -> Option<(usize, Error)> {
        self.0.iter().enumerate().find_map(|(index, one)| {
            one.outcome()
                .and_then(Result::err)
                .map(|error| (index, error))
        })
    }

    fn outcome(&self, py: Python<'_>) -> PyResult<usize> {
        match self.first_error() {
            None => Ok(self.0.len()),
            Some((index, error)) => Err(errors::raised(py, &error.with("index", index))),
        }
    }
}

#[pymethods]
impl Deliveries {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<Delivery> {
        let from_end = index.checked_add_unsigned(self.0.len()).unwrap_or(index);
        let place = if index < 0 { from_end } else { index };
        let found = usize::try_from(place).ok().and_then(|at| self.0.get(at));
        let delivery = found.ok_or_else(|| PyIndexError::new_err("no such record"))?;
        Ok(Delivery(delivery.clone()))
    }

    /// Whether every record is delivered or failed.
    fn done(&self) -> bool {
        self.0.iter().all(|one| one.outcome().is_some())
    }

    /// Waits for all deliveries and returns their number. Raises the first error, with its `index`.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<usize> {
        let timeout = blocking::seconds(timeout)?;
        let completed = blocking::until(py, timeout, |step| {
            let until = std::time::Instant::now() + step;
            let completed = self.0.iter().all(|one| {
                let left = until.saturating_duration_since(std::time::Instant::now());
                one.outcome().is_some() || {
                    let _ = one.wait_timeout(left);
                    one.outcome().is_some()
                }
            });
            completed.then_some(())
        })?;
        if completed.is_none() {
            let left = self.0.iter().filter(|one| one.outcome().is_none()).count();
            let message = format!("{left} records are not acknowledged yet");
            let late = Error::new(carbon_events::ErrorKind::Timeout, message);
            return Err(late).or_raise(py);
        }
        self.outcome(py)
    }

    /// The index and error of each record that has failed so far.
    fn errors(&self, py: Python<'_>) -> PyResult<Vec<(usize, Py<PyAny>)>> {
        let failed = self.0.iter().enumerate().filter_map(|(index, one)| {
            let error = one.outcome()?.err()?;
            let error = errors::exception(py, &error);
            Some(error.map(|error| (index, error.into_value(py).into_any())))
        });
        failed.collect()
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.clone().unbind();
        let deliveries = slf.get().0.clone();
        let work = async move {
            for delivery in deliveries {
                // `outcome` reports the errors.
                let _ = delivery.await;
            }
            Box::new(move |py: Python<'_>| {
                let count = this.get().outcome(py)?;
                Ok(count.into_pyobject(py)?.into_any().unbind())
            }) as Answer
        };
        asyncio::future_of(py, Box::pin(work))?.call_method0("__await__")
    }

    fn __repr__(&self) -> String {
        let pending = self.0.iter().filter(|one| one.outcome().is_none()).count();
        format!(
            "<Deliveries of {} records, {pending} pending>",
            self.0.len()
        )
    }
}

/// Sends a list of events, or of dicts with the fields of one record.
#[pyfunction]
fn send_many(
    producer: &Bound<'_, ProducerBase>,
    items: &Bound<'_, PyList>,
    class: Option<&Bound<'_, PyAny>>,
) -> PyResult<Deliveries> {
    let py = producer.py();
    let running = producer.get().running();
    let mut deliveries = Vec::with_capacity(items.len());
    // Converting may run code that changes the list.
    let mut index = 0;
    while let Ok(item) = items.get_item(index) {
        let delivery = match events::encoded_of(&item) {
            Some(event) => send(py, running, event),
            None => send_dict(py, running, &item, class),
        };
        deliveries.push(delivery.map_err(|error| at_index(py, error, index))?);
        index += 1;
    }
    Ok(Deliveries(deliveries))
}

fn send(py: Python<'_>, running: &Running, event: &EncodedEvent) -> PyResult<CoreDelivery> {
    running.send(py, || running.core.encoded(event).submit())
}

/// Adds the index of the item to an error's `context`, if it has one.
pub(crate) fn at_index(py: Python<'_>, error: PyErr, index: usize) -> PyErr {
    if let Ok(context) = error.value(py).getattr("context") {
        // Other exceptions are raised unchanged.
        let _ = context.set_item("index", index);
    }
    error
}

fn send_dict(
    py: Python<'_>,
    running: &Running,
    item: &Bound<'_, PyAny>,
    class: Option<&Bound<'_, PyAny>>,
) -> PyResult<CoreDelivery> {
    let dict = item.cast::<PyDict>().map_err(|_| {
        PyTypeError::new_err("items must be events, or dicts of one record's fields")
    })?;
    let class = class.ok_or_else(|| {
        PyTypeError::new_err("dicts need an event class: send_many(items, DataQualityEvent)")
    })?;
    events::class_of(class)?.send_dict(py, running, dict)
}

/// Sends columns: for each field a list, all of one length.
#[pyfunction]
fn send_columns(
    producer: &Bound<'_, ProducerBase>,
    class: &Bound<'_, PyAny>,
    columns: &Bound<'_, PyDict>,
) -> PyResult<Deliveries> {
    let py = producer.py();
    let running = producer.get().running();
    let class = events::class_of(class)?;
    let mut places = Vec::with_capacity(columns.len());
    let mut rows = None;
    for (name, column) in columns {
        let place = class.place(&name)?;
        let column = column
            .cast_into::<PyList>()
            .map_err(|_| PyTypeError::new_err(format!("column {name} must be a list")))?;
        if *rows.get_or_insert(column.len()) != column.len() {
            let message = format!(
                "column {name} has {} rows, others have more or fewer",
                column.len()
            );
            return Err(PyTypeError::new_err(message));
        }
        places.push((place, column));
    }
    let rows = rows.unwrap_or(0);
    let mut deliveries = Vec::with_capacity(rows);
    let mut slots: events::Slots = [std::ptr::null_mut(); events::MAX_FIELDS];
    for row in 0..rows {
        for (place, column) in &places {
            // SAFETY: a live list; null where another thread has made it shorter.
            let value = unsafe { ffi::PyList_GetItem(column.as_ptr(), row as isize) };
            if value.is_null() {
                return Err(PyErr::fetch(py));
            }
            slots[*place] = value;
        }
        let delivery = class.send(py, running, slots);
        deliveries.push(delivery.map_err(|error| at_index(py, error, row))?);
    }
    Ok(Deliveries(deliveries))
}

/// Sends a table with the Arrow PyCapsule interface.
#[pyfunction]
fn send_table(
    producer: &Bound<'_, ProducerBase>,
    class: &Bound<'_, PyAny>,
    table: &Bound<'_, PyAny>,
) -> PyResult<Deliveries> {
    let running = producer.get().running();
    let class = events::class_of(class)?;
    crate::arrow::send_table(table, class, running).map(Deliveries)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Deliveries>()?;
    module.add_function(wrap_pyfunction!(send_many, module)?)?;
    module.add_function(wrap_pyfunction!(send_columns, module)?)?;
    module.add_function(wrap_pyfunction!(send_table, module)?)
}

//! The native base of `carbon_events.EventProducer` and `AsyncEventProducer`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carbon_events::events::EncodedEvent;
use carbon_events::producer::{Admission, Outgoing};
use carbon_events::{Delivery as CoreDelivery, EventProducer};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::delivery::Delivery;
use crate::errors::Raise;
use crate::{asyncio, blocking, dispatch, events, headers, settings, shutdown};

/// A producer that closes at the interpreter's exit.
pub(crate) struct Running {
    pub(crate) core: EventProducer,
    pub(crate) close_timeout: Duration,
}

impl Running {
    pub(crate) fn new(
        core: EventProducer,
        settings: &carbon_events::config::ProducerSettings,
    ) -> Arc<Self> {
        let running = Arc::new(Running {
            core,
            close_timeout: settings.close_timeout,
        });
        shutdown::close_at_exit(&running);
        running
    }

    /// Sends a record. Waits without the GIL while the queue is full.
    #[inline]
    pub(crate) fn send(
        &self,
        py: Python<'_>,
        submit: impl FnOnce() -> carbon_events::Result<Admission>,
    ) -> PyResult<CoreDelivery> {
        self.admitted(py, submit().or_raise(py)?)
    }

    /// Returns the delivery. Waits without the GIL while the record waits for capacity.
    #[inline]
    pub(crate) fn admitted(&self, py: Python<'_>, admission: Admission) -> PyResult<CoreDelivery> {
        match admission.at_once() {
            Ok(delivery) => Ok(delivery),
            Err(admission) => wait_in_line(py, &admission)?.or_raise(py),
        }
    }

    pub(crate) fn flush(&self, py: Python<'_>, timeout: Duration) -> PyResult<()> {
        let flushed = blocking::until(py, timeout, |step| self.core.flush(step).ok())?;
        match flushed {
            Some(()) => Ok(()),
            // Raises the timeout error with the number of records that are left.
            None => self.core.flush(Duration::ZERO).or_raise(py),
        }
    }

    pub(crate) fn close(&self, py: Python<'_>, timeout: Duration) -> PyResult<()> {
        // Flushes in steps first, so that Ctrl-C interrupts the wait.
        let began = Instant::now();
        blocking::until(py, timeout, |step| self.core.flush(step).ok())?;
        let left = timeout.saturating_sub(began.elapsed());
        let core = self.core.clone();
        blocking::call(py, move || core.close(left))?.or_raise(py)
    }
}

/// Waits without the GIL until a record is accepted. If a signal handler raises, the record is removed.
#[cold]
pub(crate) fn wait_in_line(
    py: Python<'_>,
    admission: &Admission,
) -> PyResult<carbon_events::Result<CoreDelivery>> {
    loop {
        let wait = |step| admission.wait_timeout(step);
        if let Some(outcome) = blocking::until(py, Duration::MAX, wait)? {
            return Ok(outcome);
        }
    }
}

/// See `carbon_events._producer`.
#[pyclass(subclass, frozen, weakref, module = "carbon_events._native")]
pub(crate) struct ProducerBase {
    running: Option<Arc<Running>>,
}

impl ProducerBase {
    pub(crate) fn running(&self) -> &Arc<Running> {
        // Only `Drop` takes it.
        self.running
            .as_ref()
            .unwrap_or_else(|| std::process::abort())
    }
}

impl Drop for ProducerBase {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            shutdown::drop_on_a_thread(running);
        }
    }
}

/// The options of one record.
#[derive(Default)]
pub(crate) struct Options {
    key: Option<Vec<u8>>,
    headers: Vec<carbon_events::producer::Header>,
    partition: Option<i32>,
}

impl Options {
    pub(crate) fn new(
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        partition: Option<i32>,
    ) -> PyResult<Self> {
        Ok(Options {
            key: key.map(|key| headers::bytes_of(key, "a key")).transpose()?,
            headers: headers.map_or_else(|| Ok(Vec::new()), headers::from_python)?,
            partition,
        })
    }

    pub(crate) fn apply<'a, C>(&'a self, mut outgoing: Outgoing<'a, C>) -> Outgoing<'a, C> {
        if let Some(key) = &self.key {
            outgoing = outgoing.key(key.as_slice());
        }
        if let Some(partition) = self.partition {
            outgoing = outgoing.partition(partition);
        }
        if self.headers.is_empty() {
            outgoing
        } else {
            outgoing.headers(self.headers.iter().cloned())
        }
    }
}

/// The event of an event object.
pub(crate) fn event_of<'a>(event: &'a Bound<'_, PyAny>) -> PyResult<&'a EncodedEvent> {
    events::encoded_of(event).ok_or_else(|| {
        let class = event.get_type().qualname();
        let class = class.map_or_else(|_| String::new(), |class| class.to_string());
        PyTypeError::new_err(format!(
            "expected an event of carbon_events.events, got {class}"
        ))
    })
}

#[pymethods]
impl ProducerBase {
    #[new]
    #[pyo3(signature = (options, properties))]
    fn new(
        py: Python<'_>,
        options: &Bound<'_, PyDict>,
        properties: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let settings = settings::read(options, properties, settings::Role::Producer)?;
        let producer = settings.producer.clone();
        let core = EventProducer::builder()
            .settings(settings)
            .build()
            .or_raise(py)?;
        dispatch::start(py)?;
        Ok(ProducerBase {
            running: Some(Running::new(core, &producer)),
        })
    }

    /// Sends an event. Waits while the queue is full.
    #[pyo3(signature = (event, *, key=None, headers=None, partition=None, on_delivery=None))]
    fn send(
        &self,
        py: Python<'_>,
        event: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        partition: Option<i32>,
        on_delivery: Option<Py<PyAny>>,
    ) -> PyResult<Py<Delivery>> {
        let (running, event) = (self.running(), event_of(event)?);
        let delivery = if key.is_none() && headers.is_none() && partition.is_none() {
            running.send(py, || running.core.encoded(event).submit())?
        } else {
            let options = Options::new(key, headers, partition)?;
            running.send(py, || options.apply(running.core.encoded(event)).submit())?
        };
        accepted(py, delivery, on_delivery)
    }

    /// Sends an event, or raises `QueueFullError` without waiting.
    #[pyo3(signature = (event, *, key=None, headers=None, partition=None, on_delivery=None))]
    fn try_send(
        &self,
        py: Python<'_>,
        event: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        partition: Option<i32>,
        on_delivery: Option<Py<PyAny>>,
    ) -> PyResult<Py<Delivery>> {
        let event = event_of(event)?;
        let options = Options::new(key, headers, partition)?;
        let outgoing = options.apply(self.running().core.encoded(event));
        let delivery = outgoing.try_send().or_raise(py)?;
        accepted(py, delivery, on_delivery)
    }

    /// Sends an event. Returns a future of the running loop for the delivery report.
    #[pyo3(signature = (event, *, key=None, headers=None, partition=None, on_delivery=None))]
    fn send_async<'py>(
        slf: &Bound<'py, Self>,
        event: &Bound<'py, PyAny>,
        key: Option<&Bound<'py, PyAny>>,
        headers: Option<&Bound<'py, PyAny>>,
        partition: Option<i32>,
        on_delivery: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, core) = (slf.py(), &slf.get().running().core);
        let options = Options::new(key, headers, partition)?;
        let outgoing = options.apply(core.encoded(event_of(event)?));
        // Before the send: without a running loop, nothing is sent.
        let running = asyncio::Running::get(py).map_err(|error| no_loop(py, &error))?;
        match outgoing.submit().or_raise(py)?.at_once() {
            Ok(delivery) => {
                if on_delivery.is_some() {
                    accepted(py, delivery.clone(), on_delivery)?;
                }
                running.future_of_delivery(delivery)
            }
            Err(admission) => {
                let call = |callback| {
                    let call = move |py: Python<'_>, delivery: &CoreDelivery| {
                        accepted(py, delivery.clone(), Some(callback)).map(drop)
                    };
                    Box::new(call) as asyncio::Accepted
                };
                running.future_in_line(admission, on_delivery.map(call))
            }
        }
    }

    /// Sends bytes to any topic. A `value` of `None` is a tombstone.
    #[pyo3(signature = (topic, value, *, key=None, headers=None, partition=None, on_delivery=None))]
    #[expect(clippy::too_many_arguments, reason = "Python keywords")]
    fn send_raw(
        &self,
        py: Python<'_>,
        topic: &str,
        value: Option<&Bound<'_, PyAny>>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        partition: Option<i32>,
        on_delivery: Option<Py<PyAny>>,
    ) -> PyResult<Py<Delivery>> {
        let options = Options::new(key, headers, partition)?;
        let value = value
            .map(|value| headers::bytes_of(value, "a value"))
            .transpose()?;
        let running = self.running();
        let delivery = running.send(py, || {
            let raw = running.core.raw(topic);
            let raw = match &value {
                Some(value) => raw.value(value.as_slice()),
                None => raw,
            };
            options.apply(raw).submit()
        })?;
        accepted(py, delivery, on_delivery)
    }

    /// Waits until every accepted record is delivered or failed.
    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.running().flush(py, blocking::seconds(timeout)?)
    }

    /// Delivers the accepted records and closes the producer.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let running = self.running();
        let timeout = match timeout {
            None => running.close_timeout,
            given => blocking::seconds(given)?,
        };
        running.close(py, timeout)
    }

    /// The numbers of records accepted, delivered, failed and in flight.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.running().core.stats();
        let dict = PyDict::new(py);
        dict.set_item("accepted", stats.accepted)?;
        dict.set_item("delivered", stats.delivered)?;
        dict.set_item("failed", stats.failed)?;
        dict.set_item("queued", stats.queued)?;
        Ok(dict)
    }

    /// This producer's metrics in the Prometheus text format.
    fn metrics(&self) -> String {
        self.running().core.metrics().to_prometheus()
    }

    /// The default timeout of `close`, in seconds.
    #[getter]
    fn close_timeout(&self) -> f64 {
        self.running().close_timeout.as_secs_f64()
    }
}

/// The error of an asynchronous send outside of an event loop.
#[cold]
fn no_loop(py: Python<'_>, cause: &PyErr) -> PyErr {
    let error = PyRuntimeError::new_err(
        "AsyncEventProducer.send needs a running event loop in this thread: call it in a coroutine, \
         or use EventProducer",
    );
    error.set_cause(py, Some(cause.clone_ref(py)));
    error
}

/// The Python handle of an accepted record.
fn accepted(
    py: Python<'_>,
    delivery: CoreDelivery,
    on_delivery: Option<Py<PyAny>>,
) -> PyResult<Py<Delivery>> {
    let delivery = Py::new(py, Delivery(delivery))?;
    if let Some(callback) = on_delivery {
        dispatch::call_when_completed(py, delivery.clone_ref(py), callback)?;
    }
    Ok(delivery)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ProducerBase>()
}

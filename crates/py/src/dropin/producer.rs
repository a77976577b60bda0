//! `event_producer.Producer`: made of a dict of librdkafka's properties, and alive again after it
//! was closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use carbon_events::codec::{Fill, Rules, event_from_json};
use carbon_events::config::{EventFormat, Settings};
use carbon_events::events::Envelope;
use carbon_events::sync::Mutex;
use carbon_events::{Delivery as CoreDelivery, ErrorKind, EventProducer, Topic};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::delivery::Delivery;
use crate::errors::Raise;
use crate::producer::{Options, Running, drop_detached};
use crate::{blocking, dispatch, headers};

/// The low-level producer below `event_producer.EventProducer`.
#[pyclass(
    frozen,
    subclass,
    weakref,
    name = "Producer",
    module = "event_producer"
)]
pub(crate) struct DropInProducer {
    settings: Mutex<Settings>,
    running: ArcSwapOption<Running>,
    /// Of those that were closed.
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Drop for DropInProducer {
    fn drop(&mut self) {
        if let Some(running) = self.running.swap(None) {
            drop_detached(running);
        }
    }
}

impl DropInProducer {
    /// The running producer; makes one with the first record, and with the first one after `close`.
    fn running(&self, py: Python<'_>) -> PyResult<Arc<Running>> {
        if let Some(running) = self.running.load_full() {
            return Ok(running);
        }
        let settings = self.settings.lock().clone();
        let producer = settings.producer.clone();
        let core = build(settings).or_raise(py)?;
        dispatch::start(py)?;
        let made = Running::new(core, &producer);
        let before = self
            .running
            .compare_and_swap(&None::<Arc<Running>>, Some(Arc::clone(&made)));
        Ok(before.as_ref().map_or(made, Arc::clone))
    }

    /// Sends through the running producer, or through the next where that was just closed.
    pub(super) fn send(
        &self,
        py: Python<'_>,
        send: impl Fn(&EventProducer) -> carbon_events::Result<CoreDelivery>,
    ) -> PyResult<CoreDelivery> {
        loop {
            let running = self.running.load();
            let Some(found) = &*running else {
                self.running(py)?;
                continue;
            };
            match send(&found.core) {
                Ok(delivery) => return Ok(delivery),
                Err(error) if error.kind() == ErrorKind::Closed => {
                    let found = Arc::clone(found);
                    drop(running);
                    self.retire(&found);
                }
                Err(error) if error.kind() == ErrorKind::QueueFull => {
                    let found = Arc::clone(found);
                    drop(running);
                    return found.send(py, || send(&found.core));
                }
                Err(error) => return Err(error).or_raise(py),
            }
        }
    }

    /// As [`send`](Self::send), for the hot calls: an error of the event's is given as it is.
    #[inline]
    pub(super) fn send_hot(
        &self,
        py: Python<'_>,
        send: impl Fn(&EventProducer) -> carbon_events::Result<CoreDelivery>,
    ) -> PyResult<carbon_events::Result<()>> {
        let running = self.running.load();
        if let Some(found) = &*running {
            match send(&found.core) {
                Ok(_) => return Ok(Ok(())),
                Err(error) if error.kind() == ErrorKind::InvalidEvent => return Ok(Err(error)),
                Err(_) => {}
            }
        }
        drop(running);
        self.send(py, send).map(|_| Ok(()))
    }

    /// Takes a closed producer out and keeps what it had counted.
    fn retire(&self, closed: &Arc<Running>) {
        let before = self.running.compare_and_swap(closed, None);
        if before.as_ref().is_some_and(|one| Arc::ptr_eq(one, closed)) {
            let stats = closed.core.stats();
            self.delivered.fetch_add(stats.delivered, Ordering::Relaxed);
            self.failed.fetch_add(stats.failed, Ordering::Relaxed);
        }
    }

    pub(super) fn writes_json(&self) -> bool {
        let settings = self.settings.lock();
        settings.producer.event_format(EventFormat::Json) == EventFormat::Json
    }

    fn queued(&self) -> u64 {
        let running = self.running.load();
        running.as_ref().map_or(0, |one| one.core.stats().queued)
    }
}

fn build(settings: Settings) -> carbon_events::Result<EventProducer> {
    EventProducer::builder().settings(settings).build()
}

#[pymethods]
impl DropInProducer {
    #[new]
    fn new(config: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = config.py();
        let mut settings = Settings::from_env().or_raise(py)?;
        settings.producer = settings.producer.format(EventFormat::Json);
        for (name, value) in config {
            if value.is_none() {
                continue;
            }
            let value = match value.extract::<bool>() {
                Ok(value) => value.to_string(),
                Err(_) => value.str()?.to_string(),
            };
            settings.connection = settings
                .connection
                .property(name.extract::<String>()?, value);
        }
        // What is wrong is said now; nothing is connected.
        build(settings.clone()).or_raise(py)?;
        Ok(DropInProducer {
            settings: Mutex::new(settings),
            running: ArcSwapOption::empty(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// Writes the typed calls' events as Avro, with the ids of this registry.
    fn use_registry(&self, py: Python<'_>, url: &str) -> PyResult<()> {
        let mut settings = self.settings.lock();
        settings.registry = settings.registry.clone().urls(url);
        settings.producer = settings.producer.clone().format(EventFormat::Avro);
        build(settings.clone()).or_raise(py).map(drop)
    }

    /// Whether typed events leave as JSON.
    #[getter(writes_json)]
    fn is_writing_json(&self) -> bool {
        self.writes_json()
    }

    /// Sends a record to any topic.
    #[pyo3(signature = (topic, value=None, key=None, partition=-1, callback=None, on_delivery=None,
                        timestamp=0, headers=None))]
    #[expect(clippy::too_many_arguments, reason = "confluent-kafka's signature")]
    fn produce(
        &self,
        py: Python<'_>,
        topic: &str,
        value: Option<&Bound<'_, PyAny>>,
        key: Option<&Bound<'_, PyAny>>,
        partition: i32,
        callback: Option<Py<PyAny>>,
        on_delivery: Option<Py<PyAny>>,
        timestamp: i64,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if timestamp != 0 {
            return Err(PyValueError::new_err(
                "a record's timestamp is set by the client",
            ));
        }
        let partition = (partition >= 0).then_some(partition);
        let options = Options::new(key, headers, partition)?;
        let value = value
            .map(|value| headers::bytes_of(value, "a value"))
            .transpose()?;
        let delivery = self.send(py, |core| {
            let raw = core.raw(topic);
            let raw = match &value {
                Some(value) => raw.value(value.as_slice()),
                None => raw,
            };
            options.apply(raw).try_send()
        })?;
        match on_delivery.or(callback) {
            None => Ok(()),
            Some(callback) => {
                dispatch::call_when_settled(py, Py::new(py, Delivery(delivery))?, callback)
            }
        }
    }

    /// Sends a typed event given as flat JSON, taking what its producer meant.
    #[pyo3(signature = (topic, json, key=None))]
    fn produce_event(
        &self,
        py: Python<'_>,
        topic: &str,
        json: &[u8],
        key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let topic = Topic::from_name(topic).ok_or_else(|| {
            PyValueError::new_err(format!("{topic} is no topic of a typed event"))
        })?;
        let options = Options::new(key, None, None)?;
        let envelope = Envelope::new(topic.spec().record);
        let (fill, mut scratch) = (Fill::from_envelope(&envelope), Vec::new());
        let decoded =
            event_from_json(topic, json, Rules::Lenient, &fill, &mut scratch).or_raise(py)?;
        self.send(py, |core| {
            options.apply(core.any(&decoded.event)).try_send()
        })
        .map(drop)
    }

    /// Nothing to serve: deliveries are counted as they come.
    #[pyo3(signature = (timeout=None))]
    fn poll(&self, timeout: Option<f64>) -> u32 {
        let _ = timeout;
        0
    }

    /// Waits until everything is settled; how many records are not.
    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let timeout = blocking::seconds(timeout)?;
        if let Some(running) = self.running.load_full() {
            blocking::until(py, timeout, |step| running.core.flush(step).ok())?;
        }
        Ok(self.queued())
    }

    /// Delivers what was accepted and lets go of threads and connections; a later record makes
    /// them anew.
    #[pyo3(signature = (timeout=0.0))]
    fn close(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = blocking::seconds(Some(timeout))?;
        let Some(running) = self.running.load_full() else {
            return Ok(());
        };
        let closed = running.close(py, timeout);
        self.retire(&running);
        closed
    }

    fn __len__(&self) -> usize {
        self.queued() as usize
    }

    /// How many records were delivered.
    #[getter]
    fn delivered(&self) -> u64 {
        let now = self
            .running
            .load()
            .as_ref()
            .map_or(0, |one| one.core.stats().delivered);
        self.delivered.load(Ordering::Relaxed) + now
    }

    /// How many records failed.
    #[getter]
    fn failed(&self) -> u64 {
        let now = self
            .running
            .load()
            .as_ref()
            .map_or(0, |one| one.core.stats().failed);
        self.failed.load(Ordering::Relaxed) + now
    }
}

/// librdkafka's properties of a connection, as the environment and these arguments have it.
#[pyfunction]
#[pyo3(signature = (options, client_id))]
fn connection_properties<'py>(
    options: &Bound<'py, PyDict>,
    client_id: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let py = options.py();
    let none = PyDict::new(py);
    let settings = crate::settings::read(options, &none, crate::settings::Role::Producer)?;
    let connection = settings.connection.client_id(client_id);
    let config = connection.client_config().or_raise(py)?;
    let properties = PyDict::new(py);
    for (name, value) in config.config_map() {
        properties.set_item(name, value)?;
    }
    Ok(properties)
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("DropInProducer", module.py().get_type::<DropInProducer>())?;
    module.add_function(wrap_pyfunction!(connection_properties, module)?)
}

//! `event_producer.Producer`: made of a dict of librdkafka's properties, on the engine that all
//! producers of equal settings share. Closing one gives its part in the engine back; a later record
//! takes part again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use carbon_events::codec::{Fill, Rules, event_from_json};
use carbon_events::config::{EventFormat, Settings};
use carbon_events::events::Envelope;
use carbon_events::producer::SharedProducer;
use carbon_events::{Delivery as CoreDelivery, ErrorKind, EventProducer, Topic};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::delivery::Delivery;
use crate::errors::Raise;
use crate::producer::{Options, send_when_there_is_room};
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
    shared: SharedProducer,
    /// How long the last flush waited for records that are still in flight, in milliseconds.
    waited_ms: AtomicU64,
}

impl DropInProducer {
    /// Sends; waits without the GIL while the queue is full.
    pub(super) fn send(
        &self,
        py: Python<'_>,
        send: impl Fn(&EventProducer) -> carbon_events::Result<CoreDelivery>,
    ) -> PyResult<CoreDelivery> {
        if !self.shared.is_running() {
            dispatch::start(py)?;
        }
        match self.shared.with(&send) {
            Err(error) if error.kind() == ErrorKind::QueueFull => {
                let block_timeout = self.shared.settings(|it| it.producer.block_timeout);
                let wait = |step| self.shared.with(|core| Ok(core.wait_for_room(step)));
                let wait = |step| wait(step).unwrap_or(true);
                send_when_there_is_room(py, block_timeout, wait, || self.shared.with(&send))
            }
            sent => sent.or_raise(py),
        }
    }

    /// As [`send`](Self::send), for the hot calls: an error of the event's is given as it is.
    #[inline]
    pub(super) fn send_hot(
        &self,
        py: Python<'_>,
        send: impl Fn(&EventProducer) -> carbon_events::Result<CoreDelivery>,
    ) -> PyResult<carbon_events::Result<()>> {
        if self.shared.is_running() {
            match self.shared.with(&send) {
                Ok(_) => return Ok(Ok(())),
                Err(error) if error.kind() == ErrorKind::InvalidEvent => return Ok(Err(error)),
                Err(_) => {}
            }
        }
        self.send(py, send).map(|_| Ok(()))
    }

    pub(super) fn writes_json(&self) -> bool {
        let format = |it: &Settings| it.producer.event_format(EventFormat::Json);
        self.shared.settings(format) == EventFormat::Json
    }
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
        Ok(DropInProducer {
            shared: SharedProducer::new(settings).or_raise(py)?,
            waited_ms: AtomicU64::new(0),
        })
    }

    /// Writes the typed calls' events as Avro, with the ids of this registry.
    fn use_registry(&self, py: Python<'_>, url: &str) -> PyResult<()> {
        let changed = self.shared.change_settings(|settings| {
            settings.registry = settings.registry.clone().urls(url);
            settings.producer = settings.producer.clone().format(EventFormat::Avro);
        });
        changed.or_raise(py)
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

    /// Waits until every record of this producer has completed; returns how many have not.
    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let timeout = blocking::seconds(timeout)?;
        let began = Instant::now();
        let flushed = blocking::until(py, timeout, |step| self.shared.flush(step).ok())?;
        let waited = flushed.map_or_else(|| began.elapsed().as_millis() as u64, |()| 0);
        self.waited_ms.store(waited, Ordering::Relaxed);
        Ok(self.shared.stats().queued)
    }

    /// Gives its part in the engine back once every record of this producer has completed. Records
    /// that have not after `timeout` seconds stay in the engine.
    #[pyo3(signature = (timeout=0.0))]
    fn close(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let before = self.waited_ms.load(Ordering::Relaxed);
        self.flush(py, Some(timeout))?;
        let waited = self.waited_ms.load(Ordering::Relaxed);
        let in_vain = std::time::Duration::from_millis(before + waited);
        let left = self.shared.stats().queued > 0;
        self.shared.closed(left.then_some(in_vain));
        Ok(())
    }

    fn __len__(&self) -> usize {
        self.shared.stats().queued as usize
    }

    /// How many records were delivered.
    #[getter]
    fn delivered(&self) -> u64 {
        self.shared.stats().delivered
    }

    /// How many records failed.
    #[getter]
    fn failed(&self) -> u64 {
        self.shared.stats().failed
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

//! `event_producer.Producer`: the low-level producer, configured by librdkafka properties. Producers
//! with equal settings share one engine. Closing a producer releases its share of the engine; its next
//! record acquires it again.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use carbon_events::codec::Fill;
use carbon_events::compat::{self, event_from_call, event_from_protected_call, protect_json};
use carbon_events::config::{EventFormat, Settings};
use carbon_events::events::Envelope;
use carbon_events::producer::{Admission, SharedProducer};
use carbon_events::{Delivery as CoreDelivery, ErrorKind, EventProducer, Topic};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::calls;
use super::config::Config;
use super::reports::{self, Callbacks, Counts, Record};
use super::table::Sending;
use crate::errors::Raise;
use crate::producer::{Options, wait_in_line};
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
    /// The milliseconds that the last flush waited in vain.
    waited_ms: AtomicU64,
    /// Whether typed events are written as JSON.
    writes_json: AtomicBool,
    /// Called for every record, in addition to the record's own callback.
    on_delivery: Option<Py<PyAny>>,
    only_errors: bool,
    counts: Arc<Counts>,
}

impl DropInProducer {
    /// Sends a record. Waits without the GIL while the queue is full, so `submit` must not borrow from
    /// Python objects.
    #[inline]
    pub(super) fn send(
        &self,
        py: Python<'_>,
        submit: impl Fn(&EventProducer) -> carbon_events::Result<Admission>,
    ) -> PyResult<CoreDelivery> {
        let sent = match self.shared.with_running(&submit) {
            Some(sent) => sent,
            None => {
                dispatch::start(py)?;
                self.shared.with(&submit)
            }
        };
        match sent.or_raise(py)?.at_once() {
            Ok(delivery) => Ok(delivery),
            Err(admission) => self.send_in_line(py, admission, submit),
        }
    }

    /// Waits until a record is accepted. Sends it again if the engine was closed meanwhile.
    #[cold]
    fn send_in_line(
        &self,
        py: Python<'_>,
        mut admission: Admission,
        submit: impl Fn(&EventProducer) -> carbon_events::Result<Admission>,
    ) -> PyResult<CoreDelivery> {
        loop {
            match wait_in_line(py, &admission)? {
                Err(error) if error.kind() == ErrorKind::Closed => {
                    admission = self.shared.with(&submit).or_raise(py)?;
                }
                outcome => return outcome.or_raise(py),
            }
        }
    }

    /// Sends an event that borrows from Python objects. If it has to wait, sends a copy, because Python
    /// code may run meanwhile.
    #[inline]
    pub(super) fn send_borrowed(&self, py: Python<'_>, event: &dyn Sending) -> PyResult<()> {
        match self.shared.with_running(|core| event.try_send(core)) {
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) if error.kind() == ErrorKind::InvalidEvent => {
                return Err(error).or_raise(py);
            }
            _ => {}
        }
        let copy = event.encoded().or_raise(py)?;
        self.send(py, |core| core.encoded(&copy).submit()).map(drop)
    }

    pub(super) fn writes_json(&self) -> bool {
        self.writes_json.load(Ordering::Relaxed)
    }

    /// Whether a callback is called for every record.
    pub(super) fn calls_back(&self) -> bool {
        self.on_delivery.is_some()
    }

    fn update_format(&self) {
        let format = |it: &Settings| it.producer.event_format(EventFormat::Json);
        let writes_json = self.shared.settings(format) == EventFormat::Json;
        self.writes_json.store(writes_json, Ordering::Relaxed);
    }

    /// Sends a typed event from its flat JSON, read leniently.
    fn send_typed(
        &self,
        py: Python<'_>,
        topic: Topic,
        json: &[u8],
        is_protected: bool,
        options: &Options,
    ) -> PyResult<CoreDelivery> {
        let envelope = Envelope::new(topic.spec().record);
        let (fill, mut scratch) = (Fill::from_envelope(&envelope), Vec::new());
        let read = match is_protected {
            true => event_from_protected_call,
            false => event_from_call,
        };
        let decoded = read(topic, json, &fill, &mut scratch).or_raise(py)?;
        self.send(py, |core| options.apply(core.any(&decoded.event)).submit())
    }

    /// The callbacks of a record, without the one that only counts.
    fn callbacks(&self, py: Python<'_>, own: Option<Py<PyAny>>) -> PyResult<Callbacks> {
        let counts_only = |function: &Bound<'_, PyAny>| {
            let module = calls::module(py)?;
            let method = function.getattr_opt("__func__").ok()??;
            method.is(&module.delivery_callback).then_some(())
        };
        let own = own.filter(|own| !own.is_none(py) && counts_only(own.bind(py)).is_none());
        let counted = own.is_some();
        let global = self.on_delivery.as_ref().map(|it| it.clone_ref(py));
        Ok(Callbacks {
            functions: own.into_iter().chain(global).collect(),
            only_errors: self.only_errors,
            counted,
        })
    }
}

#[pymethods]
impl DropInProducer {
    #[new]
    fn new(config: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut config_read = Config::read(config)?;
        let on_delivery = config_read.on_delivery.take();
        let only_errors = config_read.only_errors;
        let made = DropInProducer {
            shared: config_read.producer().or_raise(config.py())?,
            waited_ms: AtomicU64::new(0),
            writes_json: AtomicBool::new(true),
            on_delivery,
            only_errors,
            counts: Arc::default(),
        };
        made.update_format();
        Ok(made)
    }

    /// Writes the events of typed calls as Avro, with the schema ids of this registry.
    fn use_registry(&self, py: Python<'_>, url: &str) -> PyResult<()> {
        let changed = self.shared.change_settings(|settings| {
            compat::config::use_registry(settings, url);
        });
        self.update_format();
        changed.or_raise(py)
    }

    /// Whether typed events are written as JSON.
    #[getter(writes_json)]
    fn is_writing_json(&self) -> bool {
        self.writes_json()
    }

    /// Sends a record to any topic. Protects the sensitive values of JSON.
    #[pyo3(signature = (topic, value=None, key=None, partition=-1, callback=None, on_delivery=None,
                        timestamp=0, headers=None))]
    #[expect(clippy::too_many_arguments, reason = "confluent-kafka's signature")]
    fn produce(
        &self,
        py: Python<'_>,
        topic: &str,
        value: Option<Bound<'_, PyAny>>,
        key: Option<Bound<'_, PyAny>>,
        partition: i32,
        callback: Option<Py<PyAny>>,
        on_delivery: Option<Py<PyAny>>,
        timestamp: i64,
        headers: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let refused = |why| Err(PyValueError::new_err(why));
        if timestamp != 0 {
            return refused("a record's timestamp is set by the client");
        }
        if topic.is_empty() {
            return refused("a topic's name must not be empty");
        }
        let topic = topic.to_owned();
        let partition = (partition >= 0).then_some(partition);
        let options = Options::new(key.as_ref(), headers.as_ref(), partition)?;
        let bytes = value
            .as_ref()
            .map(|value| headers::bytes_of(value, "a value"))
            .transpose()?;
        let callbacks = self.callbacks(py, on_delivery.or(callback))?;
        let is = |value: &Bound<'_, PyAny>, class: fn(&calls::Module) -> &Py<PyAny>| {
            calls::module(py).is_some_and(|module| {
                value
                    .is_instance(class(module).bind(py))
                    .unwrap_or_default()
            })
        };
        let event = match &value {
            Some(value) if !self.writes_json() && is(value, |module| &module.typed_json) => {
                Topic::from_name(&topic)
            }
            _ => None,
        };
        // Only if it was protected for this topic.
        let is_protected = value.as_ref().is_some_and(|value| {
            is(value, |module| &module.protected)
                && value
                    .getattr("topic")
                    .and_then(|protected| protected.eq(&topic))
                    .unwrap_or_default()
        });
        let delivery = match (event, &bytes) {
            (Some(event), Some(json)) => {
                self.send_typed(py, event, json, is_protected, &options)?
            }
            _ => {
                let bytes = bytes.as_deref().map(|value| match is_protected {
                    true => Cow::Borrowed(value),
                    false => protect_json(&topic, "", value),
                });
                self.send(py, |core| {
                    let raw = core.raw(&topic);
                    let raw = match &bytes {
                        Some(value) => raw.value(&**value),
                        None => raw,
                    };
                    options.apply(raw).submit()
                })?
            }
        };
        if !callbacks.functions.is_empty() {
            let [key, value, headers] = [key, value, headers].map(|it| it.map(Bound::unbind));
            let record = Record {
                topic,
                key,
                value,
                headers,
            };
            reports::call_back(py, delivery, record, callbacks, &self.counts);
        }
        Ok(())
    }

    /// Waits up to `timeout` seconds for callbacks. Returns how many have run since the last call. They
    /// run without a call, too.
    #[pyo3(signature = (timeout=None))]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let timeout = blocking::seconds(timeout.or(Some(0.0)))?;
        let served = self.counts.take_served();
        if served > 0 || timeout.is_zero() {
            return Ok(served);
        }
        let before = self.completed();
        let done = |step: Duration| {
            let served = self.counts.take_served();
            if served > 0 || self.completed() > before {
                return Some(served);
            }
            std::thread::sleep(step.min(Duration::from_millis(5)));
            None
        };
        Ok(blocking::until(py, timeout, done)?.unwrap_or(0))
    }

    /// Waits until every record of this producer has completed. Returns how many have not.
    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let timeout = blocking::seconds(timeout)?;
        let began = Instant::now();
        let flushed = blocking::until(py, timeout, |step| self.shared.flush(step).ok())?;
        let waited = flushed.map_or_else(|| began.elapsed().as_millis() as u64, |()| 0);
        self.waited_ms.store(waited, Ordering::Relaxed);
        // Waits for the callbacks as well, except in a callback, which cannot wait for itself.
        if !dispatch::in_callback(py)? {
            if self.counts.uncalled() > 0 {
                // The dispatcher may have been killed, with the other greenlets.
                dispatch::ensure(py)?;
            }
            let left = timeout.saturating_sub(began.elapsed());
            blocking::until(py, left, |step| self.counts.wait(step).then_some(()))?;
        }
        Ok(self.left())
    }

    /// Waits up to `timeout` seconds for the records of this producer and releases its share of the
    /// engine. The records that are left stay in the engine.
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

    /// The number of records that, or whose callbacks, have not completed.
    fn __len__(&self) -> usize {
        self.left() as usize
    }

    /// Always true, although `len` may be 0.
    fn __bool__(&self) -> bool {
        true
    }

    /// The number of delivered records, without those that their own callback counts.
    #[getter]
    fn delivered(&self) -> u64 {
        let (counted, _) = self.counts.outcomes();
        self.shared.stats().delivered.saturating_sub(counted)
    }

    /// The number of failed records, without those that their own callback counts.
    #[getter]
    fn failed(&self) -> u64 {
        let (_, counted) = self.counts.outcomes();
        self.shared.stats().failed.saturating_sub(counted)
    }
}

impl DropInProducer {
    fn completed(&self) -> u64 {
        let stats = self.shared.stats();
        stats.delivered + stats.failed
    }

    fn left(&self) -> u64 {
        self.shared.stats().queued + self.counts.uncalled()
    }
}

/// The JSON with its sensitive values protected for a topic.
#[pyfunction(name = "protect_json")]
fn protected<'py>(py: Python<'py>, topic: &str, value: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &protect_json(topic, "", value))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(protected, module)?)?;
    module.add("DropInProducer", module.py().get_type::<DropInProducer>())
}

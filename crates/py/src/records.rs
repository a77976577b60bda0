//! Consumed records. Each is a copy, so that a kept record does not keep its batch alive.

use std::sync::Arc;

use carbon_events::Error;
use carbon_events::consumer::Record as CoreRecord;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple, PyType};

use crate::{errors, events};

/// A record that was read: an event, a tombstone, or undecodable.
#[pyclass(frozen, module = "carbon_events")]
pub(crate) struct Record {
    topic: Py<PyString>,
    pub(crate) place: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    timestamp: Option<i64>,
    key: Option<Box<[u8]>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None` for a tombstone.
    event: Option<Result<Py<PyAny>, Box<Undecodable>>>,
}

struct Undecodable {
    error: Error,
    value: Option<Vec<u8>>,
}

/// A topic's name, shared by consecutive records.
pub(crate) struct TopicName(Option<(Arc<str>, Py<PyString>)>);

impl TopicName {
    pub(crate) const fn new() -> Self {
        TopicName(None)
    }

    fn of(&mut self, py: Python<'_>, topic: &str) -> (Arc<str>, Py<PyString>) {
        match &self.0 {
            Some((known, name)) if **known == *topic => (Arc::clone(known), name.clone_ref(py)),
            _ => {
                let (known, name): (Arc<str>, _) =
                    (topic.into(), PyString::new(py, topic).unbind());
                self.0 = Some((Arc::clone(&known), name.clone_ref(py)));
                (known, name)
            }
        }
    }
}

impl Record {
    pub(crate) fn new(
        py: Python<'_>,
        record: &CoreRecord<'_>,
        topics: &mut TopicName,
    ) -> PyResult<Self> {
        let event = match record.encoded() {
            Ok(encoded) => Some(Ok(events::event_object(py, encoded)?.unbind())),
            Err(_) if record.is_tombstone() => None,
            Err(error) => Some(Err(Box::new(Undecodable {
                error,
                value: record.value().map(<[u8]>::to_vec),
            }))),
        };
        let (place, topic) = topics.of(py, record.topic());
        let headers = record
            .headers()
            .map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)));
        Ok(Record {
            topic,
            place,
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp_ms(),
            key: record.key().map(Into::into),
            headers: headers.collect(),
            event,
        })
    }
}

impl Record {
    fn undecodable(&self) -> Option<&Undecodable> {
        self.event.as_ref()?.as_ref().err().map(|it| &**it)
    }
}

#[pymethods]
impl Record {
    /// The topic that it was read from.
    #[getter]
    fn topic(&self, py: Python<'_>) -> Py<PyString> {
        self.topic.clone_ref(py)
    }

    /// The partition, from 0.
    #[getter]
    fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset in the partition.
    #[getter]
    fn offset(&self) -> i64 {
        self.offset
    }

    /// The record's timestamp in milliseconds UTC.
    #[getter]
    fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    /// The key's bytes.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.key.as_ref().map(|key| PyBytes::new(py, key))
    }

    /// The headers, in the order in which they were written.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for (name, value) in &self.headers {
            let value = value.as_ref().map(|value| PyBytes::new(py, value));
            list.append((name, value))?;
        }
        Ok(list)
    }

    /// The value of the last header with this name.
    fn header<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyBytes>> {
        let mut headers = self.headers.iter().rev();
        let (_, value) = headers.find(|(header, _)| header == name)?;
        value.as_ref().map(|value| PyBytes::new(py, value))
    }

    /// Whether the record is a tombstone: it has no value, event or error.
    #[getter]
    fn tombstone(&self) -> bool {
        self.event.is_none()
    }

    /// The event; `None` for a tombstone. Raises the error of an undecodable record.
    #[getter]
    fn event(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.event {
            None => Ok(py.None()),
            Some(Ok(event)) => Ok(event.clone_ref(py)),
            Some(Err(undecodable)) => Err(errors::raised(py, &undecodable.error)),
        }
    }

    /// Why the record is undecodable; `None` for an event or a tombstone.
    #[getter]
    fn error(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(undecodable) = self.undecodable() else {
            return Ok(None);
        };
        let error = errors::exception(py, &undecodable.error)?;
        Ok(Some(error.into_value(py).into_any()))
    }

    /// The bytes of an undecodable record; `None` for an event or a tombstone.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let value = self.undecodable()?.value.as_ref()?;
        Some(PyBytes::new(py, value))
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["topic", "event"])
    }

    /// `Record[DataQualityEvent]` in an annotation that is evaluated.
    #[classmethod]
    fn __class_getitem__<'py>(
        cls: &Bound<'py, PyType>,
        event: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let alias = cls.py().import("types")?.getattr("GenericAlias")?;
        alias.call1((cls, event))
    }

    fn __repr__(&self) -> String {
        format!(
            "<Record {} [{}] at offset {}>",
            self.place, self.partition, self.offset
        )
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Record>()
}

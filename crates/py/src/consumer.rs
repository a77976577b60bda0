//! The native base of `carbon_events.EventConsumer` and `AsyncEventConsumer`.

use std::sync::Arc;
use std::time::Duration;

use carbon_events::consumer::{Batch, Iteration, Offsets, ReaderId};
use carbon_events::sync::Mutex;
use carbon_events::{ErrorKind, EventConsumer};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::asyncio::{self, Answer};
use crate::errors::Raise;
use crate::records::{Record, TopicName};
use crate::shutdown::drop_on_a_thread;
use crate::{blocking, dispatch, greenlets, settings};

struct Shared {
    core: EventConsumer,
    iteration: Iteration,
    close_timeout: Duration,
    detects_end: bool,
}

/// See `carbon_events._consumer`.
#[pyclass(subclass, frozen, weakref, module = "carbon_events._native")]
pub(crate) struct ConsumerBase {
    shared: Option<Arc<Shared>>,
}

impl Drop for ConsumerBase {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            drop_on_a_thread(shared);
        }
    }
}

/// The result of one step of reading.
enum Step {
    Batch(Batch),
    End,
}

impl Shared {
    /// Waits without the GIL for the next batch. `None` after the timeout or at the end.
    fn next_batch(
        &self,
        py: Python<'_>,
        reader: &ReaderId,
        timeout: Duration,
    ) -> PyResult<Option<Batch>> {
        let step = |wait: Duration| match self.core.next_batch_of(reader, wait) {
            Ok(Some(batch)) => Some(Ok(Step::Batch(batch))),
            Ok(None) if self.detects_end && self.core.at_end() => Some(Ok(Step::End)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        };
        match blocking::until(py, timeout, step)?
            .transpose()
            .or_raise(py)?
        {
            Some(Step::Batch(batch)) => Ok(Some(batch)),
            Some(Step::End) | None => Ok(None),
        }
    }

    /// The next record of the batch that this reader iterates over.
    fn next_in_hand(&self, py: Python<'_>, reader: &ReaderId) -> PyResult<Option<Record>> {
        self.iteration.next(reader, |record| {
            Record::new(py, record, &mut TopicName::new())
        })
    }
}

/// A fetched batch for a task. If the task does not receive it, the next read returns it.
#[pyclass(frozen, module = "carbon_events._native")]
pub(crate) struct Fetched(Mutex<Option<Batch>>);

impl Fetched {
    fn take(&self) -> Option<Batch> {
        self.0.lock().take()
    }
}

#[pymethods]
impl Fetched {
    /// Receives the batch and returns its records.
    fn records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match self.take() {
            Some(batch) => list(py, batch),
            None => Ok(PyList::empty(py)),
        }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if let Some(batch) = self.take() {
            batch.give_back();
        }
    }
}

impl ConsumerBase {
    fn shared(&self) -> &Arc<Shared> {
        // Only `Drop` takes it.
        self.shared
            .as_ref()
            .unwrap_or_else(|| std::process::abort())
    }
}

/// The calling reader: a thread or a greenlet.
fn reader(py: Python<'_>) -> PyResult<ReaderId> {
    Ok(match greenlets::reader(py)? {
        0 => ReaderId::current(),
        number => ReaderId::numbered(number),
    })
}

/// Converts the records of a batch. If that fails, the next read returns the batch.
fn list(py: Python<'_>, batch: Batch) -> PyResult<Bound<'_, PyList>> {
    let records = || {
        let (mut topics, mut records) = (TopicName::new(), Vec::with_capacity(batch.len()));
        for record in &batch {
            records.push(Py::new(py, Record::new(py, &record, &mut topics)?)?);
        }
        PyList::new(py, records)
    };
    let list = records();
    if list.is_err() {
        batch.give_back();
    }
    list
}

#[pymethods]
impl ConsumerBase {
    #[new]
    fn new(
        py: Python<'_>,
        options: &Bound<'_, PyDict>,
        properties: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let settings = settings::read(options, properties, settings::Role::Consumer)?;
        let consumer = settings.consumer.clone();
        let builder = EventConsumer::builder().settings(settings);
        let core = py.detach(|| builder.build()).or_raise(py)?;
        dispatch::start(py)?;
        Ok(ConsumerBase {
            shared: Some(Arc::new(Shared {
                core,
                iteration: Iteration::default(),
                close_timeout: consumer.close_timeout,
                detects_end: consumer.detect_end,
            })),
        })
    }

    /// The next records as a list, empty after the timeout.
    #[pyo3(signature = (timeout=None))]
    fn next_batch<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        let shared = self.shared();
        let reader = reader(py)?;
        shared.iteration.end();
        match shared.next_batch(py, &reader, blocking::seconds(timeout)?)? {
            None => Ok(PyList::empty(py)),
            Some(batch) => list(py, batch),
        }
    }

    /// The next record, or `None` after the timeout.
    #[pyo3(signature = (timeout=None))]
    fn next_record(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Record>> {
        let shared = self.shared();
        let reader = reader(py)?;
        if let Some(record) = shared.next_in_hand(py, &reader)? {
            return Ok(Some(record));
        }
        let Some(batch) = shared.next_batch(py, &reader, blocking::seconds(timeout)?)? else {
            return Ok(None);
        };
        shared.iteration.begin(&reader, batch);
        shared.next_in_hand(py, &reader)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Record>> {
        match self.next_record(py, None) {
            Err(error) if is_closed(py, &error)? => Ok(None),
            other => other,
        }
    }

    /// A future of the running loop for the next batch of the task with this number. Its result is
    /// `None` at the end.
    fn fetch_async<'py>(&self, py: Python<'py>, reader: u64) -> PyResult<Bound<'py, PyAny>> {
        let shared = Arc::clone(self.shared());
        let reader = ReaderId::numbered(reader);
        let work = async move {
            let batch = shared.core.next_batch_async_of(&reader).await;
            let fetched = batch.map(|batch| batch.map(|batch| Fetched(Mutex::new(Some(batch)))));
            Box::new(move |py: Python<'_>| match fetched.or_raise(py)? {
                None => Ok(py.None()),
                Some(fetched) => Ok(Py::new(py, fetched)?.into_any()),
            }) as Answer
        };
        asyncio::future_of(py, Box::pin(work))
    }

    /// Starts a task's iteration over the records of a batch.
    fn iterate(&self, reader: u64, fetched: &Fetched) {
        if let Some(batch) = fetched.take() {
            let reader = ReaderId::numbered(reader);
            self.shared().iteration.begin(&reader, batch);
        }
    }

    /// The next record of the batch that a task iterates over.
    fn next_in_hand(&self, py: Python<'_>, reader: u64) -> PyResult<Option<Record>> {
        let reader = ReaderId::numbered(reader);
        self.shared().next_in_hand(py, &reader)
    }

    /// Ends the iteration. The next read returns the records that were not received.
    fn end_iteration(&self) {
        self.shared().iteration.end();
    }

    /// Acknowledges what the caller, or the task with this number, has received.
    #[pyo3(signature = (task=None))]
    fn acknowledge_received(&self, py: Python<'_>, task: Option<u64>) -> PyResult<()> {
        let reader = task.map_or_else(|| reader(py), |task| Ok(ReaderId::numbered(task)))?;
        let shared = self.shared();
        shared.iteration.end();
        shared.core.acknowledge_of(&reader);
        Ok(())
    }

    /// Commits offsets and waits for the broker's answer: of a record, of records, of (topic,
    /// partition, next offset), or of everything that is acknowledged.
    #[pyo3(signature = (what=None, *, timeout=10.0))]
    fn commit(
        &self,
        py: Python<'_>,
        what: Option<&Bound<'_, PyAny>>,
        timeout: f64,
    ) -> PyResult<()> {
        let timeout = blocking::seconds(Some(timeout))?;
        let shared = self.shared();
        let offsets = offsets(shared, what)?;
        let shared = Arc::clone(shared);
        blocking::call(py, move || shared.core.commit_sync(offsets, timeout))?.or_raise(py)
    }

    /// Like `commit`, but returns a future of the running loop.
    #[pyo3(signature = (what=None))]
    fn commit_async<'py>(
        &self,
        py: Python<'py>,
        what: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let shared = Arc::clone(self.shared());
        let offsets = offsets(&shared, what)?;
        let work = async move {
            let committed = shared.core.commit_async(offsets).await;
            Box::new(move |py: Python<'_>| committed.or_raise(py).map(|()| py.None())) as Answer
        };
        asyncio::future_of(py, Box::pin(work))
    }

    /// Continues reading at a record, or at (topic, partition, offset).
    #[pyo3(signature = (to, *, timeout=10.0))]
    fn seek(&self, py: Python<'_>, to: &Bound<'_, PyAny>, timeout: f64) -> PyResult<()> {
        let timeout = blocking::seconds(Some(timeout))?;
        let shared = self.shared();
        let to = match to.cast::<Record>() {
            Ok(record) => {
                let record = record.get();
                Offsets::at(&*record.place, record.partition, record.offset)
            }
            Err(_) => place(to)?,
        };
        shared.iteration.end();
        let shared = Arc::clone(shared);
        blocking::call(py, move || shared.core.seek(to, timeout))?.or_raise(py)
    }

    /// The assigned partitions: (topic, partition) each.
    fn assignment(&self) -> Vec<(String, i32)> {
        let assignment = self.shared().core.assignment();
        let pairs = assignment.into_iter();
        pairs
            .map(|one| (one.topic.to_string(), one.partition))
            .collect()
    }

    /// With `detect_end`, whether the end of every assigned partition was reached.
    fn at_end(&self) -> bool {
        self.shared().core.at_end()
    }

    /// This consumer's metrics in the Prometheus text format.
    fn metrics(&self) -> String {
        self.shared().core.metrics().to_prometheus()
    }

    /// Commits what is acknowledged and leaves the group.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let shared = self.shared();
        let timeout = match timeout {
            None => shared.close_timeout,
            given => blocking::seconds(given)?,
        };
        shared.iteration.end();
        let shared = Arc::clone(shared);
        blocking::call(py, move || shared.core.close(timeout))?.or_raise(py)
    }

    /// Like `close`, but returns a future of the running loop.
    #[pyo3(signature = (timeout=None))]
    fn close_async<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let shared = Arc::clone(self.shared());
        let timeout = match timeout {
            None => shared.close_timeout,
            given => blocking::seconds(given)?,
        };
        shared.iteration.end();
        let work = async move {
            let closed = shared.core.close_async(timeout).await;
            Box::new(move |py: Python<'_>| closed.or_raise(py).map(|()| py.None())) as Answer
        };
        asyncio::future_of(py, Box::pin(work))
    }
}

fn is_closed(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let class = crate::errors::class_of(py, ErrorKind::Closed)?;
    Ok(error.is_instance(py, class))
}

fn offsets(shared: &Shared, what: Option<&Bound<'_, PyAny>>) -> PyResult<Offsets> {
    let Some(what) = what else {
        return Ok(shared.core.handled());
    };
    if let Ok(record) = what.cast::<Record>() {
        let record = record.get();
        return Ok(Offsets::at(
            &*record.place,
            record.partition,
            record.offset + 1,
        ));
    }
    if let Ok(records) = what.cast::<PyList>() {
        // Commits the last record of each partition.
        let mut last: std::collections::HashMap<(Arc<str>, i32), i64> = Default::default();
        for record in records {
            let record = record.cast_into::<Record>().map_err(PyErr::from)?;
            let record = record.get();
            let place = (Arc::clone(&record.place), record.partition);
            let next = last.entry(place).or_insert(0);
            *next = (*next).max(record.offset + 1);
        }
        return Ok(last
            .into_iter()
            .fold(Offsets::default(), |offsets, ((topic, partition), next)| {
                offsets.and(topic, partition, next)
            }));
    }
    place(what)
}

fn place(what: &Bound<'_, PyAny>) -> PyResult<Offsets> {
    let (topic, partition, offset): (String, i32, i64) = what.extract().map_err(|_| {
        PyTypeError::new_err("expected a record, or a tuple of topic, partition and offset")
    })?;
    Ok(Offsets::at(topic, partition, offset))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Fetched>()?;
    module.add_class::<ConsumerBase>()
}

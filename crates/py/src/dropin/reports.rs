//! Delivery callbacks as in confluent-kafka: `callback(err, msg)`, once for each record.
//!
//! ```text
//!  produce(on_delivery=f) ─▶ Report ─▶ the record's waker    core's thread: counts, adds it to the
//!                                        │                   list of `dispatch`
//!                                        ▼
//!                              dispatcher: f(err, msg), then `finished`
//! ```
//!
//! A flush ends once the callbacks of the flushed records have run.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use carbon_events::sync::{Condvar, Mutex, generation};
use carbon_events::{Delivery, DeliveryReport, Error, Result};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::dispatch::{self, Call};
use crate::errors;

/// Counts of the records with a callback, in this process. A forked child starts without its parent's
/// records, and never uses a lock that a thread of the parent may hold.
#[derive(Default)]
pub(super) struct Counts {
    state: ArcSwap<State>,
}

#[derive(Default)]
struct State {
    /// The generation of the process that counts.
    process: u32,
    /// Records that their own callback counts.
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Records whose callbacks have not returned.
    open: AtomicU64,
    /// Those of them that are delivered or failed.
    uncalled: AtomicU64,
    /// Callbacks that returned since the last `poll`.
    served: AtomicU64,
    waiting: Mutex<()>,
    changed: Condvar,
}

impl Counts {
    fn state(&self) -> Guard<Arc<State>> {
        let process = generation();
        loop {
            let state = self.state.load();
            if state.process == process {
                return state;
            }
            let next = Arc::new(State {
                process,
                delivered: state.delivered.load(SeqCst).into(),
                failed: state.failed.load(SeqCst).into(),
                ..State::default()
            });
            self.state.compare_and_swap(&state, next);
        }
    }

    /// The numbers of delivered and of failed records that their own callback counts.
    pub(super) fn outcomes(&self) -> (u64, u64) {
        let state = self.state();
        (state.delivered.load(SeqCst), state.failed.load(SeqCst))
    }

    /// The number of completed records whose callbacks have not returned.
    pub(super) fn uncalled(&self) -> u64 {
        self.state().uncalled.load(SeqCst)
    }

    /// The number of callbacks that returned since the last call.
    pub(super) fn take_served(&self) -> u64 {
        self.state().served.swap(0, SeqCst)
    }

    /// Waits up to `timeout` for every callback to return. Returns whether they have.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let state = Arc::clone(&*self.state());
        let is_open = || state.open.load(SeqCst) > 0;
        if !is_open() {
            return true;
        }
        let deadline = Instant::now() + timeout;
        let mut waiting = state.waiting.lock();
        let mut late = false;
        while is_open() && !late {
            (waiting, late) = state.changed.wait_until(waiting, deadline);
        }
        !is_open()
    }
}

/// The parts of a record that its callback receives.
pub(super) struct Record {
    pub(super) topic: String,
    pub(super) key: Option<Py<PyAny>>,
    pub(super) value: Option<Py<PyAny>>,
    pub(super) headers: Option<Py<PyAny>>,
}

/// The callbacks of one record.
pub(super) struct Callbacks {
    pub(super) functions: Vec<Py<PyAny>>,
    pub(super) only_errors: bool,
    /// Whether the record's own callback counts it.
    pub(super) counted: bool,
}

/// A record with callbacks.
struct Report {
    record: Record,
    callbacks: Callbacks,
    began: Instant,
    counts: Arc<Counts>,
    delivery: Delivery,
}

struct Waiting(Mutex<Option<Report>>);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let Some(report) = self.0.lock().take() else {
            return;
        };
        let Some(outcome) = report.delivery.outcome() else {
            return;
        };
        let state = report.counts.state();
        state.uncalled.fetch_add(1, SeqCst);
        if report.callbacks.counted {
            let count = match &outcome {
                Ok(_) => &state.delivered,
                Err(_) => &state.failed,
            };
            count.fetch_add(1, SeqCst);
        }
        drop(state);
        let latency = report.began.elapsed();
        dispatch::push(Box::new(Completed {
            report,
            outcome,
            latency,
        }));
    }
}

/// Calls the callbacks once the record is delivered or failed.
pub(super) fn call_back(
    py: Python<'_>,
    delivery: Delivery,
    record: Record,
    callbacks: Callbacks,
    counts: &Arc<Counts>,
) {
    // The program may have been patched, or have killed its greenlets, since the producer was created.
    if let Err(error) = dispatch::ensure(py) {
        error.write_unraisable(py, None);
    }
    counts.state().open.fetch_add(1, SeqCst);
    let mut polled = delivery.clone();
    let report = Report {
        record,
        callbacks,
        began: Instant::now(),
        counts: Arc::clone(counts),
        delivery,
    };
    let waiting = Arc::new(Waiting(Mutex::new(Some(report))));
    let waker = Waker::from(Arc::clone(&waiting));
    let poll = Pin::new(&mut polled).poll(&mut Context::from_waker(&waker));
    if poll.is_ready() {
        py.detach(|| waiting.wake());
    }
}

struct Completed {
    report: Report,
    outcome: Result<DeliveryReport>,
    latency: Duration,
}

impl Call for Completed {
    fn call(self: Box<Self>, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let Completed {
            report,
            outcome,
            latency,
        } = *self;
        let counts = report.counts;
        let finished = Py::new(py, Finished(Arc::clone(&counts)))?;
        let module = super::calls::module(py)
            .ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("event_producer is gone"))?;
        let (partition, offset, timestamp, error) = match &outcome {
            Ok(place) => (place.partition, place.offset, place.timestamp_ms, None),
            Err(error) => (-1, -1001, -1, Some(error_fields(py, error)?)),
        };
        let record = report.record;
        let argument = (
            PyList::new(py, report.callbacks.functions)?,
            report.callbacks.only_errors,
            finished,
            error,
            record.topic,
            (partition, offset, timestamp),
            record.key,
            record.value,
            record.headers,
            latency.as_secs_f64(),
        );
        let argument = argument.into_pyobject(py)?.into_any().unbind();
        Ok((module.report.clone_ref(py), argument))
    }
}

/// The arguments of `KafkaError`: the exception, and librdkafka's code and its name if there is one.
pub(super) fn error_fields<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyTuple>> {
    let exception = errors::exception(py, error)?.into_value(py);
    (exception, error.code(), error.code_name()).into_pyobject(py)
}

/// Called once the callbacks of one record have returned.
#[pyclass(frozen)]
struct Finished(Arc<Counts>);

#[pymethods]
impl Finished {
    fn __call__(&self) {
        let state = self.0.state();
        let less_one = |count: &AtomicU64| {
            // Zero in a forked child, which does not count its parent's records.
            let _ = count.try_update(SeqCst, SeqCst, |count| count.checked_sub(1));
        };
        less_one(&state.uncalled);
        state.served.fetch_add(1, SeqCst);
        let waiting = state.waiting.lock();
        less_one(&state.open);
        drop(waiting);
        state.changed.notify_all();
    }
}

//! Waits without the GIL, in steps, and checks for signals in between.
//!
//! In a program patched by gevent or eventlet no wait blocks in native code: the greenlet polls, and
//! sleeps in between so that the other greenlets of its thread run.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use carbon_events::sync::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::greenlets::Hub;

/// The longest delay of Ctrl-C.
const STEP: Duration = Duration::from_millis(100);
/// The shortest and longest sleep of a polling greenlet. The first sleep is zero: others run once.
const PAUSES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(10));

/// Converts a timeout in seconds. `None` waits without a limit.
pub(crate) fn seconds(timeout: Option<f64>) -> PyResult<Duration> {
    match timeout {
        None => Ok(Duration::MAX),
        // -1 is librdkafka's timeout without a limit.
        Some(-1.0) => Ok(Duration::MAX),
        Some(seconds) if seconds.is_nan() || seconds < 0.0 => Err(PyValueError::new_err(
            "a timeout must not be negative; None waits without a limit",
        )),
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
    }
}

/// Calls `step` until it returns a value or `timeout` has passed. Each call may block for the duration
/// that it receives.
pub(crate) fn until<T: Send>(
    py: Python<'_>,
    timeout: Duration,
    step: impl Fn(Duration) -> Option<T> + Sync,
) -> PyResult<Option<T>> {
    let deadline = Instant::now().checked_add(timeout);
    let left = || deadline.map(|at| at.saturating_duration_since(Instant::now()));
    if let Some(hub) = Hub::of_this_thread(py)? {
        return until_with_greenlets(py, &hub, left, step);
    }
    loop {
        let wait = left().map_or(STEP, |left| left.min(STEP));
        if let Some(answer) = py.detach(|| step(wait)) {
            return Ok(Some(answer));
        }
        py.check_signals()?;
        if left().is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
    }
}

#[cold]
fn until_with_greenlets<T: Send>(
    py: Python<'_>,
    hub: &Hub<'_>,
    left: impl Fn() -> Option<Duration>,
    step: impl Fn(Duration) -> Option<T> + Sync,
) -> PyResult<Option<T>> {
    let mut pause = Duration::ZERO;
    loop {
        if let Some(answer) = py.detach(|| step(Duration::ZERO)) {
            return Ok(Some(answer));
        }
        py.check_signals()?;
        let left = left().unwrap_or(Duration::MAX);
        if left.is_zero() {
            return Ok(None);
        }
        hub.sleep(pause.min(left))?;
        pause = (pause * 2).clamp(PAUSES.0, PAUSES.1);
    }
}

/// Runs blocking work without the GIL; in a greenlet, on a new thread.
pub(crate) fn call<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    if Hub::of_this_thread(py)?.is_none() {
        return Ok(py.detach(work));
    }
    call_on_a_thread(py, work)
}

/// Runs work on a new thread, so that signals are handled and greenlets run meanwhile. If a signal
/// handler raises, the work continues.
pub(crate) fn call_on_a_thread<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = Arc::new(Mutex::new(Some(work)));
    let run = {
        let work = Arc::clone(&work);
        move || {
            let work = work.lock().take();
            // Fails if the caller was interrupted.
            let _ = sender.send(work.map(|work| work()));
        }
    };
    let thread = std::thread::Builder::new().name("carbon-events-call".to_owned());
    if thread.spawn(run).is_err() {
        let work = work.lock().take();
        return py.detach(|| work.map(|work| work())).ok_or_else(gone);
    }
    let receiver = Mutex::new(receiver);
    let answer = until(py, Duration::MAX, |step| {
        match receiver.lock().recv_timeout(step) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(None),
        }
    })?;
    answer.flatten().ok_or_else(gone)
}

fn gone() -> PyErr {
    PyRuntimeError::new_err("a thread of carbon_events panicked")
}

//! Blocking without the GIL, in steps between which signals are looked for.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How long Ctrl-C may go unnoticed.
const STEP: Duration = Duration::from_millis(100);

/// A timeout as Python gives it: seconds, or `None` for as long as it takes.
pub(crate) fn seconds(timeout: Option<f64>) -> PyResult<Duration> {
    match timeout {
        None => Ok(Duration::MAX),
        // librdkafka's users write -1 for "as long as it takes".
        Some(-1.0) => Ok(Duration::MAX),
        Some(seconds) if seconds.is_nan() || seconds < 0.0 => Err(PyValueError::new_err(
            "a timeout is seconds, not negative; None waits as long as it takes",
        )),
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
    }
}

/// Asks `step` until it gives an answer or `timeout` has passed; each time it may block for as long
/// as it is told.
pub(crate) fn until<T: Send>(
    py: Python<'_>,
    timeout: Duration,
    step: impl Fn(Duration) -> Option<T> + Sync,
) -> PyResult<Option<T>> {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let left = deadline.map_or(STEP, |at| at.saturating_duration_since(Instant::now()));
        if let Some(answer) = py.detach(|| step(left.min(STEP))) {
            return Ok(Some(answer));
        }
        py.check_signals()?;
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return Ok(None);
        }
    }
}

//! The end: what was accepted is delivered before the interpreter goes.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use carbon_events::sync::Mutex;
use pyo3::prelude::*;

use crate::dispatch;
use crate::producer::Running;

static PRODUCERS: Mutex<Vec<Weak<Running>>> = Mutex::new(Vec::new());

/// Has a producer closed at exit, if it still runs then.
pub(crate) fn close_at_exit(running: &Arc<Running>) {
    let mut producers = PRODUCERS.lock();
    // Now and then, those that are gone.
    if producers.len() == producers.capacity() {
        producers.retain(|one| one.strong_count() > 0);
    }
    producers.push(Arc::downgrade(running));
}

/// Closes all producers at once, each within its own timeout; what could not be delivered is told.
#[pyfunction]
fn close_all(py: Python<'_>) -> Vec<String> {
    let producers: Vec<_> = PRODUCERS.lock().drain(..).collect();
    let running: Vec<_> = producers.iter().filter_map(Weak::upgrade).collect();
    py.detach(|| {
        let began = Instant::now();
        let told = running
            .iter()
            .filter_map(|one| {
                let left = one.close_timeout.saturating_sub(began.elapsed());
                one.core.close(left).err()
            })
            .map(|error| error.to_string());
        let told = told.collect();
        dispatch::stop(Duration::from_secs(1));
        told
    })
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(close_all, module)?)
}

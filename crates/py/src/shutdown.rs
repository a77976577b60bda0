//! The end: what was accepted is delivered before the interpreter goes.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use carbon_events::producer::SharedProducer;
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

/// How long the drop-in producers may take, together and with what their `close` waited before.
const DROP_IN_TIMEOUT: Duration = Duration::from_secs(10);

/// Closes all producers at once, each within its own timeout; what could not be delivered is told.
#[pyfunction]
fn close_all(py: Python<'_>) -> Vec<String> {
    let producers: Vec<_> = PRODUCERS.lock().drain(..).collect();
    let running: Vec<_> = producers.iter().filter_map(Weak::upgrade).collect();
    py.detach(|| {
        let mut errors = std::thread::scope(|scope| {
            let drop_ins = std::thread::Builder::new()
                .spawn_scoped(scope, || SharedProducer::close_all(DROP_IN_TIMEOUT));
            let began = Instant::now();
            let mut errors: Vec<_> = running
                .iter()
                .filter_map(|one| {
                    let left = one.close_timeout.saturating_sub(began.elapsed());
                    one.core.close(left).err()
                })
                .collect();
            errors.extend(match drop_ins {
                Ok(thread) => thread.join().unwrap_or_default(),
                Err(_) => SharedProducer::close_all(DROP_IN_TIMEOUT),
            });
            errors
        });
        dispatch::stop(Duration::from_secs(1));
        errors.drain(..).map(|error| error.to_string()).collect()
    })
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(close_all, module)?)
}

//! Closes every producer before the process ends, and reports the records that were not delivered.
//!
//! Only threads that hold the GIL lock the lists here, so that no fork leaves one locked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use carbon_events::producer::SharedProducer;
use carbon_events::sync::{Mutex, PerProcess, generation};
use pyo3::prelude::*;

use crate::blocking;
use crate::dispatch::{self, Pending};
use crate::producer::Running;

/// The limit of all drop-in producers together, including earlier waits of their `close`: ten seconds,
/// less the time to stop the threads.
const SHARED: Duration = Duration::from_millis(9_500);
/// The time for librdkafka to report the records that were aborted.
const GRACE: Duration = Duration::from_secs(1);
/// The time for callbacks and log lines.
const DISPATCH: Duration = Duration::from_secs(1);

static PRODUCERS: Mutex<Vec<Weak<Running>>> = Mutex::new(Vec::new());
/// The threads that drop producers and consumers.
static ENDING: Mutex<Vec<PerProcess<JoinHandle<()>>>> = Mutex::new(Vec::new());
/// The generation of the process that runs `close_all`.
static CLOSING: AtomicU32 = AtomicU32::new(NO_PROCESS);
const NO_PROCESS: u32 = u32::MAX;

/// Registers a producer to be closed at exit.
pub(crate) fn close_at_exit(running: &Arc<Running>) {
    let mut producers = PRODUCERS.lock();
    // Before the list grows, removes the dropped ones.
    if producers.len() == producers.capacity() {
        producers.retain(|one| one.strong_count() > 0);
    }
    producers.push(Arc::downgrade(running));
}

/// Drops a producer or a consumer on a thread, because that blocks and a destructor must not. The exit
/// waits for the thread. During finalization the value is leaked: everything was closed before.
pub(crate) fn drop_on_a_thread<T: Send + 'static>(value: T) {
    let value = Arc::new(Mutex::new(Some(value)));
    let attached = Python::try_attach(|py| {
        let dropped = Arc::clone(&value);
        let thread = std::thread::Builder::new().name("carbon-events-drop".to_owned());
        match thread.spawn(move || drop(dropped.lock().take())) {
            Ok(thread) => {
                let mut ending = ENDING.lock();
                forget_parent_threads(&mut ending);
                ending.retain(|thread| thread.get().is_some_and(|thread| !thread.is_finished()));
                ending.push(PerProcess::new(thread));
            }
            Err(_) => py.detach(|| drop(value.lock().take())),
        }
    });
    if attached.is_none() {
        std::mem::forget(value);
    }
}

/// Closes all producers in parallel: those of `carbon_events` within their close timeouts, the drop-in
/// ones within ten seconds, and none longer than `within` seconds. Returns the errors, and the calls
/// and log lines that the dispatcher did not run.
#[pyfunction]
#[pyo3(signature = (within=None))]
fn close_all(py: Python<'_>, within: Option<f64>) -> PyResult<(Vec<String>, Pending)> {
    let within = within.map_or(Ok(Duration::MAX), |within| blocking::seconds(Some(within)))?;
    enter(py, within)?;
    let producers: Vec<_> = PRODUCERS.lock().drain(..).collect();
    let running: Vec<_> = producers.iter().filter_map(Weak::upgrade).collect();
    let ending = std::mem::take(&mut *ENDING.lock());
    let again = running.clone();
    let closed = blocking::call_on_a_thread(py, move || {
        let deadline = Instant::now() + within.min(SHARED);
        let errors = close_in_parallel(running, within);
        wait_for(ending, deadline);
        errors
    });
    let errors = closed.unwrap_or_else(|interrupted| {
        // For example Ctrl-C. Waits no longer, but reports what was not delivered.
        interrupted.write_unraisable(py, None);
        py.detach(|| close_in_parallel(again, Duration::ZERO))
    });
    let pending = dispatch::stop(py, DISPATCH);
    CLOSING.store(NO_PROCESS, Ordering::SeqCst);
    Ok((errors, pending?))
}

/// Waits while another thread runs `close_all`: the end of the process must not interrupt it.
fn enter(py: Python<'_>, within: Duration) -> PyResult<()> {
    let ours = generation();
    let enter = || {
        let other = CLOSING.load(Ordering::SeqCst);
        // A forked child finds its parent's generation here.
        let free = other != ours;
        let exchange = || CLOSING.compare_exchange(other, ours, Ordering::SeqCst, Ordering::SeqCst);
        (free && exchange().is_ok()).then_some(())
    };
    blocking::until(py, within.saturating_add(GRACE + DISPATCH), |step| {
        enter().or_else(|| {
            std::thread::sleep(step.min(Duration::from_millis(10)));
            enter()
        })
    })
    .map(drop)
}

fn close_in_parallel(running: Vec<Arc<Running>>, within: Duration) -> Vec<String> {
    let began = Instant::now();
    let (sender, results) = mpsc::channel();
    let mut longest = Duration::ZERO;
    let mut open = 0;
    let mut start = |limit: Duration, close: Box<dyn FnOnce() -> Vec<String> + Send>| {
        longest = longest.max(limit);
        open += 1;
        let (work, sender) = (Arc::new(Mutex::new(Some(close))), sender.clone());
        let run = move || {
            let close = work.lock().take();
            // The receiver may be gone.
            let _ = sender.send(close.map_or_else(Vec::new, |close| close()));
        };
        let thread = std::thread::Builder::new().name("carbon-events-close".to_owned());
        if thread.spawn(run.clone()).is_err() {
            run();
        }
    };
    let limit = within.min(SHARED);
    start(
        limit,
        Box::new(move || {
            let errors = SharedProducer::close_all(limit);
            errors.iter().map(ToString::to_string).collect()
        }),
    );
    for one in running {
        let limit = within.min(one.close_timeout);
        start(
            limit,
            Box::new(move || {
                let closed = one.core.close(limit);
                closed.err().iter().map(ToString::to_string).collect()
            }),
        );
    }
    let deadline = began
        + longest
            .saturating_add(GRACE)
            .min(Duration::from_secs(86_400));
    let mut all = Vec::new();
    while open > 0 {
        match results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(errors) => all.extend(errors),
            Err(RecvTimeoutError::Timeout) => {
                all.push(format!("{open} producers did not close in time"));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        open -= 1;
    }
    all
}

/// Waits for the threads of this process that drop producers and consumers.
fn wait_for(mut ending: Vec<PerProcess<JoinHandle<()>>>, deadline: Instant) {
    forget_parent_threads(&mut ending);
    for thread in ending.iter().filter_map(PerProcess::get) {
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Leaks the handles of a parent's threads. Dropping one would detach an unrelated thread of this
/// process with the same number.
fn forget_parent_threads(ending: &mut Vec<PerProcess<JoinHandle<()>>>) {
    for thread in ending.extract_if(.., |thread| thread.get().is_none()) {
        std::mem::forget(thread);
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(close_all, module)?)
}

//! The end: what was accepted is delivered before the process goes, or reported as given up.
//!
//! The lists here are locked only by threads that hold the GIL, so that no fork leaves one locked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use carbon_events::producer::SharedProducer;
use carbon_events::sync::Mutex;
use pyo3::prelude::*;

use crate::blocking;
use crate::dispatch::{self, News};
use crate::producer::Running;

/// How long the drop-in producers may take, together and with what their `close` waited before: ten
/// seconds, less what giving up and ending the threads takes.
const SHARED: Duration = Duration::from_millis(9_500);
/// How long librdkafka may take to report on records that were given up.
const GRACE: Duration = Duration::from_secs(1);
/// How long callbacks and log lines may take.
const DISPATCH: Duration = Duration::from_secs(1);

static PRODUCERS: Mutex<Vec<Weak<Running>>> = Mutex::new(Vec::new());
/// What was dropped and ends on a thread, with the process that the thread is in.
static ENDING: Mutex<Vec<(u32, JoinHandle<()>)>> = Mutex::new(Vec::new());
/// The process that is in `close_all`.
static CLOSING: AtomicU32 = AtomicU32::new(0);

/// Has a producer closed at exit, if it still runs then.
pub(crate) fn close_at_exit(running: &Arc<Running>) {
    let mut producers = PRODUCERS.lock();
    // Now and then, those that are gone.
    if producers.len() == producers.capacity() {
        producers.retain(|one| one.strong_count() > 0);
    }
    producers.push(Arc::downgrade(running));
}

/// Drops what blocks at that, a producer or a consumer, on a thread: a destructor must not block. The
/// exit waits for it. At the interpreter's end it is left alone, because everything was closed before.
pub(crate) fn drop_behind<T: Send + 'static>(value: T) {
    let value = Arc::new(Mutex::new(Some(value)));
    let attached = Python::try_attach(|py| {
        let dropped = Arc::clone(&value);
        let thread = std::thread::Builder::new().name("carbon-events-drop".to_owned());
        match thread.spawn(move || drop(dropped.lock().take())) {
            Ok(thread) => {
                let mut ending = ENDING.lock();
                leave_to_the_parent(&mut ending);
                ending.retain(|(_, thread)| !thread.is_finished());
                ending.push((std::process::id(), thread));
            }
            Err(_) => py.detach(|| drop(value.lock().take())),
        }
    });
    if attached.is_none() {
        std::mem::forget(value);
    }
}

/// Closes all producers side by side: those of `carbon_events` each within its own timeout, the
/// drop-in ones within ten seconds, and none longer than `within` seconds. Gives the errors, and what
/// the dispatcher did not tell any more.
#[pyfunction]
#[pyo3(signature = (within=None))]
fn close_all(py: Python<'_>, within: Option<f64>) -> PyResult<(Vec<String>, News)> {
    let within = within.map_or(Ok(Duration::MAX), |within| blocking::seconds(Some(within)))?;
    enter(py, within)?;
    let producers: Vec<_> = PRODUCERS.lock().drain(..).collect();
    let running: Vec<_> = producers.iter().filter_map(Weak::upgrade).collect();
    let ending = std::mem::take(&mut *ENDING.lock());
    let again = running.clone();
    let closed = blocking::call_on_a_thread(py, move || {
        let deadline = Instant::now() + within.min(SHARED);
        let told = close_side_by_side(running, within);
        wait_for(ending, deadline);
        told
    });
    let told = closed.unwrap_or_else(|interrupted| {
        // Ctrl-C, say: no time is left, but what was not delivered is counted.
        interrupted.write_unraisable(py, None);
        py.detach(|| close_side_by_side(again, Duration::ZERO))
    });
    let news = dispatch::stop(py, DISPATCH);
    CLOSING.store(0, Ordering::SeqCst);
    Ok((told, news?))
}

/// Waits while another thread closes everything: it must not be cut short by the end of the process.
fn enter(py: Python<'_>, within: Duration) -> PyResult<()> {
    let ours = std::process::id();
    let enter = || {
        let other = CLOSING.load(Ordering::SeqCst);
        // A forked child finds its parent's number there.
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

fn close_side_by_side(running: Vec<Arc<Running>>, within: Duration) -> Vec<String> {
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
            // The receiver may have given up.
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
    let mut told = Vec::new();
    while open > 0 {
        match results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(errors) => told.extend(errors),
            Err(RecvTimeoutError::Timeout) => {
                told.push(format!("{open} producers did not close in time"));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        open -= 1;
    }
    told
}

/// Waits for what ends on threads of this process.
fn wait_for(mut ending: Vec<(u32, JoinHandle<()>)>, deadline: Instant) {
    leave_to_the_parent(&mut ending);
    for (_, thread) in ending {
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Forgets the handles of a parent's threads. To drop one would detach the thread that has its number
/// in this process, whichever that is.
fn leave_to_the_parent(ending: &mut Vec<(u32, JoinHandle<()>)>) {
    let ours = std::process::id();
    for (_, thread) in ending.extract_if(.., |(process, _)| *process != ours) {
        std::mem::forget(thread);
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(close_all, module)?)
}

//! A thread of Python's own for what core has to tell Python code: settled deliveries with a
//! callback, and log lines. Core's threads only put it on a list here.
//!
//! A child process after a fork has no such thread and begins with an empty list of its own: the
//! old one is never touched again, because its lock may be held by a thread that is no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use carbon_events::sync::{Condvar, Mutex};
use pyo3::prelude::*;

use crate::delivery::Delivery;
use crate::logs::Line;

/// How many log lines wait at most; later ones are counted and dropped.
const MAX_LINES: usize = 1000;

#[derive(Default)]
struct List {
    news: Vec<Box<dyn Tell>>,
    lines: Vec<Line>,
    dropped: usize,
    running: bool,
    stopping: bool,
}

/// Something that Python code is told by a call of one argument.
pub(crate) trait Tell: Send {
    /// The function and its argument; on the thread that calls it.
    fn call(self: Box<Self>, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)>;
}

struct Callback {
    delivery: Py<Delivery>,
    function: Py<PyAny>,
}

impl Tell for Callback {
    fn call(self: Box<Self>, _: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        Ok((self.function, self.delivery.into_any()))
    }
}

#[derive(Default)]
struct Dispatch {
    list: Mutex<List>,
    changed: Condvar,
}

static CURRENT: AtomicPtr<Dispatch> = AtomicPtr::new(std::ptr::null_mut());

fn current() -> &'static Dispatch {
    let found = CURRENT.load(Ordering::Acquire);
    if found.is_null() {
        let made = Box::into_raw(Box::<Dispatch>::default());
        let null = std::ptr::null_mut();
        if CURRENT
            .compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: another thread came first, and nobody has seen this one.
            drop(unsafe { Box::from_raw(made) });
        }
        return current();
    }
    // SAFETY: a leaked allocation, which is never freed.
    unsafe { &*found }
}

/// Starts the thread, unless it runs.
pub(crate) fn start(py: Python<'_>) -> PyResult<()> {
    crate::logs::follow_level(py);
    {
        let mut list = current().list.lock();
        if std::mem::replace(&mut list.running, true) {
            return Ok(());
        }
        list.stopping = false;
    }
    let started = py
        .import("carbon_events._dispatch")
        .and_then(|module| module.call_method0("start"));
    if started.is_err() {
        current().list.lock().running = false;
    }
    started.map(drop)
}

/// Ends the thread once it has told what there is, and waits for that.
pub(crate) fn stop(timeout: Duration) {
    let dispatch = current();
    let deadline = Instant::now() + timeout;
    let mut list = dispatch.list.lock();
    list.stopping = true;
    dispatch.changed.notify_all();
    let mut late = false;
    while list.running && !late {
        (list, late) = dispatch.changed.wait_until(list, deadline);
    }
}

struct Settled(Mutex<Option<Callback>>);

impl Wake for Settled {
    fn wake(self: Arc<Self>) {
        if let Some(callback) = self.0.lock().take() {
            tell(Box::new(callback));
        }
    }
}

/// Has Python code called.
pub(crate) fn tell(news: Box<dyn Tell>) {
    let dispatch = current();
    dispatch.list.lock().news.push(news);
    dispatch.changed.notify_all();
}

/// Has `function` called with the handle once its record is settled.
pub(crate) fn call_when_settled(
    py: Python<'_>,
    delivery: Py<Delivery>,
    function: Py<PyAny>,
) -> PyResult<()> {
    let mut core = delivery.get().0.clone();
    let settled = Arc::new(Settled(Mutex::new(Some(Callback { delivery, function }))));
    let waker = Waker::from(Arc::clone(&settled));
    let poll = std::pin::Pin::new(&mut core).poll(&mut Context::from_waker(&waker));
    if poll.is_ready() {
        py.detach(|| settled.wake());
    }
    Ok(())
}

/// Puts a log line on the list.
pub(crate) fn log(line: Line) {
    let dispatch = current();
    {
        let mut list = dispatch.list.lock();
        if list.lines.len() >= MAX_LINES {
            list.dropped += 1;
            return;
        }
        list.lines.push(line);
    }
    dispatch.changed.notify_all();
}

/// Waits for something to tell: functions with their argument, log lines, and how many of these
/// were dropped. `None` where the thread is to end.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "taken apart by one caller")]
fn wait_for_news(
    py: Python<'_>,
) -> Option<(
    Vec<(Py<PyAny>, Py<PyAny>)>,
    Vec<(u8, String, String)>,
    usize,
)> {
    let (news, lines, dropped) = py.detach(|| {
        let dispatch = current();
        let mut list = dispatch.list.lock();
        loop {
            if !list.news.is_empty() || !list.lines.is_empty() {
                return Some((
                    std::mem::take(&mut list.news),
                    std::mem::take(&mut list.lines),
                    std::mem::take(&mut list.dropped),
                ));
            }
            if list.stopping {
                list.running = false;
                dispatch.changed.notify_all();
                return None;
            }
            list = dispatch.changed.wait(list);
        }
    })?;
    crate::logs::follow_level(py);
    let mut calls = Vec::with_capacity(news.len());
    for one in news {
        match one.call(py) {
            Ok(call) => calls.push(call),
            Err(error) => error.write_unraisable(py, None),
        }
    }
    let lines = lines
        .into_iter()
        .map(|line| (line.level, line.target, line.text));
    Some((calls, lines.collect(), dropped))
}

/// Begins anew in a child process.
#[pyfunction]
fn after_fork_in_child() {
    // The old list is leaked on purpose, with whatever its lock guards.
    CURRENT.store(Box::into_raw(Box::default()), Ordering::Release);
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(wait_for_news, module)?)?;
    module.add_function(wrap_pyfunction!(after_fork_in_child, module)?)
}

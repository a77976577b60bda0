//! Runs the callbacks of completed deliveries, and writes log lines. The core's threads only add them
//! to a list.
//!
//! ```text
//!   core's threads ─▶ list ─▶ dispatcher, one for each process:
//!                               a Python thread, notified by a condition variable, or
//!                               a greenlet of the main thread, notified through a pipe
//! ```
//!
//! It is a greenlet in a program patched by gevent or eventlet: their locks, which `logging` uses there,
//! work between the greenlets of one thread, and a native thread that waits for one can block the
//! program. A dispatcher thread that started before the patching ends when it detects it, and the next
//! call in the main thread starts the greenlet.
//!
//! After a fork, the child has no dispatcher and starts with an empty list. It never uses the parent's
//! list, whose lock may be held by a thread that does not exist in the child.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use carbon_events::sync::{Condvar, Mutex, MutexGuard};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::delivery::Delivery;
use crate::greenlets::{self, Hub, is_patched};
use crate::logs::Line;
use crate::wakeup::Wakeup;

/// The most log lines that wait. Later ones are counted and dropped.
const MAX_LINES: usize = 1000;

#[derive(Default)]
struct List {
    calls: Vec<Box<dyn Call>>,
    lines: Vec<Line>,
    dropped: usize,
    /// Callbacks that have not run: their deliveries are in flight, or in `calls`.
    awaited: usize,
    /// The number of the dispatcher that serves this list, from 1; 0 if none does.
    serving: u64,
    started: u64,
    /// Notifies the dispatcher if it is a greenlet.
    wakeup: Option<Arc<Wakeup>>,
    /// The dispatcher's thread and greenlet.
    caller: Option<(ThreadId, usize)>,
    stopping: bool,
}

impl List {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.lines.is_empty()
    }
}

/// A pending call of a Python function with one argument.
pub(crate) trait Call: Send {
    /// The function and its argument. Runs on the thread that calls the function.
    fn call(self: Box<Self>, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)>;

    /// Whether it was counted in [`List::awaited`].
    fn was_awaited(&self) -> bool {
        false
    }
}

struct Callback {
    delivery: Py<Delivery>,
    function: Py<PyAny>,
}

impl Call for Callback {
    fn call(self: Box<Self>, _: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        Ok((self.function, self.delivery.into_any()))
    }

    fn was_awaited(&self) -> bool {
        true
    }
}

#[derive(Default)]
struct Dispatch {
    list: Mutex<List>,
    changed: Condvar,
}

impl Dispatch {
    /// Changes the list and notifies its dispatcher.
    fn change(&self, change: impl FnOnce(&mut List)) {
        let wakeup = {
            let mut list = self.list.lock();
            change(&mut list);
            list.wakeup.clone()
        };
        self.changed.notify_all();
        if let Some(wakeup) = wakeup {
            wakeup.notify();
        }
    }
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
            // SAFETY: another thread was first, and this one was never shared.
            drop(unsafe { Box::from_raw(made) });
        }
        return current();
    }
    // SAFETY: a leaked allocation, which is never freed.
    unsafe { &*found }
}

/// Starts the dispatcher, unless it runs, for a process that has a producer or a consumer.
pub(crate) fn start(py: Python<'_>) -> PyResult<()> {
    crate::logs::follow_level(py);
    py.import("carbon_events._dispatch")?
        .call_method0("deliver_before_exit")?;
    ensure(py)
}

/// Starts a dispatcher if none serves the list.
pub(crate) fn ensure(py: Python<'_>) -> PyResult<()> {
    // No Python code may run while the list is locked: it may wait for a thread that waits for the
    // list.
    let (hub, in_patched_program) = (Hub::of_main_thread(py)?, is_patched(py)?);
    let dispatch = current();
    let dispatcher = {
        let mut list = dispatch.list.lock();
        let is_thread = list.wakeup.is_none();
        if list.serving != 0 && !(is_thread && hub.is_some()) {
            return Ok(());
        }
        let wakeup = match hub {
            None => None,
            Some(_) => {
                let made = Wakeup::new().map_err(|error| PyOSError::new_err(error.to_string()))?;
                Some(Arc::new(made))
            }
        };
        list.stopping = false;
        list.started += 1;
        list.serving = list.started;
        list.wakeup.clone_from(&wakeup);
        Dispatcher {
            dispatch,
            number: list.serving,
            wakeup,
            in_patched_program,
        }
    };
    // Ends a thread that a greenlet replaces.
    dispatch.changed.notify_all();
    let number = dispatcher.number;
    let started = py.import("carbon_events._dispatch").and_then(|module| {
        module.call_method1("start", (dispatcher, hub.as_ref().map(Hub::as_any)))
    });
    if started.is_err() {
        end(dispatch, number);
    }
    started.map(drop)
}

/// Removes a dispatcher that has ended.
fn end(dispatch: &'static Dispatch, number: u64) {
    if std::ptr::eq(dispatch, current()) {
        dispatch.change(|list| {
            if list.serving == number {
                list.serving = 0;
                list.wakeup = None;
                list.caller = None;
            }
        });
    }
}

/// The running thread and greenlet.
fn here(py: Python<'_>) -> PyResult<(ThreadId, usize)> {
    Ok((std::thread::current().id(), greenlets::current(py)?))
}

/// Whether the caller runs in a callback.
pub(crate) fn in_callback(py: Python<'_>) -> PyResult<bool> {
    let here = here(py)?;
    Ok(current().list.lock().caller == Some(here))
}

/// Lets the dispatcher empty the list, then ends it. Returns what it has not run in time.
pub(crate) fn stop(py: Python<'_>, timeout: Duration) -> PyResult<Pending> {
    let dispatch = current();
    dispatch.change(|list| list.stopping = true);
    crate::blocking::until(py, timeout, |step| {
        let deadline = std::time::Instant::now() + step;
        let mut list = dispatch.list.lock();
        let mut late = false;
        while list.serving != 0 && !late {
            (list, late) = dispatch.changed.wait_until(list, deadline);
        }
        (list.serving == 0).then_some(())
    })?;
    Ok(take(py, dispatch.list.lock()))
}

struct Completed(Mutex<Option<Callback>>);

impl Wake for Completed {
    fn wake(self: Arc<Self>) {
        if let Some(callback) = self.0.lock().take() {
            push(Box::new(callback));
        }
    }
}

/// Adds a call to the list.
pub(crate) fn push(call: Box<dyn Call>) {
    current().change(|list| list.calls.push(call));
}

/// Calls `function` with the handle once its record is delivered or failed.
pub(crate) fn call_when_completed(
    py: Python<'_>,
    delivery: Py<Delivery>,
    function: Py<PyAny>,
) -> PyResult<()> {
    ensure(py)?;
    let mut core = delivery.get().0.clone();
    let completed = Arc::new(Completed(Mutex::new(Some(Callback { delivery, function }))));
    let waker = Waker::from(Arc::clone(&completed));
    let dispatch = current();
    let first_for_greenlet = {
        let mut list = dispatch.list.lock();
        list.awaited += 1;
        list.wakeup.clone().filter(|_| list.awaited == 1)
    };
    if let Some(wakeup) = first_for_greenlet {
        // The dispatcher now keeps the program alive until the delivery completes.
        wakeup.notify();
    }
    let poll = std::pin::Pin::new(&mut core).poll(&mut Context::from_waker(&waker));
    if poll.is_ready() {
        py.detach(|| completed.wake());
    }
    Ok(())
}

/// Adds a log line to the list.
pub(crate) fn log(line: Line) {
    current().change(|list| {
        if list.lines.len() >= MAX_LINES {
            list.dropped += 1;
        } else {
            list.lines.push(line);
        }
    });
}

/// Functions with their argument, log lines (level, logger, text), and the number of dropped lines.
pub(crate) type Pending = (
    Vec<(Py<PyAny>, Py<PyAny>)>,
    Vec<(u8, String, String)>,
    usize,
);

fn take(py: Python<'_>, mut list: MutexGuard<'_, List>) -> Pending {
    let pending = std::mem::take(&mut list.calls);
    let lines = std::mem::take(&mut list.lines);
    let dropped = std::mem::take(&mut list.dropped);
    let awaited = pending.iter().filter(|one| one.was_awaited()).count();
    list.awaited = list.awaited.saturating_sub(awaited);
    drop(list);
    let mut calls = Vec::with_capacity(pending.len());
    for one in pending {
        match one.call(py) {
            Ok(call) => calls.push(call),
            Err(error) => error.write_unraisable(py, None),
        }
    }
    let lines = lines
        .into_iter()
        .map(|line| (line.level, line.target, line.text));
    (calls, lines.collect(), dropped)
}

/// The dispatcher that `carbon_events._dispatch` runs.
#[pyclass(frozen, module = "carbon_events._native")]
struct Dispatcher {
    dispatch: &'static Dispatch,
    number: u64,
    wakeup: Option<Arc<Wakeup>>,
    in_patched_program: bool,
}

impl Dispatcher {
    /// The list, unless this is a forked child or another dispatcher serves the list.
    fn list(&self) -> Option<MutexGuard<'static, List>> {
        // The lock of a parent's list may never be released.
        if !std::ptr::eq(self.dispatch, current()) {
            return None;
        }
        Some(self.dispatch.list.lock()).filter(|list| list.serving == self.number)
    }
}

#[pymethods]
impl Dispatcher {
    /// For a thread: blocks until the list has entries. `None` ends the thread.
    fn wait(&self, py: Python<'_>) -> PyResult<Option<Pending>> {
        let found = py.detach(|| {
            let mut list = self.list()?;
            while list.is_empty() && !list.stopping {
                list = self.dispatch.changed.wait(list);
                if list.serving != self.number {
                    return None;
                }
            }
            (!list.is_empty()).then_some(())
        });
        if found.is_none() || (!self.in_patched_program && is_patched(py)?) {
            self.end();
            return Ok(None);
        }
        crate::logs::follow_level(py);
        let here = here(py)?;
        Ok(self.list().map(|mut list| {
            list.caller = Some(here);
            take(py, list)
        }))
    }

    /// For a greenlet: the present entries. `None` ends the greenlet.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Pending>> {
        if let Some(wakeup) = &self.wakeup {
            wakeup.drain();
        }
        crate::logs::follow_level(py);
        let here = here(py)?;
        let Some(mut list) = self.list() else {
            return Ok(None);
        };
        if list.is_empty() && list.stopping {
            drop(list);
            self.end();
            return Ok(None);
        }
        list.caller = Some(here);
        Ok(Some(take(py, list)))
    }

    /// Whether callbacks wait for their deliveries.
    fn awaits(&self) -> bool {
        self.list().is_some_and(|list| list.awaited > 0)
    }

    /// The descriptor that is readable when the list has entries.
    fn fileno(&self) -> i32 {
        self.wakeup.as_ref().map_or(-1, |wakeup| wakeup.fileno())
    }

    /// Removes this dispatcher.
    fn end(&self) {
        end(self.dispatch, self.number);
    }
}

/// Starts with an empty list in a child process.
#[pyfunction]
fn after_fork_in_child() {
    // The parent's list is leaked on purpose: its lock may be held.
    CURRENT.store(Box::into_raw(Box::default()), Ordering::Release);
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Dispatcher>()?;
    module.add_function(wrap_pyfunction!(after_fork_in_child, module)?)
}

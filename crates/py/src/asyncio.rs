//! The core's futures as futures of asyncio event loops.
//!
//! ```text
//!   delivery thread           file descriptor        the loop's thread
//!     waker: adds the batch ─▶ written once a turn ─▶ add_reader: drain() returns the known outcomes,
//!                                                     `_loops` sets the futures' results
//! ```
//!
//! Each loop has one [`Port`]. The delivery thread never takes the GIL, and many outcomes wake the loop
//! once. After a loop is closed, its descriptor stays open until the port is dropped.
//!
//! Deliveries of one batch share a waker. Only the loop's thread adds to a batch and reads it, so a
//! notification between the two is processed after both.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use carbon_events::producer::{Admission, DeliveryReport};
use carbon_events::sync::Mutex;
use carbon_events::{Delivery, Result};
use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::delivery::{outcome, report_object};
use crate::errors::{self, Raise};
use crate::wakeup::Wakeup;

/// The result of a future, converted to a Python object on the loop's thread.
pub(crate) type Answer = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
/// A future of the core.
pub(crate) type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;
/// Called with the delivery of a record that waited, once the record is accepted.
pub(crate) type Accepted = Box<dyn FnOnce(Python<'_>, &Delivery) -> PyResult<()> + Send>;

enum Job {
    Work(Work),
    /// A record that waits for capacity.
    Admission(Admission, Option<Accepted>),
}

struct Task {
    job: Job,
    /// The asyncio future.
    target: Py<PyAny>,
}

/// An asyncio future with the record's report or its error.
type Completed = (Py<PyAny>, Option<Py<PyAny>>, Option<Py<PyAny>>);

/// Deliveries of one batch and their asyncio futures.
type Batch = Vec<(Delivery, Py<PyAny>)>;

/// The tasks and batches of one event loop.
#[pyclass(frozen, weakref, module = "carbon_events._native")]
pub(crate) struct Port {
    shared: Arc<Shared>,
    tasks: Mutex<HashMap<u64, Task>>,
    next: AtomicU64,
    batches: Mutex<HashMap<usize, Batch>>,
}

struct Shared {
    ready: Mutex<Vec<Ready>>,
    wakeup: Wakeup,
}

#[derive(Clone, Copy)]
enum Ready {
    Task(u64),
    Batch(usize),
}

struct Notify {
    shared: Arc<Shared>,
    what: Ready,
}

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        self.shared.ready.lock().push(self.what);
        self.shared.wakeup.notify();
    }
}

#[pymethods]
impl Port {
    #[new]
    fn new() -> PyResult<Self> {
        let wakeup = Wakeup::new().map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Port {
            shared: Arc::new(Shared {
                ready: Mutex::default(),
                wakeup,
            }),
            tasks: Mutex::default(),
            next: AtomicU64::new(0),
            batches: Mutex::default(),
        })
    }

    /// The descriptor for `loop.add_reader`.
    fn fileno(&self) -> i32 {
        self.shared.wakeup.fileno()
    }

    /// Polls what is ready. Returns the completed futures, each with a delivery report or an error.
    fn drain(&self, py: Python<'_>) -> PyResult<Vec<Completed>> {
        self.shared.wakeup.drain();
        let ready = mem::take(&mut *self.shared.ready.lock());
        let mut completed = Vec::new();
        for what in ready {
            match what {
                Ready::Batch(batch) => self.completed(py, batch, &mut completed)?,
                Ready::Task(id) => {
                    // Removed while it is polled, because setting a result may run any code.
                    let task = self.tasks.lock().remove(&id);
                    if let Some(task) = task {
                        self.poll(py, id, task)?;
                    }
                }
            }
        }
        Ok(completed)
    }

    /// Makes the loop call `drain` again.
    fn notify(&self) {
        self.shared.wakeup.notify();
    }

    /// Removes a waiting record, unless it is accepted.
    fn leave(&self, id: u64) {
        let task = self.tasks.lock().remove(&id);
        drop(task);
    }
}

impl Port {
    fn waker(&self, what: Ready) -> Waker {
        Waker::from(Arc::new(Notify {
            shared: Arc::clone(&self.shared),
            what,
        }))
    }

    fn poll(&self, py: Python<'_>, id: u64, task: Task) -> PyResult<()> {
        let Task { mut job, target } = task;
        // Cancelled: the core's future is dropped without a poll, so that it yields nothing.
        if target
            .bind(py)
            .call_method0(intern(py, &DONE, "done"))?
            .is_truthy()?
        {
            return Ok(());
        }
        let waker = self.waker(Ready::Task(id));
        let mut context = Context::from_waker(&waker);
        let answer = match &mut job {
            Job::Work(work) => work.as_mut().poll(&mut context).map(|answer| answer(py)),
            Job::Admission(admission, accepted) => match Pin::new(admission).poll(&mut context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error).or_raise(py)),
                Poll::Ready(Ok(delivery)) => {
                    if let Some(accepted) = accepted.take() {
                        accepted(py, &delivery)?;
                    }
                    return self.watch(py, delivery, target);
                }
            },
        };
        match answer {
            Poll::Ready(answer) => complete(py, &target, answer),
            Poll::Pending => {
                self.tasks.lock().insert(id, Task { job, target });
                Ok(())
            }
        }
    }

    /// Sets the future's result once the record is delivered or failed.
    fn watch(&self, py: Python<'_>, delivery: Delivery, target: Py<PyAny>) -> PyResult<()> {
        let batch = delivery.batch();
        let known = match self.batches.lock().entry(batch) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push((delivery, target));
                return Ok(());
            }
            Entry::Vacant(new) => {
                delivery.wake_with_batch(&self.waker(Ready::Batch(batch)));
                // It may have completed since the send.
                let Some(known) = delivery.outcome() else {
                    new.insert(vec![(delivery, target)]);
                    return Ok(());
                };
                known
            }
        };
        complete(py, &target, outcome(py, known))
    }

    /// Removes the completed records of a batch and adds their outcomes to `completed`.
    fn completed(
        &self,
        py: Python<'_>,
        batch: usize,
        completed: &mut Vec<Completed>,
    ) -> PyResult<()> {
        // No Python object is created under the lock, because garbage collection may run any code.
        let outcomes = self.take_outcomes(batch);
        completed.reserve(outcomes.len());
        for (target, outcome) in outcomes {
            completed.push(match outcome {
                Ok(report) => (target, Some(report_object(py, report)?), None),
                Err(error) => {
                    let error = errors::exception(py, &error)?.into_value(py).into_any();
                    (target, None, Some(error))
                }
            });
        }
        Ok(())
    }

    fn take_outcomes(&self, batch: usize) -> Vec<(Py<PyAny>, Result<DeliveryReport>)> {
        let mut batches = self.batches.lock();
        let Some(waiting) = batches.get_mut(&batch) else {
            return Vec::new();
        };
        let (mut outcomes, mut left) = (Vec::with_capacity(waiting.len()), Vec::new());
        for (delivery, target) in mem::take(waiting) {
            match delivery.outcome() {
                Some(outcome) => outcomes.push((target, outcome)),
                None => left.push((delivery, target)),
            }
        }
        if left.is_empty() {
            batches.remove(&batch);
        } else {
            *waiting = left;
        }
        outcomes
    }
}

/// Sets the asyncio future's outcome, unless it is cancelled.
fn complete(py: Python<'_>, target: &Py<PyAny>, answer: PyResult<Py<PyAny>>) -> PyResult<()> {
    let (name, value) = match answer {
        Ok(value) => (intern(py, &SET_RESULT, "set_result"), value),
        Err(error) => (
            intern(py, &SET_EXCEPTION, "set_exception"),
            error.into_value(py).into_any(),
        ),
    };
    // SAFETY: all three are live objects, and null ends the arguments.
    let done = unsafe {
        let null: *mut ffi::PyObject = ptr::null_mut();
        ffi::PyObject_CallMethodObjArgs(target.as_ptr(), name.as_ptr(), value.as_ptr(), null)
    };
    // SAFETY: a new reference, or null with an exception set.
    let set = unsafe { Bound::from_owned_ptr_or_err(py, done) };
    let Err(error) = set else {
        return Ok(());
    };
    let is_done = target.bind(py).call_method0(intern(py, &DONE, "done"))?;
    if is_done.is_truthy()? {
        Ok(())
    } else {
        Err(error)
    }
}

static DONE: Name = PyOnceLock::new();
static SET_RESULT: Name = PyOnceLock::new();
static SET_EXCEPTION: Name = PyOnceLock::new();

type Name = PyOnceLock<Py<pyo3::types::PyString>>;

fn intern<'py>(
    py: Python<'py>,
    name: &'static Name,
    text: &str,
) -> Bound<'py, pyo3::types::PyString> {
    name.get_or_init(py, || pyo3::types::PyString::intern(py, text).unbind())
        .bind(py)
        .clone()
}

/// The running loop and its port.
pub(crate) struct Running<'py> {
    running: Bound<'py, PyAny>,
    port: Bound<'py, Port>,
}

/// Weak references to the loop and the port that a thread used last.
struct Last {
    running: Py<PyWeakrefReference>,
    port: Py<PyWeakrefReference>,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

impl<'py> Running<'py> {
    /// Fails with asyncio's error if no loop runs in this thread.
    pub(crate) fn get(py: Python<'py>) -> PyResult<Self> {
        static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let get = GET.get_or_try_init(py, || {
            let get = py.import("asyncio")?.getattr("get_running_loop")?;
            PyResult::Ok(get.unbind())
        })?;
        let running = get.bind(py).call0()?;
        let known = LAST.with_borrow(|last| {
            let last = last.as_ref()?;
            let same = last.running.bind(py).upgrade()?.is(&running);
            let port = same.then(|| last.port.bind(py).upgrade())??;
            port.cast_into::<Port>().ok()
        });
        match known {
            Some(port) => Ok(Running { running, port }),
            None => Self::find(running),
        }
    }

    #[cold]
    fn find(running: Bound<'py, PyAny>) -> PyResult<Self> {
        let py = running.py();
        let port = py
            .import("carbon_events._loops")?
            .call_method1("port_of", (&running,))?
            .cast_into::<Port>()?;
        let last = Last {
            running: PyWeakrefReference::new(&running)?.unbind(),
            port: PyWeakrefReference::new(&port)?.unbind(),
        };
        let before = LAST.replace(Some(last));
        drop(before);
        Ok(Running { running, port })
    }

    fn new_future(&self) -> PyResult<Bound<'py, PyAny>> {
        static CREATE: Name = PyOnceLock::new();
        let create = intern(self.running.py(), &CREATE, "create_future");
        self.running.call_method0(create)
    }

    /// A future of this loop for a future of the core.
    fn future_of_work(self, work: Work) -> PyResult<Bound<'py, PyAny>> {
        let target = self.new_future()?;
        let port = self.port.get();
        let task = Task {
            job: Job::Work(work),
            target: target.clone().unbind(),
        };
        let id = port.next.fetch_add(1, Ordering::Relaxed);
        // A notification that comes before the task is stored is drained later, by this thread.
        port.poll(target.py(), id, task)?;
        Ok(target)
    }

    /// A future of this loop for a delivery.
    pub(crate) fn future_of_delivery(self, delivery: Delivery) -> PyResult<Bound<'py, PyAny>> {
        let target = self.new_future()?;
        let port = self.port.get();
        port.watch(target.py(), delivery, target.clone().unbind())?;
        Ok(target)
    }

    /// Like [`future_of_delivery`](Self::future_of_delivery), for a record that waits for capacity.
    /// Cancelling the future removes the record.
    pub(crate) fn future_in_line(
        self,
        admission: Admission,
        accepted: Option<Accepted>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = self.running.py();
        let port = self.port.get();
        let id = port.next.fetch_add(1, Ordering::Relaxed);
        let target = py
            .import("carbon_events._loops")?
            .call_method1("in_line", (&self.running, &self.port, id))?;
        let task = Task {
            job: Job::Admission(admission, accepted),
            target: target.clone().unbind(),
        };
        port.poll(py, id, task)?;
        Ok(target)
    }
}

/// A future of the running loop for a future of the core.
pub(crate) fn future_of(py: Python<'_>, work: Work) -> PyResult<Bound<'_, PyAny>> {
    Running::get(py)?.future_of_work(work)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Port>()
}

//! Core's futures on asyncio's loops.
//!
//! ```text
//!   delivery thread          file descriptor        the loop's own thread
//!     waker: note the task ─▶ written once a batch ─▶ add_reader: drain() polls what is ready
//!                                                     and sets the results of asyncio's futures
//! ```
//!
//! One [`Port`] a loop. No thread of ours takes the GIL, a thousand outcomes wake the loop once,
//! and a loop that is closed leaves a descriptor that nobody reads until the port is dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use carbon_events::Delivery;
use carbon_events::sync::Mutex;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::delivery::outcome;
use crate::wakeup::Wakeup;

/// What a future gives: made into Python's objects on the loop's thread.
pub(crate) type Answer = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
/// A future of core's.
pub(crate) type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

enum Job {
    Delivery(Delivery),
    Work(Work),
}

struct Task {
    job: Job,
    /// asyncio's future.
    target: Py<PyAny>,
}

/// A loop's end of the bridge.
#[pyclass(frozen, weakref, module = "carbon_events._native")]
pub(crate) struct Port {
    shared: Arc<Shared>,
    tasks: Mutex<HashMap<u64, Task>>,
    next: AtomicU64,
}

struct Shared {
    ready: Mutex<Vec<u64>>,
    wakeup: Wakeup,
}

struct Notify {
    shared: Arc<Shared>,
    id: u64,
}

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        self.shared.ready.lock().push(self.id);
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
        })
    }

    /// The descriptor for `loop.add_reader`.
    fn fileno(&self) -> i32 {
        self.shared.wakeup.fileno()
    }

    /// Polls what is ready; called by the loop.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.wakeup.drain();
        let ready = std::mem::take(&mut *self.shared.ready.lock());
        for id in ready {
            // Taken out while it is polled: setting a result may run anything.
            let task = self.tasks.lock().remove(&id);
            if let Some(task) = task {
                self.poll(py, id, task)?;
            }
        }
        Ok(())
    }
}

impl Port {
    fn poll(&self, py: Python<'_>, id: u64, mut task: Task) -> PyResult<()> {
        let target = task.target.bind(py);
        // Cancelled: the future of core's is dropped without being asked, so that it gives nothing
        // to nobody.
        if target
            .call_method0(intern(py, &DONE, "done"))?
            .is_truthy()?
        {
            return Ok(());
        }
        let waker = Waker::from(Arc::new(Notify {
            shared: Arc::clone(&self.shared),
            id,
        }));
        let mut context = Context::from_waker(&waker);
        let answer = match &mut task.job {
            Job::Delivery(delivery) => match Pin::new(delivery).poll(&mut context) {
                Poll::Ready(settled) => Some(outcome(py, settled)),
                Poll::Pending => None,
            },
            Job::Work(work) => match work.as_mut().poll(&mut context) {
                Poll::Ready(answer) => Some(answer(py)),
                Poll::Pending => None,
            },
        };
        match answer {
            Some(Ok(value)) => target
                .call_method1(intern(py, &SET_RESULT, "set_result"), (value,))
                .map(drop),
            Some(Err(error)) => target
                .call_method1(intern(py, &SET_EXCEPTION, "set_exception"), (error,))
                .map(drop),
            None => {
                self.tasks.lock().insert(id, task);
                Ok(())
            }
        }
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

/// The loop and the port that a thread asked for last, neither kept alive by it.
struct Last {
    running: Py<PyWeakrefReference>,
    port: Py<PyWeakrefReference>,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

impl<'py> Running<'py> {
    /// Fails with Python's own error where no loop runs in this thread.
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

    /// A future of this loop for what a job gives.
    fn future(self, job: Job) -> PyResult<Bound<'py, PyAny>> {
        static CREATE: Name = PyOnceLock::new();
        let py = self.running.py();
        let create = intern(py, &CREATE, "create_future");
        let target = self.running.call_method0(create)?;
        let port = self.port.get();
        let task = Task {
            job,
            target: target.clone().unbind(),
        };
        let id = port.next.fetch_add(1, Ordering::Relaxed);
        // A wake that comes before the task is there to be found is drained after this, by this
        // thread.
        port.poll(py, id, task)?;
        Ok(target)
    }

    /// A coroutine as a task of this loop.
    pub(crate) fn task_of(&self, coroutine: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.running.call_method1("create_task", (coroutine,))
    }

    /// A future of this loop for a record's outcome.
    pub(crate) fn future_of_delivery(self, delivery: Delivery) -> PyResult<Bound<'py, PyAny>> {
        self.future(Job::Delivery(delivery))
    }
}

/// A future of the running loop for what a future of core's gives.
pub(crate) fn future_of(py: Python<'_>, work: Work) -> PyResult<Bound<'_, PyAny>> {
    Running::get(py)?.future(Job::Work(work))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Port>()
}

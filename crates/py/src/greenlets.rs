//! gevent and eventlet: whether a blocking call must let the other greenlets of its thread run.
//!
//! That is so in a patched program: there even `time.sleep` lets other greenlets run, and a call that
//! blocks in native code stops every greenlet of the thread.

use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// See `carbon_events._greenlets`.
pub(crate) struct Hub<'py>(Bound<'py, PyAny>);

impl<'py> Hub<'py> {
    /// The hub of this thread.
    pub(crate) fn of_this_thread(py: Python<'py>) -> PyResult<Option<Self>> {
        Self::ask(py, "of_this_thread")
    }

    /// The hub of the main thread, if this is the main thread.
    pub(crate) fn of_main_thread(py: Python<'py>) -> PyResult<Option<Self>> {
        Self::ask(py, "of_main_thread")
    }

    #[inline]
    fn ask(py: Python<'py>, which: &str) -> PyResult<Option<Self>> {
        if !may_be_patched(py)? {
            return Ok(None);
        }
        let module = py.import(intern!(py, "carbon_events._greenlets"))?;
        let hub = module.call_method0(which)?;
        Ok((!hub.is_none()).then_some(Hub(hub)))
    }

    /// Lets other greenlets run for at least this long.
    pub(crate) fn sleep(&self, duration: Duration) -> PyResult<()> {
        let name = intern!(self.0.py(), "sleep");
        self.0
            .call_method1(name, (duration.as_secs_f64(),))
            .map(drop)
    }

    pub(crate) fn as_any(&self) -> &Bound<'py, PyAny> {
        &self.0
    }
}

/// Whether gevent or eventlet has patched the program.
pub(crate) fn is_patched(py: Python<'_>) -> PyResult<bool> {
    if !may_be_patched(py)? {
        return Ok(false);
    }
    let module = py.import(intern!(py, "carbon_events._greenlets"))?;
    module.call_method0("is_patched")?.extract()
}

/// The id of the running greenlet, unique among the live ones; 0 in a program that is not patched.
pub(crate) fn current(py: Python<'_>) -> PyResult<usize> {
    if !may_be_patched(py)? {
        return Ok(0);
    }
    let module = py.import(intern!(py, "carbon_events._greenlets"))?;
    module.call_method0("current")?.extract()
}

/// The unique number of the running greenlet; 0 in a program that is not patched.
pub(crate) fn reader(py: Python<'_>) -> PyResult<u64> {
    if !may_be_patched(py)? {
        return Ok(0);
    }
    let module = py.import(intern!(py, "carbon_events._greenlets"))?;
    module.call_method0("reader")?.extract()
}

/// Two look-ups in `sys.modules`: the only cost in other programs.
#[inline]
fn may_be_patched(py: Python<'_>) -> PyResult<bool> {
    // SAFETY: a borrowed reference to the interpreter's own dict, which is always there.
    let modules = unsafe { Bound::from_borrowed_ptr(py, pyo3::ffi::PyImport_GetModuleDict()) };
    let modules = modules.cast_into::<PyDict>()?;
    Ok(modules.contains(intern!(py, "gevent.monkey"))?
        || modules.contains(intern!(py, "eventlet.patcher"))?)
}

//! `carbon_events._native`: the Python binding of the core.
//!
//! It only converts. The core decides what is retried, batched, written, read or rejected. Rules:
//!
//! - A call releases the GIL to block, never to enqueue.
//! - No thread of the core or of librdkafka takes the GIL. Event loops are notified through a file
//!   descriptor ([`asyncio`]); callbacks and log lines run on a Python thread or greenlet
//!   ([`dispatch`]).
//! - A blocking call checks for signals ten times a second ([`blocking`]), and lets the other
//!   greenlets of a patched program run ([`greenlets`]).

mod arrow;
mod asyncio;
mod blocking;
mod consumer;
mod delivery;
mod dispatch;
mod dropin;
mod errors;
mod events;
mod greenlets;
mod headers;
mod logs;
mod many;
mod producer;
mod records;
mod settings;
mod shutdown;
mod testing;
mod wakeup;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // SAFETY: called by the interpreter that imports the module.
    let interpreter =
        unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) };
    if interpreter != 0 {
        let message =
            "carbon_events supports the main interpreter only: its threads run in that one";
        return Err(pyo3::exceptions::PyImportError::new_err(message));
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    logs::install();
    events::register(module)?;
    asyncio::register(module)?;
    consumer::register(module)?;
    delivery::register(module)?;
    dispatch::register(module)?;
    dropin::register(module)?;
    many::register(module)?;
    producer::register(module)?;
    records::register(module)?;
    shutdown::register(module)?;
    testing::register(module)
}

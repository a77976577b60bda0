//! `carbon_events._native`: the core for Python.
//!
//! Conversion only: what is retried, batched, written, read or refused is decided in the core. The
//! rules of this crate:
//!
//! - the GIL is released to block and never to enqueue;
//! - no thread of the core's or of librdkafka's ever takes it: event loops are woken through a file
//!   descriptor ([`asyncio`]), callbacks and log lines wait for a thread or greenlet of Python's own
//!   ([`dispatch`]);
//! - a call that blocks looks for signals ten times a second ([`blocking`]), and lets the greenlets
//!   of a patched program run ([`greenlets`]).

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
            "carbon_events works in the main interpreter only: its threads belong to no other";
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

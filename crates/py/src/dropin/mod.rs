//! The native part of `event_producer`: its low-level producer, and the fast path of its typed calls.
//!
//! ```text
//!   produce_api_call_event(…)  ── nothing patched or overridden, plain values ──▶ core, at once
//!     │ otherwise
//!     ▼
//!   _create_base_event ─▶ produce ─▶ _produce ─▶ Producer.produce ─▶ sensitive values protected ─▶ core
//! ```

mod calls;
mod config;
mod producer;
mod reports;
mod table;

use pyo3::prelude::*;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    producer::register(module)?;
    config::register(module)?;
    calls::register(module)
}

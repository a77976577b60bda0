//! What `event_producer` is made of: its low-level producer, and its hot calls.
//!
//! ```text
//!   produce_api_call_event(…)  ── nothing is patched, overridden or sloppy ──▶ core, at once
//!                              └─ else the same call in Python: the event as a dict, by way of
//!                                 `_create_base_event` and `produce`, as services know it
//! ```

mod calls;
mod producer;
mod table;

use pyo3::prelude::*;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    producer::register(module)?;
    calls::register(module)
}

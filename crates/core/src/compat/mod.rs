//! What the producers before this crate wrote, where it is more than a wire format: shared by the
//! drop-in modules of both languages.
//!
//! - [`protect_json`]: the sensitive values in any JSON that goes to a topic.
//! - [`json`]: JSON text as Python writes it.

pub mod json;
mod protect;

pub use protect::protect_json;

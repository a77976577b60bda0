//! What the producers before this crate wrote, where it is more than a wire format: shared by the
//! drop-in modules of both languages.
//!
//! - [`event_from_call`]: the event of a typed call whose values are not plainly right.
//! - [`protect_json`]: the sensitive values in any JSON that goes to a topic.
//! - [`json`]: JSON text as Python writes it.

pub mod json;
mod mend;
mod protect;

pub use mend::{event_from_call, event_from_protected_call};
pub use protect::protect_json;
pub(crate) use protect::protect_json_but;

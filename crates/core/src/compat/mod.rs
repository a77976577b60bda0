//! What the producers before this crate did beyond a wire format, for the drop-in modules of both
//! languages.
//!
//! - [`config`]: their defaults, and their configuration by librdkafka properties.
//! - [`event_from_call`]: the event of a typed call whose values are not plainly right.
//! - [`protect_json`]: the sensitive values in any JSON that goes to a topic.
//! - [`json`]: JSON text as Python writes it.

pub mod config;
pub mod json;
mod mend;
mod protect;

pub use mend::{event_from_call, event_from_protected_call};
pub use protect::protect_json;
pub(crate) use protect::protect_json_but;

//! Events to bytes and back: Avro bodies, the three wire formats, and other writers' schemas.
//!
//! ```text
//! write: event --encode--> frame header + Avro body
//!
//! read:  value --frame::split--+-- our schema -----------------> body --+
//!                              +-- another writer's --> Plan --> body --+--> generated decoder
//!                              +-- JSON --> by our schema -----> body --+
//! ```
//!
//! Readers use a [`Decoder`]: it detects the format, keeps a [`Plan`] for each writer's schema, and
//! returns the typed event.

mod decoder;
pub mod frame;
pub(crate) mod json;
pub(crate) mod reader;
mod resolve;

#[doc(hidden)]
pub use decoder::event_from_treated_json;
pub use decoder::{Decoded, Decoder, NoSchemas, SchemaSource, event_from_json};
pub use frame::{Frame, WireFormat};
#[doc(hidden)]
pub use json::relaxed as relaxed_json;
pub use json::{Fill, Leniency, Rules};
pub use resolve::Plan;

pub use crate::avro::{self, Schema};

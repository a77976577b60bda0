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
//! [`Decoder`] is the way in for readers: it tells the format, keeps a [`Plan`] for each writer's
//! schema that it meets, and gives the typed event.

pub mod avro;
mod decoder;
mod default;
pub mod frame;
mod json;
mod reader;
mod resolve;
mod schema;

#[doc(hidden)]
pub use decoder::event_from_treated_json;
pub use decoder::{Decoded, Decoder, NoSchemas, SchemaSource, event_from_json};
pub use frame::{Frame, WireFormat};
pub(crate) use json::relaxed as relaxed_json;
pub use json::{Fill, Leniency, Rules};
pub use resolve::Plan;
pub use schema::Schema;

#[cfg(test)]
pub(crate) mod testing;

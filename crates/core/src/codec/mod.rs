//! Events to bytes and back: Avro bodies, the three wire formats, and other writers' schemas.

pub(crate) mod avro;
mod default;
pub mod frame;
mod json;
mod reader;
mod resolve;
mod schema;

pub use frame::{Frame, WireFormat};
pub use json::{Fill, Leniency, Rules};
pub use resolve::Plan;
pub use schema::Schema;

#[cfg(test)]
pub(crate) mod testing;

//! Events to bytes and back: Avro bodies, the three wire formats, and other writers' schemas.

pub mod avro;
pub mod frame;

pub use frame::{Frame, WireFormat};

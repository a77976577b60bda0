//! Events to bytes and back: Avro bodies, the three wire formats, and other writers' schemas.

pub mod avro;
mod default;
pub mod frame;
mod resolve;
mod schema;

pub use frame::{Frame, WireFormat};
pub use resolve::Plan;
pub use schema::Schema;

//! The 254Carbon data platform's events as Avro, without Kafka: what the crate `carbon-events`
//! re-exports, and what fuzzing, Miri and the micro-benchmarks link.
//!
//! ```text
//!  avro    reads and writes Avro's binary encoding; parses schemas
//!    ▲
//!  events  the typed events, generated from schemas/; encoded and decoded with avro
//!    ▲
//!  codec   wire formats, JSON, other writers' schemas: any value to a typed event
//! ```
//!
//! A module uses those above it only; a test of `carbon-events-codegen` checks this. The crate calls
//! no C code and no network: [`Error`] is here because every module returns it.

pub mod avro;
pub mod codec;
mod error;
pub mod events;
#[doc(hidden)]
pub mod fork;

pub use error::{Error, ErrorKind, Result};
pub use events::{Envelope, Event, EventId, List, StringMap, Topic, TopicSpec, TypedEvent};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

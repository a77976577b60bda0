//! Typed Avro events of the 254Carbon data platform on Kafka.

pub mod codec;
mod error;

pub use error::{Error, ErrorKind, Result};

//! Typed Avro events of the 254Carbon data platform on Kafka.

pub mod codec;
pub mod config;
mod error;
mod kafka;
pub mod metrics;

pub use error::{Error, ErrorKind, Result};

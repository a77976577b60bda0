//! Typed Avro events of the 254Carbon data platform on Kafka.

mod error;

pub use error::{Error, ErrorKind, Result};

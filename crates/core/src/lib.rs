//! Typed Avro events of the 254Carbon data platform on Kafka.

pub mod admin;
mod background;
pub mod codec;
pub mod config;
pub mod consumer;
mod error;
pub mod events;
mod kafka;
pub mod metrics;
pub mod producer;
pub mod registry;
#[cfg(any(feature = "testkit", test))]
pub mod testkit;

pub use consumer::{Batch, EventConsumer, EventStream, OwnedRecord, Record};
pub use error::{Error, ErrorKind, Result};
pub use events::{Envelope, Event, EventId, List, StringMap, Topic, TopicSpec, TypedEvent};
pub use producer::{Delivery, DeliveryReport, EventProducer};

//! Typed Avro events of the 254Carbon data platform on Kafka.
//!
//! The crate declares the platform's twelve events as types generated from their Avro schemas, and
//! produces and consumes them in batches. One event's way, from the caller to the wire:
//!
//! ```text
//!  events::AuditAPICallEvent        a typed record, built and checked
//!    │ TypedEvent::encode           its Avro body, sensitive fields treated on the way
//!    │ codec::frame                 0x00 + schema id, or 0xC3 0x01 + fingerprint
//!    ▼
//!  producer::EventProducer          murmur2 partition, batch, librdkafka, Delivery
//!    ▼
//!  Kafka
//!    ▼
//!  consumer::EventConsumer          batches that stay where they were fetched
//!    │ codec::Decoder               any of the three formats, any compatible writer's schema
//!    ▼
//!  events::Event                    borrowed from the batch, or owned
//! ```
//!
//! # Producing
//!
//! ```no_run
//! use carbon_events::EventProducer;
//! use carbon_events::events::AuditAPICallEvent;
//!
//! # async fn example() -> carbon_events::Result<()> {
//! // The platform's environment variables: KAFKA_BOOTSTRAP_SERVERS, KAFKA_SSL_CA_LOCATION, …
//! let producer = EventProducer::from_env().service_name("billing").build()?;
//! let event = AuditAPICallEvent::builder()
//!     .service("billing")
//!     .endpoint("/api/v1/invoices")
//!     .method("GET")
//!     .status_code(200)
//!     .latency_ms(12)
//!     .request_size_bytes(0)
//!     .response_size_bytes(5120)
//!     .ip_address("192.0.2.17")
//!     .build()?;
//! let delivery = producer.send_async(&event).await?; // accepted: it completes from here on
//! let report = delivery.await?; // acknowledged by all replicas in sync
//! println!("{} [{}] at offset {}", report.topic, report.partition, report.offset);
//! # Ok(())
//! # }
//! ```
//!
//! # Consuming
//!
//! ```no_run
//! use std::time::Duration;
//! use carbon_events::{Event, EventConsumer, Topic};
//!
//! # fn example() -> carbon_events::Result<()> {
//! let consumer = EventConsumer::from_env()
//!     .group_id("invoice-audit")
//!     .topics([Topic::AuditApiCalls, Topic::SecurityEvents])
//!     .build()?;
//! // Until nothing has come for half a minute.
//! while let Some(batch) = consumer.next_batch(Duration::from_secs(30))? {
//!     for record in batch.iter().filter(|record| !record.is_tombstone()) {
//!         match record.event() {
//!             Ok(Event::AuditAPICall(call)) => println!("{} {}", call.method, call.endpoint),
//!             Ok(other) => println!("{other:?}"),
//!             Err(error) => eprintln!("no event at offset {}: {error}", record.offset()),
//!         }
//!     }
//! } // asking for the next batch acknowledges this one
//! consumer.close(Duration::from_secs(10))
//! # }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | an event's fields, key and encoder | [`events`] |
//! | wire formats, other writers' schemas, legacy JSON | [`codec`] |
//! | every setting, its default and its variable | [`config`] |
//! | what an error's kind asks of the caller | [`ErrorKind`] |
//! | the topic table, applied to a cluster | [`admin`] |
//! | counters and latencies | [`metrics`] |
//! | a broker and a registry for a service's own tests | `testkit` (feature of that name) |
//!
//! Logs go to `tracing` under the targets `carbon_events` and `carbon_events::librdkafka`; nothing
//! global is configured.

pub mod admin;
mod background;
mod client;
pub mod compat;
pub mod config;
pub mod consumer;
mod deadline;
mod fork;
mod kafka;
pub mod metrics;
pub mod producer;
pub mod registry;
#[doc(hidden)]
pub mod sync;
#[cfg(any(feature = "testkit", test))]
pub mod testkit;

pub use carbon_events_types::{
    Envelope, Error, ErrorKind, Event, EventId, List, Result, StringMap, Topic, TopicSpec,
    TypedEvent, codec, events,
};

pub use consumer::{Batch, EventConsumer, EventStream, OwnedRecord, Record};
pub use producer::{Delivery, DeliveryReport, EventProducer};

/// The README's Rust, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

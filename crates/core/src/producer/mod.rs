//! Producing: typed events and raw records, from any thread or task, to Kafka.
//!
//! ```text
//!  send(&event)                                        event thread
//!    │ validate, take room in the queue                  ▲      │
//!    │ key ─▶ murmur2 ─▶ partition                       │      │ settles each record once,
//!    ▼                                                   │      │ wakes its Delivery
//!  lane of the partition ── slab: frame + Avro body,     │      ▼
//!    │                      back to back in one buffer   │   hands over what gathered meanwhile
//!    │ slab full, or nothing on its way                  │
//!    ▼                                                   │
//!  rd_kafka_produce_batch, no copy ──▶ librdkafka ──▶ broker
//! ```
//!
//! # Batching
//!
//! A record that finds nothing on its way leaves at once; what comes while something is gathers in
//! its partition's slab and goes with the next acknowledgement, when the slab is full, or after
//! `linger`. So a lone awaited send takes one round trip, and a burst goes in slabs of a thousand.
//!
//! A topic that takes less at once than our largest batch gets less: see [`limit`].
//!
//! # Back-pressure
//!
//! Accepted and unsettled records are bounded by `queue_max_records` and `queue_max_bytes`. Beyond
//! that [`send`](EventProducer::send) blocks and [`send_async`](EventProducer::send_async) waits, up
//! to `block_timeout`, both in one line and in the order of their calls ([`admission`]).
//! [`try_send`](EventProducer::try_send) fails at once, also while others are in line. Nothing is
//! dropped.
//!
//! # Order
//!
//! Records of one thread or task with one key are written in the order of their sends, retries and a
//! full queue included (an idempotent producer with all replicas' acknowledgement is the default).
//!
//! # Cancellation
//!
//! A record is the producer's as soon as a send method gave its [`Delivery`]. Dropping the handle,
//! or the task that awaits it, recalls nothing. A task that is cancelled inside `send_async` has
//! sent nothing: its record leaves the line.
//!
//! # Starting, forking, closing
//!
//! The first record starts librdkafka and one thread. A child process after a fork starts its own,
//! and leaves what the parent had accepted to the parent. [`close`](EventProducer::close), and the
//! drop of the last clone, deliver what was accepted or say how much was not. Ctrl-C ends a process
//! without running either: handle the signal, and close.
//!
//! A fatal error of librdkafka's ends a session, not the producer; see [`session`]. Nothing waits for
//! longer than its delivery timeout, wherever it is; see [`late`].
//!
//! Retry topics, an outage spool and a circuit breaker belong between `send` and the lanes
//! ([`engine`]); transactions belong in [`handover`].

mod accumulator;
mod admission;
mod batch;
mod batch_limit;
mod builder;
mod completion;
mod content;
mod delivery;
mod event_loop;
mod event_producer;
mod failure;
mod flow;
mod flow_control;
mod headers;
mod late;
mod lifecycle;
mod opening;
mod partition_queue;
mod partitioner;
mod produce;
mod record;
mod reports;
mod resolver;
mod scratch;
mod sender;
mod session;
mod settings;
mod shared;
mod shutdown;
mod stats;
mod submitted;
mod tally;
#[cfg(test)]
mod tests;
mod topic;
mod topic_queues;
mod topics;
mod window;

pub use crate::client::ClientObserver;
pub use builder::EventProducerBuilder;
pub use content::{AnyContent, EncodedContent, JsonContent, RawContent, TypedContent};
pub use delivery::{Delivery, DeliveryReport};
pub use event_producer::EventProducer;
pub use headers::{Header, TraceContext};
pub use partitioner::{Partitioner, murmur2};
pub use record::Outgoing;
pub use shared::SharedProducer;
pub use stats::ProducerStats;
pub use submitted::Admission;

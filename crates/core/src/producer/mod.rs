//! Producing: typed events and raw records, from any thread or task, to Kafka.
//!
//! ```text
//!  send(&event)      event_producer.rs   the public API
//!    │               record.rs           key, headers, partition; checks and encodes (content.rs)
//!    │               lifecycle.rs        the running session, started by the first record
//!    │               session.rs          one librdkafka instance and its components:
//!    ▼
//!  admission         admission/          takes capacity of the buffer limit, or joins the line
//!    ▼
//!  accumulator       accumulator.rs      key ─▶ murmur2 ─▶ partition (topic_queues.rs)
//!    │               partition_queue.rs  one open batch a partition
//!    │               batch/              frame + Avro body, back to back in one buffer
//!    │ batch full, or no record in flight
//!    │ ═════════════ an outage spool and a circuit breaker belong here
//!    ▼
//!  sender            sender.rs           what may go now (flow_control.rs) goes to librdkafka, no copy
//!    │ ═════════════ transactions belong here: begin, commit, abort on the sender's handle
//!    ▼
//!  librdkafka ──▶ broker ──▶ event thread (event_loop.rs)
//!    ▼
//!  delivery          reports.rs          each report completes its record once,
//!                    completion.rs       counts it, and releases its capacity;
//!                    delivery.rs         the caller's Delivery is notified
//! ```
//!
//! Beside them: topics.rs and resolver.rs (the topics' metadata, looked up off the senders' path),
//! lifecycle.rs and shutdown.rs (start, fork, flush, close), shared/ (producers of equal settings
//! share one). Each component owns its state behind private fields, and imports point down the
//! picture: no file imports from one above it.
//!
//! # Batching
//!
//! A record that finds none in flight goes at once. Later records gather in their partition's batch
//! and go with the next acknowledgement, when the batch is full, or after `linger`. So a lone awaited
//! send takes one round trip, and a burst goes in batches of a thousand.
//!
//! A topic that takes smaller batches than librdkafka's largest gets smaller ones; see [`window`].
//!
//! # Back-pressure
//!
//! `queue_max_records` and `queue_max_bytes` bound the accepted and incomplete records. Beyond that
//! [`send`](EventProducer::send) blocks and [`send_async`](EventProducer::send_async) waits, up to
//! `block_timeout`, both in one line and in the order of their calls ([`admission`]).
//! [`try_send`](EventProducer::try_send) fails at once, also while others are in line. No record is
//! dropped.
//!
//! # Invariants
//!
//! - Order: records of one thread or task with one key are written in the order of their sends,
//!   retries and a full queue included (an idempotent producer with all replicas' acknowledgement is
//!   the default). One thread at a time sends a partition queue's batches. The first record of a
//!   partition goes alone ([`flow`]). Records that wait for their topic go before those in its
//!   partition queues, and a session sends nothing before the one before holds no records.
//! - An accepted record completes once: delivered or failed. Capacity is taken before a record is
//!   accepted and released after it is complete and counted ([`completion`]).
//! - Lock order: the line, a topic's waiting queue, a partition queue, the list of gathered queues;
//!   a partition's window, then the lists of flow control. No queue's lock is held during a call of
//!   librdkafka's, and wakers run without any lock.
//! - The event thread alone completes delivery reports, expires records that librdkafka has
//!   ([`late`]), admits the line and sends records again.
//! - No record waits longer than its delivery timeout, wherever it is.
//!
//! # What happens when
//!
//! - a future is dropped: a record is accepted as soon as a send method returned its [`Delivery`].
//!   Dropping the handle, or the task that awaits it, does not recall it. A task that is cancelled
//!   inside `send_async` has sent nothing: its record leaves the line.
//! - the cluster is away: records gather up to the buffer limit, fail at their delivery timeout with
//!   the cause, and later senders wait in line.
//! - librdkafka fails fatally: what the [`session`] holds fails with that error, and the next record
//!   starts another session with the same line.
//! - the process forks: the child starts a session of its own with its first record. What the parent
//!   had accepted stays the parent's, and is neither sent nor dropped in the child.
//! - the producer is closed, or its last clone is dropped: the line is refused, accepted records are
//!   delivered within the timeout, and the others fail and are counted. Ctrl-C ends a process without
//!   either: handle the signal, and close.

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

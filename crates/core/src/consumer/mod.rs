//! Consuming: events from Kafka, borrowed batch by batch or as a stream.
//!
//! ```text
//!  brokers ──▶ librdkafka ──▶ queue, up to max_buffered_bytes
//!                 ▲              │ next_batch: what is there, up to max_batch_records,
//!                 │              ▼ once the writers' schemas are known
//!   consumer's own thread      Batch ─▶ Record ─▶ event(): decoded in place
//!   rebalances, commits,         │
//!   errors, tokens               ├─ its reader drops it and reads on, or acknowledges it ─┐
//!                 ▲              └─ given back: returned, the next read gets it           │
//!                 └──────────────────── how far each partition is acknowledged ◀──────────┘
//! ```
//!
//! # Acknowledgement
//!
//! At least once: an offset is committed when every record before it in its partition is
//! acknowledged. Records belong to the reader that received them, a thread or a task
//! ([`ReaderId`]), and are acknowledged
//!
//! * when that reader has dropped their batch **and reads on**. A record of a
//!   [stream](EventConsumer::stream) is acknowledged when the next one is asked for;
//! * by [`Batch::acknowledge`], [`Record::acknowledge`] or [`EventConsumer::acknowledge`].
//!
//! Nothing else acknowledges: not `close`, not dropping the consumer, not another reader's read,
//! not a panic, not a batch that is dropped by another thread or task than received it (a worker
//! acknowledges its batch itself). So
//!
//! * an error that ends the reading loop (`?`) leaves its batch unacknowledged. The partition's next
//!   owner begins with it, whether the consumer is closed or dropped. The same thread or task
//!   acknowledges it by reading on with this consumer; to read it again instead, call
//!   [`Batch::give_back`];
//! * a loop that is left early (`break`) leaves its last batch unacknowledged too, unless it calls
//!   [`EventConsumer::acknowledge`] before it closes;
//! * a loop that ends because there are no more records has acknowledged all of them.
//!
//! Fetched records that no reader received stay in the consumer, and the next read, whichever
//! reader's, gets them before any others: those of a cancelled read, those that a stream or an
//! iterator did not give before it ended, those of [`Batch::give_back`], and those of a read that
//! failed with a [retryable](crate::Error::retryable) error. They are dropped when their partition is
//! revoked or sought.
//!
//! With `auto_commit` off, [`EventConsumer::commit`] alone commits.
//!
//! # Rebalances
//!
//! The consumer's own thread takes part in the group while the caller works, by the classic
//! protocol (all partitions at once or, with `partition.assignment.strategy=cooperative-sticky`, one
//! by one) or by the broker's (KIP-848). Before partitions are revoked it waits up to
//! `revoke_timeout` for batches in hand, and commits what is acknowledged; the next owner reads again
//! what is still in hand then. Only librdkafka fetches ahead of the caller, and discards that.
//!
//! # Closing
//!
//! `close` returns within its timeout, whatever the brokers do. The consumer's own thread leaves the
//! group; where that takes longer, it goes on in the background for up to half a minute, and then
//! librdkafka is destroyed without it. No call waits for librdkafka's threads beyond the timeout.
//!
//! # Errors
//!
//! librdkafka retries after nearly every error. A read fails at once with what a user must mend (an
//! unknown topic, a missing right), and after `unreachable_after` with what can pass (no broker
//! answers). An undecodable record does not fail the read: that is the record's own error. An outage
//! of the schema registry can pass: records are returned once the registry has answered for the
//! schema of each, so it fails the read, and the next one gets the same records. After an error,
//! reading can go on; only [`ErrorKind::Closed`](crate::ErrorKind::Closed) and what librdkafka calls
//! fatal (a group member fenced by another of its name) stay.
//!
//! # Inside
//!
//! Each file imports only from those before it; each component keeps its state private.
//!
//! ```text
//! data        position, owned, reader_id, notify, end     partitions, offsets, readers, waits
//! schemas     schemas ◀─ lookup                           what records name; asking the registry
//! decoding    rewritten, decoders ◀─ fetched ◀─ record ◀─ decode
//! progress    progress                                    runs of records, how far acknowledged
//! fetching    failures, fetch                             errors to return; librdkafka's queue
//! callers     batch ◀─ parts, cursor                      what a reader has in hand
//! the thread  shared ◀─ start ◀─ assignment ◀─ poll       the group, commits, errors
//! face        stream ◀─ event_consumer ◀─ builder
//! ```
//!
//! A read walks `event_consumer`, `shared`, `fetch`, `schemas`, `progress`, `fetched`, `batch`; its
//! records walk `record`, `decode`, `decoders`.
//!
//! Locks, in the order in which they may be held together:
//!
//! 1. the fetch state: librdkafka's queue, pending and returned records, the end. Records are taken,
//!    and partitions assigned, revoked and sought, under it: a batch is always of assigned partitions;
//! 2. below it, one at a time: the partitions of `progress`, the errors of `failures`, the outcome of
//!    a lookup, the tasks of `notify`.
//!
//! The others (released runs, the pool of decoders, the handle) are held alone. No lock is held while
//! a caller's code runs, but for the wakers of tasks. Decoding takes no lock for a body in our own
//! schema.
//!
//! What ends a wait:
//!
//! * a read waits for `notify`: new records, a looked-up schema, an error, an assignment, a close;
//! * a rebalance waits for runs in hand: acknowledged, dropped elsewhere, returned, or a close;
//! * `close` waits for the consumer's thread: the group is left, or its timeout passes.
//!
//! Offsets are stored for librdkafka's next automatic commit by the consumer's thread alone: at most
//! every quarter of `commit_interval`, before a revocation, and when the group is left. A partition's
//! offset never moves over a record that is not acknowledged.
//!
//! In a forked child every call fails with `Closed`, and dropping the consumer releases nothing:
//! librdkafka's threads are in the parent.
//!
//! Where more would go: a runtime of handlers, retries and dead letters above [`Batch::into_parts`],
//! where a batch is acknowledged; transactions where offsets are stored (`shared`), sent with the
//! producer's transaction instead.

mod assignment;
mod batch;
mod builder;
mod cursor;
mod decode;
mod decoders;
mod end;
mod event_consumer;
mod failures;
mod fetch;
mod fetched;
mod lookup;
mod notify;
mod owned;
mod parts;
mod poll;
mod position;
mod progress;
mod reader_id;
mod record;
mod rewritten;
mod schemas;
mod shared;
mod start;
mod stream;

pub use assignment::AssignmentChange;
pub use batch::Batch;
pub use builder::EventConsumerBuilder;
pub use cursor::{Cursor, Iteration};
pub use event_consumer::EventConsumer;
pub use owned::{OwnedRecord, Undecodable};
pub use parts::Part;
pub use position::{Offsets, Position, TopicPartition};
pub use reader_id::ReaderId;
pub use record::{Record, RecordHeader, Records};
pub use stream::{Any, Decode, EventStream, One};

#[cfg(test)]
mod tests;

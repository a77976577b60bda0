//! librdkafka for the rest of the crate: handles, events and errors.
//!
//! The unsafe code around librdkafka's C API that producer, consumer and admin share is here; they use
//! owned handles, `Result`s and [`ErrorKind`](crate::ErrorKind)s.

mod errors;
mod events;
mod group;
mod handle;
mod message;
mod metadata;
mod partitions;
#[cfg(unix)]
mod resolve;
mod tls;

pub(crate) use errors::{REFUSED_LOGIN_GRACE, broker_error, client_error, kind_of};
pub(crate) use events::{ClientError, Event, Health, Rebalance};
pub(crate) use handle::{Handle, Queue, TopicHandle};
pub(crate) use message::{FetchBuffer, Message, Messages, millis};
pub(crate) use metadata::{Asked, AskedConfig};
pub(crate) use partitions::{PartitionEntry, PartitionList, logical};

//! The addon of `@254carbon/event-producer`: carbon-events in Node, Bun and Electron.
//!
//! ```text
//!  JavaScript                           here                            carbon-events
//!  npm/lib/producer.js ── send ───────▶ sender ── cells ─▶ event ─────▶ EventProducer
//!    many events in one call              │                                 │ deliveries
//!  promises settle, many at once ◀────── mailbox ◀──── group ◀─────────────┘
//!  npm/lib/consumer.js ◀─── take ─────── reader ◀─ cells ◀─ event ◀──── EventConsumer
//! ```
//!
//! This crate only converts: the core decides what is retried, batched, written or rejected. Events
//! cross in both directions as numbers in one array and all texts in one string ([`cells`]), so that
//! one call carries hundreds of them. Any number of outcomes and fetched batches notify the event loop
//! once ([`mailbox`]).
//!
//! No call from JavaScript blocks, except `flush_blocking`: work that may take time runs on a thread of
//! its own, and its result arrives through the mailbox.

mod cells;
mod chunk;
mod engine;
mod errors;
mod events;
mod flat;
mod group;
mod mailbox;
mod outgoing;
mod reader;
mod sender;
mod settings;
mod testing;

use carbon_events::{EventId, compat};
use napi_derive::napi;

/// The environment variables that settings are read from.
#[napi(catch_unwind)]
pub fn environment_variables() -> Vec<&'static str> {
    settings::variables()
}

/// The kinds of errors as JSON: `[{kind, retryable}]`.
#[napi(catch_unwind)]
pub fn error_kinds() -> String {
    errors::kinds()
}

/// Creates an event id.
#[napi(catch_unwind)]
pub fn event_id() -> String {
    EventId::generate().as_str().to_owned()
}

/// The JSON with its sensitive values protected for a topic.
#[napi(catch_unwind)]
pub fn protect_json(topic: String, topic_prefix: String, json: String) -> String {
    let protected = compat::protect_json(&topic, &topic_prefix, json.as_bytes());
    String::from_utf8_lossy(&protected).into_owned()
}

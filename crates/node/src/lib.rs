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
//! Nothing is decided here: what retries, batches, formats or refuses is in the library. This
//! crate converts. Events cross as numbers in one array and all texts in one string ([`cells`]), in
//! both directions, so that one call carries hundreds of them; outcomes and fetched batches wake
//! the event loop once for as many as there are ([`mailbox`]).
//!
//! No call from JavaScript blocks: what may take time runs on a thread of its own and is answered
//! through the mailbox. The one exception says so in its name.

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

/// A new event's id.
#[napi(catch_unwind)]
pub fn event_id() -> String {
    EventId::generate().as_str().to_owned()
}

/// JSON for a topic with its sensitive values protected.
#[napi(catch_unwind)]
pub fn protect_json(topic: String, topic_prefix: String, json: String) -> String {
    let protected = compat::protect_json(&topic, &topic_prefix, json.as_bytes());
    String::from_utf8_lossy(&protected).into_owned()
}

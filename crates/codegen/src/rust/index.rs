//! `mod.rs` and `event.rs`: what names every event once.

use super::each;
use crate::model::Model;
use crate::names::{camel, snake, variant};

pub(super) fn module(model: &Model) -> String {
    let modules = each(&model.topics, |topic| {
        format!("mod {};\n", snake(&topic.event.record.name))
    });
    let exports = each(&model.topics, |topic| {
        let name = &topic.event.record.name;
        let nested = each(&topic.event.nested, |record| format!(", {}", record.name));
        format!(
            "pub use {}::{{{name}, {name}Builder{nested}}};\n",
            snake(name)
        )
    });
    let enums = each(&model.enums, |definition| format!("{}, ", definition.name));
    format!(
        "\
//! The typed events: one file a record, generated from `schemas/`, and the code for all of them.
//!
//! ```text
//! builder() ... build() --> event --encode--> Avro body --decode--> event (borrowing)
//! ```
//!
//! A record's file has its struct, its builder, its encoder and its decoder, as plain lists of its
//! fields. Written by hand: [`record`] (what every event can do), [`envelope`] and [`event_id`] (the
//! first fields of every event), [`list`] and [`string_map`] (arrays and maps), [`sensitive`] and
//! [`check`] (the rules for values), [`encoded`] (an event as its bytes).

mod builder;
mod check;
mod encoded;
mod enums;
mod envelope;
mod event;
mod event_id;
mod items;
mod list;
mod prelude;
mod record;
// JSON that is not a typed event gets the same treatment of sensitive values.
#[doc(hidden)]
pub mod sensitive;
mod string_map;
mod symbol;
mod text;
mod topic;
mod topic_spec;
mod uuid;

{modules}
pub use builder::{{Cause, OptionalText}};
pub use encoded::EncodedEvent;
pub use enums::{{{enums}}};
pub use envelope::Envelope;
pub use event::Event;
pub use event_id::EventId;
pub use items::{{Element, Iter}};
pub use list::List;
pub use record::TypedEvent;
pub use sensitive::HashedText;
pub use string_map::{{Entries, StringMap}};
pub use topic::Topic;
pub use topic_spec::{{CleanupPolicy, TopicGroup, TopicSpec}};

{exports}"
    )
}

pub(super) fn event(model: &Model) -> String {
    let records: Vec<&str> = model
        .topics
        .iter()
        .map(|topic| topic.event.record.name.as_str())
        .collect();
    let variants = each(&records, |record| {
        format!("/// [`{record}`].\n{}({record}<'a>),\n", variant(record))
    });
    let each_event = each(&records, |record| {
        format!("Event::{}($event) => $result,\n", variant(record))
    });
    let each_const = each(&records, |record| {
        let variant = variant(record);
        format!("Event::{variant}(_) => <{record}<'_> as TypedEvent>::$name,\n")
    });
    let decode = each(&model.topics, |topic| {
        let (topic, record) = (camel(&topic.name), &topic.event.record.name);
        format!("Topic::{topic} => {record}::decode(body)?.into(),\n")
    });
    let from = each(&records, |record| {
        format!(
            "
impl<'a> From<{record}<'a>> for Event<'a> {{
    fn from(event: {record}<'a>) -> Self {{
        Event::{}(event)
    }}
}}
",
            variant(record)
        )
    });
    format!(
        "\
//! [`Event`]: any of the events.

use serde::{{Serialize, Serializer}};

use super::*;
use crate::error::Result;

/// Any of the events, each variant named as its record without the `Event`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {{
    {variants}
}}

/// The same expression for the event in each variant.
macro_rules! each {{
    ($self:expr, $event:ident => $result:expr) => {{
        match $self {{
            {each_event}
        }}
    }};
}}

/// The constants of the event in each variant.
macro_rules! each_const {{
    ($self:expr, $name:ident) => {{
        match $self {{
            {each_const}
        }}
    }};
}}

impl<'a> Event<'a> {{
    /// The record's name: [`TypedEvent::NAME`].
    pub fn name(&self) -> &'static str {{
        each_const!(self, NAME)
    }}

    /// Its topic: [`TypedEvent::TOPIC`].
    pub fn topic(&self) -> Topic {{
        each_const!(self, TOPIC)
    }}

    /// The seven fields that all events have.
    pub fn envelope(&self) -> &Envelope<'a> {{
        each!(self, event => &event.envelope)
    }}

    /// The seven fields that all events have, to be changed.
    pub fn envelope_mut(&mut self) -> &mut Envelope<'a> {{
        each!(self, event => &mut event.envelope)
    }}

    /// Checks the values: [`TypedEvent::validate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn validate(&self, default_source: &str) -> Result<()> {{
        each!(self, event => event.validate(default_source))
    }}

    /// Appends the record's key: [`TypedEvent::write_key`].
    pub fn write_key(&self, default_source: &str, out: &mut Vec<u8>) {{
        each!(self, event => event.write_key(default_source, out));
    }}

    /// At least as many bytes as [`encode`](Event::encode) appends, without `default_source`.
    pub fn max_encoded_len(&self) -> usize {{
        each!(self, event => event.max_encoded_len())
    }}

    /// Appends the Avro body: [`TypedEvent::encode`].
    pub fn encode(&self, default_source: &str, out: &mut Vec<u8>) {{
        each!(self, event => event.encode(default_source, out));
    }}

    /// Appends the flat JSON object: [`TypedEvent::write_json`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_json(&self, default_source: &str, out: &mut Vec<u8>) -> Result<()> {{
        each!(self, event => event.write_json(default_source, out))
    }}

    /// [`TypedEvent::into_given`].
    pub(crate) fn into_given(self) -> Self {{
        each!(self, event => event.into_given().into())
    }}

    /// [`TypedEvent::holds_secret`].
    pub(crate) fn holds_secret(&self) -> bool {{
        each!(self, event => event.holds_secret())
    }}

    /// The same event without what it borrows.
    pub fn into_owned(self) -> Event<'static> {{
        each!(self, event => event.into_owned().into())
    }}

    /// Reads the Avro body of a topic's event: [`TypedEvent::decode`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn decode(topic: Topic, body: &'a [u8]) -> Result<Self> {{
        Ok(match topic {{
            {decode}
        }})
    }}
}}

impl Serialize for Event<'_> {{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {{
        each!(self, event => event.serialize(serializer))
    }}
}}
{from}"
    )
}

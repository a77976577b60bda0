//! `mod.rs` and `event.rs`: what names every event once.

use super::layout::import;
use super::names::{camel, snake, variant};
use crate::model::Model;

/// The files of the directory that are written by hand.
const HAND_WRITTEN: [&str; 14] = [
    "builder",
    "check",
    "encoded",
    "envelope",
    "event_id",
    "items",
    "list",
    "record",
    "sensitive",
    "string_map",
    "symbol",
    "text",
    "topic_spec",
    "uuid",
];

pub(super) fn module(model: &Model) -> String {
    let mut out = String::from(
        "//! The typed events: one file a record, generated from `schemas/`, and what they share.\n\
         //!\n\
         //! ```text\n\
         //! builder() ... build() --> event --encode--> Avro body --decode--> event (borrowing)\n\
         //! ```\n\
         //!\n\
         //! A record's file holds its struct, its builder, its encoder and its decoder, as straight\n\
         //! lists of its fields. Written by hand beside them: [`record`] (what every event can do),\n\
         //! [`envelope`] and [`event_id`] (the fields that all begin with), [`list`] and\n\
         //! [`string_map`] (arrays and maps), [`sensitive`] and [`check`] (the rules for values),\n\
         //! [`encoded`] (an event as its bytes).\n\n",
    );
    let mut modules: Vec<String> = HAND_WRITTEN.into_iter().map(str::to_owned).collect();
    modules.extend(["enums", "event", "topic"].map(str::to_owned));
    modules.extend(
        model
            .topics
            .iter()
            .map(|topic| snake(&topic.event.record.name)),
    );
    modules.sort_unstable();
    out.extend(modules.iter().map(|module| {
        // JSON that is not a typed event gets the same treatment of sensitive values.
        let visibility = if module == "sensitive" {
            "#[doc(hidden)]\npub "
        } else {
            ""
        };
        format!("{visibility}mod {module};\n")
    }));

    let mut exports: Vec<(String, Vec<String>)> = [
        ("builder", vec!["Cause", "OptionalText"]),
        ("encoded", vec!["EncodedEvent"]),
        ("envelope", vec!["Envelope"]),
        ("event", vec!["Event"]),
        ("event_id", vec!["EventId"]),
        ("items", vec!["Element", "Iter"]),
        ("list", vec!["List"]),
        ("record", vec!["TypedEvent"]),
        ("sensitive", vec!["HashedText"]),
        ("string_map", vec!["Entries", "StringMap"]),
        ("topic", vec!["Topic"]),
        (
            "topic_spec",
            vec!["CleanupPolicy", "TopicGroup", "TopicSpec"],
        ),
    ]
    .map(|(module, names)| {
        (
            module.to_owned(),
            names.into_iter().map(str::to_owned).collect(),
        )
    })
    .into();
    let mut enums: Vec<String> = model
        .enums
        .iter()
        .map(|definition| definition.name.clone())
        .collect();
    enums.sort_unstable();
    exports.push(("enums".to_owned(), enums));
    for topic in &model.topics {
        let name = &topic.event.record.name;
        let mut names = vec![name.clone(), format!("{name}Builder")];
        names.extend(topic.event.nested.iter().map(|record| record.name.clone()));
        names.sort_unstable();
        exports.push((snake(name), names));
    }
    exports.sort_unstable();
    out.push('\n');
    for (module, names) in &exports {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        out.push_str("pub ");
        out.push_str(&import(module, &names));
    }
    out
}

pub(super) fn event(model: &Model) -> String {
    let records: Vec<&str> = model
        .topics
        .iter()
        .map(|topic| topic.event.record.name.as_str())
        .collect();
    let mut out = String::from(
        "//! [`Event`]: any of the events.\n\nuse serde::{Serialize, Serializer};\n\n",
    );
    let mut imports: Vec<String> = records
        .iter()
        .map(|record| import(&format!("super::{}", snake(record)), &[record]))
        .collect();
    imports.push(import("super::envelope", &["Envelope"]));
    imports.push(import("super::record", &["TypedEvent"]));
    imports.push(import("super::topic", &["Topic"]));
    imports.sort_unstable();
    imports.push(import("crate::error", &["Result"]));
    out.extend(imports);
    out.push_str(
        "\n/// Any of the events, each variant named as its record without the `Event`.\n",
    );
    out.push_str("#[derive(Debug, Clone, PartialEq)]\npub enum Event<'a> {\n");
    for record in &records {
        out.push_str(&format!(
            "    /// [`{record}`].\n    {}({record}<'a>),\n",
            variant(record)
        ));
    }
    out.push_str(
        "}\n\n/// The same expression for the event in each variant.\nmacro_rules! each {\n",
    );
    out.push_str("    ($self:expr, $event:ident => $result:expr) => {\n        match $self {\n");
    for record in &records {
        out.push_str(&format!(
            "            Event::{}($event) => $result,\n",
            variant(record)
        ));
    }
    out.push_str("        }\n    };\n}\n\n");
    out.push_str(
        "/// The constants of the event in each variant.\n\
         macro_rules! each_const {\n    \
             ($self:expr, $name:ident) => {\n        \
                 match $self {\n",
    );
    for record in &records {
        out.push_str(&format!(
            "            Event::{}(_) => <{record}<'_> as TypedEvent>::$name,\n",
            variant(record)
        ));
    }
    out.push_str("        }\n    };\n}\n\n");
    out.push_str(EVENT_METHODS);
    out.push_str("    /// Reads the Avro body of a topic's event: [`TypedEvent::decode`].\n    ///\n    /// # Errors\n    ///\n");
    out.push_str("    /// As there.\n    pub fn decode(topic: Topic, body: &'a [u8]) -> Result<Self> {\n        Ok(match topic {\n");
    for topic in &model.topics {
        let record = &topic.event.record.name;
        out.push_str(&format!(
            "            Topic::{} => {record}::decode(body)?.into(),\n",
            camel(&topic.name)
        ));
    }
    out.push_str("        })\n    }\n}\n\n");
    out.push_str(EVENT_SERIALIZE);
    for record in &records {
        out.push_str(&format!(
            "\nimpl<'a> From<{record}<'a>> for Event<'a> {{\n    \
                 fn from(event: {record}<'a>) -> Self {{\n        \
                     Event::{}(event)\n    \
                 }}\n\
             }}\n",
            variant(record)
        ));
    }
    out
}

const EVENT_METHODS: &str = "\
impl<'a> Event<'a> {
    /// The record's name: [`TypedEvent::NAME`].
    pub fn name(&self) -> &'static str {
        each_const!(self, NAME)
    }

    /// The topic that it belongs on: [`TypedEvent::TOPIC`].
    pub fn topic(&self) -> Topic {
        each_const!(self, TOPIC)
    }

    /// The seven fields that all events have.
    pub fn envelope(&self) -> &Envelope<'a> {
        each!(self, event => &event.envelope)
    }

    /// The seven fields that all events have, to be changed.
    pub fn envelope_mut(&mut self) -> &mut Envelope<'a> {
        each!(self, event => &mut event.envelope)
    }

    /// Checks what the types cannot: [`TypedEvent::validate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn validate(&self, default_source: &str) -> Result<()> {
        each!(self, event => event.validate(default_source))
    }

    /// Appends the record's key: [`TypedEvent::write_key`].
    pub fn write_key(&self, default_source: &str, out: &mut Vec<u8>) {
        each!(self, event => event.write_key(default_source, out));
    }

    /// At least as many bytes as [`encode`](Event::encode) appends, without `default_source`.
    pub fn max_encoded_len(&self) -> usize {
        each!(self, event => event.max_encoded_len())
    }

    /// Appends the Avro body: [`TypedEvent::encode`].
    pub fn encode(&self, default_source: &str, out: &mut Vec<u8>) {
        each!(self, event => event.encode(default_source, out));
    }

    /// Appends the flat JSON object: [`TypedEvent::write_json`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_json(&self, default_source: &str, out: &mut Vec<u8>) -> Result<()> {
        each!(self, event => event.write_json(default_source, out))
    }

    /// [`TypedEvent::into_given`].
    pub(crate) fn into_given(self) -> Self {
        each!(self, event => event.into_given().into())
    }

    /// [`TypedEvent::holds_secret`].
    pub(crate) fn holds_secret(&self) -> bool {
        each!(self, event => event.holds_secret())
    }

    /// The same event without what it borrows.
    pub fn into_owned(self) -> Event<'static> {
        each!(self, event => event.into_owned().into())
    }

";

const EVENT_SERIALIZE: &str = "\
impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        each!(self, event => event.serialize(serializer))
    }
}
";

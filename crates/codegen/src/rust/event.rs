//! The file of one event.

use super::layout::{assign, doc, import, indent, signature};
use super::names::{camel, ident, snake};
use super::nested::{self, check, sum};
use super::{topics, types};
use crate::model::{Field, KeyPart, Plain, Record, Topic, Type};

pub(super) fn file(topic: &Topic) -> String {
    let event = &topic.event;
    let record = &event.record;
    let mut parts = vec![
        structure(topic),
        builder(record),
        typed_event(topic),
        fields(record),
        format!("show_by_fields!({});\n", record.name),
    ];
    parts.extend(event.nested.iter().map(nested::record));
    parts.push(schema(&event.schema_json));
    let body = parts.join("\n");
    let summary = format!("[`{}`]: {}", record.name, topics::lower_first(&record.doc));
    format!(
        "{}\n{}\n{body}",
        doc(0, "//!", &summary),
        imports(record, &body)
    )
}

/// The imports that the body needs, in rustfmt's order.
fn imports(record: &Record, body: &str) -> String {
    let uses = |name: &str| {
        body.match_indices(name).any(|(at, _)| {
            let before = body[..at].chars().next_back();
            let after = body[at + name.len()..].chars().next();
            let in_word =
                |char: Option<char>| char.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !in_word(before) && !in_word(after)
        })
    };
    let candidates: [(&str, &[&str]); 11] = [
        ("super::builder", &["OptionalText", "envelope_setters"]),
        ("super::envelope", &["Envelope", "EnvelopeBuilder"]),
        ("super::event_id", &["EventId"]),
        ("super::items", &["Element"]),
        ("super::list", &["List"]),
        (
            "super::record",
            &["Fields", "TypedEvent", "Visitor", "show_by_fields"],
        ),
        ("super::sensitive", &["HashedText"]),
        ("super::string_map", &["StringMap"]),
        ("super::topic", &["Topic"]),
        (
            "crate::avro",
            &["MAX_VARINT_LEN", "Reader", "Writer", "append_with"],
        ),
        ("crate::error", &["Result"]),
    ];
    // What the macro `envelope_setters` says is not in the body.
    let always = ["EventId", "OptionalText"];
    let mut lines: Vec<String> = Vec::new();
    for (path, names) in candidates {
        let used: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| uses(name) || always.contains(name))
            .collect();
        if !used.is_empty() {
            lines.push(import(path, &used));
        }
    }
    let mut enums: Vec<&str> = record.fields.iter().filter_map(enum_name).collect();
    enums.sort_unstable();
    enums.dedup();
    if !enums.is_empty() {
        lines.push(import("super::enums", &enums));
    }
    for module in ["check", "sensitive", "symbol", "text"] {
        if body.contains(&format!("{module}::")) {
            lines.push(import(&format!("super::{module}"), &[]));
        }
    }
    // `super` first, and compared up to the `;`, so that a module comes before what is in it.
    lines.sort_by_key(|line| {
        let line = line.trim_end_matches([';', '\n']);
        (line.starts_with("use crate"), line.to_owned())
    });
    format!("use std::borrow::Cow;\n\n{}", lines.concat())
}

fn enum_name(field: &Field) -> Option<&str> {
    match &field.ty {
        Type::Plain(Plain::Enum(name))
        | Type::Optional(Plain::Enum(name))
        | Type::Array(Plain::Enum(name)) => Some(name),
        _ => None,
    }
}

fn structure(topic: &Topic) -> String {
    let record = &topic.event.record;
    let name = &record.name;
    let mut out = doc(0, "///", &record.doc);
    let place = format!(
        "\nOn topic `{}`, keyed by `{}`.",
        topic.name, topic.key.template
    );
    out.push_str(&doc(0, "///", &place));
    out.push_str(&format!(
        "#[derive(Clone, PartialEq)]\npub struct {name}<'a> {{\n"
    ));
    out.push_str("    /// What every event carries.\n    pub envelope: Envelope<'a>,\n");
    for field in &record.fields {
        out.push_str(&doc(1, "///", &field.doc));
        out.push_str(&format!(
            "    pub {}: {},\n",
            ident(&field.name),
            types::rust_type(field)
        ));
    }
    out.push_str(&format!(
        "}}\n\n\
         impl<'a> {name}<'a> {{\n    \
             /// Starts an event that happens now.\n    \
             #[inline(always)]\n    \
             pub fn builder() -> {name}Builder<'a> {{\n        \
                 {name}Builder::default()\n    \
             }}\n\
         }}\n"
    ));
    out
}

fn builder(record: &Record) -> String {
    let name = &record.name;
    let required: Vec<String> = record
        .fields
        .iter()
        .filter(|field| types::is_required(field))
        .map(|field| format!("`{}`", ident(&field.name)))
        .collect();
    let text = format!("Builds an [`{name}`]. Required: {}.", required.join(", "));
    let text = text
        .replace("Builds an [`D", "Builds a [`D")
        .replace("Builds an [`S", "Builds a [`S");
    let mut out = doc(0, "///", &text);
    out.push_str(&format!(
        "#[derive(Default)]\n\
         #[must_use = \"an event is made by `build`\"]\n\
         pub struct {name}Builder<'a> {{\n    \
             envelope: EnvelopeBuilder<'a>,\n"
    ));
    for field in &record.fields {
        out.push_str(&format!(
            "    {}: {},\n",
            ident(&field.name),
            types::builder_type(field)
        ));
    }
    out.push_str(&format!(
        "}}\n\nimpl<'a> {name}Builder<'a> {{\n    envelope_setters!();\n"
    ));
    for field in &record.fields {
        out.push_str(&setter(field));
    }
    out.push_str(&format!(
        "\n    \
             /// The event.\n    \
             ///\n    \
             /// # Errors\n    \
             ///\n    \
             /// [`ErrorKind::InvalidEvent`](crate::ErrorKind::InvalidEvent) if a required field was not\n    \
             /// given or a value is refused, naming `event` and `field`.\n    \
             #[inline(always)]\n    \
             pub fn build(self) -> Result<{name}<'a>> {{\n        \
                 const NAME: &str = {name}::NAME;\n        \
                 let event = {name} {{\n            \
                     envelope: self.envelope.build(NAME),\n"
    ));
    for field in &record.fields {
        out.push_str(&types::built(3, field));
    }
    out.push_str(
        "        };\n        \
                 event.validate(check::SOURCE_COMES_LATER)?;\n        \
                 Ok(event)\n    \
             }\n\
         }\n",
    );
    out
}

fn setter(field: &Field) -> String {
    let name = ident(&field.name);
    let (takes, value) = types::setter(field);
    let text = match types::is_required(field) {
        true => format!("{} Required.", field.doc),
        false => field.doc.clone(),
    };
    let param = format!("{name}: {takes}");
    let mut out = format!("\n{}    #[inline(always)]\n", doc(1, "///", &text));
    out.push_str(&signature(
        1,
        &format!("pub fn {name}"),
        &["mut self", &param],
        " -> Self {",
    ));
    let value = types::in_builder(field, value);
    out.push_str(&assign(2, &format!("self.{name}"), &value));
    out.push_str("        self\n    }\n");
    out
}

fn typed_event(topic: &Topic) -> String {
    let event = &topic.event;
    let record = &event.record;
    let name = &record.name;
    let mut out = format!("impl TypedEvent for {name}<'_> {{\n");
    out.push_str(&format!("    const NAME: &'static str = \"{name}\";\n"));
    out.push_str(&format!(
        "    const TOPIC: Topic = Topic::{};\n",
        camel(&topic.name)
    ));
    out.push_str("    const SCHEMA_JSON: &'static str = SCHEMA_JSON;\n");
    out.push_str(&format!(
        "    const FINGERPRINT: u64 = {};\n\n",
        hex(event.fingerprint)
    ));
    out.push_str(&format!("    type Of<'b> = {name}<'b>;\n\n"));
    out.push_str("    fn envelope(&self) -> &Envelope<'_> {\n        &self.envelope\n    }\n\n");
    out.push_str(&validate(topic));
    out.push_str(&write_key(topic));

    out.push_str("    fn max_encoded_len(&self) -> usize {\n");
    let varints: usize = record
        .fields
        .iter()
        .map(|field| types::varints(&field.ty))
        .sum();
    let mut extra = vec!["self.envelope.bound()".to_owned()];
    extra.extend(
        record
            .fields
            .iter()
            .filter_map(|field| types::extra_bytes("self", field)),
    );
    out.push_str(&sum(2, varints, &extra));
    out.push_str("    }\n\n");

    out.push_str("    fn encode(&self, default_source: &str, out: &mut Vec<u8>) {\n");
    out.push_str("        let bound = self.max_encoded_len() + default_source.len();\n");
    out.push_str("        append_with(out, bound, |writer| {\n");
    out.push_str("            self.envelope.write(default_source, writer);\n");
    for field in &record.fields {
        out.push_str(&types::write(3, "self", field));
    }
    out.push_str("        });\n    }\n\n");

    out.push_str(&format!(
        "    fn decode(body: &[u8]) -> Result<{name}<'_>> {{\n"
    ));
    out.push_str("        let mut reader = Reader::new(Self::NAME, body);\n");
    out.push_str("        let envelope = Envelope::read(&mut reader)?;\n");
    for field in &record.fields {
        out.push_str(&types::read(
            2,
            "&mut reader",
            &format!("\"{}\"", field.name),
            field,
        ));
    }
    out.push_str(&format!(
        "        reader.finish()?;\n        Ok({name} {{\n"
    ));
    out.push_str("            envelope,\n");
    for field in &record.fields {
        out.push_str(&format!("            {},\n", ident(&field.name)));
    }
    out.push_str("        })\n    }\n\n");

    out.push_str(&format!(
        "    fn into_owned(self) -> {name}<'static> {{\n        {name} {{\n"
    ));
    out.push_str("            envelope: self.envelope.into_owned(),\n");
    for field in &record.fields {
        out.push_str(&types::owned(3, field));
    }
    out.push_str("        }\n    }\n");
    out.push_str(&secrets(record));
    out.push_str("}\n");
    out
}

/// What a record with sensitive fields does differently from the trait.
fn secrets(record: &Record) -> String {
    let mut out = String::new();
    let given: String = record
        .fields
        .iter()
        .filter_map(|field| types::into_given(2, field))
        .collect();
    if !given.is_empty() {
        out.push_str(&format!(
            "\n    fn into_given(mut self) -> Self {{\n{given}        self\n    }}\n"
        ));
    }
    let secret: String = record
        .fields
        .iter()
        .filter_map(|field| types::holds_secret(2, field))
        .collect();
    if !secret.is_empty() {
        out.push_str(&format!(
            "\n    fn holds_secret(&self) -> bool {{\n        let mut holds = false;\n{secret}        \
             holds\n    }}\n"
        ));
    }
    out
}

/// The parameter, with an underscore where the body does without it.
fn default_source(body: &str) -> &'static str {
    if body.contains("default_source") {
        "default_source: &str"
    } else {
        "_default_source: &str"
    }
}

fn validate(topic: &Topic) -> String {
    let record = &topic.event.record;
    let mut body = check(2, "event_id", &["Self::NAME", "&self.envelope"]);
    for part in &topic.key.parts {
        match part {
            KeyPart::Literal(_) => {}
            KeyPart::Field(field) => {
                let json = format!("\"{field}\"");
                let value = if field == "source" {
                    "self.envelope.source_or(default_source)".to_owned()
                } else {
                    format!("&self.{}", ident(field))
                };
                body.push_str(&check(2, "key", &["Self::NAME", &json, &value]));
            }
            KeyPart::Either {
                optional,
                otherwise,
            } => {
                let name = snake(optional);
                body.push_str(&format!("        if let Some({name}) = &self.{name} {{\n"));
                body.push_str(&check(
                    3,
                    "key",
                    &["Self::NAME", &format!("\"{optional}\""), &name],
                ));
                body.push_str("        } else {\n");
                let (json, value) = (format!("\"{otherwise}\""), text_of(otherwise));
                body.push_str(&assign(3, &format!("let {}", ident(otherwise)), &value));
                body.push_str(&check(3, "key", &["Self::NAME", &json, &ident(otherwise)]));
                body.push_str("        }\n");
            }
        }
    }
    for field in &record.fields {
        if let Some((minimum, maximum)) = field.range {
            body.push_str(&range(field, minimum, maximum));
        }
    }
    let mut out = signature(
        1,
        "fn validate",
        &["&self", default_source(&body)],
        " -> Result<()> {",
    );
    out.push_str(&format!("{body}        Ok(())\n    }}\n\n"));
    out
}

fn range(field: &Field, minimum: f64, maximum: f64) -> String {
    let name = ident(&field.name);
    let limit = |limit: f64| match limit {
        f64::INFINITY => "f64::INFINITY".to_owned(),
        f64::NEG_INFINITY => "f64::NEG_INFINITY".to_owned(),
        limit => format!("{limit:?}"),
    };
    let range = format!("{}..={}", limit(minimum), limit(maximum));
    let json = format!("\"{}\"", field.name);
    let number = |value: &str, plain: &Plain| match plain {
        Plain::Double => value.to_owned(),
        Plain::Int => format!("f64::from({value})"),
        _ => format!("{value} as f64"),
    };
    match &field.ty {
        Type::Optional(plain) => format!(
            "        if let Some({name}) = self.{name} {{\n{}        }}\n",
            check(
                3,
                "range",
                &["Self::NAME", &json, &number(&name, plain), &range]
            )
        ),
        Type::Plain(plain) => {
            let value = number(&format!("self.{name}"), plain);
            check(2, "range", &["Self::NAME", &json, &value, &range])
        }
        _ => String::new(),
    }
}

/// A required text field, of the envelope or of the event, as `&str`.
fn text_of(field: &str) -> String {
    match field {
        "source" => "self.envelope.source_or(default_source)".to_owned(),
        field => format!("&*self.{}", ident(field)),
    }
}

fn write_key(topic: &Topic) -> String {
    let mut body = String::new();
    let push = |level: usize, text: &str| {
        format!(
            "{}out.extend_from_slice({text}.as_bytes());\n",
            indent(level)
        )
    };
    for part in &topic.key.parts {
        match part {
            KeyPart::Literal(text) if text.len() == 1 => {
                body.push_str(&format!(
                    "        out.push(b{:?});\n",
                    text.chars().next().unwrap_or(' ')
                ));
            }
            KeyPart::Literal(text) => {
                body.push_str(&format!("        out.extend_from_slice(b{text:?});\n"));
            }
            KeyPart::Field(field) if field == "source" => body.push_str(&push(2, &text_of(field))),
            KeyPart::Field(field) => body.push_str(&push(2, &format!("self.{}", ident(field)))),
            KeyPart::Either {
                optional,
                otherwise,
            } => {
                let name = snake(optional);
                body.push_str(&format!("        if let Some({name}) = &self.{name} {{\n"));
                body.push_str(&push(3, &name));
                body.push_str("        } else {\n");
                body.push_str(&push(3, text_of(otherwise).trim_start_matches("&*")));
                body.push_str("        }\n");
            }
        }
    }
    let params = ["&self", default_source(&body), "out: &mut Vec<u8>"];
    let mut out = signature(1, "fn write_key", &params, " {");
    out.push_str(&format!("{body}    }}\n\n"));
    out
}

fn fields(record: &Record) -> String {
    let mut out = format!("impl Fields for {}<'_> {{\n", record.name);
    let params = ["&self", "default_source: &str", "visitor: &mut V"];
    out.push_str(&signature(
        1,
        "fn visit<V: Visitor>",
        &params,
        " -> Result<(), V::Error> {",
    ));
    let version_is_taken = record
        .fields
        .iter()
        .any(|field| field.json_name() == "version");
    if version_is_taken {
        out.push_str("        // In JSON, `version` is a field of the event itself.\n");
    }
    out.push_str(&format!(
        "        self.envelope.visit(default_source, {}, visitor)?;\n",
        !version_is_taken
    ));
    for field in &record.fields {
        out.push_str(&types::visit(2, field));
    }
    out.push_str("        Ok(())\n    }\n}\n");
    out
}

fn schema(json: &str) -> String {
    // As many `#` as the text needs that none of it ends the literal.
    let mut fence = "#".to_owned();
    while json.contains(&format!("\"{fence}")) {
        fence.push('#');
    }
    format!("const SCHEMA_JSON: &str = r{fence}\"{json}\"{fence};\n")
}

/// `0x0123_4567_89ab_cdef`
fn hex(value: u64) -> String {
    let digits = format!("{value:016x}");
    format!(
        "0x{}_{}_{}_{}",
        &digits[..4],
        &digits[4..8],
        &digits[8..12],
        &digits[12..]
    )
}

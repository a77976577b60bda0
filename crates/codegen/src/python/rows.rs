//! `records.rs`: a row for each record, for the macro that declares the native classes.

use super::docstring_text;
use crate::model::{Default, Field, Model, Plain, Topic, Type};
use crate::names::{camel, ident, snake, variant};

pub(super) fn file(model: &Model) -> String {
    let mut out = String::from(
        "//! A row for each event: its fields in the schema's order, with their defaults.\n\n\
         use carbon_events::events as core;\n\n\
         use super::spec::{Record, record};\n\
         use super::to_python::enums;\n\nenums! {\n",
    );
    for definition in &model.enums {
        out.push_str(&format!("    {}\n", definition.name));
    }
    out.push_str("}\n");
    let events = super::events(model);
    out.push_str(&format!(
        "\n/// The records in the order of the topic table.\npub(crate) static RECORDS: [&Record; {}] = [\n",
        events.len()
    ));
    for event in &events {
        out.push_str(&format!("    &{},\n", constant(event)));
    }
    out.push_str("];\n");
    for topic in &model.topics {
        out.push_str(&row(topic));
    }
    out
}

fn constant(event: &str) -> String {
    snake(event).to_uppercase()
}

fn row(topic: &Topic) -> String {
    let record = &topic.event.record;
    let mut out = format!(
        "\nrecord! {{\n    {}: {} as {} on {}\n    {:?}\n",
        constant(&record.name),
        record.name,
        variant(&record.name),
        camel(&topic.name),
        docstring_text(topic),
    );
    for field in &record.fields {
        let default = match default(field) {
            None => "required".to_owned(),
            Some(default) => format!("or({default})"),
        };
        out.push_str(&format!(
            "    {}: {:?} {default} {:?}\n",
            ident(&field.name),
            snake(&field.name),
            field.doc
        ));
    }
    out.push_str("}\n");
    out
}

/// The default of a field, as a Rust expression.
fn default(field: &Field) -> Option<String> {
    if let Type::Optional(_) = field.ty {
        return Some("None".to_owned());
    }
    Some(match (field.default.as_ref()?, &field.ty) {
        (Default::Null, _) => "None".to_owned(),
        (Default::Empty, _) => "Default::default()".to_owned(),
        (Default::Boolean(value), _) => value.to_string(),
        (Default::Integer(value), _) => value.to_string(),
        (Default::Double(value), _) => format!("{value:?}"),
        (Default::Text(symbol), Type::Plain(Plain::Enum(name))) => {
            format!("core::{name}::{}", camel(symbol))
        }
        (Default::Text(text), _) => format!("{text:?}.into()"),
    })
}

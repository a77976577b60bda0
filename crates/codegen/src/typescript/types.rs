//! The `.d.ts` files.

use std::fmt::Write;

use super::{aliases, enums};
use crate::model::{Field, Model, Plain, Record, Topic, Type};
use crate::names::members;

/// The types of one record: as it is read, and as it is sent.
pub(super) fn file(model: &Model, topic: &Topic) -> String {
    let event = &topic.event;
    let mut out = String::from("import type { Envelope, EnvelopeInit } from '../envelope.js';\n");
    let enums = enums(model, event);
    if !enums.is_empty() {
        let names: Vec<_> = enums.iter().map(|definition| &*definition.name).collect();
        let _ = writeln!(
            out,
            "import type {{ {} }} from './enums.js';",
            names.join(", ")
        );
    }
    out.push('\n');
    for nested in &event.nested {
        out.push_str(&interfaces(nested, None));
        out.push('\n');
    }
    out.push_str(&interfaces(&event.record, Some(topic)));
    out
}

/// `enums.d.ts`: every enum with its symbols.
pub(super) fn enums_file(model: &Model) -> String {
    let mut out = String::new();
    for definition in &model.enums {
        let mut text = definition.doc.clone();
        for (symbol, meaning) in &definition.symbols {
            let _ = write!(text, "\n- `{symbol}`: {meaning}");
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&doc("", &text));
        let symbols: Vec<_> = definition
            .symbols
            .iter()
            .map(|(symbol, _)| format!("'{symbol}'"))
            .collect();
        let _ = writeln!(
            out,
            "export type {} =\n  | {};",
            definition.name,
            symbols.join("\n  | ")
        );
    }
    out
}

fn interfaces(record: &Record, topic: Option<&Topic>) -> String {
    let name = &record.name;
    let mut out = String::new();
    let text = match topic {
        Some(topic) => format!(
            "{}\n\nOn topic `{}`, keyed by `{}`.",
            record.doc, topic.name, topic.key.template
        ),
        None => record.doc.clone(),
    };
    out.push_str(&doc("", &text));
    if topic.is_some() {
        let _ = writeln!(
            out,
            "export interface {name}<Long extends number | bigint = number>\n  extends \
             Envelope<'{name}'> {{"
        );
    } else {
        let _ = writeln!(out, "export interface {name} {{");
    }
    for field in &record.fields {
        out.push_str(&doc("  ", &field.doc));
        let _ = writeln!(out, "  {}: {};", field.name, read_type(&field.ty));
    }
    out.push_str("}\n\n");
    let (text, extends) = match topic {
        Some(_) => (
            format!("A {{@link {name}}} to send. Its envelope has defaults."),
            format!(" extends EnvelopeInit<'{name}'>"),
        ),
        None => (format!("A {{@link {name}}} to send."), String::new()),
    };
    out.push_str(&doc("", &text));
    let _ = writeln!(out, "export interface {name}Init{extends} {{");
    for field in &record.fields {
        out.push_str(&doc("  ", &field.doc));
        let (optional, ty) = given_type(field);
        let _ = writeln!(out, "  {}{optional}: {ty};", field.name);
    }
    out.push_str("}\n");
    out
}

fn plain(plain: &Plain, long: &str) -> String {
    match plain {
        Plain::String => "string".to_owned(),
        Plain::Int | Plain::Double => "number".to_owned(),
        Plain::Long => long.to_owned(),
        Plain::Boolean => "boolean".to_owned(),
        Plain::Enum(name) => name.clone(),
    }
}

fn read_type(ty: &Type) -> String {
    match ty {
        Type::Plain(inner) => plain(inner, "Long"),
        Type::Optional(inner) => format!("{} | null", plain(inner, "Long")),
        Type::Array(inner) => format!("Array<{}>", plain(inner, "Long")),
        Type::Records(name) => format!("Array<{name}>"),
        Type::StringMap => "Record<string, string>".to_owned(),
    }
}

fn given_type(field: &Field) -> (&'static str, String) {
    const LONG: &str = "number | bigint";
    let ty = match &field.ty {
        Type::Plain(inner) => plain(inner, LONG),
        Type::Optional(inner) => format!("{} | null | undefined", plain(inner, LONG)),
        Type::Array(inner) => format!("ReadonlyArray<{}>", plain(inner, LONG)),
        Type::Records(name) => format!("ReadonlyArray<{name}Init>"),
        Type::StringMap => {
            "Readonly<Record<string, string>> | ReadonlyMap<string, string>".to_owned()
        }
    };
    match (&field.ty, &field.default) {
        (Type::Optional(_), _) => ("?", ty),
        (_, Some(_)) => ("?", format!("{ty} | undefined")),
        _ => ("", ty),
    }
}

/// `index.d.ts`: all records together.
pub(super) fn index(model: &Model) -> String {
    let records: Vec<_> = model
        .topics
        .iter()
        .map(|topic| topic.event.record.name.as_str())
        .collect();
    let mut out = String::new();
    for name in &records {
        let _ = writeln!(
            out,
            "import type {{ {name}, {name}Init }} from './{name}.js';"
        );
    }
    out.push('\n');
    for name in &records {
        let _ = writeln!(out, "export type * from './{name}.js';");
    }
    out.push_str("export type * from './enums.js';\n");
    out.push_str("\n/** The type of each event that is read, by name. */\n");
    out.push_str("export interface Events<Long extends number | bigint = number> {\n");
    for name in &records {
        let _ = writeln!(out, "  {name}: {name}<Long>;");
    }
    out.push_str("}\n\n/** The type of each event to send, by name. */\n");
    out.push_str("export interface EventInits {\n");
    for name in &records {
        let _ = writeln!(out, "  {name}: {name}Init;");
    }
    out.push_str("}\n\n/** The event of each topic. */\n");
    out.push_str("export interface TopicEvents<Long extends number | bigint = number> {\n");
    for topic in &model.topics {
        let _ = writeln!(
            out,
            "  '{}': {}<Long>;",
            topic.name, topic.event.record.name
        );
    }
    out.push_str(
        "}\n\n/** The name of an event. */\nexport type EventName = keyof Events;\n\n/** The name \
         of a topic. */\nexport type TopicName = keyof TopicEvents;\n\n/** Any \
         event. `eventType` determines its type. */\nexport type AnyEvent<Long extends number | \
         bigint = number> = Events<Long>[EventName];\n\n/** The names of the events. */\nexport const \
         EventType: {\n",
    );
    let [events, topics] = aliases(model);
    let alias = |out: &mut String, (name, value): (String, String)| {
        let _ = writeln!(out, "  /** @deprecated Not listed by `Object.keys`. */");
        let _ = writeln!(out, "  readonly {name}: '{value}';");
    };
    for topic in &model.topics {
        out.push_str(&doc("  ", &topic.event.record.doc));
        let (name, value) = (members(topic).0, &topic.event.record.name);
        let _ = writeln!(out, "  readonly {name}: '{value}';");
    }
    events.into_iter().for_each(|one| alias(&mut out, one));
    out.push_str("};\n\n/** The names of the topics. */\nexport const Topic: {\n");
    for topic in &model.topics {
        let _ = writeln!(out, "  readonly {}: '{}';", members(topic).1, topic.name);
    }
    topics.into_iter().for_each(|one| alias(&mut out, one));
    out.push_str("};\n");
    out
}

/// A documentation comment, wrapped at words.
fn doc(start: &str, text: &str) -> String {
    const WIDTH: usize = 96;
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.replace("*/", "* /").lines() {
        let mut line = String::new();
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            if !line.is_empty() && start.len() + 4 + line.len() + word.len() > WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    if let [line] = &lines[..] {
        return format!("{start}/** {line} */\n");
    }
    let mut out = format!("{start}/**\n");
    for line in lines {
        let _ = writeln!(out, "{}", format!("{start} * {line}").trim_end());
    }
    let _ = writeln!(out, "{start} */");
    out
}

//! The JavaScript that packs an event into cells. It accepts only events that are valid without
//! conversion. For any other, `pack` returns `false`, and the core converts the event or names what is
//! wrong: a type, a number out of range, an empty field of the record's key.

use crate::model::{Action, Default, Field, Key, KeyPart, Plain, Record, Topic, Type};

/// The envelope's fields that a caller may pass, with their bits.
const ENVELOPE: [(&str, u8, bool); 6] = [
    ("eventId", 1, false),
    ("timestamp", 2, false),
    ("source", 4, false),
    ("version", 8, false),
    ("correlationId", 16, true),
    ("causationId", 32, true),
];

/// `pack` of the event and of its nested records.
pub(super) fn functions(number: usize, topic: &Topic) -> String {
    let event = &topic.event;
    let keys = keys(&topic.key);
    let mut out = String::new();
    for nested in &event.nested {
        out.push_str(&nested_function(nested));
    }
    let record = &event.record;
    let known = ["eventType"]
        .into_iter()
        .chain(ENVELOPE.map(|(name, ..)| name))
        .chain(record.fields.iter().map(|field| &*field.name));
    let known: Vec<_> = known.map(|name| format!("'{name}'")).collect();
    out.push_str(&format!(
        "const NAMES = new Set([\n  {},\n]);\n\n",
        known.join(",\n  ")
    ));
    let kinds: Vec<_> = record
        .fields
        .iter()
        .map(|field| format!("  {}: '{}',\n", field.name, kind(&field.ty)))
        .collect();
    out.push_str(&format!(
        "/** The type of each field, for error messages. */\nconst KINDS = {{\n  \
         __proto__: null,\n  timestamp: 'long',\n{}}};\n\n",
        kinds.concat()
    ));
    for field in record.fields.iter().filter(|field| is_hashed(field)) {
        out.push_str(&format!(
            "/** The hashed `{}` of each event that was read. */\nconst {} = new WeakMap();\n\n",
            field.name,
            hashes(field)
        ));
    }
    out.push_str(&format!(
        "/** Packs an event. Returns false for one that only the core can check. */\n\
         function pack(p, event) {{\n  let given = 0;\n  let bits = 0;\n{}{}  if (cells.count(event) !== given && !cells.only(event, NAMES)) return false;\n\n",
        envelope_checks(&record.name),
        checks("event", record, &keys),
    ));
    let room = room(record);
    out.push_str(&format!(
        "  let c = p.room({room});\n  let i = p.at;\n  c[i++] = bits;\n"
    ));
    out.push_str(ENVELOPE_WRITES);
    out.push_str(&writes(record));
    out.push_str("  return true;\n}\n\n");
    out.push_str(&format!("exports.number = {number};\n"));
    out.push_str("exports.kinds = KINDS;\nexports.pack = pack;\n");
    let hashed = record.fields.iter().filter(|field| is_hashed(field));
    let as_read: Vec<_> = hashed
        .map(|field| format!("{}.get(event) === event.{}", hashes(field), field.name))
        .collect();
    if !as_read.is_empty() {
        out.push_str(&format!(
            "exports.keepsHashes = (event) => {};\n",
            as_read.join(" && ")
        ));
    }
    out
}

/// The fields of the record's key, which must not be empty.
fn keys(key: &Key) -> Vec<&str> {
    key.parts
        .iter()
        .filter_map(|part| match part {
            KeyPart::Literal(_) => None,
            KeyPart::Field(field) => Some(&**field),
            KeyPart::Either { optional, .. } => Some(&**optional),
        })
        .collect()
}

fn nested_function(record: &Record) -> String {
    format!(
        "function pack{name}(p, item) {{\n  if (typeof item !== 'object' || item === null) return \
         false;\n  let given = 0;\n{checks}  if (cells.count(item) !== given) return false;\n  \
         let c = p.room({room});\n  let i = p.at;\n{writes}  return true;\n}}\n\n",
        name = record.name,
        checks = checks("item", record, &[]),
        room = room(record),
        writes = writes(record),
    )
}

fn envelope_checks(name: &str) -> String {
    let mut out = String::from("  const eventType = event.eventType;\n");
    out.push_str(&format!(
        "  if (eventType !== undefined) {{\n    if (eventType !== '{name}') return false;\n    \
         given++;\n  }}\n"
    ));
    for (field, bit, nullable) in ENVELOPE {
        let wrong = if field == "timestamp" {
            format!("!cells.isLong({field})")
        } else {
            wrong_text(field)
        };
        let set = if nullable {
            format!(
                "    given++;\n    if ({field} !== null) {{\n      if ({wrong}) return false;\n      \
                 bits |= {bit};\n    }}\n"
            )
        } else {
            format!("    if ({wrong}) return false;\n    given++;\n    bits |= {bit};\n")
        };
        out.push_str(&format!(
            "  const {field} = event.{field};\n  if ({field} !== undefined) {{\n{set}  }}\n"
        ));
    }
    out
}

/// The rules of the envelope's texts: an id is a UUID, and a source in the key is not empty.
fn wrong_text(field: &str) -> String {
    match field {
        "eventId" => "!cells.isUuid(eventId)".to_owned(),
        "source" => "typeof source !== 'string' || source === ''".to_owned(),
        _ => format!("typeof {field} !== 'string'"),
    }
}

const ENVELOPE_WRITES: &str = "  if (bits !== 0) {
    if (bits & 1) {
      c[i++] = eventId.length;
      p.text += eventId;
    }
    if (bits & 2) {
      i = cells.long(c, i, timestamp);
      if (i < 0) return false;
    }
    if (bits & 4) {
      c[i++] = source.length;
      p.text += source;
    }
    if (bits & 8) {
      c[i++] = version.length;
      p.text += version;
    }
    if (bits & 16) {
      c[i++] = correlationId.length;
      p.text += correlationId;
    }
    if (bits & 32) {
      c[i++] = causationId.length;
      p.text += causationId;
    }
  }
";

/// The JavaScript condition for a value that is not valid for this type.
fn wrong(plain: &Plain, value: &str) -> String {
    match plain {
        Plain::String => format!("typeof {value} !== 'string'"),
        Plain::Int => format!("({value} | 0) !== {value}"),
        Plain::Long => format!("!cells.isLong({value})"),
        Plain::Double => format!("typeof {value} !== 'number'"),
        Plain::Boolean => format!("typeof {value} !== 'boolean'"),
        Plain::Enum(name) => format!("typeof {value} !== 'string' || !({value} in {name}.numbers)"),
    }
}

/// Like [`wrong`], with the rules of the field.
fn wrong_value(field: &Field, plain: &Plain, value: &str, keys: &[&str]) -> String {
    let mut out = wrong(plain, value);
    if keys.contains(&&*field.name) {
        out.push_str(&format!(" || {value} === ''"));
    }
    if let Some((least, greatest)) = field.range {
        // NaN fails both comparisons.
        let limits = [(">=", least), ("<=", greatest)];
        let within: Vec<_> = limits
            .iter()
            .filter(|(_, limit)| limit.is_finite())
            .map(|(is, limit)| format!("{value} {is} {limit}"))
            .collect();
        out.push_str(&format!(" || !({})", within.join(" && ")));
    }
    out
}

fn kind(ty: &Type) -> &'static str {
    match ty {
        Type::Plain(plain) | Type::Optional(plain) => match plain {
            Plain::String => "string",
            Plain::Int => "int",
            Plain::Long => "long",
            Plain::Double => "double",
            Plain::Boolean => "boolean",
            Plain::Enum(_) => "enum symbol",
        },
        Type::Array(_) | Type::Records(_) => "array",
        Type::StringMap => "map",
    }
}

/// Reads each field into a constant and checks its type and rules.
fn checks(object: &str, record: &Record, keys: &[&str]) -> String {
    let mut out = String::new();
    for field in &record.fields {
        let name = local(&field.name);
        let wrong = match &field.ty {
            Type::Plain(plain) => wrong_value(field, plain, &name, keys),
            Type::Optional(plain) => {
                let wrong = wrong_value(field, plain, &name, keys);
                format!("{name} !== null && ({wrong})")
            }
            Type::Array(_) | Type::Records(_) => format!("!Array.isArray({name})"),
            Type::StringMap => {
                format!("typeof {name} !== 'object' || {name} === null || Array.isArray({name})")
            }
        };
        let read = format!("const {name} = {object}.{};\n", field.name);
        if may_be_left_out(field) {
            out.push_str(&format!(
                "  {read}  if ({name} !== undefined) {{\n    if ({wrong}) return false;\n    \
                 given++;\n  }}\n"
            ));
        } else {
            out.push_str(&format!(
                "  {read}  if ({wrong}) return false;\n  given++;\n"
            ));
        }
    }
    out
}

fn may_be_left_out(field: &Field) -> bool {
    field.default.is_some() || matches!(field.ty, Type::Optional(_))
}

/// The name of a field's constant: not a keyword, and not a name that the functions use.
pub(super) fn local(name: &str) -> String {
    const TAKEN: [&str; 52] = [
        "p",
        "c",
        "i",
        "r",
        "s",
        "t",
        "n",
        "event",
        "item",
        "given",
        "bits",
        "cells",
        "pack",
        "unpack",
        "eventType",
        "arguments",
        "await",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "debugger",
        "default",
        "delete",
        "do",
        "else",
        "enum",
        "eval",
        "export",
        "extends",
        "finally",
        "for",
        "function",
        "if",
        "implements",
        "import",
        "in",
        "interface",
        "let",
        "new",
        "package",
        "private",
        "return",
        "static",
        "switch",
        "this",
        "typeof",
        "var",
        "while",
        "yield",
    ];
    if TAKEN.contains(&name) {
        format!("{name}_")
    } else {
        name.to_owned()
    }
}

/// The number of cells for all fields and the envelope, without the items of collections.
fn room(record: &Record) -> usize {
    16 + 3 * record.fields.len()
}

/// Writes the cells and texts of all fields, after `p.room` gave `c` and `i`.
fn writes(record: &Record) -> String {
    let room = room(record);
    let mut out = String::new();
    for field in &record.fields {
        let name = local(&field.name);
        match &field.ty {
            Type::Plain(plain) => match (&field.default, literal(field)) {
                (Some(_), Some(default)) => {
                    let value = format!("{name}OrDefault");
                    out.push_str(&format!(
                        "  const {value} = {name} === undefined ? {default} : {name};\n"
                    ));
                    out.push_str(&write_plain("  ", plain, &value));
                }
                _ if is_hashed(field) => out.push_str(&write_hashed("  ", field, &name)),
                _ => out.push_str(&write_plain("  ", plain, &name)),
            },
            Type::Optional(plain) => {
                let none = if *plain == Plain::String { "-1" } else { "0" };
                out.push_str(&format!(
                    "  if ({name} === undefined || {name} === null) {{\n    c[i++] = {none};\n  }} \
                     else {{\n"
                ));
                if *plain != Plain::String {
                    out.push_str("    c[i++] = 1;\n");
                }
                out.push_str(&match is_hashed(field) {
                    true => write_hashed("    ", field, &name),
                    false => write_plain("    ", plain, &name),
                });
                out.push_str("  }\n");
            }
            Type::StringMap => out.push_str(&write_collection(&name, room, "map", "")),
            Type::Records(nested) => {
                out.push_str(&write_collection(
                    &name,
                    room,
                    "list",
                    &format!(", pack{nested}"),
                ));
            }
            Type::Array(Plain::String) => {
                out.push_str(&write_collection(&name, room, "strings", ""))
            }
            Type::Array(plain) => {
                let pack = format!(
                    ", (p, value) => {{\n    if ({wrong}) return false;\n    const c = p.room(4);\n    \
                     let i = p.at;\n  {write}    p.at = i;\n    return true;\n  }}",
                    wrong = wrong(plain, "value"),
                    write = write_plain("  ", plain, "value"),
                );
                out.push_str(&write_collection(&name, room, "list", &pack));
            }
        }
    }
    out.push_str("  p.at = i;\n");
    out
}

/// Collections write through the packer, which may move the cells to a larger array.
fn write_collection(name: &str, room: usize, method: &str, more: &str) -> String {
    format!(
        "  if ({name} === undefined) {{\n    c[i++] = 0;\n  }} else {{\n    p.at = i;\n    if \
         (!p.{method}({name}{more})) return false;\n    c = p.room({room});\n    i = p.at;\n  }}\n"
    )
}

/// Whether a field is hashed.
pub(super) fn is_hashed(field: &Field) -> bool {
    let sensitive = field.sensitive.as_ref();
    sensitive.is_some_and(|sensitive| sensitive.action == Action::Hash)
}

/// The name of the map from events that were read to the hashes of this field.
pub(super) fn hashes(field: &Field) -> String {
    format!("{}Read", field.name)
}

/// Writes a text; for a hash that was read in this object, the length is -2 - length.
fn write_hashed(start: &str, field: &Field, value: &str) -> String {
    let hashes = hashes(field);
    format!(
        "{start}c[i++] = {hashes}.get(event) === {value} ? -2 - {value}.length : {value}.length;\n\
         {start}p.text += {value};\n"
    )
}

fn write_plain(start: &str, plain: &Plain, value: &str) -> String {
    match plain {
        Plain::String => {
            format!("{start}c[i++] = {value}.length;\n{start}p.text += {value};\n")
        }
        Plain::Long => {
            format!("{start}i = cells.long(c, i, {value});\n{start}if (i < 0) return false;\n")
        }
        Plain::Int | Plain::Double => format!("{start}c[i++] = {value};\n"),
        Plain::Boolean => format!("{start}c[i++] = {value} ? 1 : 0;\n"),
        Plain::Enum(name) => format!("{start}c[i++] = {name}.numbers[{value}];\n"),
    }
}

/// A default in JavaScript. Missing collections are empty without one.
fn literal(field: &Field) -> Option<String> {
    match field.default.as_ref()? {
        Default::Boolean(value) => Some(value.to_string()),
        Default::Integer(value) => Some(value.to_string()),
        Default::Double(value) => Some(format!("{value:?}")),
        Default::Text(text) => Some(format!("{text:?}")),
        Default::Null | Default::Empty => None,
    }
}

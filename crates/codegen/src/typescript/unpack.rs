//! The JavaScript that unpacks an event from cells: an object with every field, in the schema's order.

use super::pack::{hashes, is_hashed, local};
use crate::model::{Event, Plain, Record, Type};

/// `unpack` of the event and of its nested records.
pub(super) fn functions(event: &Event) -> String {
    let mut out = String::new();
    for nested in &event.nested {
        out.push_str(&format!(
            "function unpack{}(r) {{\n  const c = r.cells;\n  const t = r.text;\n  let i = \
             r.at;\n  let s = r.read;\n{}}}\n\n",
            nested.name,
            fields(nested, &[])
        ));
    }
    let name = &event.record.name;
    out.push_str(&format!(
        "/** Reads the next event. */\nfunction unpack(r) {{\n  const c = r.cells;\n  \
         const t = r.text;\n  let i = r.at;\n  let s = r.read;\n{}{}}}\n\nexports.unpack = \
         unpack;\n",
        ENVELOPE.replace("NAME", name),
        fields(&event.record, &ENVELOPE_NAMES)
    ));
    out
}

const ENVELOPE_NAMES: [&str; 7] = [
    "eventId",
    "eventType",
    "timestamp",
    "source",
    "version",
    "correlationId",
    "causationId",
];

/// A negative length stands for the most frequent text.
const ENVELOPE: &str = "  let n = c[i++];
  const eventId = t.substring(s, (s += n));
  n = c[i++];
  const eventType = n < 0 ? 'NAME' : t.substring(s, (s += n));
  let timestamp = c[i++];
  if (timestamp !== timestamp) {
    timestamp = r.far('timestamp', c[i], c[i + 1]);
    i += 2;
  }
  n = c[i++];
  const source = t.substring(s, (s += n));
  n = c[i++];
  const version = n < 0 ? '1.0.0' : t.substring(s, (s += n));
  n = c[i++];
  const correlationId = n < 0 ? null : t.substring(s, (s += n));
  n = c[i++];
  const causationId = n < 0 ? null : t.substring(s, (s += n));
";

fn fields(record: &Record, before: &[&str]) -> String {
    let mut out = String::new();
    if before.is_empty() {
        out.push_str("  let n = 0;\n");
    }
    for field in &record.fields {
        let name = local(&field.name);
        match &field.ty {
            Type::Plain(plain) => out.push_str(&read("", "const ", &name, &field.name, plain)),
            Type::Optional(Plain::String) => out.push_str(&format!(
                "  n = c[i++];\n  const {name} = n < 0 ? null : t.substring(s, (s += n));\n"
            )),
            Type::Optional(plain) => {
                out.push_str(&format!("  let {name} = null;\n  if (c[i++] !== 0) {{\n"));
                out.push_str(&read("  ", "", &name, &field.name, plain));
                out.push_str("  }\n");
            }
            Type::StringMap => out.push_str(&collection(&name, "map()")),
            Type::Array(Plain::String) => out.push_str(&collection(&name, "strings()")),
            Type::Records(nested) => {
                out.push_str(&collection(&name, &format!("list(unpack{nested})")));
            }
            Type::Array(plain) => {
                let item = format!(
                    "list((r) => {{\n    const c = r.cells;\n    const t = r.text;\n    let i = \
                     r.at;\n    let s = r.read;\n    let n = 0;\n{}    r.at = i;\n    r.read = s;\n    \
                     return value;\n  }})",
                    read("  ", "const ", "value", &field.name, plain)
                );
                out.push_str(&collection(&name, &item));
            }
        }
    }
    let hashed: Vec<_> = record
        .fields
        .iter()
        .filter(|field| is_hashed(field))
        .collect();
    out.push_str("  r.at = i;\n  r.read = s;\n");
    out.push_str(match hashed.is_empty() {
        true => "  return {\n",
        false => "  const event = {\n",
    });
    for name in before {
        out.push_str(&format!("    {name},\n"));
    }
    for field in &record.fields {
        let name = local(&field.name);
        if name == field.name {
            out.push_str(&format!("    {name},\n"));
        } else {
            out.push_str(&format!("    {}: {name},\n", field.name));
        }
    }
    out.push_str("  };\n");
    for field in &hashed {
        let (name, hashes) = (local(&field.name), hashes(field));
        let set = format!("{hashes}.set(event, {name});\n");
        out.push_str(&match field.ty {
            Type::Optional(_) => format!("  if ({name} !== null) {set}"),
            _ => format!("  {set}"),
        });
    }
    if !hashed.is_empty() {
        out.push_str("  return event;\n");
    }
    out
}

fn collection(name: &str, call: &str) -> String {
    format!("  r.at = i;\n  r.read = s;\n  const {name} = r.{call};\n  i = r.at;\n  s = r.read;\n")
}

fn read(more: &str, declare: &str, name: &str, field: &str, plain: &Plain) -> String {
    let start = format!("{more}  ");
    match plain {
        Plain::String => {
            format!("{start}n = c[i++];\n{start}{declare}{name} = t.substring(s, (s += n));\n")
        }
        Plain::Long => {
            let declare = declare.replace("const", "let");
            format!(
                "{start}{declare}{name} = c[i++];\n{start}if ({name} !== {name}) {{\n{start}  \
                 {name} = r.wide('{field}', c[i], c[i + 1]);\n{start}  i += 2;\n{start}}} else if \
                 (r.bigint) {{\n{start}  {name} = BigInt({name});\n{start}}}\n"
            )
        }
        Plain::Int | Plain::Double => format!("{start}{declare}{name} = c[i++];\n"),
        Plain::Boolean => format!("{start}{declare}{name} = c[i++] !== 0;\n"),
        Plain::Enum(of) => format!("{start}{declare}{name} = {of}.names[c[i++]];\n"),
    }
}

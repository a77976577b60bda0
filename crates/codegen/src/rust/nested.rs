//! A record within an event, such as `ColumnLineage`.

use super::layout::{call, doc, indent, signature};
use super::names::ident;
use super::types;
use crate::model::{Field, Plain, Record, Type};

pub(super) fn record(record: &Record) -> String {
    [
        structure(record),
        constructors(record),
        element(record),
        fields(record),
    ]
    .join("\n")
}

fn structure(record: &Record) -> String {
    let mut out = doc(0, "///", &record.doc);
    out.push_str(&format!(
        "#[derive(Clone, PartialEq)]\npub struct {}<'a> {{\n",
        record.name
    ));
    for field in &record.fields {
        out.push_str(&doc(1, "///", &field.doc));
        out.push_str(&format!(
            "    pub {}: {},\n",
            ident(&field.name),
            types::rust_type(field)
        ));
    }
    out.push_str("}\n");
    out
}

/// `new` takes what is required; a method for each other field sets it.
fn constructors(record: &Record) -> String {
    let (required, optional): (Vec<_>, Vec<_>) = record
        .fields
        .iter()
        .partition(|field| types::is_required(field));
    let mut out = format!("impl<'a> {}<'a> {{\n", record.name);
    out.push_str("    /// With what is required; methods set the rest.\n");
    let params: Vec<String> = required
        .iter()
        .map(|field| format!("{}: {}", ident(&field.name), types::setter(field).0))
        .collect();
    let params: Vec<&str> = params.iter().map(String::as_str).collect();
    out.push_str(&signature(1, "pub fn new", &params, " -> Self {"));
    out.push_str(&format!("        {} {{\n", record.name));
    for field in &record.fields {
        let name = ident(&field.name);
        let value = match types::is_required(field) {
            true => types::setter(field).1,
            false => types::default(field),
        };
        out.push_str(&match value == name {
            true => format!("            {name},\n"),
            false => format!("            {name}: {value},\n"),
        });
    }
    out.push_str("        }\n    }\n");
    for field in optional {
        out.push_str(&setter(field));
    }
    out.push_str("}\n");
    out
}

fn setter(field: &Field) -> String {
    let name = ident(&field.name);
    let (takes, value) = types::setter(field);
    let mut out = format!("\n{}    #[must_use]\n", doc(1, "///", &field.doc));
    let param = format!("{name}: {takes}");
    out.push_str(&signature(
        1,
        &format!("pub fn {name}"),
        &["mut self", &param],
        " -> Self {",
    ));
    out.push_str(&format!(
        "        self.{name} = {value};\n        self\n    }}\n"
    ));
    out
}

/// What a list asks of its items.
fn element(record: &Record) -> String {
    let name = &record.name;
    let mut out = format!(
        "impl<'a> Element for {name}<'a> {{\n    \
             type Ref<'s>\n        \
                 = {name}<'s>\n    \
             where\n        \
                 Self: 's;\n    \
             type Owned = {name}<'static>;\n\n"
    );
    out.push_str(&format!(
        "    fn borrow(&self) -> {name}<'_> {{\n        {name} {{\n"
    ));
    for field in &record.fields {
        let ident = ident(&field.name);
        let value = format!("&self.{ident}");
        out.push_str(&match field.ty {
            Type::Plain(Plain::String) => {
                call(3, &format!("{ident}: text::borrowed"), &[&value], ",")
            }
            Type::Optional(Plain::String) => {
                let head = format!("{ident}: text::optional_borrowed");
                call(3, &head, &[&value], ",")
            }
            _ => format!("            {ident}: self.{ident},\n"),
        });
    }
    out.push_str("        }\n    }\n\n");
    out.push_str(&format!(
        "    fn into_owned(self) -> {name}<'static> {{\n        {name} {{\n"
    ));
    for field in &record.fields {
        out.push_str(&types::owned(3, field));
    }
    out.push_str("        }\n    }\n\n");
    out.push_str(&format!("    fn bound(item: &{name}<'_>) -> usize {{\n"));
    let varints: usize = record
        .fields
        .iter()
        .map(|field| types::varints(&field.ty))
        .sum();
    let extra: Vec<String> = record
        .fields
        .iter()
        .filter_map(|field| types::extra_bytes("item", field))
        .collect();
    out.push_str(&sum(2, varints, &extra));
    out.push_str("    }\n\n");
    out.push_str(&format!(
        "    fn write(item: &{name}<'_>, writer: &mut Writer<'_>) {{\n"
    ));
    for field in &record.fields {
        out.push_str(&types::write(2, "item", field));
    }
    out.push_str("    }\n\n");
    let params = ["reader: &mut Reader<'s>", "field: &str"];
    let tail = format!(" -> Result<{name}<'s>>");
    out.push_str(&signature(1, "fn read<'s>", &params, &tail));
    out.push_str("    where\n        Self: 's,\n    {\n");
    for inner in &record.fields {
        // The error names the list: an item's place in it would cost a count in each step.
        out.push_str(&types::read(2, "reader", "field", inner));
    }
    out.push_str(&format!("        Ok({name} {{\n"));
    for field in &record.fields {
        out.push_str(&format!("            {},\n", ident(&field.name)));
    }
    out.push_str("        })\n    }\n}\n");
    out
}

fn fields(record: &Record) -> String {
    let name = &record.name;
    let mut out = format!("impl Fields for {name}<'_> {{\n");
    let params = ["&self", "_default_source: &str", "visitor: &mut V"];
    out.push_str(&signature(
        1,
        "fn visit<V: Visitor>",
        &params,
        " -> Result<(), V::Error> {",
    ));
    for field in &record.fields {
        out.push_str(&types::visit(2, field));
    }
    out.push_str(&format!(
        "        Ok(())\n    }}\n}}\n\nshow_by_fields!({name});\n"
    ));
    out
}

/// A bound: ten bytes for each integer, and what comes on top.
pub(super) fn sum(level: usize, varints: usize, extra: &[String]) -> String {
    let start = indent(level);
    let flat = format!("{varints} * MAX_VARINT_LEN + {}", extra.join(" + "));
    if extra.is_empty() {
        return format!("{start}{varints} * MAX_VARINT_LEN\n");
    }
    if start.len() + flat.len() <= 100 {
        return format!("{start}{flat}\n");
    }
    let mut out = format!("{start}{varints} * MAX_VARINT_LEN\n");
    for bytes in extra.iter().flat_map(|bytes| bytes.split(" + ")) {
        out.push_str(&format!("{start}    + {bytes}\n"));
    }
    out
}

/// A call of `check` as a statement.
pub(super) fn check(level: usize, function: &str, args: &[&str]) -> String {
    call(level, &format!("check::{function}"), args, "?;")
}

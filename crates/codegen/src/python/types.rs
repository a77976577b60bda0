//! `_types.py` and `_types.pyi`: the enums and nested records.

use super::{attribute_type, docstring, wrapped};
use crate::model::{Model, Record, Type};
use crate::names::snake;

/// `_types.py`, which imports quickly, and `_types.pyi`, with all types.
pub(super) fn file(model: &Model, stub: bool) -> String {
    let mut out = String::from(if stub {
        "from typing import NamedTuple\n\nfrom ._enum import StrEnum\n"
    } else {
        "from collections import namedtuple\n\nfrom ._enum import StrEnum\n"
    });
    for definition in &model.enums {
        out.push_str(&format!("\n\nclass {}(StrEnum):\n", definition.name));
        out.push_str(&docstring(&definition.doc, "    "));
        out.push('\n');
        for (symbol, meaning) in &definition.symbols {
            out.push_str(&wrapped(meaning, "    #: "));
            out.push_str(&format!("    {symbol} = \"{symbol}\"\n"));
        }
    }
    let mut done: Vec<&str> = Vec::new();
    for record in model.topics.iter().flat_map(|topic| &topic.event.nested) {
        if !done.contains(&record.name.as_str()) {
            done.push(&record.name);
            out.push_str(&tuple(record, stub));
        }
    }
    let mut names: Vec<&str> = model.enums.iter().map(|it| it.name.as_str()).collect();
    names.extend(done);
    names.sort_unstable();
    out.push_str("\n\n__all__ = [\n");
    for name in names {
        out.push_str(&format!("    \"{name}\",\n"));
    }
    out.push_str("]\n");
    out
}

fn tuple(record: &Record, stub: bool) -> String {
    let is_optional = |ty: &Type| matches!(ty, Type::Optional(_));
    if !stub {
        let names: Vec<_> = record
            .fields
            .iter()
            .map(|field| format!("\"{}\"", snake(&field.name)))
            .collect();
        let optional = record.fields.iter().filter(|field| is_optional(&field.ty));
        let defaults = "None, ".repeat(optional.count());
        return format!(
            "\n\nclass {0}(namedtuple(\"{0}\", [{1}], defaults=({2}))):\n{3}\n    \
             __slots__ = ()\n",
            record.name,
            names.join(", "),
            defaults.trim_end(),
            docstring(&record.doc, "    ")
        );
    }
    let mut out = format!("\n\nclass {}(NamedTuple):\n", record.name);
    out.push_str(&docstring(&record.doc, "    "));
    out.push('\n');
    for field in &record.fields {
        let default = if is_optional(&field.ty) {
            " = None"
        } else {
            ""
        };
        out.push_str(&wrapped(&field.doc, "    #: "));
        out.push_str(&format!(
            "    {}: {}{default}\n",
            snake(&field.name),
            attribute_type(field)
        ));
    }
    out
}

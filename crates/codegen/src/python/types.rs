//! `_types.py`: enums, and the records that events have within them.

use super::{attribute_type, docstring, wrapped};
use crate::model::{Model, Record, Type};
use crate::rust::names::snake;

pub(super) fn file(model: &Model) -> String {
    let mut out = String::from(
        "from __future__ import annotations\n\n\
         from typing import NamedTuple\n\n\
         from ._enum import StrEnum\n",
    );
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
            out.push_str(&tuple(record));
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

fn tuple(record: &Record) -> String {
    let mut out = format!("\n\nclass {}(NamedTuple):\n", record.name);
    out.push_str(&docstring(&record.doc, "    "));
    out.push('\n');
    for field in &record.fields {
        let default = if matches!(field.ty, Type::Optional(_)) {
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

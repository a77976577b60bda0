//! `events.py` and `events.pyi`: the names of the event classes, and their types.

use super::{attribute_type, docstring, docstring_text, nested, plain, wrapped};
use crate::model::{Default, Field, Model, Topic, Type};
use crate::names::snake;

/// The envelope's fields that a caller can pass, with their types and defaults.
const ENVELOPE: [(&str, &str, &str); 6] = [
    ("event_id", "str | UUID | None", "a new UUIDv7"),
    (
        "timestamp",
        "int | datetime | None",
        "now. Milliseconds since 1970 UTC, or a datetime with a time zone",
    ),
    ("source", "str", "the producer's service"),
    ("version", "str | None", "`1.0.0`"),
    ("correlation_id", "str | None", "none"),
    ("causation_id", "str | None", "none"),
];

pub(super) fn module(model: &Model) -> String {
    let (events, types) = (all_events(model), all_types(model));
    let mut out =
        String::from("\"\"\"The platform's events: an immutable class for each record.\"\"\"\n\n");
    out.push_str(&import("._native", &events));
    out.push_str(all(&events, &types).trim_start());
    out.push_str(
        "\n\ndef __getattr__(name: str) -> object:\n    \
         # Enums are created on first access: creating them is slow.\n    \
         if name in __all__:\n        from . import _types\n\n        \
         value = getattr(_types, name)\n        globals()[name] = value\n        \
         return value\n    \
         raise AttributeError(f\"module {__name__!r} has no attribute {name!r}\")\n",
    );
    out
}

pub(super) fn file(model: &Model) -> String {
    let (events, types) = (all_events(model), all_types(model));
    let mut out = String::from(
        "from collections.abc import Iterable, Mapping\n\
         from datetime import datetime\n\
         from typing import Any, Literal, TypeAlias, TypedDict, final\n\
         from uuid import UUID\n\n\
         from typing_extensions import Self\n\n",
    );
    out.push_str(&import("._types", &types));
    for definition in &model.enums {
        let symbols: Vec<_> = definition
            .symbols
            .iter()
            .map(|(symbol, _)| format!("\"{symbol}\""))
            .collect();
        out.push_str(&format!(
            "\n{}Symbol: TypeAlias = Literal[{}]",
            definition.name,
            symbols.join(", ")
        ));
    }
    out.push('\n');
    out.push_str(include_str!("base.pyi"));
    for topic in &model.topics {
        out.push_str(&class(topic));
    }
    out.push_str(&all(&events, &types));
    out
}

fn all_events(model: &Model) -> Vec<&str> {
    let mut names = super::events(model);
    names.push("Event");
    names.sort_unstable();
    names
}

fn all_types(model: &Model) -> Vec<&str> {
    let mut names: Vec<&str> = model.enums.iter().map(|it| it.name.as_str()).collect();
    names.extend(nested(model));
    names.sort_unstable();
    names
}

fn import(module: &str, names: &[&str]) -> String {
    let lines: String = names.iter().map(|name| format!("    {name},\n")).collect();
    format!("from {module} import (\n{lines})\n")
}

fn all(events: &[&str], types: &[&str]) -> String {
    let mut names = [events, types].concat();
    names.sort_unstable();
    let lines: String = names
        .iter()
        .map(|name| format!("    \"{name}\",\n"))
        .collect();
    format!("\n__all__ = [\n{lines}]\n")
}

fn class(topic: &Topic) -> String {
    let record = &topic.event.record;
    let mut out = format!("\n@final\nclass {}(Event):\n", record.name);
    out.push_str(&docstring(&docstring_text(topic), "    "));
    out.push_str("\n    __match_args__ = (\n");
    for field in &record.fields {
        out.push_str(&format!("        \"{}\",\n", snake(&field.name)));
    }
    out.push_str("    )\n");
    // Required fields come first in a signature.
    out.push_str("    def __new__(\n        cls,\n        *,\n");
    let (required, optional): (Vec<_>, Vec<_>) =
        record.fields.iter().partition(|field| is_required(field));
    for field in required.iter().chain(&optional) {
        out.push_str(&parameter(field));
    }
    for (name, ty, _) in ENVELOPE {
        let default = if ty == "str" { "\"\"" } else { "None" };
        out.push_str(&format!("        {name}: {ty} = {default},\n"));
    }
    out.push_str("    ) -> Self:\n        \"\"\"\n        Args:\n");
    for field in required.iter().chain(&optional) {
        let text = format!("{}: {}", snake(&field.name), field.doc);
        out.push_str(&wrapped(&text.replace('\\', "\\\\"), "            "));
    }
    for (name, _, otherwise) in ENVELOPE {
        out.push_str(&wrapped(
            &format!("{name}: Default: {otherwise}."),
            "            ",
        ));
    }
    out.push_str(
        "\n        Raises:\n            InvalidEventError: a value is invalid; `context` names the field.\n            \
         FieldTypeError: a keyword is missing, unknown or has the wrong type.\n        \"\"\"\n",
    );
    for field in &record.fields {
        out.push_str(&format!(
            "\n    @property\n    def {}(self) -> {}:\n{}",
            snake(&field.name),
            attribute_type(field),
            docstring(&field.doc, "        ")
        ));
    }
    out
}

fn is_required(field: &Field) -> bool {
    field.default.is_none() && !matches!(field.ty, Type::Optional(_))
}

fn parameter(field: &Field) -> String {
    let ty = match &field.ty {
        Type::Plain(crate::model::Plain::Enum(name)) => format!("{name} | {name}Symbol"),
        Type::Plain(inner) => plain(inner).to_owned(),
        Type::Optional(inner) => format!("{} | None", plain(inner)),
        Type::Array(inner) => format!("Iterable[{}]", plain(inner)),
        Type::Records(name) => format!("Iterable[{name} | Mapping[str, str | None]]"),
        Type::StringMap => "Mapping[str, str]".to_owned(),
    };
    let default = match &field.default {
        _ if matches!(field.ty, Type::Optional(_)) => " = None",
        None => "",
        Some(Default::Boolean(true)) => " = True",
        Some(Default::Boolean(false)) => " = False",
        Some(_) => " = ...",
    };
    format!("        {}: {ty}{default},\n", snake(&field.name))
}

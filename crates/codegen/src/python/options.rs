//! Settings as keywords: their types in `_options.pyi`, and the table in `docs/python.md`.

use anyhow::{Context, Result};

use super::wrapped;
use crate::declarations::{Setting, SettingKind};

const BEGIN: &str = "<!-- settings: begin -->\n";
const END: &str = "<!-- settings: end -->";

const IMPORTS: &str = "\
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal, TypedDict

from .events import Event
";

/// The groups of a class, its name, its bases, and what it says of itself.
const CLASSES: [(&[&str], &str, &str, &str); 3] = [
    (
        &["connection", "registry"],
        "ConnectionOptions",
        "TypedDict, total=False",
        "How to reach the brokers and the registry.",
    ),
    (
        &["producer"],
        "ProducerOptions",
        "ConnectionOptions, total=False",
        "The keywords of producers.",
    ),
    (
        &["consumer"],
        "ConsumerOptions",
        "ConnectionOptions, total=False",
        "The keywords of consumers.",
    ),
];

/// The stub, below its header.
pub(super) fn stub(settings: &[Setting]) -> String {
    let mut out = IMPORTS.to_owned();
    for (groups, name, bases, doc) in CLASSES {
        out.push_str(&format!(
            "\nclass {name}({bases}):\n    \"\"\"{doc}\"\"\"\n\n"
        ));
        for setting in settings
            .iter()
            .filter(|setting| groups.contains(&&*setting.group))
        {
            out.push_str(&comment(setting));
            out.push_str(&format!(
                "    {}: {} | None\n",
                setting.option,
                type_of(setting)
            ));
        }
    }
    out
}

fn comment(setting: &Setting) -> String {
    let mut text = setting.doc.replace('\n', " ");
    if let Some(default) = setting.shown_default() {
        text.push_str(&format!(" Default: `{default}`."));
    }
    if let Some(variable) = &setting.env {
        text.push_str(&format!(" Environment: `{variable}`."));
    }
    wrapped(&text, "    #: ")
}

fn type_of(setting: &Setting) -> String {
    match setting.kind {
        SettingKind::Text => "str | os.PathLike[str]".to_owned(),
        SettingKind::Boolean => "bool".to_owned(),
        SettingKind::Integer => "int".to_owned(),
        SettingKind::Milliseconds => "int | timedelta".to_owned(),
        SettingKind::List => "str | Iterable[str | type[Event]]".to_owned(),
        SettingKind::Map => "Mapping[str, object]".to_owned(),
        SettingKind::Choice => {
            let words: Vec<_> = setting
                .choices
                .iter()
                .map(|word| format!("\"{word}\""))
                .collect();
            format!("Literal[{}]", words.join(", "))
        }
    }
}

/// A page with the table of its settings replaced.
pub(super) fn page(page: &str, settings: &[Setting]) -> Result<String> {
    let missing = || format!("the page has no `{}` and `{END}`", BEGIN.trim_end());
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    let table = table(settings);
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

fn table(settings: &[Setting]) -> String {
    let code = |text: Option<&str>| text.map_or_else(String::new, |it| format!("`{it}`"));
    let mut out =
        "| keyword | for | default | environment | librdkafka property | what it does |\n\
         |---|---|---|---|---|---|\n"
            .to_owned();
    for setting in settings {
        let user = match &*setting.group {
            "producer" => "producers",
            "consumer" => "consumers",
            _ => "all",
        };
        out.push_str(&format!(
            "| `{}` | {user} | {} | {} | {} | {} |\n",
            setting.option,
            code(setting.shown_default()),
            code(setting.env.as_deref()),
            code(setting.property.as_deref()),
            setting.doc.replace('\n', " ").replace('|', "\\|"),
        ));
    }
    out
}

//! The Rust emitter: `crates/events/src/events/`.
//!
//! The code that it writes is a list of fields in five forms (a struct, a builder, an encoder, a
//! decoder and a visitor); what these have in common is written by hand beside it in the same
//! directory. rustfmt breaks the lines and sorts the imports.

mod enums;
mod event;
mod index;
mod nested;
mod topics;
mod types;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::HEADER;
use crate::model::Model;
use crate::names;

/// Where the files go, relative to the root.
pub(crate) const DIRECTORY: &str = "crates/events/src/events";

/// The rustfmt settings of the workspace.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rustfmt.toml");

/// The widest line of documentation, which rustfmt does not break.
const MAX_WIDTH: usize = 100;

/// Every file with its path.
pub(crate) fn emit(model: &Model) -> Result<Vec<(PathBuf, String)>> {
    let mut files = vec![
        ("mod".to_owned(), "topics.json", index::module(model)),
        ("event".to_owned(), "topics.json", index::event(model)),
        ("topic".to_owned(), "topics.json", topics::file(model)),
        ("enums".to_owned(), "*.avsc", enums::file(model)),
    ];
    for topic in &model.topics {
        let name = names::snake(&topic.event.record.name);
        files.push((name, &topic.event.file, event::file(topic)));
    }
    let file = |(name, source, content): (String, &str, String)| {
        let content = format!("{HEADER}schemas/{source}. Do not edit.\n\n{content}");
        let path = Path::new(DIRECTORY).join(name).with_extension("rs");
        Ok((path, formatted(&content)?))
    };
    files.into_iter().map(file).collect()
}

/// The source as rustfmt writes it, with the settings of the workspace.
fn formatted(source: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--config-path", SETTINGS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start rustfmt, which `rustup component add rustfmt` installs")?;
    // Dropped after the write: rustfmt reads to the end before it writes.
    if let Some(mut stdin) = rustfmt.stdin.take() {
        stdin.write_all(source.as_bytes())?;
    }
    let output = rustfmt.wait_with_output()?;
    ensure!(
        output.status.success(),
        "rustfmt refuses this source:\n{source}"
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Documentation, broken at words: `/// …` or `//! …`, indented by `level`.
fn doc(level: usize, marker: &str, text: &str) -> String {
    let start = format!("{}{marker}", " ".repeat(4 * level));
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = start.clone();
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            if line.len() + 1 + word.len() > MAX_WIDTH && line != start {
                lines.push_str(&line);
                lines.push('\n');
                line.clone_from(&start);
            }
            line.push(' ');
            line.push_str(word);
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

/// Text that goes on within a sentence.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // `API keys …` stays as it is.
        (Some(_), Some(second)) if second.is_uppercase() => text.to_owned(),
        (Some(first), _) => first.to_lowercase().chain(chars).collect(),
        (None, _) => String::new(),
    }
}

/// What `piece` gives for each item, one after the other.
fn each<T>(items: &[T], piece: impl FnMut(&T) -> String) -> String {
    items.iter().map(piece).collect()
}

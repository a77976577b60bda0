//! `schemas/` to source code: the only place that knows how a record looks in each language.
//!
//! ```text
//! schemas/*.avsc, topics.json --schemas--> Model --rust--> crates/core/src/events/*.rs
//! ```
//!
//! [`schemas`] reads and checks the files, [`mod@model`] is what they say in terms of no language, and
//! an emitter a language writes source from it. Output is committed; a test of this crate fails when
//! it is stale. `cargo xtask generate` calls [`write()`], `cargo xtask generate --check` [`stale`].

pub mod model;
mod rust;
mod schemas;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use model::Model;

/// Reads `schemas/` under `root` into the model that the emitters work from.
///
/// # Errors
///
/// If a file is missing, is no Avro schema, or says something that the generator has no code for;
/// the message names file and field.
pub fn model(root: &Path) -> Result<Model> {
    schemas::read(&root.join("schemas"))
}

/// Every generated file: its path relative to `root`, and its content.
///
/// # Errors
///
/// As [`model()`].
pub fn generate(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let model = model(root)?;
    Ok(rust::emit(&model))
}

/// Writes every generated file that differs, removes those that are generated no more, and gives
/// the paths of both, relative to `root`.
///
/// # Errors
///
/// As [`generate`], and if a file cannot be written.
pub fn write(root: &Path) -> Result<Vec<PathBuf>> {
    let files = generate(root)?;
    let stale = differences(root, &files)?;
    for path in &stale {
        let full = root.join(path);
        match files.iter().find(|(candidate, _)| candidate == path) {
            Some((_, content)) => fs::write(&full, content),
            None => fs::remove_file(&full),
        }
        .with_context(|| format!("{} cannot be written", full.display()))?;
    }
    Ok(stale)
}

/// The paths, relative to `root`, of generated files that are missing, differ from what `schemas/`
/// says now, or are generated no more.
///
/// # Errors
///
/// As [`generate`], and if a directory cannot be read.
pub fn stale(root: &Path) -> Result<Vec<PathBuf>> {
    differences(root, &generate(root)?)
}

fn differences(root: &Path, files: &[(PathBuf, String)]) -> Result<Vec<PathBuf>> {
    let mut stale: Vec<PathBuf> = files
        .iter()
        .filter(|(path, content)| {
            fs::read_to_string(root.join(path)).ok().as_ref() != Some(content)
        })
        .map(|(path, _)| path.clone())
        .collect();
    let directory = root.join(rust::DIRECTORY);
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("{} cannot be read", directory.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        let path = Path::new(rust::DIRECTORY).join(name);
        let content = fs::read_to_string(root.join(&path)).unwrap_or_default();
        let is_ours = content.starts_with(rust::HEADER);
        if is_ours && !files.iter().any(|(candidate, _)| *candidate == path) {
            stale.push(path);
        }
    }
    Ok(stale)
}

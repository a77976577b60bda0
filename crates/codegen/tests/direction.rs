//! In `crates/events`, `codec` uses `events` and `avro`, `events` uses `avro`, and none the other way.

#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each allowed to use those before it.
const LAYERS: [&str; 3] = ["avro", "events", "codec"];
/// What every module may use.
const SHARED: [&str; 6] = ["Error", "ErrorKind", "Result", "error", "fork", "testing"];

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .flat_map(|entry| match entry.unwrap().path() {
            path if path.is_dir() => rust_files(&path),
            path => vec![path],
        })
        .collect()
}

/// The names that follow `crate::` in code: one, or the first of each path in braces.
fn used(source: &str) -> Vec<&str> {
    let code = source.split('\n').map(|line| {
        let comment = line.find("//").unwrap_or(line.len());
        &line[..comment]
    });
    let mut names = Vec::new();
    for path in code.flat_map(|line| line.split("crate::").skip(1)) {
        let name = |path: &'_ str| {
            path.find(|c: char| !c.is_alphanumeric())
                .unwrap_or(path.len())
        };
        match path
            .strip_prefix('{')
            .and_then(|group| group.split('}').next())
        {
            Some(group) => names.extend(group.split(", ").map(|path| &path[..name(path)])),
            None => names.push(&path[..name(path)]),
        }
    }
    names
}

#[test]
fn no_module_of_the_events_crate_uses_one_to_its_right() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/src");
    for (place, layer) in LAYERS.into_iter().enumerate() {
        let allowed = [&LAYERS[..=place], &SHARED].concat();
        let files = rust_files(&source.join(layer));
        assert!(!files.is_empty());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for name in used(&text) {
                assert!(allowed.contains(&name), "{}: crate::{name}", file.display());
            }
        }
    }
}

#[test]
fn a_use_of_a_module_to_the_right_is_found() {
    let source = "use crate::{Error, codec::Decoder};\n// crate::producer\n$crate::events::x!();";
    assert_eq!(used(source), ["Error", "codec", "events"]);
}

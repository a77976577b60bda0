//! The Rust emitter: `crates/events/src/events/`.
//!
//! The code that it writes is a list of fields in five forms (a struct, a builder, an encoder, a
//! decoder and a visitor); what these have in common is written by hand beside it in the same
//! directory. The output is as rustfmt would have it: see [`layout`].

mod enums;
mod event;
mod index;
mod layout;
pub(crate) mod names;
mod nested;
mod topics;
mod types;

use std::path::{Path, PathBuf};

use crate::HEADER;
use crate::model::Model;

/// Where the files go, relative to the root.
pub(crate) const DIRECTORY: &str = "crates/events/src/events";

/// Every file with its path.
pub(crate) fn emit(model: &Model) -> Vec<(PathBuf, String)> {
    let file = |name: &str, source: &str, content: String| {
        let content = format!("{HEADER}{source}. Do not edit.\n\n{content}");
        (Path::new(DIRECTORY).join(name), content)
    };
    let mut files = vec![
        file("mod.rs", "schemas/topics.json", index::module(model)),
        file("event.rs", "schemas/topics.json", index::event(model)),
        file("topic.rs", "schemas/topics.json", topics::file(model)),
        file("enums.rs", "schemas/*.avsc", enums::file(model)),
    ];
    for topic in &model.topics {
        let name = format!("{}.rs", names::snake(&topic.event.record.name));
        files.push(file(
            &name,
            &format!("schemas/{}", topic.event.file),
            event::file(topic),
        ));
    }
    files
}

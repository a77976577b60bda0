//! The TypeScript emitter: what of the Node package comes from schemas and declarations.
//!
//! ```text
//! crates/node/npm/lib/events/<Record>.js     packs and unpacks the record's fields, one by one
//! crates/node/npm/lib/events/<Record>.d.ts   its types
//! crates/node/npm/lib/events/index.*         all of them together
//! crates/node/src/events.rs                  the same lists of fields for the addon
//!
//! crates/node/npm/lib/errors.d.ts            a class for each kind of error
//! crates/node/npm/lib/settings.d.ts          the settings as options
//! ```
//!
//! An event crosses between JavaScript and Rust as numbers in one array (*cells*) and all texts in
//! one string. Both sides walk the fields in the schema's order; what cells look like is written by
//! hand in `crates/node/src/cells` and `crates/node/npm/lib/cells.js`.

mod addon;
mod errors;
mod index;
mod pack;
mod settings;
mod types;
mod unpack;

use std::path::{Path, PathBuf};

use crate::declarations::HEADER as DECLARED;
use crate::model::{Enum, Event, Model};
use crate::names::{full_members, members};
use crate::{Declarations, HEADER};

/// Where the JavaScript and its types go, relative to the root.
pub(crate) const DIRECTORY: &str = "crates/node/npm/lib/events";

/// Where the addon's list of fields goes, relative to the root.
const ADDON: &str = "crates/node/src/events.rs";

/// Every file with its path.
pub(crate) fn emit(model: &Model) -> Vec<(PathBuf, String)> {
    let file = |path: PathBuf, source: &str, content: String| {
        (path, format!("{HEADER}{source}. Do not edit.\n\n{content}"))
    };
    let lib = |name: String| Path::new(DIRECTORY).join(name);
    let table = "schemas/topics.json";
    let mut files = vec![
        file(ADDON.into(), table, addon::file(model)),
        file(lib("index.js".into()), table, index::file(model)),
        file(lib("index.d.ts".into()), table, types::index(model)),
        file(
            lib("enums.d.ts".into()),
            "schemas/*.avsc",
            types::enums_file(model),
        ),
    ];
    for (number, topic) in model.topics.iter().enumerate() {
        let (name, source) = (
            &topic.event.record.name,
            format!("schemas/{}", topic.event.file),
        );
        let code = format!(
            "'use strict';\n\nconst cells = require('../cells.js');\n\n{}{}\n{}",
            symbols(model, &topic.event),
            pack::functions(number, topic),
            unpack::functions(&topic.event),
        );
        files.push(file(lib(format!("{name}.js")), &source, code));
        files.push(file(
            lib(format!("{name}.d.ts")),
            &source,
            types::file(model, topic),
        ));
    }
    files
}

/// Every file that comes from the core's declarations, with its path.
pub(crate) fn declared(from: &Declarations) -> [(PathBuf, String); 2] {
    let file = |name: &str, content: String| {
        let path = Path::new("crates/node/npm/lib").join(name);
        (path, format!("// {DECLARED}\n\n{content}"))
    };
    [
        file("errors.d.ts", errors::file(&from.errors)),
        file("settings.d.ts", settings::file(&from.settings)),
    ]
}

/// The enums that an event's fields have, each once, in the order of the fields.
fn enums<'m>(model: &'m Model, event: &Event) -> Vec<&'m Enum> {
    let mut found: Vec<&Enum> = Vec::new();
    for record in std::iter::once(&event.record).chain(&event.nested) {
        for name in record
            .fields
            .iter()
            .filter_map(|field| field.ty.enum_name())
        {
            let definition = model
                .enums
                .iter()
                .find(|definition| definition.name == name);
            if let Some(definition) = definition
                && !found.contains(&definition)
            {
                found.push(definition);
            }
        }
    }
    found
}

/// `const IngestionStatus = cells.symbols(['SUCCESS', …]);` for each enum.
fn symbols(model: &Model, event: &Event) -> String {
    let mut out = String::new();
    for definition in enums(model, event) {
        let symbols: Vec<_> = definition
            .symbols
            .iter()
            .map(|(symbol, _)| format!("'{symbol}'"))
            .collect();
        out.push_str(&format!(
            "const {} = cells.symbols([{}]);\n",
            definition.name,
            symbols.join(", ")
        ));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The members that an earlier version of the package had under another name: `(name, value)` of
/// `EventType` and of `Topic`.
fn aliases(model: &Model) -> [Vec<(String, String)>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for topic in &model.topics {
        let (short, full) = (members(topic), full_members(topic));
        if short.0 != full.0 {
            found[0].push((full.0, topic.event.record.name.clone()));
        }
        if short.1 != full.1 {
            found[1].push((full.1, topic.name.clone()));
        }
    }
    found[1].push(("MARKET_DATA".to_owned(), "market-data".to_owned()));
    found
}

//! `index.js`: all records by name, and the constants of the package.

use std::fmt::Write;

use super::aliases;
use crate::model::Model;
use crate::names::members;

pub(super) fn file(model: &Model) -> String {
    let mut out = String::from("'use strict';\n\n");
    out.push_str("/** The names of the events, by number. */\nconst names = [\n");
    for topic in &model.topics {
        let _ = writeln!(out, "  '{}',", topic.event.record.name);
    }
    out.push_str("];\n\nconst load = {\n");
    for topic in &model.topics {
        let name = &topic.event.record.name;
        let _ = writeln!(out, "  {name}: () => require('./{name}.js'),");
    }
    out.push_str(LAZY);
    out.push_str("/** The topic of each event. */\nexports.topics = {\n  __proto__: null,\n");
    for topic in &model.topics {
        let _ = writeln!(out, "  {}: '{}',", topic.event.record.name, topic.name);
    }
    out.push_str("};\n\nexports.EventType = {\n");
    for topic in &model.topics {
        let (name, value) = (members(topic).0, &topic.event.record.name);
        let _ = writeln!(out, "  {name}: '{value}',");
    }
    out.push_str("};\n\nexports.Topic = {\n");
    for topic in &model.topics {
        let (name, value) = (members(topic).1, &topic.name);
        let _ = writeln!(out, "  {name}: '{value}',");
    }
    out.push_str("};\n\n");
    out.push_str(ALIAS);
    for (object, aliases) in ["EventType", "Topic"].into_iter().zip(aliases(model)) {
        for (name, value) in aliases {
            let _ = writeln!(out, "alias(exports.{object}, '{name}', '{value}');");
        }
    }
    out
}

/// Records are loaded lazily: few services use all of them, and each file costs time at the start.
/// Each `require` is a literal, for bundlers.
const LAZY: &str = "};

/** Every record by name, loaded on first access. */
const records = Object.create(null);
for (const name of names) {
  Object.defineProperty(records, name, {
    enumerable: true,
    configurable: true,
    get() {
      const record = load[name]();
      Object.defineProperty(records, name, { value: record, enumerable: true });
      return record;
    },
  });
}

exports.names = names;
exports.records = records;

";

/// Aliases are not enumerable.
const ALIAS: &str = "/** Adds a name of an earlier version, which `Object.keys` does not list. */
function alias(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true });
}

";

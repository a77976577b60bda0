//! `index.js`: all records by their names, and the constants of the package.

use std::fmt::Write;

use super::constant;
use crate::model::Model;

pub(super) fn file(model: &Model) -> String {
    let mut out = String::from("'use strict';\n\n");
    out.push_str("/** The records' names in the order of their numbers. */\nconst names = [\n");
    for topic in &model.topics {
        let _ = writeln!(out, "  '{}',", topic.event.record.name);
    }
    out.push_str(LAZY);
    out.push_str("/** The topic of each record. */\nexports.topics = {\n  __proto__: null,\n");
    for topic in &model.topics {
        let _ = writeln!(out, "  {}: '{}',", topic.event.record.name, topic.name);
    }
    out.push_str("};\n\nexports.EventType = Object.freeze({\n");
    for topic in &model.topics {
        let _ = writeln!(
            out,
            "  {}: '{}',",
            constant(topic).0,
            topic.event.record.name
        );
    }
    out.push_str("});\n\nexports.Topic = Object.freeze({\n");
    for topic in &model.topics {
        let _ = writeln!(out, "  {}: '{}',", constant(topic).1, topic.name);
    }
    out.push_str("  MARKET_DATA: 'market-data',\n});\n");
    out
}

/// Few services use all of the records, and each file costs time at the start.
const LAZY: &str = "];

/** Every record by its name, loaded when it is first asked for. */
const records = Object.create(null);
for (const name of names) {
  Object.defineProperty(records, name, {
    enumerable: true,
    configurable: true,
    get() {
      const record = require(`./${name}.js`);
      Object.defineProperty(records, name, { value: record, enumerable: true });
      return record;
    },
  });
}

exports.names = names;
exports.records = records;

";

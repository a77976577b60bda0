//! `crates/node/src/events.rs`: the fields of each record in order.

use crate::model::{Event, Model, Record};
use crate::names::{ident, variant};

pub(super) fn file(model: &Model) -> String {
    let mut out = String::from(
        "//! The fields of each record in the order in which they cross, and its number.\n\n\
         use carbon_events::events::*;\n\n\
         use crate::cells::{event_cells, events_cells, record_cells, symbol_cells};\n\n",
    );
    out.push_str("symbol_cells! {\n");
    for definition in &model.enums {
        out.push_str(&format!("    {},\n", definition.name));
    }
    out.push_str("}\n");
    for topic in &model.topics {
        out.push_str(&event(&topic.event));
    }
    out.push_str("\nevents_cells! {\n");
    for (number, topic) in model.topics.iter().enumerate() {
        let name = &topic.event.record.name;
        out.push_str(&format!("    {number} => {} as {name},\n", variant(name)));
    }
    out.push_str("}\n");
    out
}

fn event(event: &Event) -> String {
    let mut out = String::new();
    for nested in &event.nested {
        out.push('\n');
        out.push_str(&record("record_cells!", nested));
    }
    out.push('\n');
    out.push_str(&record("event_cells!", &event.record));
    out
}

fn record(head: &str, record: &Record) -> String {
    let mut out = format!("{head} {{\n    {}:\n", record.name);
    for field in &record.fields {
        out.push_str(&format!("    {},\n", ident(&field.name)));
    }
    out.push_str("}\n");
    out
}

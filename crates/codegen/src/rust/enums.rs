//! `enums.rs`: every enum of the schemas.

use super::layout::doc;
use super::names::camel;
use crate::model::{Enum, Model};

pub(super) fn file(model: &Model) -> String {
    let mut out =
        String::from("//! The enums of the events' fields.\n\nuse super::symbol::symbols;\n");
    for definition in &model.enums {
        out.push('\n');
        out.push_str(&enumeration(definition));
    }
    out
}

fn enumeration(definition: &Enum) -> String {
    let mut out = format!(
        "symbols! {{\n{}    {} {{\n",
        doc(1, "///", &definition.doc),
        definition.name
    );
    for (symbol, meaning) in &definition.symbols {
        out.push_str(&doc(2, "///", meaning));
        out.push_str(&format!("        {} = \"{symbol}\",\n", camel(symbol)));
    }
    out.push_str("    }\n}\n");
    out
}

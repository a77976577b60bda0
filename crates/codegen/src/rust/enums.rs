//! `enums.rs`: every enum of the schemas.

use super::{doc, each};
use crate::model::{Enum, Model};
use crate::names::camel;

pub(super) fn file(model: &Model) -> String {
    let enums = each(&model.enums, enumeration);
    format!("//! The enums of the events' fields.\n\nuse super::symbol::symbols;\n{enums}")
}

/// Indented here: rustfmt does not look into the call of a macro.
fn enumeration(definition: &Enum) -> String {
    let symbols = each(&definition.symbols, |(symbol, meaning)| {
        let doc = doc(2, "///", meaning);
        format!("{doc}        {} = \"{symbol}\",\n", camel(symbol))
    });
    let (doc, name) = (doc(1, "///", &definition.doc), &definition.name);
    format!("\nsymbols! {{\n{doc}    {name} {{\n{symbols}    }}\n}}\n")
}

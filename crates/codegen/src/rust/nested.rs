//! A record within an event, such as `ColumnLineage`.

use super::{doc, each, types};
use crate::model::{Field, Plain, Record, Type};
use crate::names::ident;

pub(super) fn record(record: &Record) -> String {
    let (name, fields) = (&record.name, &record.fields);
    let doc = doc(0, "///", &record.doc);
    let structure = types::structure(fields);
    let constructors = constructors(record);
    let element = element(record);
    let visits = each(fields, types::visit);
    format!(
        "
{doc}#[derive(Clone, PartialEq)]
pub struct {name}<'a> {{
    {structure}
}}

impl<'a> {name}<'a> {{
    {constructors}
}}

impl<'a> Element for {name}<'a> {{
    {element}
}}

impl Fields for {name}<'_> {{
    fn visit<V: Visitor>(&self, _default_source: &str, visitor: &mut V) -> Result<(), V::Error> {{
        {visits}
        Ok(())
    }}
}}

show_by_fields!({name});
"
    )
}

/// `new` takes what is required; a method for each other field sets it.
fn constructors(record: &Record) -> String {
    let params = each(&record.fields, |field| match types::is_required(field) {
        true => format!("{}: {},", ident(&field.name), types::setter(field).0),
        false => String::new(),
    });
    let values = each(&record.fields, |field| {
        let value = match types::is_required(field) {
            true => types::setter(field).1,
            false => types::default(field),
        };
        format!("{}: {value},", ident(&field.name))
    });
    let setters = each(&record.fields, |field| match types::is_required(field) {
        true => String::new(),
        false => setter(field),
    });
    format!(
        "/// With what is required; methods set the rest.
        pub fn new({params}) -> Self {{
            {} {{ {values} }}
        }}
        {setters}",
        record.name
    )
}

fn setter(field: &Field) -> String {
    let name = ident(&field.name);
    let (takes, value) = types::setter(field);
    let doc = doc(1, "///", &field.doc);
    format!(
        "
{doc}    #[must_use]
        pub fn {name}(mut self, {name}: {takes}) -> Self {{
            self.{name} = {value};
            self
        }}
"
    )
}

/// What a list asks of its items.
fn element(record: &Record) -> String {
    let (name, fields) = (&record.name, &record.fields);
    let borrowed = each(fields, |field| {
        let name = ident(&field.name);
        match field.ty {
            Type::Plain(Plain::String) => format!("{name}: text::borrowed(&self.{name}),"),
            Type::Optional(Plain::String) => {
                format!("{name}: text::optional_borrowed(&self.{name}),")
            }
            _ => format!("{name}: self.{name},"),
        }
    });
    let owned = each(fields, types::owned);
    let bound = types::bound("item", fields, None);
    let writes = each(fields, |field| types::write("item", field));
    // The error names the list: an item's place in it would cost a count in each step.
    let reads = each(fields, |field| types::read("reader", "field", field));
    let names = each(fields, |field| format!("{},", ident(&field.name)));
    format!(
        "type Ref<'s> = {name}<'s> where Self: 's;
        type Owned = {name}<'static>;

        fn borrow(&self) -> {name}<'_> {{
            {name} {{ {borrowed} }}
        }}

        fn into_owned(self) -> {name}<'static> {{
            {name} {{ {owned} }}
        }}

        fn bound(item: &{name}<'_>) -> usize {{
            {bound}
        }}

        fn write(item: &{name}<'_>, writer: &mut Writer<'_>) {{
            {writes}
        }}

        fn read<'s>(reader: &mut Reader<'s>, field: &str) -> Result<{name}<'s>>
        where
            Self: 's,
        {{
            {reads}
            Ok({name} {{ {names} }})
        }}"
    )
}

//! What there is to know about a record: its fields, how one is read, and how an event is built.

use carbon_events::events::{EncodedEvent, Event};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use super::arguments::{Arguments, Refused, Row};
use carbon_events::Topic;

/// A record of the schemas, as a row of `records.rs` gives it.
pub(crate) struct Record {
    pub(crate) name: &'static str,
    pub(crate) topic: Topic,
    pub(crate) doc: &'static str,
    /// Its own fields, in the schema's order.
    pub(crate) fields: &'static [Field],
    /// Makes an event of keywords' values.
    pub(crate) build: fn(&mut Arguments<'_>) -> Result<EncodedEvent, Refused>,
    /// Makes an event of a table's row.
    pub(crate) build_row: fn(&mut Row<'_, '_>) -> Result<EncodedEvent, Refused>,
}

/// One field of a record.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
    pub(crate) get: Getter,
}

/// Gives a new reference to a field's value, or null with an exception set.
pub(crate) type Getter = fn(Python<'_>, &Event<'_>) -> *mut PyObject;

/// Makes a [`Record`] of a row.
macro_rules! record {
    (
        $constant:ident: $name:ident as $variant:ident on $topic:ident
        $doc:literal
        $($field:ident: $python:literal $kind:ident $(($default:expr))? $field_doc:literal)*
    ) => {
        static $constant: Record = Record {
            name: stringify!($name),
            topic: carbon_events::Topic::$topic,
            doc: $doc,
            fields: &[$(
                $crate::events::spec::Field {
                    name: $python,
                    required: $crate::events::spec::record!(@required $kind),
                    doc: $field_doc,
                    get: |py, event| match event {
                        core::Event::$variant(event) => {
                            $crate::events::to_python::ToPython::to_python(&event.$field, py)
                        }
                        _ => $crate::events::object::not_this_record(py),
                    },
                },
            )*],
            build: |arguments| $name(arguments),
            build_row: |row| $name(row),
        };

        #[expect(non_snake_case, reason = "named as the record it makes")]
        fn $name<'p, S: $crate::events::arguments::Source<'p>>(
            source: &mut S,
        ) -> Result<core::EncodedEvent, $crate::events::arguments::Refused> {
            let event = core::$name {
                envelope: source.envelope(stringify!($name))?,
                $($field: $crate::events::spec::record!(@take source $kind $(($default))?),)*
            };
            Ok(core::EncodedEvent::new(&event)?)
        }
    };
    (@required required) => { true };
    (@required or) => { false };
    (@take $source:ident required) => { $source.required()? };
    (@take $source:ident or($default:expr)) => { $source.or(|| $default)? };
}
pub(crate) use record;

//! The description of a record: its fields, how to read one, and how to build an event.

use carbon_events::EventProducer;
use carbon_events::events::{EncodedEvent, Event};
use carbon_events::producer::Admission;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use super::arguments::{Arguments, Refused, Row};
use carbon_events::Topic;

/// A record of the schemas: a row of `records.rs`.
pub(crate) struct Record {
    pub(crate) name: &'static str,
    pub(crate) topic: Topic,
    pub(crate) doc: &'static str,
    /// Its own fields, in the schema's order.
    pub(crate) fields: &'static [Field],
    /// Encodes an event from the values of keywords.
    pub(crate) build: fn(&mut Arguments<'_>) -> Result<EncodedEvent, Refused>,
    /// Sends an event from the values of keywords, without creating an object.
    pub(crate) send: fn(&mut Arguments<'_>, &EventProducer) -> Result<Admission, Refused>,
    /// Sends an event from the row of a table.
    pub(crate) send_row: fn(&mut Row<'_, '_>, &EventProducer) -> Result<Admission, Refused>,
}

/// One field of a record.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
    pub(crate) get: Getter,
}

/// Returns a new reference to a field's value, or null with an exception set.
pub(crate) type Getter = fn(Python<'_>, &Event<'_>) -> *mut PyObject;

/// Declares a [`Record`] from a row.
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
            build: |arguments| Ok(core::EncodedEvent::new(&$name(arguments)?)?),
            send: |arguments, producer| Ok(producer.event(&$name(arguments)?).submit()?),
            send_row: |row, producer| Ok(producer.event(&$name(row)?).submit()?),
        };

        #[expect(non_snake_case, reason = "named as the record it makes")]
        fn $name<'p, S: $crate::events::arguments::Source<'p>>(
            source: &mut S,
        ) -> Result<core::$name<'p>, $crate::events::arguments::Refused> {
            Ok(core::$name {
                envelope: source.envelope(stringify!($name))?,
                $($field: $crate::events::spec::record!(@take source $kind $(($default))?),)*
            })
        }
    };
    (@required required) => { true };
    (@required or) => { false };
    (@take $source:ident required) => { $source.required()? };
    (@take $source:ident or($default:expr)) => { $source.or(|| $default)? };
}
pub(crate) use record;

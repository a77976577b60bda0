//! What every event can do, and the code that is the same for all of them.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::envelope::Envelope;
use super::event::Event;
use super::topic::Topic;
use crate::error::{Error, ErrorKind, Result};

/// One of the events that `schemas/` describes. Only this crate implements it.
///
/// An event borrows its text if it can: a built event from its caller, a decoded one from the input.
/// [`into_owned`](TypedEvent::into_owned) copies what it borrows.
///
/// `Debug` and `Serialize` show each field by its name in JSON, and sensitive ones as they are
/// written: hashed, masked or not at all.
pub trait TypedEvent:
    Fields + Clone + PartialEq + fmt::Debug + Serialize + Send + Sync + Sized
{
    /// The record's name, such as `AuditAPICallEvent`.
    const NAME: &'static str;
    /// Its topic.
    const TOPIC: Topic;
    /// Its schema, as Avro's JSON.
    const SCHEMA_JSON: &'static str;
    /// The schema's CRC-64-AVRO fingerprint, which precedes a body written without a registry.
    const FINGERPRINT: u64;

    /// The same event with text of another lifetime.
    type Of<'b>: TypedEvent<Of<'static> = Self::Of<'static>> + Into<Event<'b>>;

    /// The seven fields that all events have.
    fn envelope(&self) -> &Envelope<'_>;

    /// Checks what the types cannot: that the key's fields are not empty, that the id is a UUID,
    /// and that numbers are within their limits. `default_source` replaces an empty `source`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEvent`], naming `event` and `field`.
    fn validate(&self, default_source: &str) -> Result<()>;

    /// Appends the record's key, made from the event's fields as the topic table states.
    fn write_key(&self, default_source: &str, out: &mut Vec<u8>);

    /// At least as many bytes as [`encode`](TypedEvent::encode) appends, without `default_source`.
    fn max_encoded_len(&self) -> usize;

    /// Appends the event's Avro body. `default_source` replaces an empty `source`; sensitive fields
    /// are hashed, masked or dropped as the schema states.
    fn encode(&self, default_source: &str, out: &mut Vec<u8>);

    /// Reads an Avro body that was written with this very schema, borrowing from it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undecodable`] if the bytes are not such an event or more bytes follow it.
    fn decode(body: &[u8]) -> Result<Self::Of<'_>>;

    /// The same event without what it borrows.
    fn into_owned(self) -> Self::Of<'static>;

    /// The event with each value as a caller gave it: text that looks like a hash is not taken for
    /// one, and is hashed when the event is encoded.
    #[doc(hidden)]
    fn into_given(self) -> Self {
        self
    }

    /// Whether it holds a sensitive value in clear.
    #[doc(hidden)]
    fn holds_secret(&self) -> bool {
        false
    }

    /// Appends the event as the flat JSON object that producers wrote before Avro;
    /// `default_source` and sensitive fields as in [`encode`](TypedEvent::encode).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`]; no event is known to cause it.
    fn write_json(&self, default_source: &str, out: &mut Vec<u8>) -> Result<()> {
        let object = Object {
            fields: self,
            default_source,
        };
        serde_json::to_writer(out, &object).map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                format!("{} cannot be written as JSON", Self::NAME),
            )
            .because(error)
        })
    }
}

/// Something with named fields: an event, or a record within one.
pub trait Fields {
    /// Shows every field to `visitor` by its name in JSON, sensitive ones as they are written.
    fn visit<V: Visitor>(&self, default_source: &str, visitor: &mut V) -> Result<(), V::Error>;
}

/// Is shown fields one after the other.
pub trait Visitor {
    /// What can go wrong.
    type Error;

    /// Takes one field.
    fn field<T>(&mut self, name: &'static str, value: &T) -> Result<(), Self::Error>
    where
        T: Serialize + fmt::Debug + ?Sized;
}

/// Implements `Debug` and `Serialize` by the fields that [`Fields`] shows.
macro_rules! show_by_fields {
    ($name:ident) => {
        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::events::record::debug(stringify!($name), self, f)
            }
        }

        impl serde::Serialize for $name<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::events::record::serialize(self, serializer)
            }
        }
    };
}

pub(super) use show_by_fields;

pub(super) fn debug(
    name: &'static str,
    fields: &impl Fields,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut debug = f.debug_struct(name);
    fields.visit("", &mut debug)?;
    debug.finish()
}

pub(super) fn serialize<S: Serializer>(
    fields: &impl Fields,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Object {
        fields,
        default_source: "",
    }
    .serialize(serializer)
}

/// A JSON object of fields.
struct Object<'a, F> {
    fields: &'a F,
    default_source: &'a str,
}

impl<F: Fields> Serialize for Object<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = Entries(serializer.serialize_map(None)?);
        self.fields.visit(self.default_source, &mut entries)?;
        entries.0.end()
    }
}

struct Entries<M>(M);

impl<M: SerializeMap> Visitor for Entries<M> {
    type Error = M::Error;

    fn field<T>(&mut self, name: &'static str, value: &T) -> Result<(), M::Error>
    where
        T: Serialize + fmt::Debug + ?Sized,
    {
        self.0.serialize_entry(name, value)
    }
}

impl Visitor for fmt::DebugStruct<'_, '_> {
    type Error = fmt::Error;

    fn field<T>(&mut self, name: &'static str, value: &T) -> fmt::Result
    where
        T: Serialize + fmt::Debug + ?Sized,
    {
        // `DebugStruct` wants a sized value behind its `dyn`.
        fmt::DebugStruct::field(self, name, &value);
        Ok(())
    }
}

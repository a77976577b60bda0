//! Which writers' schemas fetched records name, and which of them the registry's client has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::codec::frame::{Frame, SCHEMA_ID_HEADER};
use crate::codec::{NoSchemas, Schema, SchemaSource, WireFormat, frame};
use crate::kafka::{Message, Messages};
use crate::registry::{SchemaKey, SchemaRegistry};
use crate::{Error, ErrorKind, Result};

/// Writers' schemas that the registry, where there is one, has returned already.
#[derive(Clone)]
pub(super) struct Schemas(Option<SchemaRegistry>);

/// The schemas that decoding a batch refers to.
#[derive(Default)]
pub(super) struct Named {
    /// Schemas that the registry was not asked for yet.
    pub(super) unknown: Vec<WireFormat>,
    /// Whether some records name their schema in a header.
    pub(super) by_header: bool,
}

/// What became of the schemas that a batch's records name.
#[derive(Default)]
pub(super) struct Resolved {
    /// Schemas that do not exist or cannot be read, and why.
    pub(super) refused: HashMap<WireFormat, Error>,
    pub(super) by_header: bool,
}

impl Schemas {
    pub(super) fn new(registry: Option<SchemaRegistry>) -> Self {
        Schemas(registry)
    }

    pub(super) fn registry(&self) -> Option<&SchemaRegistry> {
        self.0.as_ref()
    }

    pub(super) fn is_known(&self, id: u32) -> bool {
        self.0
            .as_ref()
            .is_some_and(|it| it.known_schema(id).is_some())
    }

    /// The schemas that these records name. Looks at every record: neighbours nearly always name the
    /// same one.
    pub(super) fn named_by(&self, messages: &Messages) -> Named {
        let mut named = Named::default();
        let Some(registry) = &self.0 else {
            return named;
        };
        let (mut known, mut seen) = (Vec::new(), HashSet::new());
        for (index, message) in messages.iter().enumerate() {
            messages.prefetch_from(index);
            let Some(value) = message.value() else {
                continue;
            };
            let id = match frame::split(value) {
                Ok(Frame {
                    format: WireFormat::Confluent { id },
                    ..
                }) => Some(id),
                Ok(_) => continue,
                Err(_) => None,
            };
            if id.is_some_and(|id| known.contains(&id)) {
                continue;
            }
            if let Some(id) = id
                && self.is_known(id)
            {
                known.push(id);
                continue;
            }
            let by_header = named_in_header(&message, value);
            named.by_header |= by_header.is_some();
            let format = match (by_header, id) {
                (Some(Ok(frame)), _) => frame.format,
                (None, Some(id)) => WireFormat::Confluent { id },
                (Some(Err(_)), _) | (None, None) => continue,
            };
            let is_known = match format {
                WireFormat::Confluent { id } => self.is_known(id),
                WireFormat::Guid { guid } => registry.known(SchemaKey::Guid(guid)).is_some(),
                WireFormat::SingleObject { .. } | WireFormat::Json => true,
            };
            if !is_known && seen.insert(format) {
                named.unknown.push(format);
            }
        }
        named
    }

    fn known(registry: &SchemaRegistry, key: SchemaKey) -> Result<Arc<Schema>> {
        let schema = registry.known(key).ok_or_else(|| {
            let message = "the writer's schema was not fetched before its records were returned";
            key.named(Error::new(ErrorKind::Internal, message))
        });
        schema?.parsed()
    }
}

impl SchemaSource for Schemas {
    fn by_id(&self, id: u32) -> Result<Arc<Schema>> {
        match &self.0 {
            Some(registry) => Self::known(registry, SchemaKey::Id(id)),
            None => NoSchemas.by_id(id),
        }
    }

    fn by_guid(&self, guid: u128) -> Result<Arc<Schema>> {
        match &self.0 {
            Some(registry) => Self::known(registry, SchemaKey::Guid(guid)),
            None => NoSchemas.by_guid(guid),
        }
    }

    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>> {
        NoSchemas.by_fingerprint(fingerprint)
    }
}

/// The schema named in the record's header, if it has that header. Of several headers, the last.
pub(super) fn named_in_header<'m>(
    message: &Message<'m>,
    value: &'m [u8],
) -> Option<Result<Frame<'m>>> {
    let headers = (0..).map_while(|index| message.header(index));
    let (_, schema) = headers
        .filter(|(name, _)| *name == SCHEMA_ID_HEADER.as_bytes())
        .last()?;
    Some(frame::split_by_header(schema?, value))
}

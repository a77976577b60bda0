//! The registry as the decoder's source of writer schemas.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Inner, RegisteredSchema, SchemaKey, SchemaRegistry, answer, subject_name};
use crate::codec::{Plan, Schema, SchemaSource};
use crate::events::Topic;
use crate::registry::http::Call;
use crate::{Error, ErrorKind, Result, background};

/// How many versions of a subject are searched for a fingerprint, newest first.
const MAX_VERSIONS: usize = 100;

/// Schemas of the platform's topics by fingerprint, and when they were fetched.
pub(super) struct Catalogue {
    gathered: Instant,
    schemas: HashMap<u64, Found>,
}

/// The schema of a fingerprint: `None` if several differ in logical types, which fingerprints ignore.
type Found = Option<Arc<Schema>>;

/// All methods block the calling thread unless the schema is cached.
impl SchemaSource for SchemaRegistry {
    fn by_id(&self, id: u32) -> Result<Arc<Schema>> {
        self.schema_blocking(id)?.parsed()
    }

    fn by_guid(&self, guid: u128) -> Result<Arc<Schema>> {
        let key = SchemaKey::Guid(guid);
        let schema = match self.known(key) {
            Some(schema) => schema,
            None => background::block_on(self.start_schema(key))??,
        };
        schema.parsed()
    }

    /// Searches the versions of the platform's subjects: a registry has no lookup by fingerprint. An
    /// unknown fingerprint starts a new search after `RegistrySettings::failure_ttl`.
    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>> {
        let gathered = self.0.catalogue.get();
        if let Some(found) = gathered
            .as_ref()
            .and_then(|known| known.schemas.get(&fingerprint))
        {
            return found.clone().ok_or_else(|| ambiguous(fingerprint));
        }
        if gathered.is_some_and(|known| known.gathered.elapsed() >= self.0.settings.failure_ttl) {
            self.0.catalogue.clear();
        }
        let inner = self.0.clone();
        let gather = || async move { inner.gather_catalogue().await.map(Arc::new) };
        let gathered = self
            .0
            .catalogue
            .get_or_fetch(self.0.settings.failure_ttl, gather);
        let gathered = background::block_on(gathered)??;
        match gathered.schemas.get(&fingerprint) {
            Some(Some(schema)) => Ok(schema.clone()),
            Some(None) => Err(ambiguous(fingerprint)),
            None => {
                let message = format!(
                    "is written with a schema of fingerprint {fingerprint:016x}, which neither this library nor \
                     the schema registry has"
                );
                Err(Error::new(ErrorKind::Undecodable, message))
            }
        }
    }
}

fn ambiguous(fingerprint: u64) -> Error {
    let message = format!(
        "is written with a schema of fingerprint {fingerprint:016x}, which the schema registry has \
         with timestamps in different units: write it with a schema id instead"
    );
    Error::new(ErrorKind::Undecodable, message)
}

/// Adds a schema to those of its fingerprint.
fn add(schemas: &mut HashMap<u64, Found>, schema: Arc<Schema>) {
    let found = schemas
        .entry(schema.fingerprint())
        .or_insert_with(|| Some(schema.clone()));
    let alike = found
        .as_ref()
        .is_some_and(|other| Plan::new(&schema, other).is_ok_and(|plan| plan.changes_nothing()));
    if !alike {
        *found = None;
    }
}

impl Inner {
    async fn gather_catalogue(&self) -> Result<Catalogue> {
        let mut schemas = HashMap::new();
        for topic in Topic::ALL {
            let subject = subject_name(topic.name());
            let call = Call::get(&["subjects", &subject, "versions"]).about_subject(&subject);
            let versions: Vec<u32> = match self.http.call(&call).await {
                Ok(versions) => versions,
                Err(error) if answer::is_not_found(&error) => continue,
                Err(error) => return Err(error),
            };
            for version in versions.into_iter().rev().take(MAX_VERSIONS) {
                let number = version.to_string();
                let path = ["subjects", subject.as_str(), "versions", number.as_str()];
                let call = Call::get(&path).about_subject(&subject);
                let answer = self.http.call(&call).await?;
                let registered = self.registered(answer, SchemaKey::Id(0)).await;
                // Skip a version that is not Avro.
                match registered.and_then(|registered| registered.parsed()) {
                    Ok(schema) => add(&mut schemas, schema),
                    Err(error) if error.retryable() => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(Catalogue {
            gathered: Instant::now(),
            schemas,
        })
    }
}

impl RegisteredSchema {
    /// The schema as the codec reads it, parsed once.
    pub fn parsed(&self) -> Result<Arc<Schema>> {
        let parse = || {
            let references: Vec<&str> = self.references.iter().map(String::as_str).collect();
            let parsed = Schema::parse_writers(&self.schema, &references);
            parsed
                .map(Arc::new)
                .map_err(|error| error.with("schema_id", self.id))
        };
        self.parsed.get_or_init(parse).clone()
    }
}

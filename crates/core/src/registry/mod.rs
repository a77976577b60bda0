//! The schema registry's client: ids of schemas and schemas of ids, off the hot path.
//!
//! ```text
//! producer --subject()--> SubjectId --get()--> id        an atomic load, no call, no lock
//!                            \ resolve(): once for each subject, on the background thread
//!                             look up --404--> compatible? --> register --> id, cached for ever
//! consumer --schema(id)--> cached for ever | one call for all callers | failure cached for a while
//! ```
//!
//! An outage does not affect a running service's cached schemas. A service that starts during an outage
//! uses the ids of `RegistrySettings::schema_ids`, which are verified in the background once the registry
//! answers.
//!
//! # Why not `schema_registry_converter`
//! Tests compare our frames with it, but its client is unsuitable: its errors hold the HTTP status only
//! in their text and classify timeouts, 500 and 504 wrongly, it tries the next address after a final
//! answer such as 409, and it reads a body of any size. All of that matters during an outage, so
//! `http.rs` makes the calls, with reqwest.
//!
//! # Threads
//! Every call runs on the library's one background thread, so the async methods work on any executor and
//! the `_blocking` ones inside and outside of one. Nothing is started and no file is read before the
//! first call.

mod answer;
mod http;
mod once;
mod source;
mod subject;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::json;

#[cfg(any(test, feature = "testkit"))]
pub(crate) use http::percent_decoded;
use http::{Call, Http};
use once::Once;
use source::Catalogue;
pub use subject::SubjectId;

use crate::codec::Schema;
use crate::codec::frame::guid_text;
use crate::config::RegistrySettings;
use crate::metrics::Metrics;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result, background, fork};

/// How many unknown or failed ids are cached. Ids come from records, so any producer can choose them.
const MAX_FAILED_IDS: usize = 10_000;
/// How many schemas a schema may refer to, directly and indirectly.
const MAX_REFERENCES: usize = 64;

/// A client of a Confluent-compatible schema registry. Clones share connections and caches.
#[derive(Clone)]
pub struct SchemaRegistry(Arc<Inner>);

struct Inner {
    settings: RegistrySettings,
    http: Http,
    subjects: Mutex<HashMap<(String, String), SubjectId>>,
    schemas: Mutex<HashMap<SchemaKey, Arc<Once<Arc<RegisteredSchema>>>>>,
    catalogue: Arc<Once<Arc<Catalogue>>>,
}

/// How a record identifies its writer's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SchemaKey {
    Id(u32),
    Guid(u128),
}

impl fmt::Display for SchemaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaKey::Id(id) => id.fmt(f),
            SchemaKey::Guid(guid) => f.write_str(&guid_text(*guid)),
        }
    }
}

impl SchemaKey {
    /// Adds it to an error.
    pub(crate) fn named(self, error: Error) -> Error {
        match self {
            SchemaKey::Id(id) => error.with("schema_id", id),
            SchemaKey::Guid(guid) => error.with("schema_guid", guid_text(guid)),
        }
    }
}

/// A schema of the registry.
#[derive(Debug, Clone)]
pub struct RegisteredSchema {
    /// The schema's id; 0 if it was fetched by GUID.
    pub id: u32,
    /// The Avro schema as JSON.
    pub schema: String,
    /// The schemas that it refers to by name, and those that they refer to.
    pub references: Vec<String>,
    parsed: OnceLock<Result<Arc<Schema>>>,
}

/// The newest schema of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SubjectVersion {
    /// The subject, such as `data-quality-value`.
    pub subject: String,
    /// Its number within the subject, from 1.
    pub version: u32,
    /// The schema's id.
    pub id: u32,
    /// The Avro schema as JSON.
    pub schema: String,
}

/// Whether a schema is compatible with a subject's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compatibility {
    /// Whether it is.
    pub compatible: bool,
    /// The registry's messages about differences.
    pub messages: Vec<String>,
}

impl SchemaRegistry {
    /// A client for the registry at `settings.urls`. It connects to nothing, starts nothing and reads no
    /// file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] if an address is invalid or there is none.
    pub fn new(settings: &RegistrySettings) -> Result<Self> {
        Self::with_metrics(settings, Metrics::new())
    }

    /// Like [`Self::new`]; counts its calls in `metrics`.
    pub fn with_metrics(settings: &RegistrySettings, metrics: Metrics) -> Result<Self> {
        Ok(SchemaRegistry(Arc::new(Inner {
            settings: settings.clone(),
            http: Http::new(settings, metrics)?,
            subjects: Mutex::new(HashMap::new()),
            schemas: Mutex::new(HashMap::new()),
            catalogue: Arc::new(Once::new()),
        })))
    }

    /// A handle on the id of `schema` for the values of `topic`. The id is known at once if the
    /// configuration has it, else after [`SubjectId::resolve`].
    pub fn subject(&self, topic: &str, schema: &str) -> SubjectId {
        let _undisturbed = fork::undisturbed();
        let mut subjects = self.0.subjects.lock();
        let key = (subject_name(topic), schema.to_owned());
        subjects
            .entry(key)
            .or_insert_with(|| SubjectId::new(self, topic, schema))
            .clone()
    }

    /// The schema of an id. Cached for ever once it is known.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undecodable`] if the registry does not have it or it is not Avro;
    /// [`ErrorKind::Unavailable`] if the registry is unreachable. Both are cached for
    /// `RegistrySettings::failure_ttl`.
    pub async fn schema(&self, id: u32) -> Result<Arc<RegisteredSchema>> {
        self.start_schema(SchemaKey::Id(id)).await
    }

    /// [`Self::schema`], blocking this thread.
    pub fn schema_blocking(&self, id: u32) -> Result<Arc<RegisteredSchema>> {
        match self.known_schema(id) {
            Some(schema) => Ok(schema),
            None => background::block_on(self.start_schema(SchemaKey::Id(id)))?,
        }
    }

    /// The schema of an id, if it is cached.
    pub fn known_schema(&self, id: u32) -> Option<Arc<RegisteredSchema>> {
        self.known(SchemaKey::Id(id))
    }

    pub(crate) fn known(&self, key: SchemaKey) -> Option<Arc<RegisteredSchema>> {
        let _undisturbed = fork::undisturbed();
        let cell = self.0.schemas.lock().get(&key).cloned();
        cell?.get()
    }

    /// The schema that a record names. It is fetched even if the future is not polled.
    pub(crate) fn start_schema(
        &self,
        key: SchemaKey,
    ) -> impl Future<Output = Result<Arc<RegisteredSchema>>> + Send + 'static {
        let _undisturbed = fork::undisturbed();
        let cell = {
            let mut schemas = self.0.schemas.lock();
            if schemas.len() >= MAX_FAILED_IDS && !schemas.contains_key(&key) {
                schemas.retain(|_, cell| !cell.is_idle());
            }
            schemas
                .entry(key)
                .or_insert_with(|| Arc::new(Once::new()))
                .clone()
        };
        let inner = self.0.clone();
        cell.get_or_fetch(self.0.settings.failure_ttl, || async move {
            inner.fetch_schema(key).await.map(Arc::new)
        })
    }

    /// Whether `schema` is compatible as the next version of the topic's values. Any schema is
    /// compatible with a subject without versions.
    pub async fn check_compatibility(&self, topic: &str, schema: &str) -> Result<Compatibility> {
        let (inner, subject, schema) = (self.0.clone(), subject_name(topic), schema.to_owned());
        background::spawn(async move { inner.check_compatibility(&subject, &schema).await }).await?
    }

    /// [`Self::check_compatibility`], blocking this thread.
    pub fn check_compatibility_blocking(&self, topic: &str, schema: &str) -> Result<Compatibility> {
        let (inner, subject, schema) = (self.0.clone(), subject_name(topic), schema.to_owned());
        background::block_on(async move { inner.check_compatibility(&subject, &schema).await })?
    }

    /// Registers `schema` for the values of `topic`, even if `auto_register` is off, and returns its id.
    /// A schema that the subject already has keeps its id.
    pub async fn register(&self, topic: &str, schema: &str) -> Result<u32> {
        let (inner, subject, schema) = (self.0.clone(), subject_name(topic), schema.to_owned());
        background::spawn(async move { inner.look_up_or_register(&subject, &schema, true).await })
            .await?
    }

    /// [`Self::register`], blocking this thread.
    pub fn register_blocking(&self, topic: &str, schema: &str) -> Result<u32> {
        let (inner, subject, schema) = (self.0.clone(), subject_name(topic), schema.to_owned());
        background::block_on(
            async move { inner.look_up_or_register(&subject, &schema, true).await },
        )?
    }

    /// The newest schema of the topic's values; `None` if there is none.
    pub async fn latest(&self, topic: &str) -> Result<Option<SubjectVersion>> {
        let (inner, subject) = (self.0.clone(), subject_name(topic));
        background::spawn(async move { inner.latest(&subject).await }).await?
    }

    /// [`Self::latest`], blocking this thread.
    pub fn latest_blocking(&self, topic: &str) -> Result<Option<SubjectVersion>> {
        let (inner, subject) = (self.0.clone(), subject_name(topic));
        background::block_on(async move { inner.latest(&subject).await })?
    }

    /// The addresses without credentials, for messages.
    pub fn urls(&self) -> Vec<String> {
        self.0.settings.urls.shown()
    }
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry")
            .field("urls", &self.urls())
            .finish_non_exhaustive()
    }
}

/// The subject of a topic's values (Confluent's TopicNameStrategy).
pub fn subject_name(topic: &str) -> String {
    format!("{topic}-value")
}

/// The answer to registering or looking up a schema.
#[derive(Deserialize)]
struct IdAnswer {
    id: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaAnswer {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: u32,
}

#[derive(Deserialize)]
struct CompatibilityAnswer {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

impl Inner {
    /// The id of a schema. It is looked up first, which needs no write permission and works for old
    /// versions that are no longer compatible.
    async fn look_up_or_register(
        &self,
        subject: &str,
        schema: &str,
        register: bool,
    ) -> Result<u32> {
        let body = json!({ "schema": schema });
        let look_up = Call::post(&["subjects", subject], body.clone()).about_subject(subject);
        match self.http.call::<IdAnswer>(&look_up).await {
            Ok(answer) => return Ok(answer.id),
            Err(error) if !answer::is_not_found(&error) => return Err(error),
            Err(error) if !register => {
                let message = "the schema is not registered and auto_register is off: register it";
                return Err(Error::new(ErrorKind::IncompatibleSchema, message)
                    .with("subject", subject)
                    .with("url", error.get("url").unwrap_or_default())
                    .because(error));
            }
            Err(_) => {}
        }
        if self.settings.check_compatibility {
            let found = self.check_compatibility(subject, schema).await?;
            if !found.compatible {
                // Some registries list no differences.
                let details = found.messages.iter().map(|message| format!(": {message}"));
                let message = format!(
                    "the schema is not compatible with the subject's{}",
                    details.collect::<String>()
                );
                let error = Error::new(ErrorKind::IncompatibleSchema, message);
                return Err(error.with("subject", subject));
            }
        }
        let register = Call::post(&["subjects", subject, "versions"], body).about_subject(subject);
        self.http
            .call::<IdAnswer>(&register)
            .await
            .map(|answer| answer.id)
    }

    async fn check_compatibility(&self, subject: &str, schema: &str) -> Result<Compatibility> {
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let call = Call::post(&path, json!({ "schema": schema })).query(&[("verbose", "true")]);
        match self
            .http
            .call::<CompatibilityAnswer>(&call.about_subject(subject))
            .await
        {
            Ok(answer) => Ok(Compatibility {
                compatible: answer.is_compatible,
                messages: answer.messages,
            }),
            Err(error) if answer::is_not_found(&error) => Ok(Compatibility {
                compatible: true,
                messages: Vec::new(),
            }),
            Err(error) => Err(error),
        }
    }

    async fn latest(&self, subject: &str) -> Result<Option<SubjectVersion>> {
        let call = Call::get(&["subjects", subject, "versions", "latest"]).about_subject(subject);
        match self.http.call(&call).await {
            Ok(version) => Ok(Some(version)),
            Err(error) if answer::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fetch_schema(&self, key: SchemaKey) -> Result<RegisteredSchema> {
        let kind = match key {
            // Registries number schemas with Java's `int`, and answer 404 without a code of their own.
            SchemaKey::Id(id) if i32::try_from(id).is_err() => {
                let message = "no schema registry has an id of this size: the value starts like the \
                               Confluent format by chance";
                return Err(key.named(Error::new(ErrorKind::Undecodable, message)));
            }
            SchemaKey::Id(_) => "ids",
            SchemaKey::Guid(_) => "guids",
        };
        // Records outlive the subject that their schema was registered under.
        let call = Call::get(&["schemas", kind, &key.to_string()]).query(&[("deleted", "true")]);
        let answer = match self.http.call(&call.about_schema(key)).await {
            Err(error) if answer::is_a_page(&error) => {
                return Err(self.without_guids(error, key).await);
            }
            answer => answer?,
        };
        self.registered(answer, key).await
    }

    /// Why a GUID's schema was answered with a 404 page. A registry that answers other calls does not
    /// support GUIDs; else the page may come from a proxy without a registry.
    async fn without_guids(&self, page: Error, key: SchemaKey) -> Error {
        if !matches!(key, SchemaKey::Guid(_)) {
            return page;
        }
        let subjects = Call::get(&["subjects"]).query(&[("limit", "1")]);
        let answers = match self
            .http
            .call::<Vec<serde::de::IgnoredAny>>(&subjects)
            .await
        {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::Authorization,
        };
        if !answers {
            return page;
        }
        let message = "the record names its schema by a GUID in the header __value_schema_id, but \
                       the schema registry does not support GUIDs: it has no /schemas/guids";
        let error = Error::new(ErrorKind::Undecodable, message).with("status", 404);
        key.named(error.with("url", page.get("url").unwrap_or_default()))
    }

    async fn registered(&self, answer: SchemaAnswer, key: SchemaKey) -> Result<RegisteredSchema> {
        if let Some(other) = answer
            .schema_type
            .filter(|kind| !kind.eq_ignore_ascii_case("AVRO"))
        {
            let message = format!("the record's schema is {other}, not Avro");
            return Err(key.named(Error::new(ErrorKind::Undecodable, message)));
        }
        Ok(RegisteredSchema {
            id: match key {
                SchemaKey::Id(id) => id,
                SchemaKey::Guid(_) => 0,
            },
            references: self.fetch_references(answer.references, key).await?,
            schema: answer.schema,
            parsed: OnceLock::new(),
        })
    }

    /// The schemas that a schema refers to, directly (first, in its order) and indirectly, each once.
    async fn fetch_references(
        &self,
        references: Vec<Reference>,
        key: SchemaKey,
    ) -> Result<Vec<String>> {
        let mut open = VecDeque::from(references);
        let mut seen: Vec<(String, u32)> = Vec::new();
        let mut schemas = Vec::new();
        while let Some(Reference { subject, version }) = open.pop_front() {
            if seen.contains(&(subject.clone(), version)) {
                continue;
            }
            if seen.len() == MAX_REFERENCES {
                let message = format!("the schema refers to more than {MAX_REFERENCES} others");
                return Err(key.named(Error::new(ErrorKind::Undecodable, message)));
            }
            let number = version.to_string();
            let call = Call::get(&["subjects", &subject, "versions", &number]).about_schema(key);
            let answer: SchemaAnswer = self
                .http
                .call(&call.about_subject(&subject).query(&[("deleted", "true")]))
                .await?;
            seen.push((subject, version));
            schemas.push(answer.schema);
            open.extend(answer.references);
        }
        Ok(schemas)
    }
}

#[cfg(test)]
mod tests;

//! A schema registry in this process that answers like Confluent's and fails on demand.
//!
//! ```text
//! test --> MockRegistry: down(), fail_next(), register(), calls()
//!               |  shared state
//! client --HTTP--> server thread --> fault? --> subjects and schemas in memory
//! ```

mod api;
mod server;
mod store;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::config::RegistrySettings;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

use server::Server;
use store::Store;

/// A schema registry in this process.
///
/// It speaks the part of Confluent's REST API that producers and consumers use: registering and
/// looking up schemas, ids, subjects, versions, compatibility (checked with Avro's own rules) and its
/// configuration. Compatibility is `BACKWARD` as in Confluent's until set otherwise.
///
/// ```
/// # fn main() -> carbon_events::Result<()> {
/// use carbon_events::testkit::{MockRegistry, RegistryFault};
///
/// let registry = MockRegistry::start()?;
/// let id = registry.register("greetings-value", r#""string""#)?;
/// registry.fail_next(2, RegistryFault::Status(503));
/// let client = carbon_events::registry::SchemaRegistry::new(&registry.settings())?;
/// assert_eq!(client.schema_blocking(id)?.schema, r#""string""#);
/// assert_eq!(registry.calls().schemas, 3, "two refusals and an answer");
/// # Ok(())
/// # }
/// ```
pub struct MockRegistry {
    state: Arc<Mutex<State>>,
    server: Server,
}

/// How a [`MockRegistry`] fails a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryFault {
    /// It answers after this time.
    Slow(Duration),
    /// It answers with this HTTP status and its own error.
    Status(u16),
    /// It answers every request with 200 and this body.
    Body(String),
    /// It closes the connection without an answer.
    Disconnect,
}

/// The calls of a [`MockRegistry`], including those failed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RegistryCalls {
    /// Any call.
    pub total: u64,
    /// Schemas registered: `POST /subjects/{subject}/versions`.
    pub registers: u64,
    /// Schemas looked up: `POST /subjects/{subject}`.
    pub look_ups: u64,
    /// Schemas fetched by id: `GET /schemas/ids/{id}`.
    pub schemas: u64,
    /// Compatibility checks.
    pub compatibility_checks: u64,
}

#[derive(Default)]
struct State {
    store: Store,
    calls: RegistryCalls,
    /// Faults of the next calls, before the standing one.
    next: VecDeque<RegistryFault>,
    standing: Option<RegistryFault>,
    /// The `Authorization` header that every call must have.
    authorization: Option<String>,
}

impl MockRegistry {
    /// Starts an empty registry on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let server = Server::start(state.clone()).map_err(|error| {
            let message = format!("cannot start the mock registry: {error}");
            Error::new(ErrorKind::Internal, message).because(error)
        })?;
        Ok(MockRegistry { state, server })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// Settings for a client in tests: short timeouts, quick retries, no caching of failures.
    pub fn settings(&self) -> RegistrySettings {
        RegistrySettings::new(self.url())
            .timeout(Duration::from_secs(2))
            .backoff(Duration::from_millis(1))
            .failure_ttl(Duration::ZERO)
    }

    /// Closes all connections and refuses new ones. The port stays reserved.
    pub fn down(&self) {
        self.server.listen(false);
    }

    /// Accepts connections again.
    pub fn up(&self) {
        self.server.listen(true);
    }

    /// Fails the next `calls` calls.
    pub fn fail_next(&self, calls: usize, fault: RegistryFault) {
        self.state
            .lock()
            .next
            .extend(std::iter::repeat_n(fault, calls));
    }

    /// Fails every call until [`Self::recover`].
    pub fn fail(&self, fault: RegistryFault) {
        self.state.lock().standing = Some(fault);
    }

    /// Ends every fault.
    pub fn recover(&self) {
        let mut state = self.state.lock();
        state.next.clear();
        state.standing = None;
    }

    /// From now on answers 401 to calls without this user name and password.
    pub fn require_basic(&self, username: &str, password: &str) {
        let login = BASE64_STANDARD.encode(format!("{username}:{password}"));
        self.state.lock().authorization = Some(format!("Basic {login}"));
    }

    /// From now on answers 401 to calls without this token.
    pub fn require_bearer(&self, token: &str) {
        self.state.lock().authorization = Some(format!("Bearer {token}"));
    }

    /// Registers a schema without a call, as if by another service; returns its id.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let registered = self
            .state
            .lock()
            .store
            .register(subject, schema, Vec::new());
        registered.map_err(|refusal| {
            Error::new(ErrorKind::IncompatibleSchema, refusal.message).with("subject", subject)
        })
    }

    /// The GUID of a schema, by its id.
    pub fn guid(&self, id: u32) -> Option<String> {
        let state = self.state.lock();
        let stored = state.store.by_id(id).ok()?;
        Some(stored.guid())
    }

    /// Sets the compatibility of a subject: `NONE`, `BACKWARD`, `FORWARD`, `FULL`, or one of the last
    /// three with `_TRANSITIVE`.
    pub fn set_compatibility(&self, subject: &str, level: &str) -> Result<()> {
        let set = self.state.lock().store.set_level(Some(subject), level);
        set.map_err(|refusal| Error::new(ErrorKind::InvalidConfig, refusal.message))
    }

    /// The schemas of a subject, oldest first.
    pub fn versions(&self, subject: &str) -> Vec<String> {
        self.state
            .lock()
            .store
            .versions(subject)
            .map(|version| version.schema.clone())
            .collect()
    }

    /// The calls since it was started.
    pub fn calls(&self) -> RegistryCalls {
        self.state.lock().calls
    }
}

impl std::fmt::Debug for MockRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MockRegistry")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

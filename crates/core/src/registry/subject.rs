//! The id of one schema for the values of one topic.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use super::once::Once;
use super::{Inner, SchemaKey, SchemaRegistry, subject_name};
use crate::codec::{Plan, Schema};
use crate::{Error, ErrorKind, Result, background};

/// No 32-bit id.
const UNKNOWN: u64 = u64::MAX;
/// The longest wait of the check of a configured id before it retries an unreachable registry.
const MAX_CHECK_WAIT: Duration = Duration::from_secs(30);

/// The id of one schema for the values of one topic: an atomic load if it is known. Clones share it.
#[derive(Clone)]
pub struct SubjectId(Arc<Shared>);

struct Shared {
    /// The registry, which caches every subject: hence weak.
    registry: Weak<Inner>,
    subject: String,
    schema: String,
    id: AtomicU64,
    fetched: Arc<Once<u32>>,
    /// Whether the id is from the configuration and its check has not started.
    unchecked: AtomicBool,
}

impl SubjectId {
    pub(super) fn new(registry: &SchemaRegistry, topic: &str, schema: &str) -> Self {
        let given = registry.0.settings.schema_ids.get(topic);
        let shared = Shared {
            registry: Arc::downgrade(&registry.0),
            subject: subject_name(topic),
            schema: schema.to_owned(),
            id: AtomicU64::new(given.map_or(UNKNOWN, u64::from)),
            fetched: Arc::new(Once::new()),
            unchecked: AtomicBool::new(given.is_some()),
        };
        if let Some(id) = given {
            shared.fetched.set(id);
        }
        SubjectId(Arc::new(shared))
    }

    /// The id, if it is known. Never blocks; called for every record.
    pub fn get(&self) -> Option<u32> {
        u32::try_from(self.0.id.load(Relaxed)).ok()
    }

    /// The id. An unknown one is looked up in the registry, and registered if the registry does not have
    /// it and `auto_register` is on.
    ///
    /// An id from the configuration is returned at once and checked in the background: one that belongs
    /// to another schema is replaced by the right one, and an error is logged.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::IncompatibleSchema`] if the registry rejects the schema or `auto_register` is off,
    /// [`ErrorKind::Authentication`] or [`ErrorKind::Authorization`] if it rejects us, and
    /// [`ErrorKind::Unavailable`] if it is unreachable. A failure is cached for
    /// `RegistrySettings::failure_ttl`; until then no call is made.
    pub async fn resolve(&self) -> Result<u32> {
        self.start().await
    }

    /// [`Self::resolve`], blocking this thread.
    pub fn resolve_blocking(&self) -> Result<u32> {
        match self.get() {
            Some(id) if !self.0.unchecked.load(Relaxed) => Ok(id),
            _ => background::block_on(self.start())?,
        }
    }

    /// [`Self::resolve_blocking`] for up to `timeout`; `None` if there is no answer by then. The call
    /// continues.
    pub(crate) fn resolve_within(&self, timeout: Duration) -> Option<Result<u32>> {
        match self.get() {
            Some(id) if !self.0.unchecked.load(Relaxed) => Some(Ok(id)),
            _ => {
                let answer = self.start();
                let within = async move { tokio::time::timeout(timeout, answer).await.ok() };
                background::block_on(within).unwrap_or_else(|error| Some(Err(error)))
            }
        }
    }

    fn start(&self) -> BoxFuture<'static, Result<u32>> {
        let Some(registry) = self.0.registry.upgrade() else {
            let error = Error::new(
                ErrorKind::Closed,
                "the schema registry's client was dropped",
            );
            return std::future::ready(Err(error)).boxed();
        };
        if self.0.unchecked.swap(false, Relaxed) {
            // Dropping the future leaves the work running.
            drop(background::spawn(check_given_id(
                self.0.clone(),
                Arc::downgrade(&registry),
            )));
        }
        let shared = self.0.clone();
        self.0
            .fetched
            .get_or_fetch(registry.settings.failure_ttl, || async move {
                let register = registry.settings.auto_register;
                let found = registry.look_up_or_register(&shared.subject, &shared.schema, register);
                let id = found.await?;
                shared.id.store(id.into(), Relaxed);
                Ok(id)
            })
    }
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectId")
            .field("subject", &self.0.subject)
            .field("id", &self.get())
            .finish_non_exhaustive()
    }
}

/// Checks a configured id, until the registry answers or is dropped. No consumer could read records with
/// a wrong id, so a wrong one is discarded and the right one fetched.
async fn check_given_id(subject: Arc<Shared>, registry: Weak<Inner>) {
    let Some(given) = subject.fetched.get() else {
        return;
    };
    let mut wait = Duration::from_secs(1);
    loop {
        let Some(registry) = registry.upgrade() else {
            return;
        };
        let problem = match stands_for(&registry, given, &subject.schema).await {
            Ok(true) => return,
            Ok(false) => {
                tracing::error!(
                    target: "carbon_events::registry", subject = subject.subject, given,
                    "the configured schema id belongs to another schema; fetching the right one"
                );
                subject.id.store(UNKNOWN, Relaxed);
                subject.fetched.clear();
                // Dropping the future leaves the work running.
                drop(SubjectId(subject).start());
                return;
            }
            Err(problem) => problem,
        };
        drop(registry);
        let again = problem.retryable();
        tracing::warn!(
            target: "carbon_events::registry", subject = subject.subject, given, again, %problem,
            "the configured schema id could not be checked"
        );
        if !again {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_CHECK_WAIT);
    }
}

/// Whether the registry's schema of an id is ours: the same fields in the same order; documentation is
/// ignored.
async fn stands_for(registry: &Inner, id: u32, schema: &str) -> Result<bool> {
    let found = match registry.fetch_schema(SchemaKey::Id(id)).await {
        Ok(found) => found,
        // The id is unknown, or its schema is not Avro.
        Err(error) if error.kind() == ErrorKind::Undecodable => return Ok(false),
        Err(error) => return Err(error),
    };
    let ours = Schema::parse(schema)?;
    let Ok(theirs) = found.parsed() else {
        return Ok(false);
    };
    // A fingerprint ignores logical types: readers of their schema could read our milliseconds as
    // microseconds.
    let reads_alike = Plan::new(&ours, &theirs).is_ok_and(|plan| plan.changes_nothing());
    Ok(theirs.fingerprint() == ours.fingerprint() && reads_alike)
}

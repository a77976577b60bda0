//! Asking the registry for the writers' schemas that fetched records name.
//!
//! ```text
//! fetched ── every schema known ──▶ returned
//!     └── else: pending, with a Lookup ── the background thread asks the registry ──▶ notify ──▶ returned
//!                   └── a failure that can pass: asked again, and once it has lasted the read fails;
//!                       the records stay pending
//! ```
//!
//! Records are returned only with everything that decoding them needs, so that decoding never asks
//! the registry, and so that an outage is never taken for an undecodable record.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;

use super::notify::Notify;
use super::schemas::{Named, Resolved};
use crate::codec::{NoSchemas, SchemaSource, WireFormat};
use crate::deadline::Deadline;
use crate::registry::{SchemaKey, SchemaRegistry};
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result, background};

/// How many schemas are asked for at once: ids come out of records.
const AT_ONCE: usize = 8;
/// The pause before a failed schema is asked for again. The registry's client keeps a failure for
/// `failure_ttl`, so this alone causes no call.
const PAUSE: Duration = Duration::from_millis(200);

/// Schemas that the registry is being asked for.
pub(super) struct Lookup {
    registry: SchemaRegistry,
    named: Named,
    notify: Arc<Notify>,
    patience: Duration,
    asking: Arc<Mutex<Asking>>,
}

#[derive(Default)]
struct Asking {
    /// Once every schema is known or refused.
    refused: Option<HashMap<WireFormat, Error>>,
    /// For the next read.
    failure: Option<Error>,
    /// Whether the asking broke off and has to begin again.
    broke_off: bool,
}

impl Lookup {
    /// Begins to ask `registry`. A failure that can pass is reported after `patience`.
    pub(super) fn start(
        registry: SchemaRegistry,
        named: Named,
        notify: Arc<Notify>,
        patience: Duration,
    ) -> Self {
        let lookup = Lookup {
            registry,
            named,
            notify,
            patience: patience.max(PAUSE),
            asking: Arc::default(),
        };
        lookup.ask();
        lookup
    }

    fn ask(&self) {
        let asker = Asker::new(&self.asking, &self.notify);
        let (registry, formats) = (self.registry.clone(), self.named.unknown.clone());
        // Dropping the future leaves the work running.
        drop(background::spawn(ask(
            registry,
            formats,
            asker,
            self.patience,
        )));
    }

    /// The outcome, once; `None` while the registry is being asked.
    ///
    /// # Errors
    ///
    /// The registry's, where asking has failed for `patience`; asking goes on.
    pub(super) fn poll(&self) -> Result<Option<Resolved>> {
        let mut asking = self.asking.lock();
        if let Some(refused) = asking.refused.take() {
            return Ok(Some(Resolved {
                refused,
                by_header: self.named.by_header,
            }));
        }
        if let Some(failure) = asking.failure.take() {
            return Err(failure);
        }
        let again = std::mem::take(&mut asking.broke_off);
        drop(asking);
        if again {
            self.ask();
        }
        Ok(None)
    }
}

/// Reports to the lookup what asking came to, also where asking panics or cannot begin.
struct Asker {
    asking: Weak<Mutex<Asking>>,
    notify: Arc<Notify>,
    ended: bool,
}

impl Asker {
    fn new(asking: &Arc<Mutex<Asking>>, notify: &Arc<Notify>) -> Self {
        Asker {
            asking: Arc::downgrade(asking),
            notify: Arc::clone(notify),
            ended: false,
        }
    }

    /// Does nothing where the lookup was dropped.
    fn report(&self, report: impl FnOnce(&mut Asking)) {
        if let Some(asking) = self.asking.upgrade() {
            report(&mut asking.lock());
            self.notify.notify();
        }
    }

    fn is_awaited(&self) -> bool {
        self.asking.strong_count() > 0
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.report(|asking| {
            let message = "asking for a writer's schema broke off; the next read asks again";
            asking.failure = Some(Error::new(ErrorKind::Internal, message));
            asking.broke_off = true;
        });
    }
}

/// Asks for schemas until each is known or refused, or until the lookup is dropped.
async fn ask(
    registry: SchemaRegistry,
    formats: Vec<WireFormat>,
    mut asker: Asker,
    patience: Duration,
) {
    let mut report_by = Deadline::after(patience);
    let mut last = Error::new(
        ErrorKind::Unavailable,
        "the schema registry has not answered yet: records are pending for their writer's schema",
    );
    loop {
        let outcome = tokio::time::timeout(report_by.remaining(), ask_once(&registry, &formats));
        let outcome = outcome.await;
        let mut is_due = report_by.has_passed();
        let failed = match outcome {
            Ok(Ok(refused)) => {
                asker.report(|asking| asking.refused = Some(refused));
                break;
            }
            Ok(Err(error)) => {
                // What a user must mend is reported at once, and not all the time.
                is_due |= !error.retryable() && error.kind() != last.kind();
                last = error;
                true
            }
            Err(_) => false,
        };
        if is_due {
            report_by = Deadline::after(patience);
            asker.report(|asking| asking.failure = Some(last.clone()));
        }
        if !asker.is_awaited() {
            break;
        }
        if failed {
            tokio::time::sleep(PAUSE).await;
        }
    }
    asker.ended = true;
}

/// The schemas that do not exist or cannot be read. Fails where that can pass or is a fault of the
/// settings.
async fn ask_once(
    registry: &SchemaRegistry,
    formats: &[WireFormat],
) -> Result<HashMap<WireFormat, Error>> {
    let asked = futures::stream::iter(formats.iter().copied().map(|format| async move {
        let outcome = match format {
            WireFormat::Confluent { id } => fetched(registry, SchemaKey::Id(id)).await,
            WireFormat::Guid { guid } => fetched(registry, SchemaKey::Guid(guid)).await,
            WireFormat::SingleObject { fingerprint } => {
                NoSchemas.by_fingerprint(fingerprint).map(drop)
            }
            WireFormat::Json => Ok(()),
        };
        (format, outcome)
    }));
    let mut asked = asked.buffer_unordered(AT_ONCE);
    let mut refused = HashMap::new();
    while let Some((format, outcome)) = asked.next().await {
        match outcome {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Undecodable | ErrorKind::IncompatibleSchema
                ) =>
            {
                refused.insert(format, error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

async fn fetched(registry: &SchemaRegistry, key: SchemaKey) -> Result<()> {
    let schema = registry.start_schema(key).await?;
    schema.parsed().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::MockRegistry;

    #[test]
    fn asking_that_breaks_off_fails_the_read_and_begins_again() {
        let registry = MockRegistry::start().unwrap();
        let id = registry.register("greetings-value", r#""string""#).unwrap();
        let notify = Arc::new(Notify::default());
        let client = SchemaRegistry::new(&registry.settings()).unwrap();
        let named = Named {
            unknown: vec![WireFormat::Confluent { id }],
            by_header: false,
        };
        registry.down();
        let patience = Duration::from_secs(3600);
        let lookup = Lookup::start(client, named, Arc::clone(&notify), patience);
        // As a panic does, or a background thread that cannot be spawned.
        drop(Asker::new(&lookup.asking, &notify));
        assert_eq!(notify.count(), 1);
        let Err(error) = lookup.poll() else {
            panic!("no error")
        };
        assert_eq!(error.kind(), ErrorKind::Internal);
        registry.up();
        let deadline = Deadline::after(Duration::from_secs(30));
        loop {
            let seen = notify.count();
            if lookup.poll().unwrap().is_some() {
                break;
            }
            assert!(notify.wait(seen, deadline), "not asked again");
        }
    }
}

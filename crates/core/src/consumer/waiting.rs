//! Fetched records whose writers' schemas are not known yet.
//!
//! ```text
//! fetched ── every schema known ──▶ handed out
//!     └── else: Waiting ── the background thread asks the registry ──▶ notify ──▶ handed out
//!                               └── fails with what may pass: asked again, and once it has lasted
//!                                   the read fails; the records stay
//! ```
//!
//! Records are handed out only with everything that decoding them needs, so that decoding never asks
//! the registry, and so that an outage is never taken for a record that cannot be decoded.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::position::TopicPartition;
use super::wake::Wake;
use crate::codec::{NoSchemas, SchemaSource, WireFormat};
use crate::kafka::Messages;
use crate::registry::{SchemaKey, SchemaRegistry};
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result, background};

/// How many schemas are asked for at once: ids come out of records.
const AT_ONCE: usize = 8;
/// The wait before a failed schema is asked for again. The registry's client keeps a failure for
/// `failure_ttl`, so this alone causes no call.
const PAUSE: Duration = Duration::from_millis(200);

/// What the records of a batch need in order to be decoded.
#[derive(Default)]
pub(super) struct Prepared {
    /// Schemas that cannot be had or read, and why.
    pub(super) refused: HashMap<WireFormat, Error>,
    /// Whether some records name their schema in a header.
    pub(super) by_header: bool,
}

/// Records that wait for schemas. They are not handed out: no rebalance waits for them.
pub(super) struct Waiting {
    pub(super) messages: Messages,
    /// Partitions whose end is behind these records.
    pub(super) ends: Vec<TopicPartition>,
    unknown: Unknown,
    wake: Arc<Wake>,
    patience: Duration,
    asking: Arc<Mutex<Asking>>,
}

#[derive(Default)]
struct Asking {
    outcome: Option<HashMap<WireFormat, Error>>,
    /// To be shown to the next reader.
    failure: Option<Error>,
    /// Whether it broke off, and is to begin again.
    broke_off: bool,
}

impl Waiting {
    pub(super) fn new(
        messages: Messages,
        ends: Vec<TopicPartition>,
        unknown: Unknown,
        wake: Arc<Wake>,
        patience: Duration,
    ) -> Self {
        let waiting = Waiting {
            messages,
            ends,
            unknown,
            wake,
            patience: patience.max(PAUSE),
            asking: Arc::default(),
        };
        waiting.ask();
        waiting
    }

    fn ask(&self) {
        let Unknown {
            registry, formats, ..
        } = &self.unknown;
        let asker = Asker::new(&self.asking, &self.wake);
        let work = ask(registry.clone(), formats.clone(), asker, self.patience);
        // Dropping the future leaves the work running.
        drop(background::spawn(work));
    }

    /// What the schemas came to, once: `None` while they are asked for, an error where that has
    /// failed for a while.
    pub(super) fn look(&self) -> Result<Option<Prepared>> {
        let mut asking = self.asking.lock();
        if let Some(refused) = asking.outcome.take() {
            return Ok(Some(Prepared {
                refused,
                by_header: self.unknown.by_header,
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

    /// Drops the records of partitions that were given up or sought in.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        let gone = |topic: &str, partition: i32| {
            let mut gone = partitions.iter();
            gone.any(|one| one.partition == partition && *one.topic == *topic)
        };
        self.messages
            .retain(|message| !gone(message.topic(), message.partition()));
        self.ends.retain(|end| !gone(&end.topic, end.partition));
    }
}

/// Schemas that records name and that the registry has not been asked for.
pub(super) struct Unknown {
    pub(super) registry: SchemaRegistry,
    pub(super) formats: Vec<WireFormat>,
    pub(super) by_header: bool,
}

/// Has the records' readers know what became of asking, also where it panics or cannot begin.
struct Asker {
    asking: Weak<Mutex<Asking>>,
    wake: Arc<Wake>,
    ended: bool,
}

impl Asker {
    fn new(asking: &Arc<Mutex<Asking>>, wake: &Arc<Wake>) -> Self {
        Asker {
            asking: Arc::downgrade(asking),
            wake: Arc::clone(wake),
            ended: false,
        }
    }

    /// Notes what came of it; `false` where nobody waits any more.
    fn tell(&self, tell: impl FnOnce(&mut Asking)) -> bool {
        let Some(asking) = self.asking.upgrade() else {
            return false;
        };
        tell(&mut asking.lock());
        self.wake.wake();
        true
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
        self.tell(|asking| {
            let message = "asking for a writer's schema broke off; the next read begins it again";
            asking.failure = Some(Error::new(ErrorKind::Internal, message));
            asking.broke_off = true;
        });
    }
}

/// Asks for schemas until each is known or refused, or until nobody waits for them any more.
async fn ask(
    registry: SchemaRegistry,
    formats: Vec<WireFormat>,
    mut asker: Asker,
    patience: Duration,
) {
    let mut show_at = Instant::now() + patience;
    let mut last = Error::new(
        ErrorKind::Unavailable,
        "the schema registry has not answered yet: the records wait for their writer's schema",
    );
    loop {
        let left = show_at.saturating_duration_since(Instant::now());
        let outcome = tokio::time::timeout(left, ask_once(&registry, &formats)).await;
        let mut due = Instant::now() >= show_at;
        let failed = match outcome {
            Ok(Ok(refused)) => {
                asker.tell(|asking| asking.outcome = Some(refused));
                break;
            }
            Ok(Err(error)) => {
                // What somebody must mend is shown at once, and not all the time.
                due |= !error.retryable() && error.kind() != last.kind();
                last = error;
                true
            }
            Err(_) => false,
        };
        if due {
            show_at = Instant::now() + patience;
            asker.tell(|asking| asking.failure = Some(last.clone()));
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

/// The schemas that cannot be had or read. Fails where that may pass or is the settings' fault.
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
        let wake = Arc::new(Wake::default());
        let unknown = Unknown {
            registry: SchemaRegistry::new(&registry.settings()).unwrap(),
            formats: vec![WireFormat::Confluent { id }],
            by_header: false,
        };
        registry.down();
        let (nothing, ends) = (Messages::default(), Vec::new());
        let patience = Duration::from_secs(3600);
        let waiting = Waiting::new(nothing, ends, unknown, Arc::clone(&wake), patience);
        // As a panic does, or a background thread that cannot be spawned.
        drop(Asker::new(&waiting.asking, &wake));
        assert_eq!(wake.arrivals(), 1);
        let Err(error) = waiting.look() else {
            panic!("no error")
        };
        assert_eq!(error.kind(), ErrorKind::Internal);
        registry.up();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let seen = wake.arrivals();
            if waiting.look().unwrap().is_some() {
                break;
            }
            assert!(wake.wait(seen, Some(deadline)), "not asked again");
        }
    }
}

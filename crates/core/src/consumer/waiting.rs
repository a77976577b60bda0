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
    pub(super) by_header: bool,
    asking: Arc<Mutex<Asking>>,
}

#[derive(Default)]
struct Asking {
    outcome: Option<HashMap<WireFormat, Error>>,
    /// To be shown to the next reader.
    failure: Option<Error>,
}

impl Waiting {
    pub(super) fn new(
        messages: Messages,
        ends: Vec<TopicPartition>,
        unknown: Unknown,
        wake: Arc<Wake>,
        patience: Duration,
    ) -> Self {
        let asking = Arc::default();
        let Unknown {
            registry,
            formats,
            by_header,
        } = unknown;
        let work = ask(registry, formats, Arc::downgrade(&asking), wake, patience);
        // Dropping the future leaves the work running.
        drop(background::spawn(work));
        Waiting {
            messages,
            ends,
            by_header,
            asking,
        }
    }

    /// What the schemas came to, once: `None` while they are asked for, an error where that has
    /// failed for a while.
    pub(super) fn look(&self) -> Result<Option<Prepared>> {
        let mut asking = self.asking.lock();
        if let Some(refused) = asking.outcome.take() {
            return Ok(Some(Prepared {
                refused,
                by_header: self.by_header,
            }));
        }
        asking.failure.take().map_or(Ok(None), Err)
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

/// Asks for schemas until each is known or refused, or until nobody waits for them any more.
async fn ask(
    registry: SchemaRegistry,
    formats: Vec<WireFormat>,
    asking: Weak<Mutex<Asking>>,
    wake: Arc<Wake>,
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
        let Some(asking) = asking.upgrade() else {
            return;
        };
        let mut due = Instant::now() >= show_at;
        let failed = match outcome {
            Ok(Ok(refused)) => {
                asking.lock().outcome = Some(refused);
                wake.wake();
                return;
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
            asking.lock().failure = Some(last.clone());
            wake.wake();
        }
        drop(asking);
        if failed {
            tokio::time::sleep(PAUSE).await;
        }
    }
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

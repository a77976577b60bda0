//! From a record's bytes to its event, for any number of threads at once.
//!
//! Nearly every record is a body of our own schema behind a header that was met before: comparing
//! one number tells, and the event borrows from the record. For the rest a [`Decoder`] is taken
//! from a pool, and what it rewrites is kept beside the batch, so that events can borrow from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::batch::Record;
use crate::codec::{Decoder, Fill, Leniency, NoSchemas, Schema, SchemaSource, WireFormat, frame};
use crate::config::ConnectionSettings;
use crate::events::{Event, Topic};
use crate::registry::SchemaRegistry;
use crate::sync::Mutex;
use crate::{Error, Result};

/// Marks a known schema id: 0 is an id, too.
const KNOWN: u64 = 1 << 32;

pub(super) struct Decoding {
    registry: Option<SchemaRegistry>,
    /// For each topic the id whose bodies are of our own schema, with [`KNOWN`].
    as_is: [AtomicU64; Topic::ALL.len()],
    idle: Mutex<Vec<Decoder<Schemas>>>,
}

/// Writers' schemas from the registry, where there is one.
struct Schemas(Option<SchemaRegistry>);

impl SchemaSource for Schemas {
    fn by_id(&self, id: u32) -> Result<Arc<Schema>> {
        match &self.0 {
            Some(registry) => registry.by_id(id),
            None => NoSchemas.by_id(id),
        }
    }

    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>> {
        NoSchemas.by_fingerprint(fingerprint)
    }
}

impl Decoding {
    pub(super) fn new(registry: Option<SchemaRegistry>) -> Self {
        Decoding {
            registry,
            as_is: [const { AtomicU64::new(0) }; _],
            idle: Mutex::default(),
        }
    }

    /// The body of a record in the schema of `topic`'s event.
    #[inline]
    pub(super) fn body<'b>(&self, topic: Topic, record: &Record<'b>) -> Result<&'b [u8]> {
        let value = record.value().unwrap_or_default();
        let frame = frame::split(value)?;
        if self.is_ours(topic, frame.format) {
            Ok(frame.body)
        } else {
            self.rewritten(topic, frame.format, value, record)
        }
    }

    /// Whether what is behind this header is known to be of our own schema.
    #[inline]
    fn is_ours(&self, topic: Topic, header: WireFormat) -> bool {
        match header {
            WireFormat::Confluent { id } => {
                self.as_is[topic as usize].load(Ordering::Relaxed) == KNOWN | u64::from(id)
            }
            WireFormat::SingleObject { fingerprint } => fingerprint == topic.spec().fingerprint,
            WireFormat::Json => false,
        }
    }

    /// The event of a record on a topic that is none of ours, and its body.
    #[inline(never)]
    pub(super) fn body_of_any<'b>(&self, record: &Record<'b>) -> Result<(Topic, &'b [u8])> {
        let value = record.value().unwrap_or_default();
        let frame = frame::split(value)?;
        if let Some(topic) = Topic::ALL
            .into_iter()
            .find(|it| self.is_ours(*it, frame.format))
        {
            return Ok((topic, frame.body));
        }
        let topic = self.with_decoder(|decoder| {
            let (id, mut scratch) = (record.own_id(), Vec::new());
            let decoded = decoder.decode_any(value, &fill(record, &id), &mut scratch)?;
            Ok(decoded.event.topic())
        })?;
        Ok((topic, self.body(topic, record)?))
    }

    #[inline(never)]
    fn rewritten<'b>(
        &self,
        topic: Topic,
        format: WireFormat,
        value: &'b [u8],
        record: &Record<'b>,
    ) -> Result<&'b [u8]> {
        if let Some(body) = record.rewritten().get(record, topic) {
            return Ok(body);
        }
        let mut scratch = Vec::new();
        let as_is = self.with_decoder(|decoder| {
            let id = record.own_id();
            let (_, body, leniency) =
                decoder.body(topic, value, &fill(record, &id), &mut scratch)?;
            record.mended(leniency);
            // An event is never empty, so neither is a body that was rewritten.
            let within = value.as_ptr_range().contains(&body.as_ptr());
            Ok(within.then(|| value.len() - body.len()))
        })?;
        match as_is {
            Some(start) => {
                if let WireFormat::Confluent { id } = format {
                    self.as_is[topic as usize].store(KNOWN | u64::from(id), Ordering::Relaxed);
                }
                Ok(&value[start..])
            }
            None => Ok(record.rewritten().keep(record, topic, scratch)),
        }
    }

    fn with_decoder<T>(&self, work: impl FnOnce(&mut Decoder<Schemas>) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().pop();
        let mut decoder = idle.unwrap_or_else(|| Decoder::new(Schemas(self.registry.clone())));
        let outcome = work(&mut decoder);
        self.idle.lock().push(decoder);
        outcome
    }

    /// Fetches the schema of a record's writer if it is not known, so that decoding need not wait
    /// for it on an executor's thread.
    pub(super) async fn prepare(&self, value: Option<&[u8]>) {
        let Some(registry) = &self.registry else {
            return;
        };
        let Ok(frame) = frame::split(value.unwrap_or_default()) else {
            return;
        };
        if let WireFormat::Confluent { id } = frame.format {
            let known = KNOWN | u64::from(id);
            let is_known = self
                .as_is
                .iter()
                .any(|one| one.load(Ordering::Relaxed) == known);
            if !is_known && registry.known_schema(id).is_none() {
                // What it fails with is found again when the record is decoded.
                let _ = registry.schema(id).await;
            }
        }
    }
}

/// What stands for the envelope's fields that JSON leaves out.
fn fill<'a>(record: &Record<'_>, id: &'a str) -> Fill<'a> {
    Fill {
        event_id: id,
        timestamp_ms: record.timestamp_ms().unwrap_or(0),
        source: ConnectionSettings::UNKNOWN_SERVICE,
    }
}

/// The bodies of a batch that had to be rewritten, by record.
#[derive(Default)]
pub(super) struct Rewritten(OnceLock<Box<[OnceLock<Box<Body>>]>>);

/// A body, and the next of the same record where it was read as several events.
struct Body {
    topic: Topic,
    bytes: Vec<u8>,
    next: OnceLock<Box<Body>>,
}

impl Rewritten {
    fn get(&self, record: &Record<'_>, topic: Topic) -> Option<&[u8]> {
        let mut place = self.0.get()?.get(record.index())?;
        loop {
            let body = place.get()?;
            if body.topic == topic {
                return Some(&body.bytes);
            }
            place = &body.next;
        }
    }

    fn keep(&self, record: &Record<'_>, topic: Topic, bytes: Vec<u8>) -> &[u8] {
        let empty = || (0..record.batch_len()).map(|_| OnceLock::new()).collect();
        let Some(mut place) = self.0.get_or_init(empty).get(record.index()) else {
            return &[];
        };
        let mut new = Box::new(Body {
            topic,
            bytes,
            next: OnceLock::new(),
        });
        loop {
            // Another thread may have come first, with this event or with another one.
            match place.set(new) {
                Ok(()) => return place.get().map_or(&[], |body| &body.bytes),
                Err(refused) => new = refused,
            }
            match place.get() {
                Some(body) if body.topic == topic => return &body.bytes,
                Some(body) => place = &body.next,
                None => return &[],
            }
        }
    }
}

/// The event of a body.
pub(super) fn event(topic: Topic, body: &[u8]) -> Result<Event<'_>> {
    Event::decode(topic, body)
}

/// Whether anything was passed over that is worth counting.
pub(super) fn unknown_fields(leniency: Leniency) -> Option<u64> {
    (leniency.unknown_fields > 0).then(|| u64::from(leniency.unknown_fields))
}

/// An error about one record: where it is.
pub(super) fn placed(error: Error, record: &Record<'_>) -> Error {
    error
        .with("topic", record.topic())
        .with("partition", record.partition())
        .with("offset", record.offset())
}

//! From a record's bytes to its event, for any number of threads at once.
//!
//! Nearly every record is a body of our own schema behind a header that was met before: comparing
//! one number tells, and the event borrows from the record. For the rest a [`Decoder`] is taken
//! from a pool, and what it rewrites is kept beside the batch, so that events can borrow from it.
//!
//! Nothing here waits for the registry: a batch is handed out when it has answered for every schema
//! in it ([`waiting`](super::waiting)).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::batch::Record;
use super::waiting::Unknown;
use crate::codec::frame::{Frame, SCHEMA_ID_HEADER};
use crate::codec::{Decoder, Fill, Leniency, NoSchemas, Schema, SchemaSource, WireFormat, frame};
use crate::config::ConnectionSettings;
use crate::events::{Event, Topic};
use crate::kafka::{Message, Messages};
use crate::registry::{SchemaKey, SchemaRegistry};
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// Marks a known schema id: 0 is an id, too.
const KNOWN: u64 = 1 << 32;

pub(super) struct Decoding {
    registry: Option<SchemaRegistry>,
    /// For each topic the id whose bodies are of our own schema, with [`KNOWN`].
    as_is: [AtomicU64; Topic::ALL.len()],
    idle: Mutex<Vec<Decoder<Schemas>>>,
}

/// Writers' schemas that the registry, where there is one, has given already.
struct Schemas(Option<SchemaRegistry>);

impl Schemas {
    fn known(registry: &SchemaRegistry, key: SchemaKey) -> Result<Arc<Schema>> {
        let schema = registry.known(key).ok_or_else(|| {
            let message =
                "the writer's schema was not asked for before its records were handed out";
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
        match frame::split(value) {
            Ok(frame) if self.is_ours(topic, frame.format) => Ok(frame.body),
            split => self.rewritten(topic, self.frame_of(split, record)?, record),
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
            WireFormat::Guid { .. } | WireFormat::Json => false,
        }
    }

    /// The event of a record on a topic that is none of ours, and its body.
    #[inline(never)]
    pub(super) fn body_of_any<'b>(&self, record: &Record<'b>) -> Result<(Topic, &'b [u8])> {
        let frame = self.frame_of(frame::split(record.value().unwrap_or_default()), record)?;
        if let Some(topic) = Topic::ALL
            .into_iter()
            .find(|it| self.is_ours(*it, frame.format))
        {
            return Ok((topic, frame.body));
        }
        record.refusal(frame.format)?;
        let topic = self.with_decoder(|decoder| decoder.topic_of(frame))?;
        Ok((topic, self.rewritten(topic, frame, record)?))
    }

    #[inline(never)]
    fn rewritten<'b>(
        &self,
        topic: Topic,
        frame: Frame<'b>,
        record: &Record<'b>,
    ) -> Result<&'b [u8]> {
        record.refusal(frame.format)?;
        if let Some(body) = record.rewritten().get(record, topic) {
            return Ok(body);
        }
        let mut scratch = Vec::new();
        let as_is = self.with_decoder(|decoder| {
            let id = record.own_id();
            let (_, body, leniency) =
                decoder.framed_body(topic, frame, &fill(record, &id), &mut scratch)?;
            record.mended(leniency);
            // An event is never empty, so neither is a body that was rewritten.
            Ok(frame.body.as_ptr_range().contains(&body.as_ptr()))
        })?;
        match as_is {
            true => {
                if let WireFormat::Confluent { id } = frame.format {
                    self.as_is[topic as usize].store(KNOWN | u64::from(id), Ordering::Relaxed);
                }
                Ok(frame.body)
            }
            false => Ok(record.rewritten().keep(record, topic, scratch)),
        }
    }

    fn with_decoder<T>(&self, work: impl FnOnce(&mut Decoder<Schemas>) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().pop();
        let mut decoder = idle.unwrap_or_else(|| Decoder::new(Schemas(self.registry.clone())));
        let outcome = work(&mut decoder);
        self.idle.lock().push(decoder);
        outcome
    }

    /// The schemas that these records name and that the registry was not asked for yet; `None` where
    /// every one is known. For every record: neighbours nearly always name the same one.
    pub(super) fn unknown(&self, messages: &Messages) -> (Option<Unknown>, bool) {
        let Some(registry) = &self.registry else {
            return (None, false);
        };
        let (mut formats, mut seen, mut by_header) = (Vec::new(), HashSet::new(), false);
        let mut last = None;
        for (index, message) in messages.iter().enumerate() {
            if let Some(later) = messages.get(index + PREFETCH) {
                later.prefetch();
            }
            let split = frame::split(message.value().unwrap_or_default());
            let key = match split {
                Ok(Frame {
                    format: WireFormat::Confluent { id },
                    ..
                }) => {
                    if last == Some(id) {
                        continue;
                    }
                    if self.is_known(registry, id) {
                        last = Some(id);
                        continue;
                    }
                    id
                }
                Ok(_) => continue,
                Err(_) if message.value().is_none() => continue,
                Err(_) => 0,
            };
            let format = match named_in_header(&message) {
                Some(Ok(frame)) => {
                    by_header = true;
                    frame.format
                }
                Some(Err(_)) => {
                    by_header = true;
                    continue;
                }
                None if split.is_ok() => WireFormat::Confluent { id: key },
                None => continue,
            };
            let known = match format {
                WireFormat::Confluent { id } => self.is_known(registry, id),
                WireFormat::Guid { guid } => registry.known(SchemaKey::Guid(guid)).is_some(),
                WireFormat::SingleObject { .. } | WireFormat::Json => true,
            };
            if !known && seen.insert(format) {
                formats.push(format);
            }
        }
        let unknown = (!formats.is_empty()).then(|| Unknown {
            registry: registry.clone(),
            formats,
            by_header,
        });
        (unknown, by_header)
    }

    /// A record's format, with a look at its headers where its first bytes do not tell. As in
    /// [`unknown`](Self::unknown), an id that the registry knows tells.
    fn frame_of<'b>(&self, split: Result<Frame<'b>>, record: &Record<'b>) -> Result<Frame<'b>> {
        let tells = match &split {
            Ok(Frame {
                format: WireFormat::Confluent { id },
                ..
            }) => {
                let registry = self.registry.as_ref();
                !record.by_header() || registry.is_some_and(|it| self.is_known(it, *id))
            }
            Ok(_) => true,
            Err(_) => record.value().is_none(),
        };
        if tells {
            return split;
        }
        match (record.header(SCHEMA_ID_HEADER), record.value()) {
            (Some(header), Some(value)) => frame::split_by_header(header, value),
            _ => split,
        }
    }

    fn is_known(&self, registry: &SchemaRegistry, id: u32) -> bool {
        let known = KNOWN | u64::from(id);
        let mut as_is = self.as_is.iter();
        as_is.any(|one| one.load(Ordering::Relaxed) == known) || registry.known_schema(id).is_some()
    }
}

/// How many records ahead the processor is asked for a record's bytes.
const PREFETCH: usize = 4;

/// What the header says about a record's schema, where there is one.
fn named_in_header<'m>(message: &Message<'m>) -> Option<Result<Frame<'m>>> {
    let mut named = None;
    for (name, header) in (0..).map_while(|index| message.header(index)) {
        if name == SCHEMA_ID_HEADER.as_bytes() {
            named = header;
        }
    }
    Some(frame::split_by_header(named?, message.value()?))
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

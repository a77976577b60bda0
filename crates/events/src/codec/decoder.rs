//! Decodes a record's value in any format to its typed event.
//!
//! ```text
//! value -> frame --+-- written with our schema ------------------------> body in the value ----+
//!                  +-- with another schema --> Plan, kept by id -------> body in the scratch --+--> event
//!                  +-- JSON --> read by the schema --------------------> body in the scratch --+
//! ```
//!
//! A [`Decoder`] belongs to one thread. It finds a known writer's schema without a lock, by
//! comparing one number, and asks its [`SchemaSource`] only for a schema that it does not know yet.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::frame::{self, Frame, WireFormat};
use super::json::{self, Fill, Leniency, Rules};
use super::reader::EventReader;
use super::resolve::Plan;
use crate::avro::Schema;
use crate::events::{Event, Topic, TypedEvent};
use crate::{Error, ErrorKind, Result};

/// Where writers' schemas come from.
///
/// A [`Decoder`] asks for each schema once. After an error it asks again with the next record.
pub trait SchemaSource {
    /// The schema that a registry knows by this id.
    fn by_id(&self, id: u32) -> Result<Arc<Schema>>;

    /// The schema whose fingerprint this is.
    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>>;

    /// The schema that a registry knows by this GUID.
    fn by_guid(&self, guid: u128) -> Result<Arc<Schema>> {
        Err(no_guids(guid))
    }
}

impl<S: SchemaSource + ?Sized> SchemaSource for &S {
    fn by_id(&self, id: u32) -> Result<Arc<Schema>> {
        (**self).by_id(id)
    }

    fn by_guid(&self, guid: u128) -> Result<Arc<Schema>> {
        (**self).by_guid(guid)
    }

    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>> {
        (**self).by_fingerprint(fingerprint)
    }
}

impl<S: SchemaSource + ?Sized> SchemaSource for Arc<S> {
    fn by_id(&self, id: u32) -> Result<Arc<Schema>> {
        (**self).by_id(id)
    }

    fn by_guid(&self, guid: u128) -> Result<Arc<Schema>> {
        (**self).by_guid(guid)
    }

    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>> {
        (**self).by_fingerprint(fingerprint)
    }
}

/// Knows only the schemas of this crate's events: for topics that are written without a registry.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSchemas;

impl SchemaSource for NoSchemas {
    fn by_id(&self, id: u32) -> Result<Arc<Schema>> {
        let message = format!("is written with schema id {id}, and no schema registry is given");
        Err(Error::new(ErrorKind::Undecodable, message).with("schema_id", id))
    }

    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>> {
        let message = format!(
            "is written with a schema of fingerprint {fingerprint:016x}, which is none of ours"
        );
        Err(Error::new(ErrorKind::Undecodable, message))
    }
}

fn no_guids(guid: u128) -> Error {
    let guid = frame::guid_text(guid);
    let message = format!(
        "names its schema by a GUID in the header {}, and no schema registry is given",
        frame::SCHEMA_ID_HEADER
    );
    Error::new(ErrorKind::Undecodable, message).with("schema_guid", guid)
}

/// An event and how it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<E> {
    /// The event.
    pub event: E,
    /// The format it was in, with the schema id or fingerprint.
    pub format: WireFormat,
    /// What the JSON reader skipped and corrected; zero for Avro.
    pub leniency: Leniency,
}

/// Decodes the values of one thread's records.
pub struct Decoder<S> {
    schemas: S,
    /// How each writer of a topic is read, the one last met first.
    routes: [Vec<Route>; Topic::ALL.len()],
    /// The topics of schemas that were met without one.
    topics: Vec<(WireFormat, Topic)>,
}

/// How the bodies behind one header are read.
struct Route {
    header: WireFormat,
    way: Way,
}

enum Way {
    /// They are bodies of our schema, or of one that is written alike.
    AsIs,
    Through(Box<Plan>),
    /// They cannot be read: the writer's schema does not fit.
    Not(Error),
}

impl<S> fmt::Debug for Decoder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.routes.iter().map(Vec::len).sum::<usize>();
        f.debug_struct("Decoder")
            .field("writer_schemas", &known)
            .finish_non_exhaustive()
    }
}

impl<S: SchemaSource> Decoder<S> {
    /// A decoder that asks `schemas` for what it does not know.
    pub fn new(schemas: S) -> Self {
        Decoder {
            schemas,
            routes: [const { Vec::new() }; Topic::ALL.len()],
            topics: Vec::new(),
        }
    }

    /// The event of type `E` that `value` holds.
    ///
    /// It borrows from `value`, or from `scratch` if the body had to be rewritten. `scratch` is
    /// cleared first; keep it for the next record. `fill` has the values that JSON may leave out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undecodable`] if the bytes are not such an event,
    /// [`ErrorKind::IncompatibleSchema`] if no event of that writer can be read, and the errors of
    /// the source of schemas.
    #[inline]
    pub fn decode<'v, E: TypedEvent>(
        &mut self,
        value: &'v [u8],
        fill: &Fill<'_>,
        scratch: &'v mut Vec<u8>,
    ) -> Result<Decoded<E::Of<'v>>> {
        let (format, body, leniency) = self.body(E::TOPIC, value, fill, scratch)?;
        Ok(Decoded {
            event: E::decode(body)?,
            format,
            leniency,
        })
    }

    /// As [`decode`](Decoder::decode), for a topic that is known only at run time.
    #[inline]
    pub fn decode_event<'v>(
        &mut self,
        topic: Topic,
        value: &'v [u8],
        fill: &Fill<'_>,
        scratch: &'v mut Vec<u8>,
    ) -> Result<Decoded<Event<'v>>> {
        let (format, body, leniency) = self.body(topic, value, fill, scratch)?;
        Ok(Decoded {
            event: Event::decode(topic, body)?,
            format,
            leniency,
        })
    }

    /// As [`decode`](Decoder::decode), for a value on a topic outside the topic table, such as dead
    /// letters: the writer's schema names the event, and in JSON `eventType` does.
    pub fn decode_any<'v>(
        &mut self,
        value: &'v [u8],
        fill: &Fill<'_>,
        scratch: &'v mut Vec<u8>,
    ) -> Result<Decoded<Event<'v>>> {
        let topic = self.topic_of(frame::split(value)?)?;
        self.decode_event(topic, value, fill, scratch)
    }

    /// The value's body in our schema.
    #[inline]
    fn body<'v>(
        &mut self,
        topic: Topic,
        value: &'v [u8],
        fill: &Fill<'_>,
        scratch: &'v mut Vec<u8>,
    ) -> Result<(WireFormat, &'v [u8], Leniency)> {
        self.framed_body(topic, frame::split(value)?, fill, scratch)
    }

    /// As [`body`](Self::body), of a value whose format is known.
    #[doc(hidden)]
    #[inline]
    pub fn framed_body<'v>(
        &mut self,
        topic: Topic,
        Frame { format, body }: Frame<'v>,
        fill: &Fill<'_>,
        scratch: &'v mut Vec<u8>,
    ) -> Result<(WireFormat, &'v [u8], Leniency)> {
        let routes = &self.routes[topic as usize];
        // One writer at a time is the rule, so the first route is nearly always the right one.
        if let Some(Route {
            header,
            way: Way::AsIs,
        }) = routes.first()
            && *header == format
        {
            return Ok((format, body, Leniency::default()));
        }
        self.rewrite(topic, Frame { format, body }, fill, scratch)
    }

    #[inline(never)]
    fn rewrite<'v>(
        &mut self,
        topic: Topic,
        frame: Frame<'v>,
        fill: &Fill<'_>,
        scratch: &'v mut Vec<u8>,
    ) -> Result<(WireFormat, &'v [u8], Leniency)> {
        scratch.clear();
        let format = frame.format;
        let leniency = match format {
            WireFormat::Json => from_json(topic, frame.body, fill, scratch)?,
            header => {
                match self.route(topic, header)? {
                    Way::AsIs => return Ok((format, frame.body, Leniency::default())),
                    Way::Through(plan) => plan.transcode(frame.body, scratch)?,
                    Way::Not(error) => return Err(error.clone()),
                }
                Leniency::default()
            }
        };
        Ok((format, scratch, leniency))
    }

    /// How bodies behind this header are read; it becomes the first of the topic's routes.
    fn route(&mut self, topic: Topic, header: WireFormat) -> Result<&Way> {
        let known = self.routes[topic as usize]
            .iter()
            .position(|route| route.header == header);
        let place = match known {
            Some(place) => place,
            None => {
                let way = self.way(topic, header)?;
                let routes = &mut self.routes[topic as usize];
                routes.push(Route { header, way });
                routes.len() - 1
            }
        };
        let routes = &mut self.routes[topic as usize];
        routes.swap(0, place);
        Ok(&routes[0].way)
    }

    fn way(&self, topic: Topic, header: WireFormat) -> Result<Way> {
        let ours = topic.spec().fingerprint;
        if header == (WireFormat::SingleObject { fingerprint: ours }) {
            return Ok(Way::AsIs);
        }
        // Not decided by the fingerprint: a canonical form has no logical types, so it is the same
        // for a timestamp in microseconds.
        let writer = self.schema(header)?;
        Ok(match Plan::new(&writer, &EventReader::of(topic)?.schema) {
            Ok(plan) if plan.changes_nothing() => Way::AsIs,
            Ok(plan) => Way::Through(Box::new(plan)),
            Err(error) => Way::Not(match header {
                WireFormat::Confluent { id } => error.with("schema_id", id),
                WireFormat::Guid { guid } => error.with("schema_guid", frame::guid_text(guid)),
                _ => error,
            }),
        })
    }

    fn schema(&self, header: WireFormat) -> Result<Arc<Schema>> {
        match header {
            WireFormat::Confluent { id } => self.schemas.by_id(id),
            WireFormat::SingleObject { fingerprint } => self.schemas.by_fingerprint(fingerprint),
            WireFormat::Guid { guid } => self.schemas.by_guid(guid),
            WireFormat::Json => Err(Error::new(
                ErrorKind::Internal,
                "JSON has no schema of its own",
            )),
        }
    }

    /// The topic of a value by its writer's schema, or by its `eventType` in JSON.
    #[doc(hidden)]
    pub fn topic_of(&mut self, frame: Frame<'_>) -> Result<Topic> {
        if frame.format == WireFormat::Json {
            return json_topic(frame.body);
        }
        if let Some((_, topic)) = self
            .topics
            .iter()
            .find(|(header, _)| *header == frame.format)
        {
            return Ok(*topic);
        }
        let ours = |topic: &Topic| {
            let fingerprint = topic.spec().fingerprint;
            frame.format == WireFormat::SingleObject { fingerprint }
        };
        let topic = match Topic::ALL.into_iter().find(ours) {
            Some(topic) => topic,
            None => {
                let schema = self.schema(frame.format)?;
                EventReader::topic_of(&schema).ok_or_else(|| {
                    let message = format!("is a {}, which is none of the events", schema.name());
                    Error::new(ErrorKind::Undecodable, message)
                })?
            }
        };
        self.topics.push((frame.format, topic));
        Ok(topic)
    }
}

/// Appends the body of an event in JSON. Hashes, masks or drops its sensitive fields, as the
/// producer does before it writes Avro.
fn from_json(
    topic: Topic,
    value: &[u8],
    fill: &Fill<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Leniency> {
    let reader = EventReader::of(topic)?;
    let leniency = json::read(&reader.shape, value, Rules::Lenient, fill, scratch)?;
    if reader.sensitive {
        let mut treated = Vec::with_capacity(scratch.len());
        Event::decode(topic, scratch)?.encode("", &mut treated);
        *scratch = treated;
    }
    Ok(leniency)
}

/// The topic of a JSON event by its `eventType`.
fn json_topic(value: &[u8]) -> Result<Topic> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "eventType", default)]
        event_type: Cow<'a, str>,
    }
    let topic = |json: &[u8]| {
        let named: Named<'_> = serde_json::from_slice(json).ok()?;
        let mut topics = Topic::ALL.into_iter();
        topics.find(|topic| topic.spec().record == named.event_type)
    };
    let topic = topic(value).or_else(|| topic(&json::relaxed(value)?));
    topic.ok_or_else(|| {
        let message = "is a JSON object whose eventType is none of the events";
        Error::new(ErrorKind::Undecodable, message)
    })
}

/// The event that a JSON object holds, for input that can still be corrected: a line of a file, an
/// object of another language. The event is validated. Its sensitive fields stay as given until it
/// is encoded.
///
/// With [`Rules::Strict`] the errors are those that `schemas/README.md` lists.
///
/// # Errors
///
/// [`ErrorKind::InvalidEvent`] naming the event and, where it is one, the field; with
/// [`Rules::Lenient`] [`ErrorKind::Undecodable`] for JSON that cannot be read at all.
pub fn event_from_json<'v>(
    topic: Topic,
    json: &[u8],
    rules: Rules,
    fill: &Fill<'_>,
    scratch: &'v mut Vec<u8>,
) -> Result<Decoded<Event<'v>>> {
    let mut decoded = event_from_treated_json(topic, json, rules, fill, scratch)?;
    decoded.event = decoded.event.into_given();
    Ok(decoded)
}

/// [`event_from_json`] for JSON whose sensitive fields are hashed and masked already: only the
/// caller can know this.
///
/// # Errors
///
/// As there.
#[doc(hidden)]
pub fn event_from_treated_json<'v>(
    topic: Topic,
    json: &[u8],
    rules: Rules,
    fill: &Fill<'_>,
    scratch: &'v mut Vec<u8>,
) -> Result<Decoded<Event<'v>>> {
    scratch.clear();
    let leniency = json::read(&EventReader::of(topic)?.shape, json, rules, fill, scratch)?;
    let event = Event::decode(topic, scratch)?;
    event.validate(fill.source)?;
    Ok(Decoded {
        event,
        format: WireFormat::Json,
        leniency,
    })
}

#[cfg(test)]
mod tests;

//! The kinds of content that a record may have: a typed event, an event that is encoded or is JSON
//! already, or raw bytes.

use std::borrow::Cow;
use std::sync::Arc;

use super::topic::TopicState;
use super::topic_queues::TopicQueues;
use super::topics::Topics;
use crate::Result;
use crate::events::{EncodedEvent, Event, Topic, TypedEvent};

/// What makes a record's key and value.
pub(super) trait Content {
    /// Checks it, and finds its topic.
    fn prepare<'t>(&self, topics: &'t Topics) -> Result<Cow<'t, Arc<TopicQueues>>>;
    /// Appends the key that it has of its own; `false` for none.
    fn write_key(&self, topics: &Topics, out: &mut Vec<u8>) -> bool;
    /// At least the bytes of the value.
    fn max_len(&self, topics: &Topics) -> usize;
    /// Whether the value is framed as a typed event.
    fn framed(&self) -> bool;
    /// Appends the value, or returns `false` for a null one.
    fn write(&self, topics: &Topics, topic: &TopicState, out: &mut Vec<u8>) -> Result<bool>;
}

/// A typed event.
pub struct TypedContent<'a, E> {
    pub(super) event: &'a E,
}

impl<E: TypedEvent> Content for TypedContent<'_, E> {
    #[inline]
    fn prepare<'t>(&self, topics: &'t Topics) -> Result<Cow<'t, Arc<TopicQueues>>> {
        self.event.validate(topics.source())?;
        Ok(Cow::Borrowed(topics.of_event(E::TOPIC)))
    }

    fn write_key(&self, topics: &Topics, out: &mut Vec<u8>) -> bool {
        self.event.write_key(topics.source(), out);
        true
    }

    fn max_len(&self, topics: &Topics) -> usize {
        max_event_len(topics, self.event.max_encoded_len())
    }

    fn framed(&self) -> bool {
        true
    }

    #[inline]
    fn write(&self, topics: &Topics, topic: &TopicState, out: &mut Vec<u8>) -> Result<bool> {
        if topics.writes_json() {
            self.event.write_json(topics.source(), out)?;
            return Ok(true);
        }
        topic.write_frame(E::FINGERPRINT, out);
        self.event.encode(topics.source(), out);
        Ok(true)
    }
}

/// Any of the events, if its type is known only when it is sent.
pub struct AnyContent<'a> {
    pub(super) event: &'a Event<'a>,
}

impl Content for AnyContent<'_> {
    fn prepare<'t>(&self, topics: &'t Topics) -> Result<Cow<'t, Arc<TopicQueues>>> {
        self.event.validate(topics.source())?;
        Ok(Cow::Borrowed(topics.of_event(self.event.topic())))
    }

    fn write_key(&self, topics: &Topics, out: &mut Vec<u8>) -> bool {
        self.event.write_key(topics.source(), out);
        true
    }

    fn max_len(&self, topics: &Topics) -> usize {
        max_event_len(topics, self.event.max_encoded_len())
    }

    fn framed(&self) -> bool {
        true
    }

    fn write(&self, topics: &Topics, topic: &TopicState, out: &mut Vec<u8>) -> Result<bool> {
        if topics.writes_json() {
            self.event.write_json(topics.source(), out)?;
            return Ok(true);
        }
        topic.write_frame(self.event.topic().spec().fingerprint, out);
        self.event.encode(topics.source(), out);
        Ok(true)
    }
}

/// At least the bytes of a framed event whose Avro body has at most `body`.
fn max_event_len(topics: &Topics, body: usize) -> usize {
    /// Framing, and JSON's field names and escapes over Avro's bytes.
    const FRAME: usize = 10;
    let avro = FRAME + body + topics.source().len();
    if topics.writes_json() {
        1024 + avro * 6
    } else {
        avro
    }
}

/// An event that is JSON already.
pub struct JsonContent<'a> {
    pub(super) topic: Topic,
    pub(super) json: &'a [u8],
    /// Whether the producer writes its other events as JSON too: it counts as one of them.
    pub(super) framed: bool,
}

impl Content for JsonContent<'_> {
    fn prepare<'t>(&self, topics: &'t Topics) -> Result<Cow<'t, Arc<TopicQueues>>> {
        Ok(Cow::Borrowed(topics.of_event(self.topic)))
    }

    fn write_key(&self, _: &Topics, _: &mut Vec<u8>) -> bool {
        false
    }

    fn max_len(&self, _: &Topics) -> usize {
        self.json.len()
    }

    fn framed(&self) -> bool {
        self.framed
    }

    fn write(&self, _: &Topics, _: &TopicState, out: &mut Vec<u8>) -> Result<bool> {
        out.extend_from_slice(self.json);
        Ok(true)
    }
}

/// An event that is encoded already.
pub struct EncodedContent<'a> {
    pub(super) event: &'a EncodedEvent,
}

impl Content for EncodedContent<'_> {
    fn prepare<'t>(&self, topics: &'t Topics) -> Result<Cow<'t, Arc<TopicQueues>>> {
        if self.event.key(topics.source())?.is_empty() {
            // Only an event whose key is its source has none: its own check says so.
            self.event.event()?.validate(topics.source())?;
        }
        Ok(Cow::Borrowed(topics.of_event(self.event.topic())))
    }

    fn write_key(&self, topics: &Topics, out: &mut Vec<u8>) -> bool {
        // `prepare` has seen that there is one.
        match self.event.key(topics.source()) {
            Ok(key) => out.extend_from_slice(&key),
            Err(_) => return false,
        }
        true
    }

    fn max_len(&self, topics: &Topics) -> usize {
        max_event_len(topics, self.event.body().len())
    }

    fn framed(&self) -> bool {
        true
    }

    fn write(&self, topics: &Topics, topic: &TopicState, out: &mut Vec<u8>) -> Result<bool> {
        if topics.writes_json() {
            self.event.event()?.write_json(topics.source(), out)?;
            return Ok(true);
        }
        topic.write_frame(self.event.topic().spec().fingerprint, out);
        self.event.write_body(topics.source(), out);
        Ok(true)
    }
}

/// Raw bytes, or none, for any topic.
pub struct RawContent<'a> {
    pub(super) topic: &'a str,
    pub(super) value: Option<Cow<'a, [u8]>>,
}

impl Content for RawContent<'_> {
    fn prepare<'t>(&self, topics: &'t Topics) -> Result<Cow<'t, Arc<TopicQueues>>> {
        Ok(Cow::Owned(topics.get(self.topic)))
    }

    fn write_key(&self, _: &Topics, _: &mut Vec<u8>) -> bool {
        false
    }

    fn max_len(&self, _: &Topics) -> usize {
        self.value.as_ref().map_or(0, |value| value.len())
    }

    fn framed(&self) -> bool {
        false
    }

    fn write(&self, _: &Topics, _: &TopicState, out: &mut Vec<u8>) -> Result<bool> {
        if let Some(value) = &self.value {
            out.extend_from_slice(value);
        }
        Ok(self.value.is_some())
    }
}

//! An event that is encoded already.

use std::borrow::Cow;
use std::fmt;

use super::check::SOURCE_COMES_LATER;
use super::event::Event;
use super::record::TypedEvent;
use super::topic::Topic;
use crate::avro::{MAX_VARINT_LEN, Reader, append_with};
use crate::error::Result;

/// An event as its key and its Avro body: checked and encoded once, sent by copying the bytes and
/// read by decoding them. The bindings of other languages hold their events so, because it borrows
/// nothing.
///
/// Its sensitive fields are hashed or masked, as on the wire. The producer fills an empty `source`,
/// as in every event.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedEvent {
    topic: Topic,
    /// Length of the key, which precedes the body; `None` if the key must be made from the fields,
    /// because the source may be part of it or because the event was read.
    key_len: Option<u32>,
    /// Where in the body the length of the empty `source` is; 0 if the source is not empty.
    source_at: u32,
    bytes: Box<[u8]>,
}

impl EncodedEvent {
    /// Checks and encodes an event.
    ///
    /// # Errors
    ///
    /// Those of [`TypedEvent::validate`].
    pub fn new<E: TypedEvent>(event: &E) -> Result<Self> {
        event.validate(SOURCE_COMES_LATER)?;
        // The key of an event without a source can depend on the one that it will get.
        let own_key = |out: &mut Vec<u8>| event.write_key("", out);
        Ok(Self::write(
            E::TOPIC,
            event.envelope().source.is_empty(),
            event.max_encoded_len(),
            own_key,
            |out| event.encode("", out),
        ))
    }

    /// As [`new`](Self::new), for an event whose type is known only at run time.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_event(event: &Event<'_>) -> Result<Self> {
        event.validate(SOURCE_COMES_LATER)?;
        Ok(Self::write(
            event.topic(),
            event.envelope().source.is_empty(),
            event.max_encoded_len(),
            |out| event.write_key("", out),
            |out| event.encode("", out),
        ))
    }

    /// Copies a body of `topic`'s schema, and hashes or masks the sensitive fields that its writer
    /// left in clear.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable) if it is not such a body.
    pub fn from_body(topic: Topic, body: &[u8]) -> Result<Self> {
        let event = Event::decode(topic, body)?;
        let mut treated = Vec::new();
        let mut body = body;
        if event.holds_secret() {
            event.encode("", &mut treated);
            body = &treated;
        }
        let source_at = if event.envelope().source.is_empty() {
            source_place(body)
        } else {
            0
        };
        Ok(EncodedEvent {
            topic,
            key_len: None,
            source_at,
            bytes: body.into(),
        })
    }

    fn write(
        topic: Topic,
        without_source: bool,
        bound: usize,
        write_key: impl FnOnce(&mut Vec<u8>),
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        thread_local! {
            static SCRATCH: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        /// An event this large does not leave its memory behind.
        const KEPT: usize = 1 << 20;
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            write_key(scratch);
            // No key is empty, but for one that the source will be.
            let key_len = (!scratch.is_empty()).then_some(scratch.len() as u32);
            let body = scratch.len();
            encode(scratch);
            let source_at = if without_source {
                source_place(&scratch[body..])
            } else {
                0
            };
            let encoded = EncodedEvent {
                topic,
                key_len,
                source_at,
                bytes: scratch.as_slice().into(),
            };
            if bound > KEPT {
                *scratch = Vec::new();
            }
            encoded
        })
    }

    /// Its topic.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// The Avro body, with an empty `source` if the producer must fill it.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.key_len.unwrap_or(0) as usize..]
    }

    /// Whether the producer must fill its `source`.
    pub fn lacks_source(&self) -> bool {
        self.source_at > 0
    }

    /// The event, borrowing from here.
    ///
    /// # Errors
    ///
    /// None is known: the body was checked when this event was encoded or read.
    pub fn event(&self) -> Result<Event<'_>> {
        Event::decode(self.topic, self.body())
    }

    /// The record's key, with `default_source` for an empty source.
    #[doc(hidden)]
    pub fn key(&self, default_source: &str) -> Result<Cow<'_, [u8]>> {
        if let Some(len) = self.key_len {
            return Ok(Cow::Borrowed(&self.bytes[..len as usize]));
        }
        let mut key = Vec::new();
        self.event()?.write_key(default_source, &mut key);
        Ok(Cow::Owned(key))
    }

    /// Appends the body with `default_source` for an empty source.
    #[doc(hidden)]
    pub fn write_body(&self, default_source: &str, out: &mut Vec<u8>) {
        let body = self.body();
        if self.source_at == 0 {
            return out.extend_from_slice(body);
        }
        let (before, after) = body.split_at(self.source_at as usize);
        out.reserve(body.len() + default_source.len() + MAX_VARINT_LEN);
        out.extend_from_slice(before);
        append_with(out, default_source.len() + MAX_VARINT_LEN, |writer| {
            writer.string(default_source);
        });
        // What is left out is the one byte of the empty text's length.
        out.extend_from_slice(&after[1..]);
    }
}

/// Where the length of `source` is: behind `eventId`, `eventType` and `timestamp`.
fn source_place(body: &[u8]) -> u32 {
    let mut reader = Reader::new("", body);
    let skipped = reader
        .bytes("eventId")
        .and_then(|_| reader.bytes("eventType"))
        .and_then(|_| reader.long("timestamp"));
    skipped.map_or(0, |_| reader.offset() as u32)
}

impl fmt::Debug for EncodedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event() {
            Ok(event) => event.fmt(f),
            Err(error) => f.debug_tuple("EncodedEvent").field(&error).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{
        AuditAPICallEvent, SecurityCategory, SecurityEvent, SecurityOutcome, Severity,
    };

    fn call() -> crate::events::AuditAPICallEventBuilder<'static> {
        AuditAPICallEvent::builder()
            .service("billing")
            .endpoint("/")
            .method("GET")
            .status_code(200)
            .latency_ms(1)
            .request_size_bytes(0)
            .response_size_bytes(0)
            .ip_address("192.0.2.1")
    }

    #[test]
    fn an_empty_source_is_filled_as_in_the_event_itself() {
        for event in [
            call().build().unwrap(),
            call().source("own").build().unwrap(),
        ] {
            let encoded = EncodedEvent::new(&event).unwrap();
            let (mut expected, mut written) = (Vec::new(), Vec::new());
            event.encode("a service", &mut expected);
            encoded.write_body("a service", &mut written);
            assert_eq!(written, expected);
            assert_eq!(encoded.key("a service").unwrap().as_ref(), b"billing");
            assert_eq!(encoded.lacks_source(), event.envelope.source.is_empty());
            let read = EncodedEvent::from_body(Topic::AuditApiCalls, encoded.body()).unwrap();
            assert_eq!(read.event().unwrap(), event.clone().into());
            assert_eq!(read.key("a service").unwrap().as_ref(), b"billing");
        }
    }

    #[test]
    fn a_key_that_is_the_source_waits_for_it() {
        let event = SecurityEvent::builder()
            .category(SecurityCategory::Network)
            .severity(Severity::Low)
            .action("scan")
            .outcome(SecurityOutcome::Blocked)
            .description("d")
            .build()
            .unwrap();
        let encoded = EncodedEvent::new(&event).unwrap();
        assert_eq!(encoded.key("firewall").unwrap().as_ref(), b"firewall");
    }
}

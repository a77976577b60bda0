//! A record on its way into the producer: a typed event or raw bytes, with a key, headers and a
//! partition of the caller's where it wants to choose them.

use std::borrow::Cow;
use std::sync::Arc;

use super::EventProducer;
use super::admission::{Admission, Held};
use super::delivery::Delivery;
use super::engine::{Engine, Head};
use super::slab::Header;
use super::tally::Tally;
use super::topic::Topic;
use crate::events::{EncodedEvent, Event, Topic as EventTopic, TypedEvent};
use crate::{Error, ErrorKind, Result};

/// The options that every record has.
#[derive(Default)]
pub(super) struct Options<'a> {
    key: Option<Option<Cow<'a, [u8]>>>,
    partition: Option<i32>,
    headers: Vec<Header>,
}

impl Options<'_> {
    /// Writes the caller's key, or the record's own; `false` for none.
    #[inline]
    fn write_key(&self, content: &impl Content, engine: &Engine, out: &mut Vec<u8>) -> bool {
        out.clear();
        match &self.key {
            Some(Some(key)) => {
                out.extend_from_slice(key);
                true
            }
            Some(None) => false,
            None => content.write_key(engine, out),
        }
    }

    fn headers_len(&self) -> usize {
        self.headers.iter().map(header_len).sum()
    }
}

/// What makes a record's key and value.
pub(super) trait Content {
    /// Checks it, and finds its topic.
    fn prepare<'e>(&self, engine: &'e Engine) -> Result<Cow<'e, Arc<Topic>>>;
    /// Appends the key that it has of its own; `false` for none.
    fn write_key(&self, engine: &Engine, out: &mut Vec<u8>) -> bool;
    /// No fewer bytes than the value has.
    fn max_len(&self, engine: &Engine) -> usize;
    /// Whether the value is framed as a typed event.
    fn framed(&self) -> bool;
    /// Appends the value, or gives `false` for a null one.
    fn write(&self, engine: &Engine, topic: &Topic, out: &mut Vec<u8>) -> Result<bool>;
}

/// A record to be sent, made by [`EventProducer::event`], [`EventProducer::any`],
/// [`EventProducer::raw`] or [`EventProducer::json`].
#[must_use = "a record is sent by one of its send methods"]
pub struct Outgoing<'a, C> {
    producer: &'a EventProducer,
    content: C,
    options: Options<'a>,
}

impl<'a, C> Outgoing<'a, C> {
    pub(super) fn new(producer: &'a EventProducer, content: C) -> Self {
        Outgoing {
            producer,
            content,
            options: Options::default(),
        }
    }

    /// A key instead of the event's own.
    pub fn key(mut self, key: impl Into<Cow<'a, [u8]>>) -> Self {
        self.options.key = Some(Some(key.into()));
        self
    }

    /// No key: the record goes to any partition, and is not ordered with others.
    pub fn no_key(mut self) -> Self {
        self.options.key = Some(None);
        self
    }

    /// A partition instead of the key's.
    pub fn partition(mut self, partition: i32) -> Self {
        self.options.partition = Some(partition);
        self
    }

    /// Adds a header. Names may repeat.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.options.headers.push(Header {
            name: name.into(),
            value: Some(value.into()),
        });
        self
    }

    /// Adds headers, null values among them.
    pub fn headers(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.options.headers.extend(headers);
        self
    }
}

#[expect(
    private_bounds,
    reason = "Content is how the crate's own records are written"
)]
impl<C: Content> Outgoing<'_, C> {
    /// Sends the record. Blocks while the queue is full, up to the block timeout; in async code use
    /// [`send_async`](Self::send_async).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEvent`], [`ErrorKind::RecordTooLarge`], [`ErrorKind::UnknownTopic`] (a
    /// partition that the topic lacks), [`ErrorKind::QueueFull`] and [`ErrorKind::Closed`]: the
    /// record was not accepted. So it is with the error that ended the last session, such as
    /// [`ErrorKind::Authorization`], for up to five seconds where one session after the other ends
    /// without a delivery. What happens later is the [`Delivery`]'s to tell.
    pub fn send(self) -> Result<Delivery> {
        self.submit()?
            .at_once()
            .or_else(|admission| admission.wait())
    }

    /// Sends the record, or fails at once where the queue is full or others are in line.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn try_send(self) -> Result<Delivery> {
        loop {
            let engine = self.producer.engine()?;
            let topic = self.content.prepare(&engine)?;
            if !engine.try_take() {
                return Err(engine.is_full(Some(topic.name()), None));
            }
            if engine.admits(&topic)? {
                return self.accept(&engine, &topic);
            }
        }
    }

    /// Sends the record without waiting: where the queue is full, it is in line when this returns, in
    /// the order of the calls.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but for a full queue, which is the [`Admission`]'s to tell.
    pub fn submit(self) -> Result<Admission> {
        loop {
            let engine = self.producer.engine()?;
            let topic = self.content.prepare(&engine)?;
            if !engine.try_take() {
                return self.join(&engine, &topic);
            }
            if engine.admits(&topic)? {
                return self.accept(&engine, &topic).map(Admission::accepted);
            }
        }
    }

    /// Checks the record as [`send`](Self::send) does, and sends nothing: for records of which all are
    /// to be sent, or none. The partition is checked where the topic's partitions are known.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but for a full queue.
    pub fn check(&self) -> Result<()> {
        let engine = self.producer.engine()?;
        let topic = self.content.prepare(&engine)?;
        super::scratch::with(|scratch| {
            let has_key = self
                .options
                .write_key(&self.content, &engine, &mut scratch.key);
            let own = scratch.key.len() + self.options.headers_len();
            let limit = self.producer.shared.max_record_bytes;
            if own + self.content.max_len(&engine) > limit {
                scratch.value.clear();
                self.content.write(&engine, &topic, &mut scratch.value)?;
                fits(own + scratch.value.len(), limit, &topic)?;
            }
            let key = has_key.then_some(&scratch.key[..]);
            engine.check_partition(&topic, key, self.options.partition)
        })
    }

    /// Sends the record; waits without blocking while the queue is full, up to the block timeout.
    /// A task that is cancelled while it waits here has sent nothing. Any executor will do.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_async(self) -> Result<Delivery> {
        match self.submit()?.at_once() {
            Ok(delivery) => Ok(delivery),
            Err(admission) => admission.await,
        }
    }

    /// Puts the record in line, encoded.
    #[cold]
    fn join(mut self, engine: &Arc<Engine>, topic: &Arc<Topic>) -> Result<Admission> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        if let Some(trace) = &self.producer.shared.trace {
            self.options.headers.extend(trace.headers());
        }
        let has_key = self.options.write_key(&self.content, engine, &mut key);
        let has_value = self.content.write(engine, topic, &mut value)?;
        let len = key.len() + self.options.headers_len() + value.len();
        fits(len, self.producer.shared.max_record_bytes, topic)?;
        let key = has_key.then_some(key);
        engine.check_partition(topic, key.as_deref(), self.options.partition)?;
        let owner = self.producer.owner.as_ref();
        let owner = owner.map(|owner| Arc::clone(&*owner.tally()));
        if let Some(owner) = &owner {
            owner.begin();
        }
        let held = Held {
            topic: Arc::clone(topic.name()),
            key,
            value: has_value.then_some(value),
            partition: self.options.partition,
            headers: self.options.headers,
            framed: self.content.framed(),
            owner,
        };
        let admission = self.producer.join(engine, held);
        match admission.outcome() {
            Some(Err(error)) => Err(error),
            _ => Ok(admission),
        }
    }

    /// Hands the record to the engine, in whose budget its room is taken.
    fn accept(self, engine: &Arc<Engine>, topic: &Arc<Topic>) -> Result<Delivery> {
        let Some(owner) = &self.producer.owner else {
            return self.accept_for(engine, topic, None);
        };
        let tally = owner.tally();
        engine.note_owner();
        tally.begin();
        let accepted = self.accept_for(engine, topic, Some(&tally));
        if accepted.is_err() {
            tally.refused();
            engine.budget.wake_waiting();
        }
        accepted
    }

    fn accept_for(
        self,
        engine: &Arc<Engine>,
        topic: &Arc<Topic>,
        owner: Option<&Arc<Tally>>,
    ) -> Result<Delivery> {
        super::scratch::with(|scratch| {
            let mut options = self.options;
            if let Some(trace) = &self.producer.shared.trace {
                options.headers.extend(trace.headers());
            }
            let has_key = options.write_key(&self.content, engine, &mut scratch.key);
            let limit = self.producer.shared.max_record_bytes;
            let own = scratch.key.len() + options.headers_len();
            let key = has_key.then_some(&scratch.key[..]);
            let head = Head {
                key,
                partition: options.partition,
                headers: options.headers,
                owner,
                framed: self.content.framed(),
                deferred: false,
            };
            if own + self.content.max_len(engine) <= limit {
                return engine.accept(topic, head, |out| self.content.write(engine, topic, out));
            }
            // The bound is above the limit; the value itself may still be below it.
            scratch.value.clear();
            let written = self.content.write(engine, topic, &mut scratch.value);
            let fits = fits(own + scratch.value.len(), limit, topic);
            match written.and_then(|has_value| fits.map(|()| has_value)) {
                Ok(has_value) => engine.accept(topic, head, |out| {
                    out.extend_from_slice(&scratch.value);
                    Ok(has_value)
                }),
                Err(error) => {
                    engine.give_back();
                    Err(error)
                }
            }
        })
    }
}

fn header_len(header: &Header) -> usize {
    header.name.len() + header.value.as_ref().map_or(0, Vec::len)
}

fn fits(len: usize, limit: usize, topic: &Topic) -> Result<()> {
    if len <= limit {
        return Ok(());
    }
    let message = format!(
        "the record has {len} bytes, more than message.max.bytes = {limit}; make it smaller, or \
         raise the property here and the topic's max.message.bytes"
    );
    Err(Error::new(ErrorKind::RecordTooLarge, message).with("topic", topic.name()))
}

/// A typed event.
pub struct TypedContent<'a, E> {
    pub(super) event: &'a E,
}

impl<E: TypedEvent> Content for TypedContent<'_, E> {
    fn prepare<'e>(&self, engine: &'e Engine) -> Result<Cow<'e, Arc<Topic>>> {
        self.event.validate(engine.source())?;
        Ok(Cow::Borrowed(engine.event_topic(E::TOPIC)))
    }

    fn write_key(&self, engine: &Engine, out: &mut Vec<u8>) -> bool {
        self.event.write_key(engine.source(), out);
        true
    }

    fn max_len(&self, engine: &Engine) -> usize {
        max_event_len(engine, self.event.max_encoded_len())
    }

    fn framed(&self) -> bool {
        true
    }

    fn write(&self, engine: &Engine, topic: &Topic, out: &mut Vec<u8>) -> Result<bool> {
        if engine.writes_json() {
            self.event.write_json(engine.source(), out)?;
            return Ok(true);
        }
        topic.write_frame(E::FINGERPRINT, out);
        self.event.encode(engine.source(), out);
        Ok(true)
    }
}

/// Any of the events, for who knows only when it is sent which one it is.
pub struct AnyContent<'a> {
    pub(super) event: &'a Event<'a>,
}

impl Content for AnyContent<'_> {
    fn prepare<'e>(&self, engine: &'e Engine) -> Result<Cow<'e, Arc<Topic>>> {
        self.event.validate(engine.source())?;
        Ok(Cow::Borrowed(engine.event_topic(self.event.topic())))
    }

    fn write_key(&self, engine: &Engine, out: &mut Vec<u8>) -> bool {
        self.event.write_key(engine.source(), out);
        true
    }

    fn max_len(&self, engine: &Engine) -> usize {
        max_event_len(engine, self.event.max_encoded_len())
    }

    fn framed(&self) -> bool {
        true
    }

    fn write(&self, engine: &Engine, topic: &Topic, out: &mut Vec<u8>) -> Result<bool> {
        if engine.writes_json() {
            self.event.write_json(engine.source(), out)?;
            return Ok(true);
        }
        topic.write_frame(self.event.topic().spec().fingerprint, out);
        self.event.encode(engine.source(), out);
        Ok(true)
    }
}

/// No fewer bytes than a framed event has whose Avro body has at most `body`.
fn max_event_len(engine: &Engine, body: usize) -> usize {
    /// Framing, and JSON's field names and escapes over Avro's bytes.
    const FRAME: usize = 10;
    let avro = FRAME + body + engine.source().len();
    if engine.writes_json() {
        1024 + avro * 6
    } else {
        avro
    }
}

/// An event that is JSON already.
pub struct JsonContent<'a> {
    pub(super) topic: EventTopic,
    pub(super) json: &'a [u8],
    /// Whether the producer writes its other events so, too: it counts as one of them.
    pub(super) framed: bool,
}

impl Content for JsonContent<'_> {
    fn prepare<'e>(&self, engine: &'e Engine) -> Result<Cow<'e, Arc<Topic>>> {
        Ok(Cow::Borrowed(engine.event_topic(self.topic)))
    }

    fn write_key(&self, _: &Engine, _: &mut Vec<u8>) -> bool {
        false
    }

    fn max_len(&self, _: &Engine) -> usize {
        self.json.len()
    }

    fn framed(&self) -> bool {
        self.framed
    }

    fn write(&self, _: &Engine, _: &Topic, out: &mut Vec<u8>) -> Result<bool> {
        out.extend_from_slice(self.json);
        Ok(true)
    }
}

/// An event that is encoded already.
pub struct EncodedContent<'a> {
    pub(super) event: &'a EncodedEvent,
}

impl Content for EncodedContent<'_> {
    fn prepare<'e>(&self, engine: &'e Engine) -> Result<Cow<'e, Arc<Topic>>> {
        if self.event.key(engine.source())?.is_empty() {
            // Only an event whose key is its source has none: it says so itself.
            self.event.event()?.validate(engine.source())?;
        }
        Ok(Cow::Borrowed(engine.event_topic(self.event.topic())))
    }

    fn write_key(&self, engine: &Engine, out: &mut Vec<u8>) -> bool {
        // `prepare` has seen that there is one.
        match self.event.key(engine.source()) {
            Ok(key) => out.extend_from_slice(&key),
            Err(_) => return false,
        }
        true
    }

    fn max_len(&self, engine: &Engine) -> usize {
        max_event_len(engine, self.event.body().len())
    }

    fn framed(&self) -> bool {
        true
    }

    fn write(&self, engine: &Engine, topic: &Topic, out: &mut Vec<u8>) -> Result<bool> {
        if engine.writes_json() {
            self.event.event()?.write_json(engine.source(), out)?;
            return Ok(true);
        }
        topic.write_frame(self.event.topic().spec().fingerprint, out);
        self.event.write_body(engine.source(), out);
        Ok(true)
    }
}

/// Raw bytes, or none, for any topic.
pub struct RawContent<'a> {
    pub(super) topic: &'a str,
    pub(super) value: Option<Cow<'a, [u8]>>,
}

impl<'a> Outgoing<'a, RawContent<'a>> {
    /// The value; without one the record is a tombstone.
    pub fn value(mut self, value: impl Into<Cow<'a, [u8]>>) -> Self {
        self.content.value = Some(value.into());
        self
    }
}

impl Content for RawContent<'_> {
    fn prepare<'e>(&self, engine: &'e Engine) -> Result<Cow<'e, Arc<Topic>>> {
        Ok(Cow::Owned(engine.topic(self.topic)))
    }

    fn write_key(&self, _: &Engine, _: &mut Vec<u8>) -> bool {
        false
    }

    fn max_len(&self, _: &Engine) -> usize {
        self.value.as_ref().map_or(0, |value| value.len())
    }

    fn framed(&self) -> bool {
        false
    }

    fn write(&self, _: &Engine, _: &Topic, out: &mut Vec<u8>) -> Result<bool> {
        if let Some(value) = &self.value {
            out.extend_from_slice(value);
        }
        Ok(self.value.is_some())
    }
}

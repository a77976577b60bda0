//! A record to be sent: its content, with a key, headers and a partition of the caller's if wanted.

use std::borrow::Cow;
use std::sync::Arc;

use super::accumulator::NewRecord;
use super::admission::line::WaitingRecord;
use super::content::{Content, RawContent};
use super::delivery::Delivery;
use super::headers::Header;
use super::lifecycle::Lifecycle;
use super::scratch;
use super::session::Session;
use super::submitted::Admission;
use super::tally::{Owner, Tally};
use super::topic::TopicState;
use super::topic_queues::TopicQueues;
use super::topics::Topics;
use crate::{Error, ErrorKind, Result};

/// The options that every record has.
#[derive(Default)]
struct Options<'a> {
    key: Option<Option<Cow<'a, [u8]>>>,
    partition: Option<i32>,
    headers: Vec<Header>,
}

impl Options<'_> {
    /// Writes the caller's key, or the record's own; `false` for none.
    #[inline]
    fn write_key(&self, content: &impl Content, topics: &Topics, out: &mut Vec<u8>) -> bool {
        out.clear();
        match &self.key {
            Some(Some(key)) => {
                out.extend_from_slice(key);
                true
            }
            Some(None) => false,
            None => content.write_key(topics, out),
        }
    }

    fn headers_len(&self) -> usize {
        self.headers.iter().map(Header::len).sum()
    }
}

/// A record to be sent, made by [`EventProducer::event`](super::EventProducer::event),
/// [`any`](super::EventProducer::any), [`raw`](super::EventProducer::raw) or
/// [`json`](super::EventProducer::json).
#[must_use = "a record is sent by one of its send methods"]
pub struct Outgoing<'a, C> {
    producer: &'a Arc<Lifecycle>,
    owner: Option<&'a Arc<Owner>>,
    content: C,
    options: Options<'a>,
}

impl<'a, C> Outgoing<'a, C> {
    #[inline]
    pub(super) fn new(
        producer: &'a Arc<Lifecycle>,
        owner: Option<&'a Arc<Owner>>,
        content: C,
    ) -> Self {
        Outgoing {
            producer,
            owner,
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

impl<'a> Outgoing<'a, RawContent<'a>> {
    /// The value; without one the record is a tombstone.
    pub fn value(mut self, value: impl Into<Cow<'a, [u8]>>) -> Self {
        self.content.value = Some(value.into());
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
    /// record was not accepted. The same holds for the error that ended the last session, such as
    /// [`ErrorKind::Authorization`], for up to five seconds if one session after the other ends
    /// without a delivery. Later failures are the [`Delivery`]'s.
    pub fn send(self) -> Result<Delivery> {
        self.submit()?
            .at_once()
            .or_else(|admission| admission.wait())
    }

    /// Sends the record, or fails at once if the queue is full or others are in line.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn try_send(self) -> Result<Delivery> {
        loop {
            let session = self.producer.session()?;
            let topic = self.content.prepare(session.topics())?;
            if !session.admission().try_take() {
                return Err(session.is_full(Some(topic.topic().name()), None));
            }
            if session.admits(topic.topic())? {
                return self.accept(&session, &topic);
            }
        }
    }

    /// Sends the record without waiting: if the queue is full, the record is in line when this
    /// returns, in the order of the calls.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), except that a full queue is the [`Admission`]'s error.
    pub fn submit(self) -> Result<Admission> {
        loop {
            let session = self.producer.session()?;
            let topic = self.content.prepare(session.topics())?;
            if !session.admission().try_take() {
                return self.join(&session, &topic);
            }
            if session.admits(topic.topic())? {
                return self.accept(&session, &topic).map(Admission::accepted);
            }
        }
    }

    /// Checks the record as [`send`](Self::send) does, and sends nothing: for records of which all are
    /// to be sent, or none. The partition is checked if the topic's partitions are known.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), without [`ErrorKind::QueueFull`].
    pub fn check(&self) -> Result<()> {
        let session = self.producer.session()?;
        let topics = session.topics();
        let topic = self.content.prepare(topics)?;
        scratch::with(|scratch| {
            let options = &self.options;
            let has_key = options.write_key(&self.content, topics, &mut scratch.key);
            let own = scratch.key.len() + options.headers_len();
            let limit = self.max_len();
            if own + self.content.max_len(topics) > limit {
                scratch.value.clear();
                self.content
                    .write(topics, topic.topic(), &mut scratch.value)?;
                fits(own + scratch.value.len(), limit, topic.topic())?;
            }
            let key = has_key.then_some(&scratch.key[..]);
            session.check_partition(&topic, key, options.partition)
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

    /// The most bytes that the record may have.
    #[inline]
    fn max_len(&self) -> usize {
        self.producer.config().max_record_bytes
    }

    fn add_trace(&mut self) {
        if let Some(trace) = &self.producer.config().trace {
            self.options.headers.extend(trace.headers());
        }
    }

    /// Puts the record in line, encoded.
    #[cold]
    fn join(mut self, session: &Arc<Session>, topic: &Arc<TopicQueues>) -> Result<Admission> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let topics = session.topics();
        self.add_trace();
        let has_key = self.options.write_key(&self.content, topics, &mut key);
        let has_value = self.content.write(topics, topic.topic(), &mut value)?;
        let len = key.len() + self.options.headers_len() + value.len();
        fits(len, self.max_len(), topic.topic())?;
        let key = has_key.then_some(key);
        session.check_partition(topic, key.as_deref(), self.options.partition)?;
        let owner = self.owner.map(|owner| Arc::clone(&*owner.tally()));
        if let Some(owner) = &owner {
            owner.begin();
        }
        let record = WaitingRecord {
            topic: Arc::clone(topic.topic().name()),
            key,
            value: has_value.then_some(value),
            partition: self.options.partition,
            headers: self.options.headers,
            framed: self.content.framed(),
            owner,
        };
        let admission = Admission::join(self.producer, session, record);
        match admission.outcome() {
            Some(Err(error)) => Err(error),
            _ => Ok(admission),
        }
    }

    /// Sends the record, whose capacity is taken.
    #[inline]
    fn accept(self, session: &Arc<Session>, topic: &Arc<TopicQueues>) -> Result<Delivery> {
        let Some(owner) = self.owner else {
            return self.accept_for(session, topic, None);
        };
        let tally = owner.tally();
        session.sender().completion().note_owner();
        tally.begin();
        let accepted = self.accept_for(session, topic, Some(&tally));
        if accepted.is_err() {
            tally.refused();
            session.admission().limit().notify_waiting();
        }
        accepted
    }

    fn accept_for(
        mut self,
        session: &Arc<Session>,
        topic: &Arc<TopicQueues>,
        owner: Option<&Arc<Tally>>,
    ) -> Result<Delivery> {
        scratch::with(|scratch| {
            let topics = session.topics();
            self.add_trace();
            let (content, options) = (&self.content, &mut self.options);
            let has_key = options.write_key(content, topics, &mut scratch.key);
            let limit = self.producer.config().max_record_bytes;
            let own = scratch.key.len() + options.headers_len();
            let record = NewRecord {
                key: has_key.then_some(&scratch.key[..]),
                partition: options.partition,
                headers: std::mem::take(&mut options.headers),
                owner,
                framed: content.framed(),
                deferred: false,
            };
            if own + content.max_len(topics) <= limit {
                let write = |out: &mut Vec<u8>| content.write(topics, topic.topic(), out);
                return session.accept(topic, record, write);
            }
            // The bound is above the limit; the value itself may still be below it.
            scratch.value.clear();
            let written = content.write(topics, topic.topic(), &mut scratch.value);
            let fits = fits(own + scratch.value.len(), limit, topic.topic());
            match written.and_then(|has_value| fits.map(|()| has_value)) {
                Ok(has_value) => session.accept(topic, record, |out| {
                    out.extend_from_slice(&scratch.value);
                    Ok(has_value)
                }),
                Err(error) => {
                    session.admission().release(1, 0);
                    Err(error)
                }
            }
        })
    }
}

fn fits(len: usize, limit: usize, topic: &TopicState) -> Result<()> {
    if len <= limit {
        return Ok(());
    }
    let message = format!(
        "the record has {len} bytes, more than message.max.bytes = {limit}; make it smaller, or \
         raise the property here and the topic's max.message.bytes"
    );
    Err(Error::new(ErrorKind::RecordTooLarge, message).with("topic", topic.name()))
}

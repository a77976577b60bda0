//! From a record's bytes to its event, in any number of threads at once.
//!
//! Nearly every record is a body in our own schema behind a header that was met before: one
//! comparison shows it, and the event borrows from the record. For the rest a [`Decoder`] of the pool
//! rewrites the body, which is kept beside the batch so that the event can borrow from it.
//!
//! Decoding never waits for the registry: a read returns a batch once the registry has answered for
//! every schema in it.
//!
//! [`Decoder`]: crate::codec::Decoder

use super::owned::{OwnedRecord, Undecodable};
use super::record::Record;
use super::schemas::named_in_header;
use crate::codec::frame::Frame;
use crate::codec::{Fill, WireFormat, frame};
use crate::config::ConnectionSettings;
use crate::events::{EncodedEvent, Event, Topic, TypedEvent};
use crate::{Error, Result};

impl<'b> Record<'b> {
    /// The event, decoded now, borrowing from the record. Any of the twelve, whatever topic it is
    /// on.
    ///
    /// # Errors
    ///
    /// Each names `topic`, `partition` and `offset`; the record's bytes stay where they are, and
    /// reading goes on.
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable): the bytes are no event, or the
    /// record is a [tombstone](Self::is_tombstone), which the metrics do not count as undecodable.
    /// [`ErrorKind::IncompatibleSchema`](crate::ErrorKind::IncompatibleSchema): the
    /// writer's schema cannot be read as ours.
    #[inline]
    pub fn event(&self) -> Result<Event<'b>> {
        let event = self
            .body_of_any()
            .and_then(|(topic, body)| Event::decode(topic, body));
        event.map_err(|error| self.undecodable(error))
    }

    /// The event as one of type `E`, decoded now, borrowing from the record.
    ///
    /// # Errors
    ///
    /// Those of [`event`](Self::event); a record that holds another event is one of them.
    #[inline]
    pub fn typed<E: TypedEvent>(&self) -> Result<E::Of<'b>> {
        self.body(E::TOPIC)
            .and_then(|body| E::decode(body))
            .map_err(|error| self.undecodable(error))
    }

    /// The event as a copy of its Avro body, checked now and decoded when it is used.
    ///
    /// # Errors
    ///
    /// Those of [`event`](Self::event).
    pub fn encoded(&self) -> Result<EncodedEvent> {
        self.body_of_any()
            .and_then(|(topic, body)| EncodedEvent::from_body(topic, body))
            .map_err(|error| self.undecodable(error))
    }

    /// A copy that owns its memory, with the event decoded.
    pub fn to_owned(&self) -> OwnedRecord<Event<'static>> {
        self.owned(self.event().map(Event::into_owned))
    }

    /// As [`to_owned`](Self::to_owned), with an event of one type.
    pub fn to_typed<E: TypedEvent>(&self) -> OwnedRecord<E::Of<'static>> {
        self.owned(self.typed::<E>().map(E::Of::into_owned))
    }

    fn owned<E>(&self, event: Result<E>) -> OwnedRecord<E> {
        let headers = self
            .headers()
            .map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)));
        OwnedRecord {
            partition: self.segment.partition.clone(),
            offset: self.offset(),
            timestamp_ms: self.timestamp_ms(),
            key: self.key().map(<[u8]>::to_vec),
            headers: headers.collect(),
            event: event.map_err(|error| {
                let value = self.value().map(<[u8]>::to_vec);
                Box::new(Undecodable { error, value })
            }),
            leader_epoch: self.segment.run.leader_epoch(),
        }
    }

    /// The body in the schema of `topic`'s event.
    #[inline]
    fn body(&self, topic: Topic) -> Result<&'b [u8]> {
        match frame::split(self.value().unwrap_or_default()) {
            Ok(frame) if self.fetched.decoders.is_own(topic, frame.format) => Ok(frame.body),
            split => self.rewritten(topic, self.frame(split)?),
        }
    }

    /// The body of whichever event it is. On a topic of the twelve it is that topic's.
    #[inline]
    fn body_of_any(&self) -> Result<(Topic, &'b [u8])> {
        match self.segment.topic.event {
            Some(topic) => self.body(topic).map(|body| (topic, body)),
            None => self.body_of_other_topic(),
        }
    }

    #[inline(never)]
    fn body_of_other_topic(&self) -> Result<(Topic, &'b [u8])> {
        let frame = self.frame(frame::split(self.value().unwrap_or_default()))?;
        let decoders = &self.fetched.decoders;
        let mut topics = Topic::ALL.into_iter();
        if let Some(topic) = topics.find(|topic| decoders.is_own(*topic, frame.format)) {
            return Ok((topic, frame.body));
        }
        self.check_schema(frame.format)?;
        let topic = decoders.with(|decoder| decoder.topic_of(frame))?;
        Ok((topic, self.rewritten(topic, frame)?))
    }

    /// The body, rewritten where it is not in our own schema.
    #[inline(never)]
    fn rewritten(&self, topic: Topic, frame: Frame<'b>) -> Result<&'b [u8]> {
        self.check_schema(frame.format)?;
        let fetched = self.fetched;
        if let Some(body) = fetched.rewritten.get(self.index, topic) {
            return Ok(body);
        }
        let mut scratch = Vec::new();
        let is_own = fetched.decoders.with(|decoder| {
            let id = self.own_id();
            let (_, body, leniency) =
                decoder.framed_body(topic, frame, &fill(self, &id), &mut scratch)?;
            if leniency.unknown_fields > 0 {
                let metrics = &self.segment.topic.metrics;
                metrics.unknown_json_fields(leniency.unknown_fields.into());
            }
            // An event is never empty, so neither is a body that was rewritten.
            Ok(frame.body.as_ptr_range().contains(&body.as_ptr()))
        })?;
        if is_own {
            fetched.decoders.note_own(topic, frame.format);
            return Ok(frame.body);
        }
        let (index, records) = (self.index, fetched.messages.len());
        Ok(fetched.rewritten.keep(index, records, topic, scratch))
    }

    /// The record's format: by its first bytes or, where these are no format or an id that the registry
    /// does not have, by its headers.
    fn frame(&self, split: Result<Frame<'b>>) -> Result<Frame<'b>> {
        let Some(value) = self.value() else {
            return split;
        };
        let fetched = self.fetched;
        let is_clear = match &split {
            Ok(Frame {
                format: WireFormat::Confluent { id },
                ..
            }) => !fetched.schemas.by_header || fetched.decoders.schemas().is_known(*id),
            Ok(_) => true,
            Err(_) => false,
        };
        if is_clear {
            return split;
        }
        named_in_header(&self.message, value).unwrap_or(split)
    }

    /// Fails with why the schema that the record names does not exist or cannot be read.
    fn check_schema(&self, format: WireFormat) -> Result<()> {
        let refused = self.fetched.schemas.refused.get(&format);
        refused.map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Counts an undecodable record, and adds to its error where the record is.
    #[cold]
    fn undecodable(&self, error: Error) -> Error {
        if !self.is_tombstone() {
            self.segment.topic.metrics.undecodable(1);
        }
        error
            .with("topic", self.topic())
            .with("partition", self.partition())
            .with("offset", self.offset())
    }

    /// An event id for a record whose writer gave none: the same each time that it is read, and no
    /// other record's. A UUID of version 8, whose content RFC 9562 leaves to us.
    fn own_id(&self) -> String {
        let topic = self
            .topic()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let place = (u64::from(self.partition().unsigned_abs()) << 48) ^ self.offset() as u64;
        format!(
            "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
            topic >> 32,
            topic >> 16 & 0xffff,
            topic & 0xfff,
            0x8000 | place >> 48 & 0x3fff,
            place & 0xffff_ffff_ffff,
        )
    }
}

/// Values for the envelope's fields that JSON leaves out.
fn fill<'a>(record: &Record<'_>, id: &'a str) -> Fill<'a> {
    Fill {
        event_id: id,
        timestamp_ms: record.timestamp_ms().unwrap_or(0),
        source: ConnectionSettings::UNKNOWN_SERVICE,
    }
}

//! Sends one record from its cells: an event, its JSON or raw bytes, with the caller's key, partition and
//! headers.

use std::borrow::Cow;

use carbon_events::codec::{Fill, Rules, event_from_json, event_from_treated_json};
use carbon_events::compat::{event_from_call, protect_json};
use carbon_events::producer::{Admission, Header};
use carbon_events::{Envelope, Event, EventProducer, Result, Topic};

use crate::cells::{Cells, Head, options};
use crate::flat::{self, Start};
use crate::sender::Sender;

/// Sends a record with these options, or only validates it.
macro_rules! send {
    ($options:expr, $outgoing:expr, $how:expr) => {{
        let Options {
            key,
            partition,
            headers,
        } = $options;
        let mut outgoing = $outgoing;
        match key {
            Some(Some(key)) => outgoing = outgoing.key(key.into_owned()),
            Some(None) => outgoing = outgoing.no_key(),
            None => {}
        }
        if let Some(partition) = partition {
            outgoing = outgoing.partition(partition);
        }
        if !headers.is_empty() {
            outgoing = outgoing.headers(headers);
        }
        match $how {
            How::Send => outgoing.submit().map(Some),
            How::Check => outgoing.check().map(|()| None),
        }
    }};
}

/// The producer to send through, and how.
#[derive(Clone, Copy)]
pub(crate) struct Via<'a> {
    pub(crate) producer: &'a EventProducer,
    pub(crate) how: How,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// Sends the record. It waits while the queue is full.
    Send,
    /// Only validates the record.
    Check,
}

impl Sender {
    /// Sends the record in these cells. Returns `None` if it is only validated.
    pub(crate) fn deliver(
        &self,
        head: &Head,
        cells: &mut Cells<'_>,
        via: Via<'_>,
    ) -> Result<Option<Admission>> {
        let options = Options::read(head.options, cells)?;
        match head.kind {
            -1 => {
                let topic: Cow<'_, str> = cells.take()?;
                let value = cells.bytes()?;
                self.raw(&topic, value, options, via)
            }
            -2 => {
                let topic: Cow<'_, str> = cells.take()?;
                let value = cells.bytes()?;
                let value = value.as_deref().map(|json| self.protected(&topic, json));
                self.raw(&topic, value, options, via)
            }
            0..100 => {
                let event = crate::events::take(head.kind, cells)?;
                self.event(&event, options, via)
            }
            100..200 => {
                let json: Cow<'_, str> = cells.take()?;
                let send = |event: &Event<'_>| self.event(event, options, via);
                let keeps = head.options & options::KEEP_HASHES != 0;
                self.with_json(head.kind - 100, json.as_bytes(), keeps, send)
            }
            200..300 => self.lenient(head.kind - 200, cells, options, via),
            300..400 => self.flat(head.kind - 300, cells, options, true, via),
            _ => self.flat(head.kind - 400, cells, options, false, via),
        }
    }

    /// Sends an event of the drop-in's callers as Avro. Reads it leniently.
    fn lenient(
        &self,
        number: i32,
        cells: &mut Cells<'_>,
        options: Options<'_>,
        via: Via<'_>,
    ) -> Result<Option<Admission>> {
        let json: Cow<'_, str> = cells.take()?;
        let topic = topic(number)?;
        self.with_fill(topic, |fill| {
            let mut scratch = Vec::new();
            let decoded = event_from_call(topic, json.as_bytes(), fill, &mut scratch)?;
            self.event(&decoded.event, options, via)
        })
    }

    /// Sends an event of the drop-in's callers as flat JSON, from its values or from the members as
    /// JavaScript wrote them. Changes sensitive values only.
    fn flat<'a>(
        &self,
        number: i32,
        cells: &mut Cells<'a>,
        mut options: Options<'a>,
        written: bool,
        via: Via<'_>,
    ) -> Result<Option<Admission>> {
        let topic = topic(number)?;
        options.key = Some(cells.bytes()?);
        let start = Start {
            record: topic.spec().record,
            timestamp: cells.take()?,
            source: match cells.bytes()? {
                Some(json) => json,
                None => Cow::Borrowed(self.service_json.as_bytes()),
            },
        };
        let mut object = Vec::with_capacity(512);
        start.write(&mut object);
        let sensitive = if written {
            let members = cells.bytes()?.unwrap_or_default();
            let members = members.strip_prefix(b"{").unwrap_or(&members);
            if members != b"}" {
                object.push(b',');
            }
            object.extend_from_slice(members);
            true
        } else {
            flat::members(number, cells, &mut object)?
        };
        let topic = format!("{}{}", self.topic_prefix, topic.name());
        if sensitive && let Cow::Owned(protected) = self.protected(&topic, &object) {
            object = protected;
        }
        self.raw(&topic, Some(object.into()), options, via)
    }

    fn protected<'j>(&self, topic: &str, json: &'j [u8]) -> Cow<'j, [u8]> {
        protect_json(topic, &self.topic_prefix, json)
    }

    /// Calls `work` with the event in this JSON. With `keeps_hashes` it is an event that was read, and
    /// its hashes are kept.
    pub(crate) fn with_json<T>(
        &self,
        number: i32,
        json: &[u8],
        keeps_hashes: bool,
        work: impl FnOnce(&Event<'_>) -> Result<T>,
    ) -> Result<T> {
        let topic = topic(number)?;
        let read = match keeps_hashes {
            true => event_from_treated_json,
            false => event_from_json,
        };
        self.with_fill(topic, |fill| {
            let mut scratch = Vec::new();
            let decoded = read(topic, json, Rules::Strict, fill, &mut scratch)?;
            work(&decoded.event)
        })
    }

    /// Calls `work` with the defaults of the envelope.
    fn with_fill<T>(&self, topic: Topic, work: impl FnOnce(&Fill<'_>) -> T) -> T {
        let envelope = Envelope::new(topic.spec().record);
        work(&Fill {
            source: &self.service,
            ..Fill::from_envelope(&envelope)
        })
    }

    fn event(
        &self,
        event: &Event<'_>,
        options: Options<'_>,
        via: Via<'_>,
    ) -> Result<Option<Admission>> {
        send!(options, via.producer.any(event), via.how)
    }

    fn raw(
        &self,
        topic: &str,
        value: Option<Cow<'_, [u8]>>,
        options: Options<'_>,
        via: Via<'_>,
    ) -> Result<Option<Admission>> {
        let mut outgoing = via.producer.raw(topic);
        if let Some(value) = value {
            outgoing = outgoing.value(value.into_owned());
        }
        send!(options, outgoing, via.how)
    }
}

fn topic(number: i32) -> Result<Topic> {
    let topic = usize::try_from(number)
        .ok()
        .and_then(|number| Topic::ALL.get(number));
    topic.copied().ok_or_else(crate::cells::no_symbol)
}

/// The caller's options of one record.
struct Options<'a> {
    /// `Some(None)` sends the record without a key.
    key: Option<Option<Cow<'a, [u8]>>>,
    partition: Option<i32>,
    headers: Vec<Header>,
}

impl<'a> Options<'a> {
    fn read(given: u32, cells: &mut Cells<'a>) -> Result<Self> {
        let mut options = Options {
            key: (given & options::NO_KEY != 0).then_some(None),
            partition: None,
            headers: Vec::new(),
        };
        if given & options::KEY != 0 {
            options.key = Some(cells.bytes()?);
        }
        if given & options::PARTITION != 0 {
            options.partition = Some(cells.int()?);
        }
        if given & options::HEADERS != 0 {
            for _ in 0..cells.count()? {
                options.headers.push(Header {
                    name: cells.take::<Cow<'_, str>>()?.into_owned(),
                    value: cells.bytes()?.map(Cow::into_owned),
                });
            }
        }
        Ok(options)
    }
}

//! The layout in which records cross to JavaScript: numbers in one array, all texts in one string, as in
//! [`cells`](crate::cells).
//!
//! ```text
//! record   topic's number in the chunk, partition, offset, timestamp (NaN: none),
//!          key (bytes), number of headers ── a text and bytes for each
//!          0..11, the event's fields · -1, an error's number, the value (bytes) · -2 for a tombstone
//! text     its length in UTF-16 units; -1 is null, in eventType the record's name, in version the
//!          schema's version
//! ```

use std::borrow::Cow;

use carbon_events::events::HashedText;
use carbon_events::{Envelope, Error, List, Record, StringMap};

/// The default version of events.
const SCHEMA_VERSION: &str = "1.0.0";

/// Records for JavaScript.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) cells: Vec<f64>,
    /// Texts, and bytes as U+0000 to U+00FF.
    pub(crate) text: String,
    pub(crate) wide: bool,
    pub(crate) topics: Vec<String>,
    pub(crate) errors: Vec<Error>,
    pub(crate) records: u32,
}

impl Chunk {
    #[inline(always)]
    pub(crate) fn cell(&mut self, value: f64) {
        self.cells.push(value);
    }

    pub(crate) fn text(&mut self, text: &str) {
        let units = if text.is_ascii() {
            text.len()
        } else {
            self.wide = true;
            text.encode_utf16().count()
        };
        self.text.push_str(text);
        self.cell(units as f64);
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes.map(std::str::from_utf8) {
            None => self.cell(-1.0),
            Some(Ok(text)) => self.text(text),
            Some(Err(_)) => self.raw(bytes.unwrap_or_default()),
        }
    }

    /// Bytes that JavaScript reads as a Buffer.
    fn raw(&mut self, bytes: &[u8]) {
        self.wide |= !bytes.is_ascii();
        self.text.extend(bytes.iter().map(|byte| char::from(*byte)));
        self.cell(-2.0 - bytes.len() as f64);
    }

    pub(crate) fn envelope(&mut self, envelope: &Envelope<'_>, name: &str) {
        self.text(envelope.event_id.as_str());
        if envelope.event_type == name {
            self.cell(-1.0);
        } else {
            self.text(&envelope.event_type);
        }
        envelope.timestamp_ms.put(self);
        self.text(&envelope.source);
        if envelope.version == SCHEMA_VERSION {
            self.cell(-1.0);
        } else {
            self.text(&envelope.version);
        }
        envelope.correlation_id.put(self);
        envelope.causation_id.put(self);
    }

    /// Appends a record with its event or error.
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        self.records += 1;
        let topic = match self.topics.iter().position(|topic| topic == record.topic()) {
            Some(number) => number,
            None => {
                self.topics.push(record.topic().to_owned());
                self.topics.len() - 1
            }
        };
        self.cell(topic as f64);
        self.cell(f64::from(record.partition()));
        self.cell(record.offset() as f64);
        self.cell(record.timestamp_ms().map_or(f64::NAN, |ms| ms as f64));
        self.bytes(record.key());
        let headers = self.cells.len();
        self.cell(0.0);
        for header in record.headers() {
            self.text(header.name);
            match header.value {
                Some(value) => self.raw(value),
                None => self.cell(-1.0),
            }
            self.cells[headers] += 1.0;
        }
        match record.event() {
            Ok(event) => crate::events::put(&event, self),
            Err(_) if record.is_tombstone() => self.cell(-2.0),
            Err(error) => {
                self.cell(-1.0);
                self.cell(self.errors.len() as f64);
                self.errors.push(error);
                match record.value() {
                    Some(value) => self.raw(value),
                    None => self.cell(-1.0),
                }
            }
        }
    }
}

/// A value that can cross to JavaScript.
pub(crate) trait ToCells {
    fn put(&self, chunk: &mut Chunk);
}

impl ToCells for Cow<'_, str> {
    #[inline(always)]
    fn put(&self, chunk: &mut Chunk) {
        chunk.text(self);
    }
}

impl ToCells for Option<Cow<'_, str>> {
    #[inline(always)]
    fn put(&self, chunk: &mut Chunk) {
        match self {
            Some(text) => chunk.text(text),
            None => chunk.cell(-1.0),
        }
    }
}

impl ToCells for Option<HashedText<'_>> {
    #[inline(always)]
    fn put(&self, chunk: &mut Chunk) {
        match self {
            Some(text) => chunk.text(text),
            None => chunk.cell(-1.0),
        }
    }
}

impl ToCells for i64 {
    #[inline(always)]
    fn put(&self, chunk: &mut Chunk) {
        /// Number.MAX_SAFE_INTEGER: beyond it doubles skip integers.
        const MAX_SAFE: u64 = (1 << 53) - 1;
        if self.unsigned_abs() <= MAX_SAFE {
            chunk.cell(*self as f64);
        } else {
            chunk.cell(f64::NAN);
            chunk.cell((self >> 32) as f64);
            chunk.cell((self & 0xffff_ffff) as f64);
        }
    }
}

impl ToCells for i32 {
    #[inline(always)]
    fn put(&self, chunk: &mut Chunk) {
        chunk.cell(f64::from(*self));
    }
}

impl ToCells for f64 {
    #[inline(always)]
    fn put(&self, chunk: &mut Chunk) {
        chunk.cell(*self);
    }
}

impl ToCells for bool {
    #[inline(always)]
    fn put(&self, chunk: &mut Chunk) {
        chunk.cell(f64::from(u8::from(*self)));
    }
}

/// An optional value other than a text: whether it is present, then the value.
macro_rules! optional {
    ($($value:ty)*) => {$(
        impl ToCells for Option<$value> {
            fn put(&self, chunk: &mut Chunk) {
                chunk.cell(f64::from(u8::from(self.is_some())));
                if let Some(value) = self {
                    value.put(chunk);
                }
            }
        }
    )*};
}
optional!(i64 i32 f64 bool);

impl ToCells for StringMap<'_> {
    fn put(&self, chunk: &mut Chunk) {
        chunk.cell(self.len() as f64);
        for (key, value) in self {
            chunk.text(key);
            chunk.text(value);
        }
    }
}

impl<'a> ToCells for List<'a, Cow<'a, str>> {
    fn put(&self, chunk: &mut Chunk) {
        chunk.cell(self.len() as f64);
        for item in self {
            chunk.text(item);
        }
    }
}

//! The layout in which events cross from JavaScript: numbers in one array, all texts in one string.
//!
//! ```text
//! event    kind, cells, text length, options ── options' cells ── content's cells
//! kind     0..11 an event's fields · -1 a raw record · -2 JSON for any topic, to be protected ·
//!          100 + n strict JSON of event n · for the drop-in: 200 + n lenient JSON of event n,
//!          300 + n its flat JSON, 400 + n the values of its flat JSON ([`flat`])
//! options  1 key · 2 null key · 4 partition · 8 headers · 16 replace lone surrogates · 32 the JSON is
//!          that of a read event: keep its hashes
//! text     its length in UTF-16 units; -1 is null
//! hashed   as text, or -2 - length: the hash of an event that was read
//! bytes    as text, or -2 - length: each unit is a byte
//! long     the number, or NaN and its upper and lower 32 bits
//! map      the number of entries, then a text for each key and value
//! ```
//!
//! [`flat`]: crate::flat
//!
//! Only our JavaScript writes this layout. Invalid cells are an error, never a panic.

use std::borrow::Cow;

use carbon_events::events::HashedText;
use carbon_events::{Envelope, Error, ErrorKind, EventId, List, Result, StringMap};

/// The texts of many events in one string: as UTF-8 if it is ASCII, otherwise as UTF-16.
pub(crate) enum Text {
    Ascii(String),
    Wide(Vec<u16>),
}

impl Text {
    pub(crate) fn new(units: &[u16]) -> Text {
        // Without a branch for each unit, so that the compiler vectorizes the loop.
        let all = units.iter().fold(0, |all, unit| all | unit);
        if all < 0x80 {
            let bytes: Vec<u8> = units.iter().map(|unit| *unit as u8).collect();
            if let Ok(text) = String::from_utf8(bytes) {
                return Text::Ascii(text);
            }
        }
        Text::Wide(units.to_vec())
    }
}

/// A part of the texts.
pub(crate) enum Piece<'a> {
    Ascii(&'a [u8]),
    Wide(&'a [u16]),
}

/// Reads cells one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    cells: &'a [f64],
    text: &'a Text,
    /// The start of the next text, in units.
    read: usize,
    /// Whether a lone surrogate becomes U+FFFD instead of an error.
    lenient: bool,
}

/// The first cells of an event.
pub(crate) struct Head {
    pub(crate) kind: i32,
    pub(crate) options: u32,
}

pub(crate) mod options {
    pub(crate) const KEY: u32 = 1;
    pub(crate) const NO_KEY: u32 = 2;
    pub(crate) const PARTITION: u32 = 4;
    pub(crate) const HEADERS: u32 = 8;
    pub(crate) const LENIENT: u32 = 16;
    pub(crate) const KEEP_HASHES: u32 = 32;
}

/// The number of cells before the options.
const HEAD: usize = 4;

#[cold]
fn broken() -> Error {
    Error::new(ErrorKind::Internal, "invalid cells or texts")
}

impl<'a> Cells<'a> {
    pub(crate) fn new(cells: &'a [f64], text: &'a Text) -> Self {
        Cells {
            cells,
            text,
            read: 0,
            lenient: false,
        }
    }

    /// The next event's head and its own cells. Moves on to the event after it, even if this one is
    /// invalid.
    pub(crate) fn event(&mut self) -> Result<(Head, Cells<'a>)> {
        let &[kind, len, units, options, ..] = self.cells else {
            return Err(broken());
        };
        let own = self.cells.get(HEAD..len as usize).ok_or_else(broken)?;
        let event = Cells {
            cells: own,
            text: self.text,
            read: self.read,
            lenient: options as u32 & options::LENIENT != 0,
        };
        self.cells = &self.cells[len as usize..];
        self.read += units as usize;
        let head = Head {
            kind: kind as i32,
            options: options as u32,
        };
        Ok((head, event))
    }

    #[inline(always)]
    fn next(&mut self) -> Result<f64> {
        let (first, rest) = self.cells.split_first().ok_or_else(broken)?;
        self.cells = rest;
        Ok(*first)
    }

    /// The next value.
    #[inline(always)]
    pub(crate) fn take<T: FromCells<'a>>(&mut self) -> Result<T> {
        T::take(self)
    }

    /// The next field of an event. An error names it.
    #[inline(always)]
    pub(crate) fn field<T: FromCells<'a>>(&mut self, event: &str, field: &str) -> Result<T> {
        match T::take(self) {
            Ok(value) => Ok(value),
            Err(error) => Err(within(error, event, field)),
        }
    }

    #[inline(always)]
    pub(crate) fn count(&mut self) -> Result<usize> {
        Ok(self.next()? as usize)
    }

    #[inline(always)]
    pub(crate) fn int(&mut self) -> Result<i32> {
        Ok(self.next()? as i32)
    }

    /// The next cell.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Result<f64> {
        self.next()
    }

    /// A text of this length, including lone surrogates.
    #[inline(always)]
    pub(crate) fn piece(&mut self, len: f64) -> Result<Piece<'a>> {
        let start = self.read;
        let end = start + len as usize;
        self.read = end;
        let piece = match self.text {
            Text::Ascii(text) => text.as_bytes().get(start..end).map(Piece::Ascii),
            Text::Wide(units) => units.get(start..end).map(Piece::Wide),
        };
        piece.ok_or_else(broken)
    }

    fn text_of(&mut self, len: f64) -> Result<Cow<'a, str>> {
        let start = self.read;
        let end = start + len as usize;
        self.read = end;
        match self.text {
            Text::Ascii(text) => text.get(start..end).map(Cow::Borrowed).ok_or_else(broken),
            Text::Wide(units) => self.wide(units.get(start..end)),
        }
    }

    #[inline(never)]
    fn wide(&self, units: Option<&[u16]>) -> Result<Cow<'a, str>> {
        let units = units.ok_or_else(broken)?;
        let text = if self.lenient {
            String::from_utf16_lossy(units)
        } else {
            String::from_utf16(units).map_err(|_| lone_surrogate())?
        };
        Ok(Cow::Owned(text))
    }

    /// A value that JavaScript sent as text or as bytes; `None` is null.
    pub(crate) fn bytes(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        let len = self.next()?;
        if len >= 0.0 {
            return self.bytes_of(len).map(Some);
        }
        if len == -1.0 {
            return Ok(None);
        }
        let start = self.read;
        let end = start + (-2.0 - len) as usize;
        self.read = end;
        let bytes = match self.text {
            Text::Ascii(text) => text.as_bytes().get(start..end).map(Cow::Borrowed),
            Text::Wide(units) => units
                .get(start..end)
                .map(|units| units.iter().map(|unit| *unit as u8).collect()),
        };
        Ok(Some(bytes.ok_or_else(broken)?))
    }

    /// The bytes of a text of this length.
    pub(crate) fn bytes_of(&mut self, len: f64) -> Result<Cow<'a, [u8]>> {
        Ok(match self.text_of(len)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// The envelope: a bit for each field that is given, then these fields.
    pub(crate) fn envelope(&mut self, event: &'static str) -> Result<Envelope<'a>> {
        let given = self.next()? as u32;
        let mut envelope = Envelope::new(event);
        if given != 0 {
            self.given(given, event, &mut envelope)?;
        }
        Ok(envelope)
    }

    #[inline(never)]
    fn given(&mut self, given: u32, event: &str, envelope: &mut Envelope<'a>) -> Result<()> {
        if given & 1 != 0 {
            envelope.event_id = match self.field::<Cow<'a, str>>(event, "eventId")? {
                Cow::Borrowed(text) => EventId::from(text),
                Cow::Owned(text) => EventId::from(text),
            };
        }
        if given & 2 != 0 {
            envelope.timestamp_ms = self.field(event, "timestamp")?;
        }
        if given & 4 != 0 {
            envelope.source = self.field(event, "source")?;
        }
        if given & 8 != 0 {
            envelope.version = self.field(event, "version")?;
        }
        if given & 16 != 0 {
            envelope.correlation_id = Some(self.field(event, "correlationId")?);
        }
        if given & 32 != 0 {
            envelope.causation_id = Some(self.field(event, "causationId")?);
        }
        Ok(())
    }
}

#[cold]
fn lone_surrogate() -> Error {
    let why = "must be valid Unicode, got a lone surrogate";
    Error::new(ErrorKind::InvalidEvent, why)
}

/// Adds the field to the error of a value.
#[cold]
fn within(error: Error, event: &str, field: &str) -> Error {
    if error.kind() != ErrorKind::InvalidEvent || error.get("field").is_some() {
        return error;
    }
    Error::invalid_field(event, &camel(field), error.message())
}

/// `latency_ms` to `latencyMs`, the field's name in the schema.
fn camel(field: &str) -> String {
    let field = field.strip_prefix("r#").unwrap_or(field);
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

/// A value that can cross from JavaScript.
pub(crate) trait FromCells<'a>: Sized {
    fn take(cells: &mut Cells<'a>) -> Result<Self>;
}

impl<'a> FromCells<'a> for Cow<'a, str> {
    #[inline(always)]
    fn take(cells: &mut Cells<'a>) -> Result<Self> {
        let len = cells.next()?;
        cells.text_of(len)
    }
}

impl<'a> FromCells<'a> for Option<Cow<'a, str>> {
    #[inline(always)]
    fn take(cells: &mut Cells<'a>) -> Result<Self> {
        let len = cells.next()?;
        if len < 0.0 {
            return Ok(None);
        }
        cells.text_of(len).map(Some)
    }
}

/// As text, or -2 - length for a hash that was read.
impl<'a> FromCells<'a> for Option<HashedText<'a>> {
    #[inline(always)]
    fn take(cells: &mut Cells<'a>) -> Result<Self> {
        let len = cells.next()?;
        if len >= 0.0 {
            return Ok(Some(cells.text_of(len)?.into()));
        }
        if len == -1.0 {
            return Ok(None);
        }
        let hash = cells.text_of(-2.0 - len)?;
        Ok(Some(HashedText::from_read_event(hash)))
    }
}

impl FromCells<'_> for i64 {
    #[inline(always)]
    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        let value = cells.next()?;
        if value.is_nan() {
            let (high, low) = (cells.next()? as i64, cells.next()? as i64);
            return Ok(high << 32 | low);
        }
        Ok(value as i64)
    }
}

impl FromCells<'_> for i32 {
    #[inline(always)]
    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        cells.int()
    }
}

impl FromCells<'_> for f64 {
    #[inline(always)]
    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        cells.next()
    }
}

impl FromCells<'_> for bool {
    #[inline(always)]
    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        Ok(cells.next()? != 0.0)
    }
}

/// An optional value other than a text: whether it is present, then the value.
macro_rules! optional {
    ($($value:ty)*) => {$(
        impl FromCells<'_> for Option<$value> {
            fn take(cells: &mut Cells<'_>) -> Result<Self> {
                let some = cells.next()? != 0.0;
                some.then(|| cells.take()).transpose()
            }
        }
    )*};
}
optional!(i64 i32 f64 bool);

impl<'a> FromCells<'a> for StringMap<'a> {
    fn take(cells: &mut Cells<'a>) -> Result<Self> {
        let count = cells.count()?;
        if count == 0 {
            return Ok(StringMap::new());
        }
        (0..count)
            .map(|_| Ok((cells.take::<Cow<'a, str>>()?, cells.take::<Cow<'a, str>>()?)))
            .collect()
    }
}

impl<'a, T: FromCells<'a>> FromCells<'a> for List<'a, T> {
    fn take(cells: &mut Cells<'a>) -> Result<Self> {
        let count = cells.count()?;
        (0..count).map(|_| cells.take::<T>()).collect()
    }
}

/// An enum crosses as its symbol's number.
macro_rules! symbol_cells {
    ($($name:ident,)*) => {$(
        impl $crate::cells::FromCells<'_> for $name {
            #[inline(always)]
            fn take(cells: &mut $crate::cells::Cells<'_>) -> carbon_events::Result<Self> {
                let number = cells.count()?;
                let symbol = $name::ALL.get(number).copied();
                symbol.ok_or_else($crate::cells::no_symbol)
            }
        }

        impl $crate::chunk::ToCells for $name {
            #[inline(always)]
            fn put(&self, chunk: &mut $crate::chunk::Chunk) {
                chunk.cell(f64::from(*self as i32));
            }
        }
    )*};
}

#[cold]
pub(crate) fn no_symbol() -> Error {
    broken()
}

/// A record within an event: `Name: field, …`.
macro_rules! record_cells {
    ($name:ident: $($field:ident,)*) => {
        impl<'a> $crate::cells::FromCells<'a> for $name<'a> {
            fn take(cells: &mut $crate::cells::Cells<'a>) -> carbon_events::Result<Self> {
                Ok($name { $($field: cells.take()?,)* })
            }
        }

        impl $crate::chunk::ToCells for $name<'_> {
            fn put(&self, chunk: &mut $crate::chunk::Chunk) {
                $($crate::chunk::ToCells::put(&self.$field, chunk);)*
            }
        }

        impl<'a> $crate::chunk::ToCells for carbon_events::List<'a, $name<'a>> {
            fn put(&self, chunk: &mut $crate::chunk::Chunk) {
                chunk.cell(self.len() as f64);
                for item in self {
                    $crate::chunk::ToCells::put(&item, chunk);
                }
            }
        }
    };
}

/// An event: its envelope, then `Name: field, …`.
macro_rules! event_cells {
    ($name:ident: $($field:ident,)*) => {
        impl<'a> $crate::cells::FromCells<'a> for $name<'a> {
            #[inline(never)]
            fn take(cells: &mut $crate::cells::Cells<'a>) -> carbon_events::Result<Self> {
                const NAME: &str = <$name<'_> as carbon_events::TypedEvent>::NAME;
                Ok($name {
                    envelope: cells.envelope(NAME)?,
                    $($field: cells.field(NAME, stringify!($field))?,)*
                })
            }
        }

        impl $crate::chunk::ToCells for $name<'_> {
            #[inline(never)]
            fn put(&self, chunk: &mut $crate::chunk::Chunk) {
                const NAME: &str = <$name<'_> as carbon_events::TypedEvent>::NAME;
                chunk.envelope(&self.envelope, NAME);
                $($crate::chunk::ToCells::put(&self.$field, chunk);)*
            }
        }
    };
}

/// All events: `number => Variant as Record`.
macro_rules! events_cells {
    ($($number:literal => $variant:ident as $name:ident,)*) => {
        /// The event with this number.
        pub(crate) fn take<'a>(
            number: i32,
            cells: &mut $crate::cells::Cells<'a>,
        ) -> carbon_events::Result<carbon_events::Event<'a>> {
            match number {
                $($number => cells.take().map(carbon_events::Event::$variant),)*
                _ => Err($crate::cells::no_symbol()),
            }
        }

        /// Appends an event's number and the event.
        pub(crate) fn put(event: &carbon_events::Event<'_>, chunk: &mut $crate::chunk::Chunk) {
            use carbon_events::Event;
            match event {
                $(Event::$variant(event) => {
                    chunk.cell(f64::from($number));
                    $crate::chunk::ToCells::put(event, chunk);
                })*
            }
        }
    };
}

pub(crate) use {event_cells, events_cells, record_cells, symbol_cells};

//! Reading JSON by a shape, in one pass of serde_json.

use std::collections::{HashMap, HashSet, hash_map};
use std::fmt;
use std::ops::Range;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Visitor};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess};
use serde_json::{Number, Value};

use super::super::default::{put_bytes, put_long};
use super::shape::{Field, Filled, Record, Shape};
use super::{Fill, Leniency, Rules, refuse, time};
use crate::Result;

/// Up to so many entries of a map are compared with each other to find a key that comes twice.
const FEW: usize = 16;

pub(super) fn event(
    shape: &Shape,
    json: &[u8],
    rules: Rules,
    fill: &Fill<'_>,
    out: &mut Vec<u8>,
) -> Result<Leniency> {
    let name = match shape {
        Shape::Record(event) => event.name.as_str(),
        _ => "",
    };
    let mut run = Run {
        rules,
        fill,
        out,
        fields: Vec::new(),
        entries: Vec::new(),
        leniency: Leniency::default(),
        refused: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let place = Place {
        run: &mut run,
        shape,
        null: Null::Value,
    };
    let read = place
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (read, run.refused) {
        (Ok(()), _) => Ok(run.leniency),
        (Err(_), Some(refused)) => Err(refuse(rules, name, &refused.path, &refused.why)),
        (Err(error), None) => {
            // Only where it is, for what it is could be quoted from the payload.
            let (line, column) = (error.line(), error.column());
            let what = if error.is_eof() {
                "ends early"
            } else {
                "is not valid"
            };
            let why = format!("cannot be read: its JSON {what} at line {line}, column {column}");
            Err(refuse(rules, name, "", &why))
        }
    }
}

/// Where one event's reading stands.
struct Run<'a, 'o> {
    rules: Rules,
    fill: &'a Fill<'a>,
    out: &'o mut Vec<u8>,
    /// Where in `out` the values of the open records' fields are.
    fields: Vec<Option<Range<usize>>>,
    /// Where in `out` the keys and the values of the open maps' entries are.
    entries: Vec<(Range<usize>, Range<usize>)>,
    leniency: Leniency,
    refused: Option<Refused>,
}

/// Why the event is refused. It travels beside the error of serde_json, which could not hold it.
struct Refused {
    path: String,
    why: String,
}

/// One value of the JSON: those without parts.
enum Scalar<'v> {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(&'v str),
}

impl Scalar<'_> {
    fn a_type(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Integer(_) | Scalar::Float(_) => "a number",
            Scalar::Text(_) => "a string",
        }
    }
}

/// A refusal whose reason is known further up.
type Read<T = ()> = std::result::Result<T, Why>;

enum Why {
    /// The value's type is not the field's.
    WrongType,
    Known(String),
}

impl Why {
    fn new(why: &str) -> Self {
        Why::Known(why.to_owned())
    }
}

impl Run<'_, '_> {
    fn lenient(&self) -> bool {
        self.rules == Rules::Lenient
    }

    /// A value that was understood although it is not as the schema has it.
    fn mended(&mut self) {
        self.leniency.mended_fields += 1;
    }

    fn scalar(&mut self, shape: &Shape, value: Scalar<'_>) -> Read {
        match (shape, value) {
            (Shape::Nullable { null, .. }, Scalar::Null) => put_long(self.out, *null),
            (Shape::Nullable { value, shape, .. }, scalar) => {
                put_long(self.out, *value);
                self.scalar(shape, scalar)?;
            }
            (Shape::String, Scalar::Text(text)) => put_bytes(self.out, text.as_bytes()),
            (Shape::Boolean, Scalar::Boolean(value)) => self.out.push(u8::from(value)),
            (Shape::Enum { symbols, default }, Scalar::Text(text)) => {
                let symbol = self.symbol(symbols, *default, text)?;
                put_long(self.out, symbol as i64);
            }
            (Shape::Double, Scalar::Float(value)) => self.double(value),
            (Shape::Double, Scalar::Integer(value)) => self.double(value as f64),
            (Shape::Int | Shape::Long | Shape::Timestamp, Scalar::Integer(value)) => {
                self.integer(shape, value)?;
            }
            (Shape::Int | Shape::Long | Shape::Timestamp, Scalar::Float(value)) => {
                self.whole(shape, value)?;
                if value.fract() != 0.0 {
                    self.mended();
                }
            }
            (shape, scalar) if self.lenient() => {
                self.mend(shape, scalar)?;
                self.mended();
            }
            _ => return Err(Why::WrongType),
        }
        Ok(())
    }

    /// A value whose type is not the field's, but which says what was meant.
    fn mend(&mut self, shape: &Shape, value: Scalar<'_>) -> Read {
        match (shape, value) {
            (Shape::String, Scalar::Boolean(value)) => {
                put_bytes(self.out, value.to_string().as_bytes());
            }
            (Shape::String, Scalar::Integer(value)) => {
                put_bytes(self.out, value.to_string().as_bytes());
            }
            (Shape::String, Scalar::Float(value)) => {
                let number = Number::from_f64(value).ok_or(Why::WrongType)?;
                put_bytes(self.out, number.to_string().as_bytes());
            }
            (Shape::Boolean, Scalar::Integer(value @ (0 | 1))) => self.out.push(value as u8),
            (Shape::Boolean, Scalar::Text(text)) => match text.trim() {
                text if text.eq_ignore_ascii_case("true") => self.out.push(1),
                text if text.eq_ignore_ascii_case("false") => self.out.push(0),
                _ => return Err(Why::WrongType),
            },
            (Shape::Double, Scalar::Text(text)) => {
                let value = text
                    .trim()
                    .parse()
                    .ok()
                    .filter(|value: &f64| value.is_finite());
                self.double(value.ok_or(Why::WrongType)?);
            }
            (Shape::Int | Shape::Long | Shape::Timestamp, Scalar::Text(text)) => {
                let text = text.trim();
                if let Ok(value) = text.parse() {
                    self.integer(shape, value)?;
                } else if let Ok(value) = text.parse() {
                    self.whole(shape, value)?;
                } else if let Some(ms) = time::parse(text)
                    && matches!(shape, Shape::Timestamp)
                {
                    self.integer(shape, ms.into())?;
                } else if text.is_empty() {
                    self.integer(shape, 0)?;
                } else {
                    return Err(Why::WrongType);
                }
            }
            (Shape::Int | Shape::Long, Scalar::Null) => self.integer(shape, 0)?,
            _ => return Err(Why::WrongType),
        }
        Ok(())
    }

    fn symbol(&mut self, symbols: &[String], default: Option<usize>, text: &str) -> Read<usize> {
        if let Some(place) = symbols.iter().position(|symbol| symbol == text) {
            return Ok(place);
        }
        if self.lenient() {
            let text = text.trim();
            let same = |symbol: &String| symbol.eq_ignore_ascii_case(text);
            if let Some(place) = symbols.iter().position(same).or(default) {
                self.mended();
                return Ok(place);
            }
        }
        Err(Why::Known(format!("must be one of {}", symbols.join(", "))))
    }

    fn double(&mut self, value: f64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn integer(&mut self, shape: &Shape, value: i128) -> Read {
        match shape {
            Shape::Int => match i32::try_from(value) {
                Ok(value) => put_long(self.out, value.into()),
                Err(_) => return Err(Why::new("is out of range for an int")),
            },
            _ => match i64::try_from(value) {
                Ok(value) => put_long(self.out, value),
                Err(_) => return Err(Why::new("is out of range for a long")),
            },
        }
        Ok(())
    }

    /// A number with a point or an exponent. JSON has one type for all numbers, so 5.0 is whole.
    fn whole(&mut self, shape: &Shape, value: f64) -> Read {
        if value.fract() != 0.0 && !self.lenient() {
            return Err(Why::new("must be a whole number"));
        }
        if value.is_nan() {
            return Err(Why::WrongType);
        }
        // An integer beyond 64 bits comes as the nearest double, and the nearest to those just
        // below the least `long` is the least `long`: it is taken from an integer only.
        match value.round() {
            least if least == i64::MIN as f64 => self.integer(shape, i128::MIN),
            // The conversion saturates, far beyond what fits.
            value => self.integer(shape, value as i128),
        }
    }

    /// Keeps the reason until the error has reached the top.
    fn refuse(&mut self, why: impl Into<String>) {
        self.refused = Some(Refused {
            path: String::new(),
            why: why.into(),
        });
    }

    /// Says where a refused value stands.
    fn within(&mut self, place: fmt::Arguments<'_>) {
        if let Some(refused) = &mut self.refused {
            let dot = match refused.path.as_bytes().first() {
                None | Some(b'[') => "",
                Some(_) => ".",
            };
            refused.path = format!("{place}{dot}{}", refused.path);
        }
    }

    /// Puts a record's fields, which were met in any order, into the schema's. Those that were not
    /// met are filled.
    fn finish_record(&mut self, record: &Record, first: usize, start: usize) -> Read<()> {
        for (place, field) in record.fields.iter().enumerate() {
            if let Some(legacy) = field.legacy
                && self.fields[first + place].is_none()
            {
                self.fields[first + place] = self.fields[first + legacy].take();
            }
        }
        let mut next = start;
        let in_order = self.fields[first..].iter().all(|field| match field {
            Some(range) if range.start == next => {
                next = range.end;
                true
            }
            _ => false,
        });
        if !in_order || next != self.out.len() {
            let end = self.out.len();
            for (place, field) in record.fields.iter().enumerate() {
                match self.fields[first + place].clone() {
                    Some(range) => self.out.extend_from_within(range),
                    None => self.fill(record, field)?,
                }
            }
            self.out.drain(start..end);
        }
        self.fields.truncate(first);
        Ok(())
    }

    fn fill(&mut self, record: &Record, field: &Field) -> Read {
        if let Some(default) = &field.default {
            self.out.extend_from_slice(default);
            return Ok(());
        }
        match (field.fill, &field.shape) {
            (Some(Filled::EventId), _) => put_bytes(self.out, self.fill.event_id.as_bytes()),
            (Some(Filled::EventType), _) => put_bytes(self.out, record.name.as_bytes()),
            (Some(Filled::Timestamp), _) => put_long(self.out, self.fill.timestamp_ms),
            (Some(Filled::Source), _) => put_bytes(self.out, self.fill.source.as_bytes()),
            (None, Shape::Int | Shape::Long) if self.lenient() => put_long(self.out, 0),
            _ => {
                self.refuse("is required");
                self.within(format_args!("{}", field.name));
                return Err(Why::WrongType);
            }
        }
        self.mended();
        Ok(())
    }

    /// Whether null stands for a field as if it were not there.
    fn may_be_filled(&self, field: &Field) -> bool {
        let nullable = matches!(field.shape, Shape::Nullable { .. });
        self.lenient() && !nullable && (field.default.is_some() || field.fill.is_some())
    }

    /// Puts the count before the items and the end behind them.
    fn finish_collection(&mut self, start: usize, count: usize) {
        if count > 0 {
            let end = self.out.len();
            put_long(self.out, count as i64);
            let count_len = self.out.len() - end;
            self.out[start..].rotate_right(count_len);
        }
        put_long(self.out, 0);
    }

    fn finish_map(&mut self, first: usize, start: usize) {
        let mut count = self.entries.len() - first;
        if self.has_key_twice(first) {
            count = self.drop_earlier_values(first, start);
        }
        self.entries.truncate(first);
        self.finish_collection(start, count);
    }

    fn has_key_twice(&self, first: usize) -> bool {
        let entries = &self.entries[first..];
        let mut keys = entries.iter().map(|(key, _)| &self.out[key.clone()]);
        if entries.len() > FEW {
            let mut seen = HashSet::with_capacity(entries.len());
            return !keys.all(|key| seen.insert(key));
        }
        while let Some(key) = keys.next() {
            if keys.clone().any(|other| other == key) {
                return true;
            }
        }
        false
    }

    /// Of a key that comes twice the last value counts, in the first one's place, as in the
    /// dictionaries of Python and JavaScript. Returns how many entries are left.
    fn drop_earlier_values(&mut self, first: usize, start: usize) -> usize {
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut kept: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        for (key, value) in &self.entries[first..] {
            match places.entry(&self.out[key.clone()]) {
                hash_map::Entry::Occupied(place) => kept[*place.get()].1 = value.clone(),
                hash_map::Entry::Vacant(place) => {
                    place.insert(kept.len());
                    kept.push((key.clone(), value.clone()));
                }
            }
        }
        let end = self.out.len();
        for (key, value) in &kept {
            self.out.extend_from_within(key.clone());
            self.out.extend_from_within(value.clone());
        }
        self.out.drain(start..end);
        kept.len()
    }
}

/// What null says in a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    /// That the value is null.
    Value,
    /// That there is no value: the place is left empty.
    Absent,
    /// The word.
    Word,
}

/// One place of the JSON: what may stand there, and where it goes.
struct Place<'r, 'a, 'o> {
    run: &'r mut Run<'a, 'o>,
    shape: &'r Shape,
    null: Null,
}

impl Place<'_, '_, '_> {
    fn scalar<E: serde::de::Error>(self, value: Scalar<'_>) -> Result<(), E> {
        let got = value.a_type();
        self.run
            .scalar(self.shape, value)
            .map_err(|why| self.refused(why, got))
    }

    fn refused<E: serde::de::Error>(self, why: Why, got: &str) -> E {
        match why {
            Why::WrongType if self.run.refused.is_some() => {}
            Why::WrongType => {
                self.run
                    .refuse(format!("must be {}, got {got}", self.shape.a_type()));
            }
            Why::Known(why) => self.run.refuse(why),
        }
        E::custom("")
    }

    /// The shape without null, after writing the branch.
    fn some(&mut self) {
        if let Shape::Nullable { value, shape, .. } = self.shape {
            put_long(self.run.out, *value);
            self.shape = shape;
        }
    }

    /// An array or an object where text is wanted: its JSON.
    fn text<'de, D, E>(self, deserializer: D) -> Result<(), E>
    where
        D: Deserializer<'de, Error = E>,
        E: serde::de::Error,
    {
        let text = Value::deserialize(deserializer)?.to_string();
        put_bytes(self.run.out, text.as_bytes());
        self.run.mended();
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shape.a_type())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        match self.null {
            Null::Value => self.scalar(Scalar::Null),
            Null::Absent => Ok(()),
            Null::Word => {
                self.run.mended();
                self.scalar(Scalar::Text("null"))
            }
        }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Scalar::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Scalar::Integer(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(Scalar::Integer(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(Scalar::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.some();
        let items = match self.shape {
            Shape::Array(items) => items,
            Shape::String if self.run.lenient() => {
                return self.text(SeqAccessDeserializer::new(seq));
            }
            _ => return Err(self.refused(Why::WrongType, "an array")),
        };
        let start = self.run.out.len();
        let mut count = 0;
        loop {
            let place = Place {
                run: self.run,
                shape: items,
                null: Null::Value,
            };
            match seq.next_element_seed(place) {
                Ok(Some(())) => count += 1,
                Ok(None) => break,
                Err(error) => {
                    self.run.within(format_args!("[{count}]"));
                    return Err(error);
                }
            }
        }
        self.run.finish_collection(start, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        self.some();
        match self.shape {
            Shape::Record(record) => self.record(record, map),
            Shape::Map(values) => self.map(values, map),
            Shape::String if self.run.lenient() => self.text(MapAccessDeserializer::new(map)),
            _ => Err(self.refused(Why::WrongType, "an object")),
        }
    }
}

impl Place<'_, '_, '_> {
    fn record<'de, A: MapAccess<'de>>(self, record: &Record, mut map: A) -> Result<(), A::Error> {
        let start = self.run.out.len();
        let first = self.run.fields.len();
        self.run.fields.resize(first + record.fields.len(), None);
        let mut expected = 0;
        let keep_unknown = !self.run.lenient();
        while let Some(key) = map.next_key_seed(Key {
            record,
            expected,
            keep_unknown,
        })? {
            let place = match key {
                Found::Field(place) => place,
                Found::Alias(place) if self.run.fields[first + place].is_none() => place,
                // The name of today wins.
                Found::Alias(_) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Found::Unknown(None) => {
                    self.run.leniency.unknown_fields += 1;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Found::Unknown(Some(name)) => {
                    self.run
                        .refuse(format!("is not a field of {}", record.name));
                    self.run.within(format_args!("{name}"));
                    return Err(A::Error::custom(""));
                }
            };
            expected = place + 1;
            let field = &record.fields[place];
            let null = if self.run.may_be_filled(field) {
                Null::Absent
            } else {
                Null::Value
            };
            let from = self.run.out.len();
            let value = Place {
                run: self.run,
                shape: &field.shape,
                null,
            };
            if let Err(error) = map.next_value_seed(value) {
                self.run.within(format_args!("{}", field.name));
                return Err(error);
            }
            let value = from..self.run.out.len();
            self.run.fields[first + place] = (!value.is_empty()).then_some(value);
        }
        let finished = self.run.finish_record(record, first, start);
        finished.map_err(|why| self.refused(why, ""))
    }

    fn map<'de, A: MapAccess<'de>>(self, values: &Shape, mut map: A) -> Result<(), A::Error> {
        let start = self.run.out.len();
        let first = self.run.entries.len();
        let null = if self.run.lenient() && matches!(values, Shape::String) {
            Null::Word
        } else {
            Null::Value
        };
        loop {
            let from = self.run.out.len();
            let key = Place {
                run: self.run,
                shape: &Shape::String,
                null: Null::Value,
            };
            if map.next_key_seed(key)?.is_none() {
                break;
            }
            let key = from..self.run.out.len();
            let value = Place {
                run: self.run,
                shape: values,
                null,
            };
            if let Err(error) = map.next_value_seed(value) {
                let index = self.run.entries.len() - first;
                self.run.within(format_args!("[{index}]"));
                return Err(error);
            }
            let value = key.end..self.run.out.len();
            self.run.entries.push((key, value));
        }
        self.run.finish_map(first, start);
        Ok(())
    }
}

/// The name of a field: its place in the record, starting the search where it should be.
struct Key<'r> {
    record: &'r Record,
    expected: usize,
    keep_unknown: bool,
}

enum Found {
    Field(usize),
    /// By a former name.
    Alias(usize),
    /// With its name, if that is wanted.
    Unknown(Option<String>),
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Found, E> {
        let fields = &self.record.fields;
        if fields
            .get(self.expected)
            .is_some_and(|field| field.name == name)
        {
            return Ok(Found::Field(self.expected));
        }
        if let Some(place) = fields.iter().position(|field| field.name == name) {
            return Ok(Found::Field(place));
        }
        let has_alias = |field: &Field| field.aliases.iter().any(|alias| alias == name);
        Ok(match fields.iter().position(has_alias) {
            Some(place) => Found::Alias(place),
            None => Found::Unknown(self.keep_unknown.then(|| name.to_owned())),
        })
    }
}

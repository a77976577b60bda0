//! Reading JSON by a shape, in one pass of serde_json.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Visitor};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess};
use serde_json::Value;

use super::draft::Draft;
use super::shape::{Field, Record, Shape};
use super::value::{Scalar, Why};
use super::{Fill, Leniency, Rules, refuse};
use crate::Result;
use crate::avro::{put_bytes, put_long};

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
    let mut draft = Draft {
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
        draft: &mut draft,
        shape,
        null: Null::Value,
    };
    let read = place
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (read, draft.refused) {
        (Ok(()), _) => Ok(draft.leniency),
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
    draft: &'r mut Draft<'a, 'o>,
    shape: &'r Shape,
    null: Null,
}

impl Place<'_, '_, '_> {
    fn scalar<E: serde::de::Error>(self, value: Scalar<'_>) -> Result<(), E> {
        let got = value.a_type();
        self.draft
            .scalar(self.shape, value)
            .map_err(|why| self.refused(why, got))
    }

    fn refused<E: serde::de::Error>(self, why: Why, got: &str) -> E {
        match why {
            Why::WrongType if self.draft.refused.is_some() => {}
            Why::WrongType => {
                self.draft
                    .refuse(format!("must be {}, got {got}", self.shape.a_type()));
            }
            Why::Known(why) => self.draft.refuse(why),
        }
        E::custom("")
    }

    /// The shape without null, after writing the branch.
    fn some(&mut self) {
        if let Shape::Nullable { value, shape, .. } = self.shape {
            put_long(self.draft.out, *value);
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
        put_bytes(self.draft.out, text.as_bytes());
        self.draft.mended();
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
                self.draft.mended();
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
            Shape::String if self.draft.lenient() => {
                return self.text(SeqAccessDeserializer::new(seq));
            }
            _ => return Err(self.refused(Why::WrongType, "an array")),
        };
        let start = self.draft.out.len();
        let mut count = 0;
        loop {
            let place = Place {
                draft: self.draft,
                shape: items,
                null: Null::Value,
            };
            match seq.next_element_seed(place) {
                Ok(Some(())) => count += 1,
                Ok(None) => break,
                Err(error) => {
                    self.draft.within(format_args!("[{count}]"));
                    return Err(error);
                }
            }
        }
        self.draft.finish_collection(start, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        self.some();
        match self.shape {
            Shape::Record(record) => self.record(record, map),
            Shape::Map(values) => self.map(values, map),
            Shape::String if self.draft.lenient() => self.text(MapAccessDeserializer::new(map)),
            _ => Err(self.refused(Why::WrongType, "an object")),
        }
    }
}

impl Place<'_, '_, '_> {
    fn record<'de, A: MapAccess<'de>>(self, record: &Record, mut map: A) -> Result<(), A::Error> {
        let start = self.draft.out.len();
        let first = self.draft.fields.len();
        self.draft.fields.resize(first + record.fields.len(), None);
        let mut expected = 0;
        let keep_unknown = !self.draft.lenient();
        while let Some(key) = map.next_key_seed(Key {
            record,
            expected,
            keep_unknown,
        })? {
            let place = match key {
                Found::Field(place) => place,
                Found::Alias(place) if self.draft.fields[first + place].is_none() => place,
                // The name of today wins.
                Found::Alias(_) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Found::Unknown(None) => {
                    self.draft.leniency.unknown_fields += 1;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Found::Unknown(Some(name)) => {
                    self.draft
                        .refuse(format!("is not a field of {}", record.name));
                    self.draft.within(format_args!("{name}"));
                    return Err(A::Error::custom(""));
                }
            };
            expected = place + 1;
            let field = &record.fields[place];
            let null = if self.draft.may_be_filled(field) {
                Null::Absent
            } else {
                Null::Value
            };
            let from = self.draft.out.len();
            let value = Place {
                draft: self.draft,
                shape: &field.shape,
                null,
            };
            if let Err(error) = map.next_value_seed(value) {
                self.draft.within(format_args!("{}", field.name));
                return Err(error);
            }
            let value = from..self.draft.out.len();
            self.draft.fields[first + place] = (!value.is_empty()).then_some(value);
        }
        let finished = self.draft.finish_record(record, first, start);
        finished.map_err(|why| self.refused(why, ""))
    }

    fn map<'de, A: MapAccess<'de>>(self, values: &Shape, mut map: A) -> Result<(), A::Error> {
        let start = self.draft.out.len();
        let first = self.draft.entries.len();
        let null = if self.draft.lenient() && matches!(values, Shape::String) {
            Null::Word
        } else {
            Null::Value
        };
        loop {
            let from = self.draft.out.len();
            let key = Place {
                draft: self.draft,
                shape: &Shape::String,
                null: Null::Value,
            };
            if map.next_key_seed(key)?.is_none() {
                break;
            }
            let key = from..self.draft.out.len();
            let value = Place {
                draft: self.draft,
                shape: values,
                null,
            };
            if let Err(error) = map.next_value_seed(value) {
                let index = self.draft.entries.len() - first;
                self.draft.within(format_args!("[{index}]"));
                return Err(error);
            }
            let value = key.end..self.draft.out.len();
            self.draft.entries.push((key, value));
        }
        self.draft.finish_map(first, start);
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

//! Values without parts: by the letter of the schema, or by what their producer meant.

use serde_json::Number;

use super::draft::Draft;
use super::relaxed;
use super::shape::Shape;
use super::time;
use crate::avro::{put_bytes, put_long};

/// One value of the JSON: those without parts.
pub(super) enum Scalar<'v> {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(&'v str),
}

impl Scalar<'_> {
    pub(super) fn a_type(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Integer(_) | Scalar::Float(_) => "a number",
            Scalar::Text(_) => "a string",
        }
    }
}

/// A refusal whose reason is known further up.
pub(super) type Read<T = ()> = std::result::Result<T, Why>;

pub(super) enum Why {
    /// The value's type is not the field's.
    WrongType,
    Known(String),
}

impl Why {
    fn new(why: &str) -> Self {
        Why::Known(why.to_owned())
    }
}

impl Draft<'_, '_> {
    pub(super) fn scalar(&mut self, shape: &Shape, value: Scalar<'_>) -> Read {
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
            (Shape::Timestamp, Scalar::Integer(value)) => self.timestamp(value)?,
            (Shape::Timestamp, Scalar::Float(value)) if self.lenient() && is_seconds(value) => {
                self.mended();
                self.timestamp((value * 1_000.0).round() as i128)?;
            }
            (Shape::Int | Shape::Long, Scalar::Integer(value)) => self.integer(shape, value)?,
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
                let finite = |value: &f64| value.is_finite();
                let value = text.trim().parse().ok().filter(finite);
                self.double(
                    value
                        .or_else(|| relaxed::number(text))
                        .ok_or(Why::WrongType)?,
                );
            }
            (Shape::Int | Shape::Long, Scalar::Text(text)) if relaxed::number(text).is_some() => {
                self.integer(shape, 0)?;
            }
            (Shape::Int | Shape::Long | Shape::Timestamp, Scalar::Text(text)) => {
                let text = text.trim();
                if let Ok(value) = text.parse::<i128>() {
                    self.scalar(shape, Scalar::Integer(value))?;
                } else if let Ok(value) = text.parse::<f64>() {
                    self.scalar(shape, Scalar::Float(value))?;
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

    /// A timestamp in milliseconds. What a producer wrote in another unit is told by its size. Lenient
    /// rules convert it, strict ones refuse it.
    fn timestamp(&mut self, value: i128) -> Read {
        if i64::try_from(value).is_err() {
            return Err(Why::new("is out of range for a long"));
        }
        let (ms, unit) = match value.unsigned_abs() {
            SECONDS_FROM..MILLIS_FROM => (value * 1_000, "seconds"),
            NANOS_FROM.. => (value.div_euclid(1_000_000), "nanoseconds"),
            MICROS_FROM.. => (value.div_euclid(1_000), "microseconds"),
            _ if value < FIRST_MS => (value.div_euclid(1_000), "microseconds"),
            _ => (value, ""),
        };
        if !unit.is_empty() && !self.lenient() {
            let why = format!("must be in milliseconds since 1970-01-01 UTC, got {unit}");
            return Err(Why::Known(why));
        }
        if !unit.is_empty() {
            self.mended();
        }
        self.integer(&Shape::Timestamp, ms)
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
            value if matches!(shape, Shape::Timestamp) => self.timestamp(value as i128),
            value => self.integer(shape, value as i128),
        }
    }
}

/// From where on a number is taken for a timestamp in each unit: 1973, and behind the year 9999 of
/// the unit before.
const SECONDS_FROM: u128 = 100_000_000;
const MILLIS_FROM: u128 = 100_000_000_000;
const MICROS_FROM: u128 = 253_402_300_800_000;
const NANOS_FROM: u128 = 253_402_300_800_000_000;
/// The year 1, where calendars of other languages begin.
const FIRST_MS: i128 = -62_135_596_800_000;

/// Whether a number is a timestamp in seconds, as Python's `time.time()` gives it.
fn is_seconds(value: f64) -> bool {
    (SECONDS_FROM as f64..MILLIS_FROM as f64).contains(&value.abs())
}

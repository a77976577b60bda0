//! Converts values of Arrow arrays to fields.
//!
//! Layouts: <https://arrow.apache.org/docs/format/Columnar.html>. Integers of every width, floats,
//! booleans, text (plain, large and views), dictionaries of text, timestamps, and lists and maps of
//! text are read without a copy.

use std::borrow::Cow;
use std::ffi::{CStr, c_void};

use carbon_events::events::{ColumnLineage, HashedText};
use carbon_events::{List, StringMap};

use super::from_python::{Refusal, Symbol, Text, Timestamp};
use crate::arrow::{ArrowArray, ArrowSchema};

/// One column of a batch.
pub(crate) struct Column<'a> {
    layout: Layout,
    array: &'a ArrowArray,
    children: Vec<Column<'a>>,
    dictionary: Option<Box<Column<'a>>>,
    /// The offset in the buffer at which the text of all rows begins, and that text.
    checked: Option<(usize, &'a str)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Null,
    Boolean,
    /// The width in bytes, and whether it is signed.
    Integer(usize, bool),
    Float,
    Double,
    Text,
    LargeText,
    TextView,
    /// The units in a millisecond, or the milliseconds in a unit.
    Timestamp {
        per_ms: i64,
        ms: i64,
    },
    List,
    LargeList,
    Map,
    Struct,
}

fn layout(format: &str) -> Option<Layout> {
    Some(match format {
        "n" => Layout::Null,
        "b" => Layout::Boolean,
        "c" => Layout::Integer(1, true),
        "C" => Layout::Integer(1, false),
        "s" => Layout::Integer(2, true),
        "S" => Layout::Integer(2, false),
        "i" => Layout::Integer(4, true),
        "I" => Layout::Integer(4, false),
        "l" => Layout::Integer(8, true),
        "L" => Layout::Integer(8, false),
        "f" => Layout::Float,
        "g" => Layout::Double,
        "u" => Layout::Text,
        "U" => Layout::LargeText,
        "vu" => Layout::TextView,
        "+l" => Layout::List,
        "+L" => Layout::LargeList,
        "+m" => Layout::Map,
        "+s" => Layout::Struct,
        _ => match format.get(..4)? {
            "tss:" => Layout::Timestamp {
                per_ms: 1,
                ms: 1000,
            },
            "tsm:" => Layout::Timestamp { per_ms: 1, ms: 1 },
            "tsu:" => Layout::Timestamp {
                per_ms: 1000,
                ms: 1,
            },
            "tsn:" => Layout::Timestamp {
                per_ms: 1_000_000,
                ms: 1,
            },
            _ => return None,
        },
    })
}

impl<'a> Column<'a> {
    /// The column of an array with its schema; `None` for an unsupported layout.
    ///
    /// # Safety
    ///
    /// Both are live for `'a` and belong together, as the C data interface requires.
    pub(crate) unsafe fn new(schema: &'a ArrowSchema, array: &'a ArrowArray) -> Option<Self> {
        // SAFETY: NUL-terminated by the interface; there are `n_children` children.
        unsafe {
            let format = CStr::from_ptr(schema.format).to_str().ok()?;
            let dictionary = match (schema.dictionary.as_ref(), array.dictionary.as_ref()) {
                (Some(schema), Some(array)) => Some(Box::new(Column::new(schema, array)?)),
                (None, None) => None,
                _ => return None,
            };
            let children = (0..schema.n_children as usize).map(|index| {
                let schema = (*schema.children.add(index)).as_ref()?;
                Column::new(schema, (*array.children.add(index)).as_ref()?)
            });
            Some(Column {
                layout: layout(format)?,
                array,
                children: children.collect::<Option<_>>()?,
                dictionary,
                checked: None,
            })
        }
    }

    /// Validates the text of all rows at once, if it is contiguous. The text of null rows may be
    /// invalid: then each row is validated by itself.
    pub(crate) fn checked(mut self) -> Self {
        let rows = self.array.length as usize;
        if rows == 0 || self.dictionary.is_some() {
            return self;
        }
        if let (Some((start, _)), Some((_, end))) = (self.extent(0), self.extent(rows - 1)) {
            // SAFETY: the contiguous text of the rows.
            let bytes = unsafe { slice(self.buffer(2), start, end) };
            self.checked = std::str::from_utf8(bytes).ok().map(|text| (start, text));
        }
        self
    }

    /// The range of a row's text, in a layout with offsets.
    #[inline]
    fn extent(&self, row: usize) -> Option<(usize, usize)> {
        let at = self.at(row);
        // SAFETY: the layout has one more offset than rows.
        unsafe {
            match self.layout {
                Layout::Text => {
                    let offsets = self.buffer::<i32>(1);
                    Some((*offsets.add(at) as usize, *offsets.add(at + 1) as usize))
                }
                Layout::LargeText => {
                    let offsets = self.buffer::<i64>(1);
                    Some((*offsets.add(at) as usize, *offsets.add(at + 1) as usize))
                }
                _ => None,
            }
        }
    }

    /// A buffer as a pointer to values of a type; null if the array is empty.
    fn buffer<T>(&self, number: usize) -> *const T {
        // SAFETY: callers use only the buffers that the layout has.
        unsafe { (*self.array.buffers.add(number)).cast::<c_void>().cast() }
    }

    /// The index of a row in the buffers. The row is within the array.
    fn at(&self, row: usize) -> usize {
        row + self.array.offset as usize
    }

    fn is_null(&self, row: usize) -> bool {
        if self.layout == Layout::Null {
            return true;
        }
        let validity = self.buffer::<u8>(0);
        if self.array.null_count == 0 || validity.is_null() {
            return false;
        }
        let at = self.at(row);
        // SAFETY: one bit for each value.
        unsafe { *validity.add(at / 8) & (1 << (at % 8)) == 0 }
    }

    fn text(&self, row: usize) -> Result<&'a str, Refusal> {
        if self.is_null(row) {
            return Err(Refusal::Value("must be a string, got null".into()));
        }
        if let Some(dictionary) = &self.dictionary {
            let index = usize::try_from(self.number(row).unwrap_or(-1));
            let within = index
                .ok()
                .filter(|at| *at < dictionary.array.length as usize);
            return match within {
                Some(index) => dictionary.text(index),
                None => Err(Refusal::Value("has an index beyond its dictionary".into())),
            };
        }
        let extent = self.extent(row);
        if let (Some((base, text)), Some((start, end))) = (self.checked, extent)
            && let Some(text) = text.get(start.wrapping_sub(base)..end.wrapping_sub(base))
        {
            return Ok(text);
        }
        // SAFETY: the text of a row, whose bytes live as long as the array.
        let bytes = unsafe {
            match (extent, self.layout) {
                (Some((start, end)), _) => slice(self.buffer(2), start, end),
                (None, Layout::TextView) => {
                    let view = self.buffer::<[u8; 16]>(1).add(self.at(row));
                    let word = |from: usize| {
                        i32::from_le_bytes([
                            (*view)[from],
                            (*view)[from + 1],
                            (*view)[from + 2],
                            (*view)[from + 3],
                        ]) as usize
                    };
                    let len = word(0);
                    if len <= 12 {
                        slice(view.cast(), 4, 4 + len)
                    } else {
                        let start = word(12);
                        slice(self.buffer(2 + word(8)), start, start + len)
                    }
                }
                _ => return Err(Refusal::Value("must be a string".into())),
            }
        };
        std::str::from_utf8(bytes).map_err(|_| Refusal::Value("must be valid Unicode".into()))
    }

    /// The value of a row in an integer layout.
    fn number(&self, row: usize) -> Option<i64> {
        let at = self.at(row);
        // SAFETY: values of that width.
        unsafe {
            Some(match self.layout {
                Layout::Integer(1, true) => (*self.buffer::<i8>(1).add(at)).into(),
                Layout::Integer(1, false) => (*self.buffer::<u8>(1).add(at)).into(),
                Layout::Integer(2, true) => (*self.buffer::<i16>(1).add(at)).into(),
                Layout::Integer(2, false) => (*self.buffer::<u16>(1).add(at)).into(),
                Layout::Integer(4, true) => (*self.buffer::<i32>(1).add(at)).into(),
                Layout::Integer(4, false) => (*self.buffer::<u32>(1).add(at)).into(),
                Layout::Integer(8, true) => *self.buffer::<i64>(1).add(at),
                Layout::Integer(_, _) => i64::try_from(*self.buffer::<u64>(1).add(at)).ok()?,
                _ => return None,
            })
        }
    }

    fn integer(&self, row: usize, expected: &'static str) -> Result<i64, Refusal> {
        if self.is_null(row) || self.dictionary.is_some() {
            return Err(Refusal::Value(
                format!("must be {expected}, got null").into(),
            ));
        }
        match self.layout {
            Layout::Integer(..) => self
                .number(row)
                .ok_or_else(|| Refusal::Value(format!("is out of range for {expected}").into())),
            _ => Err(Refusal::Value(format!("must be {expected}").into())),
        }
    }

    /// The child's rows of a row in a list or a map.
    fn range(&self, row: usize) -> Result<std::ops::Range<usize>, Refusal> {
        let at = self.at(row);
        // SAFETY: offsets of the layout.
        unsafe {
            Ok(match self.layout {
                Layout::List | Layout::Map => {
                    let offsets = self.buffer::<i32>(1);
                    *offsets.add(at) as usize..*offsets.add(at + 1) as usize
                }
                Layout::LargeList => {
                    let offsets = self.buffer::<i64>(1);
                    *offsets.add(at) as usize..*offsets.add(at + 1) as usize
                }
                _ => return Err(Refusal::Value("must be a list".into())),
            })
        }
    }
}

/// # Safety
///
/// The buffer holds the bytes from `start` to `end`. An empty range may have no buffer.
unsafe fn slice<'a>(bytes: *const u8, start: usize, end: usize) -> &'a [u8] {
    if end <= start {
        return &[];
    }
    // SAFETY: as the caller guarantees.
    unsafe { std::slice::from_raw_parts(bytes.add(start), end - start) }
}

/// The value of a field from a row of its column.
pub(crate) trait FromArrow<'a>: Sized {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal>;
}

impl<'a> FromArrow<'a> for Cow<'a, str> {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        column.text(row).map(Cow::Borrowed)
    }
}

impl<'a> FromArrow<'a> for HashedText<'a> {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        Ok(column.text(row)?.into())
    }
}

impl<'a> FromArrow<'a> for Text<'a> {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        column.text(row).map(Text)
    }
}

impl<'a, T: FromArrow<'a>> FromArrow<'a> for Option<T> {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        if column.is_null(row) {
            return Ok(None);
        }
        T::from_arrow(column, row).map(Some)
    }
}

impl<'a> FromArrow<'a> for i64 {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        column.integer(row, "a long")
    }
}

impl<'a> FromArrow<'a> for i32 {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        let number = column.integer(row, "an int")?;
        i32::try_from(number).map_err(|_| Refusal::Value("is out of range for an int".into()))
    }
}

impl<'a> FromArrow<'a> for Timestamp {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        let Layout::Timestamp { per_ms, ms } = column.layout else {
            return column.integer(row, "a timestamp").map(Timestamp);
        };
        // SAFETY: 64-bit values; a null row is never read.
        let units = unsafe { *column.buffer::<i64>(1).add(column.at(row)) };
        units
            .div_euclid(per_ms)
            .checked_mul(ms)
            .map(Timestamp)
            .ok_or_else(|| Refusal::Value("is out of range for a timestamp".into()))
    }
}

impl<'a> FromArrow<'a> for f64 {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        let at = column.at(row);
        match column.layout {
            _ if column.is_null(row) => Err(Refusal::Value("must be a double, got null".into())),
            // SAFETY: values of that width.
            Layout::Double => Ok(unsafe { *column.buffer::<f64>(1).add(at) }),
            // SAFETY: as above.
            Layout::Float => Ok(unsafe { *column.buffer::<f32>(1).add(at) }.into()),
            _ => column.integer(row, "a double").map(|number| number as f64),
        }
    }
}

impl<'a> FromArrow<'a> for bool {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        if column.layout != Layout::Boolean || column.is_null(row) {
            return Err(Refusal::Value("must be a boolean".into()));
        }
        let at = column.at(row);
        // SAFETY: one bit for each value.
        Ok(unsafe { *column.buffer::<u8>(1).add(at / 8) & (1 << (at % 8)) != 0 })
    }
}

impl<'a> FromArrow<'a> for List<'a, Cow<'a, str>> {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        let [items] = &column.children[..] else {
            return Err(Refusal::Value("must be a list of strings".into()));
        };
        let texts = column
            .range(row)?
            .map(|at| items.text(at).map(Cow::Borrowed));
        let texts: Result<Vec<_>, _> = texts.collect();
        Ok(texts?.into())
    }
}

impl<'a> FromArrow<'a> for List<'a, ColumnLineage<'a>> {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        const WRONG: &str =
            "must be a list of structs: source column, target column, transformation";
        let [records] = &column.children[..] else {
            return Err(Refusal::Value(WRONG.into()));
        };
        let [source, target, transformation] = &records.children[..] else {
            return Err(Refusal::Value(WRONG.into()));
        };
        let first = records.array.offset as usize;
        let columns = column.range(row)?.map(|at| {
            Ok(ColumnLineage {
                source_column: source.text(at + first)?.into(),
                target_column: target.text(at + first)?.into(),
                transformation: Option::from_arrow(transformation, at + first)?,
            })
        });
        let columns: Result<Vec<_>, Refusal> = columns.collect();
        Ok(columns?.into())
    }
}

impl<'a> FromArrow<'a> for StringMap<'a> {
    fn from_arrow(column: &Column<'a>, row: usize) -> Result<Self, Refusal> {
        let wrong = || Refusal::Value("must be a map of strings".into());
        let [entries] = &column.children[..] else {
            return Err(wrong());
        };
        let [keys, values] = &entries.children[..] else {
            return Err(wrong());
        };
        let first = entries.array.offset as usize;
        let pairs = column.range(row)?.map(|at| {
            let pair = (keys.text(at + first)?, values.text(at + first)?);
            Ok((Cow::Borrowed(pair.0), Cow::Borrowed(pair.1)))
        });
        pairs.collect()
    }
}

/// The enum symbol of a text.
pub(crate) fn symbol<S: Symbol>(column: &Column<'_>, row: usize) -> Result<S, Refusal> {
    super::from_python::parse_symbol(column.text(row)?)
}

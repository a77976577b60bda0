//! Converts Python objects to fields.

use std::borrow::Cow;
use std::str::FromStr;

use carbon_events::events::{ColumnLineage, HashedText};
use carbon_events::{List, StringMap};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Why a value is rejected.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no value.
    Missing,
    /// It does not have the field's type. `_coerce` may convert it.
    Type(&'static str),
    /// It has the right type and is invalid.
    Value(Cow<'static, str>),
    /// An item of a collection has the wrong type.
    Item {
        place: String,
        expected: &'static str,
        got: String,
    },
}

/// The value of a field from an object. Text is borrowed from it.
pub(crate) trait FromPython<'p>: Sized {
    /// # Safety
    ///
    /// `value` is a live object that stays alive for `'p`.
    unsafe fn from_python(py: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal>;
}

/// Borrowed text, for types that are created from it.
pub(crate) struct Text<'p>(pub(crate) &'p str);

/// Milliseconds since 1970 UTC.
pub(crate) struct Timestamp(pub(crate) i64);

const STRING: &str = "a string";

/// The characters of a str.
///
/// # Safety
///
/// As [`FromPython::from_python`].
#[inline]
unsafe fn text<'p>(value: *mut ffi::PyObject) -> Result<&'p str, Refusal> {
    let mut len = 0;
    // SAFETY: a live object; the answer lives as long as it.
    let bytes = unsafe { ffi::PyUnicode_AsUTF8AndSize(value, &mut len) };
    if bytes.is_null() {
        // SAFETY: the exception that was just set is replaced by ours.
        let is_text = unsafe {
            ffi::PyErr_Clear();
            ffi::PyUnicode_Check(value) != 0
        };
        return Err(if is_text {
            Refusal::Value("must be valid Unicode, got a lone surrogate".into())
        } else {
            Refusal::Type(STRING)
        });
    }
    // SAFETY: CPython gives UTF-8 of that length, kept in the object.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), len as usize) };
    // SAFETY: as above.
    Ok(unsafe { std::str::from_utf8_unchecked(bytes) })
}

impl<'p> FromPython<'p> for Text<'p> {
    #[inline]
    unsafe fn from_python(_: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        unsafe { text(value) }.map(Text)
    }
}

impl<'p> FromPython<'p> for Cow<'p, str> {
    #[inline]
    unsafe fn from_python(_: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        unsafe { text(value) }.map(Cow::Borrowed)
    }
}

impl<'p> FromPython<'p> for HashedText<'p> {
    #[inline]
    unsafe fn from_python(py: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        let text = unsafe { text(value) }?;
        // SAFETY: as the caller guarantees.
        if unsafe { ffi::PyUnicode_CheckExact(value) } == 0 && is_kept(py, value) {
            return Ok(HashedText::from_read_event(text));
        }
        Ok(text.into())
    }
}

/// Whether a text was taken from an event by `replace`: a hash in it is not hashed again.
#[cold]
fn is_kept(py: Python<'_>, value: *mut ffi::PyObject) -> bool {
    // SAFETY: a live object.
    let class = unsafe { ffi::Py_TYPE(value) };
    let kept = KEPT.get(py);
    kept.is_some_and(|kept| kept.as_ptr().cast() == class)
}

static KEPT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Registers the class of such texts.
#[pyfunction]
pub(super) fn keep_hashes_of(class: Bound<'_, PyAny>) {
    // Once, because the module is created once.
    let _ = KEPT.set(class.py(), class.unbind());
}

impl<'p, T: FromPython<'p>> FromPython<'p> for Option<T> {
    #[inline]
    unsafe fn from_python(py: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: `None` is immortal; the value as the caller guarantees.
        unsafe {
            if value == ffi::Py_None() {
                Ok(None)
            } else {
                T::from_python(py, value).map(Some)
            }
        }
    }
}

/// # Safety
///
/// As [`FromPython::from_python`].
#[inline]
unsafe fn integer(value: *mut ffi::PyObject, expected: &'static str) -> Result<i64, Refusal> {
    // SAFETY: a live object. Only for an int, so that no Python code runs.
    unsafe {
        if ffi::PyLong_Check(value) == 0 || ffi::PyBool_Check(value) != 0 {
            return Err(Refusal::Type(expected));
        }
        let mut overflow = 0;
        let number = ffi::PyLong_AsLongLongAndOverflow(value, &mut overflow);
        if overflow != 0 {
            return Err(out_of_range(expected));
        }
        Ok(number)
    }
}

fn out_of_range(expected: &str) -> Refusal {
    Refusal::Value(format!("is out of range for {expected}").into())
}

impl<'p> FromPython<'p> for i64 {
    #[inline]
    unsafe fn from_python(_: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        unsafe { integer(value, "a long") }
    }
}

impl<'p> FromPython<'p> for i32 {
    #[inline]
    unsafe fn from_python(_: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        let number = unsafe { integer(value, "an int") }?;
        i32::try_from(number).map_err(|_| out_of_range("an int"))
    }
}

impl<'p> FromPython<'p> for Timestamp {
    #[inline]
    unsafe fn from_python(_: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        let number = unsafe { integer(value, "a timestamp") };
        number.map(Timestamp)
    }
}

impl<'p> FromPython<'p> for f64 {
    #[inline]
    unsafe fn from_python(_: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: a live object; floats and ints are converted without Python code.
        unsafe {
            if ffi::PyFloat_Check(value) != 0 {
                return Ok(ffi::PyFloat_AsDouble(value));
            }
            if ffi::PyLong_Check(value) == 0 || ffi::PyBool_Check(value) != 0 {
                return Err(Refusal::Type("a double"));
            }
            let number = ffi::PyLong_AsDouble(value);
            if number == -1.0 && !ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_Clear();
                return Err(out_of_range("a double"));
            }
            Ok(number)
        }
    }
}

impl<'p> FromPython<'p> for bool {
    #[inline]
    unsafe fn from_python(_: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: a live object, and constants.
        unsafe {
            if ffi::PyBool_Check(value) == 0 {
                return Err(Refusal::Type("a boolean"));
            }
            Ok(value == ffi::Py_True())
        }
    }
}

/// An enum of the schemas.
pub(crate) trait Symbol: FromStr + Copy + 'static {
    const ALL: &'static [Self];
    fn symbol(self) -> &'static str;
}

/// # Safety
///
/// As [`FromPython::from_python`].
#[inline]
pub(crate) unsafe fn symbol<S: Symbol>(value: *mut ffi::PyObject) -> Result<S, Refusal> {
    // SAFETY: as promised.
    let text = unsafe { text(value) }.map_err(|refusal| match refusal {
        Refusal::Type(_) => Refusal::Type("an enum symbol"),
        other => other,
    })?;
    parse_symbol(text)
}

/// The enum symbol of a text.
pub(crate) fn parse_symbol<S: Symbol>(text: &str) -> Result<S, Refusal> {
    text.parse().map_err(|_| {
        let symbols: Vec<_> = S::ALL.iter().map(|one| one.symbol()).collect();
        Refusal::Value(format!("must be one of {}", symbols.join(", ")).into())
    })
}

/// The name of an object's type.
///
/// # Safety
///
/// As [`FromPython::from_python`].
pub(crate) unsafe fn type_name(py: Python<'_>, value: *mut ffi::PyObject) -> String {
    // SAFETY: a live object.
    let value = unsafe { Bound::from_borrowed_ptr(py, value) };
    let name = value.get_type().qualname();
    name.map_or_else(|_| "another type".to_owned(), |name| name.to_string())
}

/// The refusal of an item in a collection.
///
/// # Safety
///
/// As [`FromPython::from_python`].
unsafe fn item(
    py: Python<'_>,
    place: String,
    value: *mut ffi::PyObject,
    refusal: Refusal,
) -> Refusal {
    match refusal {
        Refusal::Type(expected) => Refusal::Item {
            place,
            expected,
            // SAFETY: as the caller guarantees.
            got: unsafe { type_name(py, value) },
        },
        Refusal::Value(why) => Refusal::Value(format!("{place} {why}").into()),
        other => other,
    }
}

/// The items of a list or a tuple.
///
/// # Safety
///
/// As [`FromPython::from_python`].
unsafe fn items<'p>(
    value: *mut ffi::PyObject,
    expected: &'static str,
) -> Result<impl ExactSizeIterator<Item = *mut ffi::PyObject> + 'p, Refusal> {
    // SAFETY: a live object, whose type is checked before use. Its items stay alive while no Python
    // code runs, and none runs before the event is encoded.
    unsafe {
        let is_list = ffi::PyList_Check(value) != 0;
        if !is_list && ffi::PyTuple_Check(value) == 0 {
            return Err(Refusal::Type(expected));
        }
        let len = if is_list {
            ffi::PyList_Size(value)
        } else {
            ffi::PyTuple_Size(value)
        };
        Ok((0..len as usize).map(move |index| {
            if is_list {
                ffi::PyList_GetItem(value, index as isize)
            } else {
                ffi::PyTuple_GetItem(value, index as isize)
            }
        }))
    }
}

impl<'p> FromPython<'p> for List<'p, Cow<'p, str>> {
    unsafe fn from_python(py: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        unsafe { items(value, "an array") }?
            .enumerate()
            .map(|(index, value)| {
                // SAFETY: an item of the live list.
                unsafe {
                    text(value).map_err(|refusal| item(py, format!("[{index}]"), value, refusal))
                }
            })
            .collect()
    }
}

impl<'p> FromPython<'p> for List<'p, ColumnLineage<'p>> {
    unsafe fn from_python(py: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: as the caller guarantees.
        let columns = unsafe { items(value, "an array of records") }?;
        let columns: Result<Vec<_>, Refusal> = columns
            .enumerate()
            .map(|(index, value)| {
                // SAFETY: an item of the live list.
                unsafe { column(py, index, value) }
            })
            .collect();
        columns.map(List::from)
    }
}

/// One column, from the Python tuple `ColumnLineage`.
///
/// # Safety
///
/// As [`FromPython::from_python`].
unsafe fn column<'p>(
    py: Python<'p>,
    index: usize,
    value: *mut ffi::PyObject,
) -> Result<ColumnLineage<'p>, Refusal> {
    const NAMES: [&str; 3] = ["source_column", "target_column", "transformation"];
    // SAFETY: a live object; the length is checked before an item is read.
    unsafe {
        // Anything else may be a mapping, which `_coerce` converts.
        if ffi::PyTuple_Check(value) == 0 || ffi::PyTuple_Size(value) != 3 {
            return Err(Refusal::Type("an array of records"));
        }
        let field = |number: usize| ffi::PyTuple_GetItem(value, number as isize);
        let refused = |number: usize, refusal| {
            let place = format!("[{index}].{}", NAMES[number]);
            item(py, place, field(number), refusal)
        };
        Ok(ColumnLineage {
            source_column: FromPython::from_python(py, field(0)).map_err(|it| refused(0, it))?,
            target_column: FromPython::from_python(py, field(1)).map_err(|it| refused(1, it))?,
            transformation: FromPython::from_python(py, field(2)).map_err(|it| refused(2, it))?,
        })
    }
}

impl<'p> FromPython<'p> for StringMap<'p> {
    unsafe fn from_python(py: Python<'p>, value: *mut ffi::PyObject) -> Result<Self, Refusal> {
        // SAFETY: a live object, used as a dict only if it is one. Its keys and values stay alive
        // while no Python code runs.
        unsafe {
            if ffi::PyDict_Check(value) == 0 {
                return Err(Refusal::Type("a map"));
            }
            let mut entries = Vec::with_capacity(ffi::PyDict_Size(value) as usize);
            let (mut place, mut key, mut item_value) =
                (0, std::ptr::null_mut(), std::ptr::null_mut());
            while ffi::PyDict_Next(value, &mut place, &mut key, &mut item_value) != 0 {
                let index = entries.len();
                // The key may be as secret as the value.
                let name = text(key)
                    .map_err(|refusal| item(py, format!("[{index}]'s key"), key, refusal))?;
                let text = text(item_value)
                    .map_err(|refusal| item(py, format!("[{index}]"), item_value, refusal))?;
                entries.push((name, text));
            }
            Ok(entries.into_iter().collect())
        }
    }
}

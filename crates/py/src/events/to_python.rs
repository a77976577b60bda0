//! Converts fields to Python objects.

use std::borrow::Cow;

use carbon_events::events::{ColumnLineage, HashedText};
use carbon_events::{EventId, List, StringMap};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

/// Converts a value to a Python object.
pub(crate) trait ToPython {
    /// Returns a new reference, or null with an exception set.
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject;
}

/// Converts a result for the C API: a new reference, or null with an exception set.
pub(crate) fn raw(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> *mut ffi::PyObject {
    match result {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

impl ToPython for str {
    #[inline]
    fn to_python(&self, _: Python<'_>) -> *mut ffi::PyObject {
        // SAFETY: text of that length, which is copied.
        unsafe { ffi::PyUnicode_FromStringAndSize(self.as_ptr().cast(), self.len() as isize) }
    }
}

impl ToPython for Cow<'_, str> {
    #[inline]
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        str::to_python(self, py)
    }
}

impl ToPython for HashedText<'_> {
    #[inline]
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        str::to_python(self, py)
    }
}

impl ToPython for EventId<'_> {
    #[inline]
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        self.as_str().to_python(py)
    }
}

impl ToPython for i64 {
    #[inline]
    fn to_python(&self, _: Python<'_>) -> *mut ffi::PyObject {
        // SAFETY: no argument that could be wrong.
        unsafe { ffi::PyLong_FromLongLong(*self) }
    }
}

impl ToPython for i32 {
    #[inline]
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        i64::from(*self).to_python(py)
    }
}

impl ToPython for f64 {
    #[inline]
    fn to_python(&self, _: Python<'_>) -> *mut ffi::PyObject {
        // SAFETY: no argument that could be wrong.
        unsafe { ffi::PyFloat_FromDouble(*self) }
    }
}

impl ToPython for bool {
    #[inline]
    fn to_python(&self, _: Python<'_>) -> *mut ffi::PyObject {
        // SAFETY: no argument that could be wrong.
        unsafe { ffi::PyBool_FromLong((*self).into()) }
    }
}

impl<T: ToPython> ToPython for Option<T> {
    #[inline]
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        match self {
            Some(value) => value.to_python(py),
            None => py.None().into_ptr(),
        }
    }
}

impl ToPython for List<'_, Cow<'_, str>> {
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        let tuple = PyTuple::new(py, self.iter().map(|text| PyString::new(py, text)));
        raw(py, tuple.map(Bound::into_any))
    }
}

impl ToPython for StringMap<'_> {
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        let dict = PyDict::new(py);
        for (key, value) in self.iter() {
            if let Err(error) = dict.set_item(key, value) {
                return raw(py, Err(error));
            }
        }
        dict.into_ptr()
    }
}

impl ToPython for List<'_, ColumnLineage<'_>> {
    fn to_python(&self, py: Python<'_>) -> *mut ffi::PyObject {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let columns = || {
            let class = CLASS.import(py, "carbon_events._types", "ColumnLineage")?;
            let columns: PyResult<Vec<_>> = self
                .iter()
                .map(|it| {
                    class.call1((
                        it.source_column.as_ref(),
                        it.target_column.as_ref(),
                        it.transformation.as_deref(),
                    ))
                })
                .collect();
            PyTuple::new(py, columns?).map(Bound::into_any)
        };
        raw(py, columns())
    }
}

/// The members of a Python enum, in the schema's order.
pub(crate) type Members = PyOnceLock<Vec<Py<PyAny>>>;

/// A member of a Python enum.
pub(crate) fn member(
    py: Python<'_>,
    members: &'static Members,
    class: &str,
    index: usize,
) -> *mut ffi::PyObject {
    let found = members.get_or_try_init(py, || {
        let class = py.import("carbon_events._types")?.getattr(class)?;
        class.try_iter()?.map(|one| Ok(one?.unbind())).collect()
    });
    let member = found.map(|members: &Vec<Py<PyAny>>| members[index].bind(py).clone());
    raw(py, member)
}

/// Converts the enums of the schemas from and to Python's.
macro_rules! enums {
    ($($name:ident)*) => {$(
        impl $crate::events::from_python::Symbol for core::$name {
            const ALL: &'static [Self] = core::$name::ALL;

            fn symbol(self) -> &'static str {
                self.as_str()
            }
        }

        impl<'p> $crate::events::from_python::FromPython<'p> for core::$name {
            #[inline]
            unsafe fn from_python(
                _: pyo3::Python<'p>,
                value: *mut pyo3::ffi::PyObject,
            ) -> Result<Self, $crate::events::from_python::Refusal> {
                // SAFETY: as the trait's caller guarantees.
                unsafe { $crate::events::from_python::symbol(value) }
            }
        }

        impl<'a> $crate::events::from_arrow::FromArrow<'a> for core::$name {
            fn from_arrow(
                column: &$crate::events::from_arrow::Column<'a>,
                row: usize,
            ) -> Result<Self, $crate::events::from_python::Refusal> {
                $crate::events::from_arrow::symbol(column, row)
            }
        }

        impl $crate::events::to_python::ToPython for core::$name {
            #[inline]
            fn to_python(&self, py: pyo3::Python<'_>) -> *mut pyo3::ffi::PyObject {
                static MEMBERS: $crate::events::to_python::Members =
                    pyo3::sync::PyOnceLock::new();
                $crate::events::to_python::member(
                    py, &MEMBERS, stringify!($name), *self as usize,
                )
            }
        }
    )*};
}
pub(crate) use enums;

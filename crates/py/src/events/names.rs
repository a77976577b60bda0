//! Matches keywords with fields, first by the address of their interned names.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::arguments::{MAX_FIELDS, Slots};

/// The interned names of a signature. A keyword in the caller's code is the same object.
pub(crate) struct Names(Vec<Py<PyString>>);

impl Names {
    pub(crate) fn new(py: Python<'_>, names: impl IntoIterator<Item = &'static str>) -> Self {
        let names: Vec<_> = names
            .into_iter()
            .map(|name| PyString::intern(py, name).unbind())
            .collect();
        assert!(names.len() <= MAX_FIELDS, "a record outgrew the slots");
        Names(names)
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>, index: usize) -> &Bound<'py, PyString> {
        self.0[index].bind(py)
    }

    /// The index of a keyword. `hint` is the index if the caller keeps the signature's order.
    #[inline]
    pub(crate) fn find(
        &self,
        py: Python<'_>,
        name: *mut ffi::PyObject,
        hint: usize,
    ) -> Option<usize> {
        if self.0.get(hint).is_some_and(|known| known.as_ptr() == name) {
            return Some(hint);
        }
        let same = self.0.iter().position(|known| known.as_ptr() == name);
        same.or_else(|| self.find_equal(py, name))
    }

    /// Finds a name that was created at run time: it is another object.
    #[cold]
    fn find_equal(&self, py: Python<'_>, name: *mut ffi::PyObject) -> Option<usize> {
        // SAFETY: a key of the caller's keywords, alive during the call.
        let name = unsafe { Bound::from_borrowed_ptr(py, name) };
        let equal = |known: &Py<PyString>| known.bind(py).as_any().eq(&name).unwrap_or(false);
        self.0.iter().position(equal)
    }

    /// Fills the slots from a dict of keywords. Fails with the first unknown name.
    ///
    /// # Safety
    ///
    /// `keywords` is null or a live dict.
    pub(crate) unsafe fn fill_from_dict(
        &self,
        py: Python<'_>,
        keywords: *mut ffi::PyObject,
        slots: &mut Slots,
    ) -> Result<(), *mut ffi::PyObject> {
        if keywords.is_null() {
            return Ok(());
        }
        let (mut place, mut hint) = (0, super::arguments::ENVELOPE.len());
        let (mut name, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a live dict, which does not change meanwhile.
        while unsafe { ffi::PyDict_Next(keywords, &mut place, &mut name, &mut value) } != 0 {
            let index = self.find(py, name, hint).ok_or(name)?;
            slots[index] = value;
            hint = index + 1;
        }
        Ok(())
    }

    /// Fills the slots from the keywords of a vectorcall without positional arguments. Fails with the
    /// first unknown name.
    ///
    /// # Safety
    ///
    /// `arguments` are the values of the names in `keywords`, a tuple or null.
    #[inline]
    pub(crate) unsafe fn fill_from_keywords(
        &self,
        py: Python<'_>,
        arguments: *const *mut ffi::PyObject,
        keywords: *mut ffi::PyObject,
        slots: &mut Slots,
    ) -> Result<(), *mut ffi::PyObject> {
        if keywords.is_null() {
            return Ok(());
        }
        // SAFETY: a tuple of names.
        let named = unsafe { ffi::PyTuple_Size(keywords) } as usize;
        let mut hint = super::arguments::ENVELOPE.len();
        for number in 0..named {
            // SAFETY: within the tuple, and its value beside it.
            let (name, value) = unsafe {
                (
                    ffi::PyTuple_GetItem(keywords, number as isize),
                    *arguments.add(number),
                )
            };
            let index = self.find(py, name, hint).ok_or(name)?;
            slots[index] = value;
            hint = index + 1;
        }
        Ok(())
    }
}

//! Tables through the Arrow PyCapsule interface: `__arrow_c_stream__`.
//!
//! The structures are those of the C data and stream interfaces
//! (<https://arrow.apache.org/docs/format/CDataInterface.html>). Their producer releases them.

use std::ffi::{CStr, c_char, c_int, c_void};

use carbon_events::Delivery;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::events::{Class, Column, Columns};
use crate::producer::Running;

#[repr(C)]
pub(crate) struct ArrowSchema {
    pub(crate) format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    pub(crate) n_children: i64,
    pub(crate) children: *mut *mut ArrowSchema,
    pub(crate) dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

#[repr(C)]
pub(crate) struct ArrowArray {
    pub(crate) length: i64,
    pub(crate) null_count: i64,
    pub(crate) offset: i64,
    n_buffers: i64,
    n_children: i64,
    pub(crate) buffers: *mut *const c_void,
    pub(crate) children: *mut *mut ArrowArray,
    pub(crate) dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArrayStream {
    get_schema: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    private_data: *mut c_void,
}

/// Releases a structure of the interface when dropped.
struct Owned<T: Release>(T);

trait Release {
    fn release(&mut self);
}

macro_rules! release {
    ($($name:ident)*) => {$(
        impl Release for $name {
            fn release(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: a live structure, released once: the callback clears itself.
                    unsafe { release(self) };
                }
            }
        }
    )*};
}
release!(ArrowSchema ArrowArray ArrowArrayStream);

impl<T: Release> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A structure that its producer fills in.
fn empty<T: Release>() -> Owned<T> {
    // SAFETY: null pointers, zero lengths and no callback: what the interface calls released.
    Owned(unsafe { std::mem::zeroed() })
}

/// Sends the rows of a table.
pub(crate) fn send_table(
    table: &Bound<'_, PyAny>,
    class: &Class,
    running: &Running,
) -> PyResult<Vec<Delivery>> {
    let py = table.py();
    let capsule = table.call_method0("__arrow_c_stream__")?;
    // SAFETY: the interface's name; the capsule is held above.
    let stream = unsafe {
        ffi::PyCapsule_GetPointer(capsule.as_ptr(), c"arrow_array_stream".as_ptr())
            .cast::<ArrowArrayStream>()
    };
    if stream.is_null() {
        return Err(PyErr::fetch(py));
    }
    // SAFETY: a live stream, which is ours once the capsule's is marked as released.
    let mut stream = unsafe {
        let mut taken = empty::<ArrowArrayStream>();
        std::ptr::swap(&mut taken.0, stream);
        taken
    };
    let mut schema = empty::<ArrowSchema>();
    stream.ask(|stream| {
        let get = stream.get_schema?;
        // SAFETY: a live stream, and room for a schema.
        Some(unsafe { get(stream, &mut schema.0) })
    })?;
    let mut deliveries = Vec::new();
    loop {
        let mut batch = empty::<ArrowArray>();
        stream.ask(|stream| {
            let get = stream.get_next?;
            // SAFETY: a live stream, and room for an array.
            Some(unsafe { get(stream, &mut batch.0) })
        })?;
        if batch.0.release.is_none() {
            return Ok(deliveries);
        }
        let columns = columns(py, &schema.0, &batch.0, class)?;
        let first = batch.0.offset as usize;
        deliveries.reserve(batch.0.length as usize);
        for row in 0..batch.0.length as usize {
            let index = deliveries.len();
            let sent = class.send_row(py, running, &columns, row + first);
            deliveries.push(sent.map_err(|error| crate::many::at_index(py, error, index))?);
        }
    }
}

impl Owned<ArrowArrayStream> {
    /// Calls the stream. Raises its error message if it fails.
    fn ask(&mut self, work: impl FnOnce(&mut ArrowArrayStream) -> Option<c_int>) -> PyResult<()> {
        match work(&mut self.0) {
            Some(0) => Ok(()),
            _ => {
                let reason = self.0.get_last_error.map(|get| {
                    // SAFETY: a live stream that has just failed.
                    unsafe { get(&mut self.0) }
                });
                let reason = reason.filter(|text| !text.is_null()).map(|text| {
                    // SAFETY: NUL-terminated, and copied before the next call of the stream.
                    unsafe { CStr::from_ptr(text) }
                        .to_string_lossy()
                        .into_owned()
                });
                let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                Err(PyValueError::new_err(format!(
                    "the table cannot be read: {reason}"
                )))
            }
        }
    }
}

/// The columns of a batch, by field.
fn columns<'a>(
    py: Python<'_>,
    schema: &'a ArrowSchema,
    batch: &'a ArrowArray,
    class: &Class,
) -> PyResult<Columns<'a>> {
    let mut columns = Columns::default();
    for index in 0..schema.n_children as usize {
        // SAFETY: schema and array have `n_children` children.
        let (schema, array) =
            unsafe { (&**schema.children.add(index), &**batch.children.add(index)) };
        // SAFETY: NUL-terminated by the interface.
        let name = unsafe { CStr::from_ptr(schema.name) }.to_string_lossy();
        let place = class.place(PyString::new(py, &name).as_any())?;
        // SAFETY: they belong together, and live as long as the batch.
        let column = unsafe { Column::new(schema, array) };
        let column = column.ok_or_else(|| {
            // SAFETY: as above.
            let format = unsafe { CStr::from_ptr(schema.format) }.to_string_lossy();
            PyTypeError::new_err(format!("column {name} has the unsupported format {format}"))
        })?;
        columns[place] = Some(column.checked());
    }
    Ok(columns)
}

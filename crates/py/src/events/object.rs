//! The native classes. They use the stable C API directly, because passing keywords through pyo3 costs
//! more than encoding the event.
//!
//! There is a base class, `Event`, and a final class for each record. An instance holds an
//! [`EncodedEvent`], and the event decoded from it once an attribute was read. Both are immutable.

mod construct;
mod types;

use std::ffi::{CString, c_int, c_void};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use carbon_events::Topic;
use carbon_events::events::{EncodedEvent, Event};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::arguments::{Arguments, Columns, ENVELOPE, MAX_FIELDS, Refused, Row, Slots};
use super::from_python::Refusal;
use super::meta::{COUNT, Meta, add_getter};
use super::names::Names;
use super::records::RECORDS;
use super::spec::{Field, Record};
use super::to_python::ToPython;
use crate::errors;
use types::{make_base, make_class};

#[repr(C)]
struct EventObject {
    head: ffi::PyObject,
    encoded: EncodedEvent,
    /// Borrows from `encoded`, so it is dropped first.
    decoded: OnceLock<Box<Event<'static>>>,
}

impl EventObject {
    fn event(&self) -> carbon_events::Result<&Event<'_>> {
        if let Some(event) = self.decoded.get() {
            return Ok(event);
        }
        let event = Box::new(self.encoded.event()?);
        // SAFETY: the bytes are on the heap, never change, and live as long as this object, and so does
        // every borrow of the event.
        let event = unsafe { std::mem::transmute::<Box<Event<'_>>, Box<Event<'static>>>(event) };
        Ok(self.decoded.get_or_init(|| event))
    }
}

/// A record's class.
pub(crate) struct Class {
    pub(crate) record: &'static Record,
    names: Names,
    class: Py<PyType>,
}

static BASE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static CLASSES: PyOnceLock<Vec<Class>> = PyOnceLock::new();

/// The classes in the order of the topic table. Empty while the module is being created.
fn classes(py: Python<'_>) -> &'static [Class] {
    CLASSES.get(py).map_or(&[], Vec::as_slice)
}

/// Creates the classes and adds them to the module.
pub(super) fn add_classes(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = BASE.get_or_try_init(py, || make_base(py))?.bind(py);
    module.add("Event", base)?;
    let meta = Meta::new(py)?;
    let classes = RECORDS
        .iter()
        .map(|record| make_class(&meta, record, base))
        .collect::<PyResult<Vec<_>>>()?;
    for class in CLASSES.get_or_init(py, || classes) {
        module.add(class.record.name, class.class.bind(py))?;
    }
    Ok(())
}

/// Creates an object from an encoded event.
pub(crate) fn event_object(py: Python<'_>, encoded: EncodedEvent) -> PyResult<Bound<'_, PyAny>> {
    let class = classes(py)[encoded.topic() as usize].class.as_ptr();
    // SAFETY: one of our classes.
    let object = unsafe { allocate(class.cast(), encoded) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }
}

/// The encoded event of an object, if it is an event.
pub(crate) fn encoded_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a EncodedEvent> {
    instance(object).map(|event| &event.encoded)
}

/// The decoded event of an object, if it is an event.
pub(super) fn decoded_of<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<&'a Event<'a>> {
    let event = instance(object).ok_or_else(|| PyTypeError::new_err("not an event"))?;
    event
        .event()
        .map_err(|error| errors::raised(object.py(), &error))
}

fn instance<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a EventObject> {
    let py = object.py();
    let class = object.get_type_ptr();
    let ours = classes(py)
        .iter()
        .any(|one| std::ptr::eq(one.class.as_ptr().cast(), class));
    // SAFETY: an object of one of our classes, which are final, is an `EventObject`.
    ours.then(|| unsafe { &*object.as_ptr().cast::<EventObject>() })
}

/// # Safety
///
/// `class` is one of our classes.
unsafe fn allocate(class: *mut ffi::PyTypeObject, encoded: EncodedEvent) -> *mut ffi::PyObject {
    // SAFETY: a live class; the new object is as large as `EventObject`, and its fields are written
    // without dropping the zeros that are there.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        if !object.is_null() {
            // It holds no Python objects, so the garbage collector need not track it.
            ffi::PyObject_GC_UnTrack(object.cast());
            let event = object.cast::<EventObject>();
            (&raw mut (*event).encoded).write(encoded);
            (&raw mut (*event).decoded).write(OnceLock::new());
        }
        object
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference to an object that `allocate` made; a heap type is held by each of
    // its instances.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let event = object.cast::<EventObject>();
        std::ptr::drop_in_place(&raw mut (*event).decoded);
        std::ptr::drop_in_place(&raw mut (*event).encoded);
        // The garbage collector tracks instances of a heap type; see `allocate`.
        let free = ffi::PyType_GetSlot(class, ffi::Py_tp_free);
        std::mem::transmute::<*mut c_void, ffi::freefunc>(free)(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// Runs a function that Python calls. A panic becomes an exception.
fn guarded<T>(failed: T, work: impl FnOnce(Python<'_>) -> T) -> T {
    // SAFETY: called by the interpreter, whose thread is attached.
    let py = unsafe { Python::assume_attached() };
    catch_unwind(AssertUnwindSafe(|| work(py))).unwrap_or_else(|_| {
        PyRuntimeError::new_err("carbon_events panicked; please report it").restore(py);
        failed
    })
}

unsafe extern "C" fn new(
    class: *mut ffi::PyTypeObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(std::ptr::null_mut(), |py| {
        let found = classes(py)
            .iter()
            .find(|one| std::ptr::eq(one.class.as_ptr().cast(), class));
        let Some(found) = found else {
            PyTypeError::new_err("Event is abstract: create an event of its subclasses")
                .restore(py);
            return std::ptr::null_mut();
        };
        // SAFETY: the tuple that a constructor gets.
        if unsafe { ffi::PyTuple_Size(arguments) } > 0 {
            let message = format!("{}() takes keywords only", found.record.name);
            errors::field_type(py, found.record.name, "", &message).restore(py);
            return std::ptr::null_mut();
        }
        let mut slots: Slots = [std::ptr::null_mut(); MAX_FIELDS];
        // SAFETY: the dict that a constructor gets, or null.
        match unsafe { found.names.fill_from_dict(py, keywords, &mut slots) } {
            Ok(()) => found.make(py, slots),
            Err(name) => {
                // SAFETY: a key of that dict.
                let name = unsafe { Bound::from_borrowed_ptr(py, name) };
                found.unknown(&name).restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

/// Like [`new`], with the keywords on the stack.
unsafe extern "C" fn vectorcall(
    class: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(std::ptr::null_mut(), |py| {
        let found = classes(py).iter().find(|one| one.class.as_ptr() == class);
        let Some(found) = found else {
            PyTypeError::new_err("the class is not ready").restore(py);
            return std::ptr::null_mut();
        };
        if count & COUNT > 0 {
            let message = format!("{}() takes keywords only", found.record.name);
            errors::field_type(py, found.record.name, "", &message).restore(py);
            return std::ptr::null_mut();
        }
        let mut slots: Slots = [std::ptr::null_mut(); MAX_FIELDS];
        // SAFETY: the arguments of a vectorcall.
        match unsafe {
            found
                .names
                .fill_from_keywords(py, arguments, keywords, &mut slots)
        } {
            Ok(()) => found.make(py, slots),
            Err(name) => {
                // SAFETY: a name of that tuple.
                let name = unsafe { Bound::from_borrowed_ptr(py, name) };
                found.unknown(&name).restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

unsafe extern "C" fn get(object: *mut ffi::PyObject, closure: *mut c_void) -> *mut ffi::PyObject {
    guarded(std::ptr::null_mut(), |py| {
        // SAFETY: a getter of an event's class, made with its field as closure.
        let (event, field) = unsafe { (&*object.cast::<EventObject>(), &*closure.cast::<Field>()) };
        match event.event() {
            Ok(event) => (field.get)(py, event),
            Err(error) => {
                errors::raised(py, &error).restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

/// The error of a getter that is called for another record's event, which cannot happen.
#[cold]
pub(crate) fn not_this_record(py: Python<'_>) -> *mut ffi::PyObject {
    PyTypeError::new_err("the event is of another record").restore(py);
    std::ptr::null_mut()
}

unsafe extern "C" fn hash(object: *mut ffi::PyObject) -> ffi::Py_hash_t {
    guarded(-1, |_| {
        // SAFETY: an event, whose class this is a slot of.
        let event = unsafe { &*object.cast::<EventObject>() };
        let mut hasher = std::hash::DefaultHasher::new();
        match event.event() {
            // Equal events have equal ids, but may have different bytes.
            Ok(event) => event.envelope().event_id.as_str().hash(&mut hasher),
            Err(_) => event.encoded.body().hash(&mut hasher),
        }
        match hasher.finish() as ffi::Py_hash_t {
            -1 => -2,
            hash => hash,
        }
    })
}

unsafe extern "C" fn compare(
    one: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    operator: c_int,
) -> *mut ffi::PyObject {
    guarded(std::ptr::null_mut(), |py| {
        // SAFETY: two live objects.
        let (one, other) = unsafe {
            (
                Bound::from_borrowed_ptr(py, one),
                Bound::from_borrowed_ptr(py, other),
            )
        };
        let equal = match (instance(&one), instance(&other)) {
            (Some(one), Some(other)) => {
                one.encoded.topic() == other.encoded.topic()
                    && (one.encoded.body() == other.encoded.body()
                        || matches!((one.event(), other.event()), (Ok(one), Ok(other)) if one == other))
            }
            _ => return py.NotImplemented().into_ptr(),
        };
        match operator {
            ffi::Py_EQ => equal.to_python(py),
            ffi::Py_NE => (!equal).to_python(py),
            _ => py.NotImplemented().into_ptr(),
        }
    })
}

/// The native part of an event class.
pub(crate) fn class_of(class: &Bound<'_, PyAny>) -> PyResult<&'static Class> {
    classes(class.py())
        .iter()
        .find(|one| one.class.as_ptr() == class.as_ptr())
        .ok_or_else(|| PyTypeError::new_err("expected an event class"))
}

/// The topic of an event class.
pub(super) fn topic_of(class: &Bound<'_, PyAny>) -> PyResult<Topic> {
    Ok(class_of(class)?.record.topic)
}

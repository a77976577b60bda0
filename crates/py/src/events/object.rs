//! The native classes: made by hand through the stable C API, because the usual ways of passing
//! keywords to a class cost more than encoding the event.
//!
//! One base class, `Event`, and a final class for each record. An instance is the Python object's
//! head, an [`EncodedEvent`], and the event decoded from it once an attribute was asked for. There
//! is no other state, and none of it changes.

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

use super::arguments::{Arguments, ENVELOPE, MAX_FIELDS, Refused, Row, Slots};
use super::from_arrow::Column;
use super::from_python::Refusal;
use super::meta::{COUNT, Meta, add_getter};
use super::names::Names;
use super::records::RECORDS;
use super::spec::{Field, Record};
use super::to_python::ToPython;
use crate::errors;

#[repr(C)]
struct EventObject {
    head: ffi::PyObject,
    encoded: EncodedEvent,
    /// Borrows from `encoded`, and so is dropped before it.
    decoded: OnceLock<Box<Event<'static>>>,
}

impl EventObject {
    fn event(&self) -> carbon_events::Result<&Event<'_>> {
        if let Some(event) = self.decoded.get() {
            return Ok(event);
        }
        let event = Box::new(self.encoded.event()?);
        // SAFETY: the bytes are on the heap, never change, and live as long as this object, which
        // hands the event out for no longer than that.
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

/// The classes in the order of the topic table; empty while the module is being made.
fn classes(py: Python<'_>) -> &'static [Class] {
    CLASSES.get(py).map_or(&[], Vec::as_slice)
}

/// Makes the classes and adds them to the module.
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

/// A new object of an event.
pub(crate) fn event_object(py: Python<'_>, encoded: EncodedEvent) -> PyResult<Bound<'_, PyAny>> {
    let class = classes(py)[encoded.topic() as usize].class.as_ptr();
    // SAFETY: one of our classes.
    let object = unsafe { allocate(class.cast(), encoded) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }
}

/// The event that an object is, if it is one.
pub(crate) fn encoded_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a EncodedEvent> {
    instance(object).map(|event| &event.encoded)
}

/// The decoded event that an object is, if it is one.
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
    // SAFETY: an object of one of our classes, which nobody can derive from, is an `EventObject`.
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
            // It holds no Python object, so there is nothing to collect.
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
        // A class that `type` made has instances that the collector looks after; see `allocate`.
        let free = ffi::PyType_GetSlot(class, ffi::Py_tp_free);
        std::mem::transmute::<*mut c_void, ffi::freefunc>(free)(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// Runs what Python called; a panic becomes an exception.
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
            PyTypeError::new_err("Event is made by its records' classes").restore(py);
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

/// As [`new`], with the keywords on the stack.
unsafe extern "C" fn vectorcall(
    class: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(std::ptr::null_mut(), |py| {
        let found = classes(py).iter().find(|one| one.class.as_ptr() == class);
        let Some(found) = found else {
            PyTypeError::new_err("the class is not made yet").restore(py);
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

impl Class {
    /// A new object of these values, or null with an exception set.
    #[inline]
    fn make(&self, py: Python<'_>, slots: Slots) -> *mut ffi::PyObject {
        match self.build(py, slots) {
            // SAFETY: one of our classes.
            Ok(encoded) => unsafe { allocate(self.class.as_ptr().cast(), encoded) },
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    }

    /// The event of these values.
    #[inline]
    pub(crate) fn build(&self, py: Python<'_>, slots: Slots) -> PyResult<EncodedEvent> {
        // SAFETY: the caller's objects, alive during its call.
        let mut arguments = unsafe { Arguments::new(py, &slots) };
        match (self.record.build)(&mut arguments) {
            Ok(encoded) => Ok(encoded),
            Err(refused) => self.build_coerced(py, slots, refused),
        }
    }

    /// Once more with a plain value for each that was not of its field's type.
    #[cold]
    fn build_coerced(
        &self,
        py: Python<'_>,
        mut slots: Slots,
        mut refused: Refused,
    ) -> PyResult<EncodedEvent> {
        // Coercing runs Python code, which could let go of the caller's values.
        let given = slots.iter().filter(|value| !value.is_null());
        // SAFETY: live objects, because no code of Python's has run since they were given.
        let _given: Vec<_> = given
            .map(|value| unsafe { Bound::from_borrowed_ptr(py, *value) })
            .collect();
        let mut coerced: Vec<(usize, Bound<'_, PyAny>)> = Vec::new();
        loop {
            let (index, expected) = match refused {
                Refused::Field(index, Refusal::Type(expected)) => (index, expected),
                other => return Err(self.error(py, &slots, other)),
            };
            // SAFETY: a live object of the caller's.
            let value = unsafe { Bound::from_borrowed_ptr(py, slots[index]) };
            let again = coerced.iter().any(|(done, _)| *done == index);
            let plain = if again {
                None
            } else {
                errors::coerce(py, expected, &value).map_err(|error| {
                    let field = self.field_name(py, index);
                    errors::refused_value(py, self.record.name, &field, error)
                })?
            };
            let Some(plain) = plain else {
                return Err(self.error(py, &slots, refused));
            };
            slots[index] = plain.as_ptr();
            coerced.push((index, plain));
            // SAFETY: the caller's objects, and those in `coerced`.
            let mut arguments = unsafe { Arguments::new(py, &slots) };
            match (self.record.build)(&mut arguments) {
                Ok(encoded) => return Ok(encoded),
                Err(next) => refused = next,
            }
        }
    }

    /// The event of a dict of fields.
    pub(crate) fn build_dict(
        &self,
        py: Python<'_>,
        fields: &Bound<'_, PyDict>,
    ) -> PyResult<EncodedEvent> {
        let mut slots: Slots = [std::ptr::null_mut(); MAX_FIELDS];
        // SAFETY: a live dict.
        match unsafe { self.names.fill_from_dict(py, fields.as_ptr(), &mut slots) } {
            Ok(()) => self.build(py, slots),
            Err(name) => {
                // SAFETY: a key of that dict.
                let name = unsafe { Bound::from_borrowed_ptr(py, name) };
                Err(self.unknown(&name))
            }
        }
    }

    /// The event of a row of columns, each with the slot of its field.
    pub(crate) fn build_row(
        &self,
        py: Python<'_>,
        columns: &[(usize, Column<'_>)],
        row: usize,
    ) -> PyResult<EncodedEvent> {
        let mut by_field = [None; MAX_FIELDS];
        for (place, column) in columns {
            by_field[*place] = Some(column);
        }
        let built = (self.record.build_row)(&mut Row::new(&by_field, row));
        built.map_err(|refused| {
            // Which values there are, for the error alone.
            let given = by_field.map(|column| match column {
                Some(_) => py.None().into_ptr(),
                None => std::ptr::null_mut(),
            });
            self.error(py, &given, refused)
        })
    }

    /// The slot of a field.
    pub(crate) fn place(&self, name: &Bound<'_, PyAny>) -> PyResult<usize> {
        let place = self.names.find(name.py(), name.as_ptr(), 0);
        place.ok_or_else(|| self.unknown(name))
    }

    fn field_name(&self, py: Python<'_>, index: usize) -> String {
        self.names.get(py, index).to_string()
    }

    fn unknown(&self, name: &Bound<'_, PyAny>) -> PyErr {
        let event = self.record.name;
        let message = format!("{event}() got an unexpected keyword argument: '{name}'");
        errors::field_type(name.py(), event, &name.to_string(), &message)
    }

    fn error(&self, py: Python<'_>, slots: &Slots, refused: Refused) -> PyErr {
        let event = self.record.name;
        let (index, refusal) = match refused {
            Refused::Event(error) => return errors::raised(py, &error),
            Refused::Field(index, refusal) => (index, refusal),
        };
        let field = self.field_name(py, index);
        match refusal {
            Refusal::Missing => {
                let missing = self.missing(slots);
                let (s, names) = match &missing[..] {
                    [one] => ("", format!("'{one}'")),
                    more => ("s", format!("'{}'", more.join("', '"))),
                };
                let message = format!("{event}() missing required keyword argument{s}: {names}");
                errors::field_type(py, event, missing.first().unwrap_or(&""), &message)
            }
            Refusal::Value(why) => {
                let separator = if why.starts_with('[') { "" } else { " " };
                errors::value(
                    py,
                    event,
                    &field,
                    &format!("{event}.{field}{separator}{why}"),
                )
            }
            Refusal::Type(expected) => {
                // SAFETY: a live object of the caller's.
                let got = unsafe { super::from_python::type_name(py, slots[index]) };
                let message = format!("{event}.{field} must be {expected}, got {got}");
                errors::field_type(py, event, &field, &message)
            }
            Refusal::Item {
                place,
                expected,
                got,
            } => {
                let message = format!("{event}.{field}{place} must be {expected}, got {got}");
                errors::field_type(py, event, &field, &message)
            }
        }
    }

    fn missing(&self, slots: &Slots) -> Vec<&'static str> {
        let own = self.record.fields.iter().zip(&slots[ENVELOPE.len()..]);
        own.filter(|(field, value)| field.required && value.is_null())
            .map(|(field, _)| field.name)
            .collect()
    }
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

/// What a getter of another record's class would give, if there could be one.
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
            // Equal events have equal ids, whatever their bytes.
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

static ENVELOPE_FIELDS: [Field; 8] = [
    envelope_field(
        "event_id",
        "Identifies this event and no other: a UUID.",
        |py, event| event.envelope().event_id.to_python(py),
    ),
    envelope_field("event_type", "The record's name.", |py, event| {
        event.envelope().event_type.to_python(py)
    }),
    envelope_field(
        "timestamp",
        "When it happened: milliseconds since 1970-01-01T00:00:00 UTC.",
        |py, event| event.envelope().timestamp_ms.to_python(py),
    ),
    envelope_field(
        "source",
        "The service that produced the event; empty until a producer fills it.",
        |py, event| event.envelope().source.to_python(py),
    ),
    envelope_field(
        "version",
        "The version of the event's schema.",
        |py, event| event.envelope().version.to_python(py),
    ),
    envelope_field(
        "correlation_id",
        "Shared by all events of one request or workflow.",
        |py, event| event.envelope().correlation_id.to_python(py),
    ),
    envelope_field(
        "causation_id",
        "The event_id of the event that caused this one.",
        |py, event| event.envelope().causation_id.to_python(py),
    ),
    envelope_field("topic", "The topic that it belongs on.", |py, event| {
        event.topic().name().to_python(py)
    }),
];

const fn envelope_field(name: &'static str, doc: &'static str, get: super::spec::Getter) -> Field {
    Field {
        name,
        required: false,
        doc,
        get,
    }
}

/// A C string that lives as long as the process.
fn leaked(text: &str) -> PyResult<*const std::ffi::c_char> {
    Ok(CString::new(text)?.into_raw().cast_const())
}

/// The getters of some fields, as the C API takes them; they live as long as the process.
fn getters(fields: &'static [Field]) -> PyResult<*mut c_void> {
    let mut getters = Vec::with_capacity(fields.len() + 1);
    for field in fields {
        getters.push(ffi::PyGetSetDef {
            name: leaked(field.name)?,
            get: Some(get),
            set: None,
            doc: leaked(field.doc)?,
            closure: std::ptr::from_ref(field).cast_mut().cast(),
        });
    }
    getters.push(ffi::PyGetSetDef::default());
    Ok(getters.leak().as_mut_ptr().cast())
}

fn slot(slot: c_int, value: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc: value }
}

fn make_base(py: Python<'_>) -> PyResult<Py<PyType>> {
    let doc = "What all events have: an immutable record, equal by content, picklable.";
    let slots = vec![
        slot(ffi::Py_tp_doc, leaked(doc)?.cast_mut().cast()),
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_hash, hash as *mut c_void),
        slot(ffi::Py_tp_richcompare, compare as *mut c_void),
        slot(ffi::Py_tp_getset, getters(&ENVELOPE_FIELDS)?),
        slot(0, std::ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"carbon_events.Event".as_ptr(),
        basicsize: size_of::<EventObject>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as _,
        slots: slots.leak().as_mut_ptr(),
    };
    // SAFETY: the specification and what it points to are complete and live on.
    unsafe {
        let made = ffi::PyType_FromSpec(&mut spec);
        let made = Bound::from_owned_ptr_or_err(py, made)?;
        Ok(made.cast_into::<PyType>()?.unbind())
    }
}

/// A class's signature, as `help()` shows it.
fn signature(record: &Record) -> String {
    let (required, others): (Vec<_>, Vec<_>) =
        record.fields.iter().partition(|field| field.required);
    let required = required.iter().map(|field| field.name.to_owned());
    let others = others.iter().map(|field| field.name);
    let optional = others.chain(ENVELOPE).map(|name| format!("{name}=..."));
    let parameters: Vec<_> = required.chain(optional).collect();
    format!("(*, {})", parameters.join(", "))
}

/// A class's documentation, as `help()` shows it.
fn documented(record: &Record) -> String {
    let fields = record.fields.iter();
    let explained: String = fields
        .map(|field| format!("\n    {}: {}", field.name, field.doc))
        .collect();
    format!("{}\n\nFields:{explained}", record.doc)
}

fn make_class(meta: &Meta, record: &'static Record, base: &Bound<'_, PyType>) -> PyResult<Class> {
    let py = base.py();
    let own: Vec<_> = record.fields.iter().map(|field| field.name).collect();
    let attributes = PyDict::new(py);
    attributes.set_item("__module__", "carbon_events")?;
    attributes.set_item("__qualname__", record.name)?;
    attributes.set_item("__doc__", documented(record))?;
    attributes.set_item("__text_signature__", signature(record))?;
    attributes.set_item("__match_args__", PyTuple::new(py, &own)?)?;
    attributes.set_item("TOPIC", record.topic.name())?;
    let class = meta.make(record.name, base, &attributes, vectorcall)?;
    for field in record.fields {
        let closure = std::ptr::from_ref(field).cast_mut().cast();
        add_getter(&class, field.name, field.doc, get, closure)?;
    }
    let names = Names::new(py, ENVELOPE.into_iter().chain(own));
    Ok(Class {
        record,
        names,
        class: class.unbind(),
    })
}

/// What is behind a record's class.
pub(crate) fn class_of(class: &Bound<'_, PyAny>) -> PyResult<&'static Class> {
    classes(class.py())
        .iter()
        .find(|one| one.class.as_ptr() == class.as_ptr())
        .ok_or_else(|| PyTypeError::new_err("this wants the class of a record"))
}

/// The topic of a record's class.
pub(super) fn topic_of(class: &Bound<'_, PyAny>) -> PyResult<Topic> {
    Ok(class_of(class)?.record.topic)
}

//! The fast path of the typed calls of `event_producer.EventProducer`: it sends an event without
//! creating Python objects, if no method of the call's path is patched or overridden and every value
//! has a plain type.
//!
//! Borrows from Python objects (text, the items of a dict) never outlive a point where other Python
//! code may run: JSON is copied into a buffer, and a typed event that has to wait is encoded first.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, Ordering};

use carbon_events::compat::{json, protect_json};
use carbon_events::events::Envelope;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::producer::DropInProducer;
use super::table::{CALLS, Call};
use crate::events::{Arguments, MAX_FIELDS, Slots};

/// The class, with a fast check that its methods are the original ones.
struct Class {
    class: Py<PyAny>,
    /// Its `__dict__`, and the position of each method in it for `PyDict_Next`.
    own: Option<(Py<PyDict>, Vec<ffi::Py_ssize_t>)>,
}

impl Class {
    fn new(class: &Bound<'_, PyAny>, methods: &[(Py<PyString>, Py<PyAny>)]) -> PyResult<Self> {
        let py = class.py();
        // `__dict__` is a read-only view, whose only referent is the dict.
        let view = class.getattr("__dict__")?;
        let shown = py.import("gc")?.call_method1("get_referents", (view,))?;
        let dict = shown.get_item(0).ok().and_then(|it| it.cast_into().ok());
        let own = dict.and_then(|dict: Bound<'_, PyDict>| {
            let places = methods.iter().map(|(name, _)| place_of(&dict, name));
            let places = places.collect::<Option<_>>()?;
            Some((dict.unbind(), places))
        });
        Ok(Class {
            class: class.clone().unbind(),
            own,
        })
    }

    /// Whether a class has the original methods.
    ///
    /// # Safety
    ///
    /// `class` is a live class.
    #[inline]
    unsafe fn has_methods(
        &self,
        class: *mut ffi::PyObject,
        methods: &[(Py<PyString>, Py<PyAny>)],
    ) -> bool {
        if class == self.class.as_ptr()
            && let Some((dict, places)) = &self.own
        {
            // A replaced method keeps its position. If the dict has grown, all methods are looked up.
            let is_there = |(place, (name, method)): (&isize, &(Py<PyString>, Py<PyAny>))| {
                let (mut place, mut key, mut value) =
                    (*place, std::ptr::null_mut(), std::ptr::null_mut());
                // SAFETY: a live dict; `PyDict_Next` checks the position.
                let found =
                    unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut place, &mut key, &mut value) };
                found != 0 && key == name.as_ptr() && value == method.as_ptr()
            };
            if places.iter().zip(methods).all(is_there) {
                return true;
            }
        }
        methods.iter().all(|(name, method)| {
            // SAFETY: a live class; the attribute is only compared.
            unsafe {
                let found = ffi::PyObject_GetAttr(class, name.as_ptr());
                if found.is_null() {
                    ffi::PyErr_Clear();
                    return false;
                }
                ffi::Py_DECREF(found);
                found == method.as_ptr()
            }
        })
    }
}

/// The position at which `PyDict_Next` finds a key.
fn place_of(dict: &Bound<'_, PyDict>, name: &Py<PyString>) -> Option<ffi::Py_ssize_t> {
    let (mut next, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    loop {
        let place = next;
        // SAFETY: a live dict, which nothing changes meanwhile.
        if unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut next, &mut key, &mut value) } == 0 {
            return None;
        }
        if key == name.as_ptr() {
            return Some(place);
        }
    }
}

/// The parts of the Python module `event_producer`.
pub(super) struct Module {
    class: Class,
    /// The original methods of a typed call's path, by name.
    methods: Vec<(Py<PyString>, Py<PyAny>)>,
    /// The attributes that `__init__` sets, in order.
    attributes: [Py<PyString>; Module::ATTRIBUTES],
    /// The positions of `producer` and `source_service` in `attributes`.
    producer: usize,
    source_service: usize,
    /// Counts and logs a rejected event: `(event_producer, topic, error)`.
    refused: Py<PyAny>,
    /// The type of a typed event's JSON.
    pub(super) typed_json: Py<PyAny>,
    /// The types of protected JSON.
    pub(super) protected: Py<PyAny>,
    /// The delivery callback that only counts.
    pub(super) delivery_callback: Py<PyAny>,
    /// These call the callbacks of a record, of a client error, and of a log line.
    pub(super) report: Py<PyAny>,
    pub(super) client_error: Py<PyAny>,
    pub(super) log_line: Py<PyAny>,
}

impl Module {
    /// The number of attributes that `__init__` sets.
    const ATTRIBUTES: usize = 6;
}

static MODULE: AtomicPtr<Module> = AtomicPtr::new(std::ptr::null_mut());

/// The Python module, once it is imported.
#[inline]
pub(super) fn module(_: Python<'_>) -> Option<&'static Module> {
    let found = MODULE.load(Ordering::Acquire);
    // SAFETY: null, or an allocation that is never freed.
    unsafe { found.as_ref() }
}

/// The producer and the source of an object, if its call can take the fast path.
///
/// # Safety
///
/// `object` is a live object. The source is borrowed from it until Python code runs.
#[inline]
unsafe fn target<'p>(
    py: Python<'p>,
    object: *mut ffi::PyObject,
    module: &Module,
) -> Option<(Bound<'p, DropInProducer>, &'p str)> {
    // SAFETY: a live object; values are borrowed from its dict, which the object keeps alive.
    unsafe {
        if !module
            .class
            .has_methods(ffi::Py_TYPE(object).cast(), &module.methods)
        {
            return None;
        }
        let dict = ffi::PyObject_GenericGetDict(object, std::ptr::null_mut());
        let Some(dict) = Bound::from_owned_ptr_or_opt(py, dict) else {
            ffi::PyErr_Clear();
            return None;
        };
        let (producer, source) = attributes(dict.as_ptr(), module)?;
        let producer = Bound::from_borrowed_ptr(py, producer)
            .cast_into_exact::<DropInProducer>()
            .ok()?;
        Some((producer, text(source)?))
    }
}

/// The attributes `producer` and `source_service` of an object. `None` if an attribute hides a method.
///
/// # Safety
///
/// `dict` is a live dict.
#[inline]
unsafe fn attributes(
    dict: *mut ffi::PyObject,
    module: &Module,
) -> Option<(*mut ffi::PyObject, *mut ffi::PyObject)> {
    // SAFETY: a live dict, which does not change meanwhile, because no Python code runs.
    unsafe {
        // After `__init__` the dict holds the same name objects in the same order. Comparing all of
        // them is faster than one look-up.
        let own = &module.attributes;
        let (mut place, mut name, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        let mut values = [std::ptr::null_mut(); Module::ATTRIBUTES];
        if ffi::PyDict_Size(dict) as usize == own.len() {
            let mut known = 0;
            while ffi::PyDict_Next(dict, &mut place, &mut name, &mut value) != 0
                && name == own[known].as_ptr()
            {
                values[known] = value;
                known += 1;
            }
            if known == own.len() {
                return Some((values[module.producer], values[module.source_service]));
            }
        }
        let get = |name: &Py<PyString>| ffi::PyDict_GetItem(dict, name.as_ptr());
        if module.methods.iter().any(|(name, _)| !get(name).is_null()) {
            return None;
        }
        let producer = get(&own[module.producer]);
        let source = get(&own[module.source_service]);
        (!producer.is_null() && !source.is_null()).then_some((producer, source))
    }
}

/// The characters of a str without lone surrogates.
///
/// # Safety
///
/// `value` is a live object; the text is borrowed from it.
#[inline]
unsafe fn text<'p>(value: *mut ffi::PyObject) -> Option<&'p str> {
    // SAFETY: a live object; CPython gives UTF-8 of that length, kept in the object.
    unsafe {
        if ffi::PyUnicode_Check(value) == 0 {
            return None;
        }
        let mut len = 0;
        let bytes = ffi::PyUnicode_AsUTF8AndSize(value, &mut len);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), len as usize);
        Some(std::str::from_utf8_unchecked(bytes))
    }
}

/// Appends a value as `json.dumps` does. Returns `None` for one that `json.dumps` must write or reject.
///
/// # Safety
///
/// `value` is a live object.
#[inline]
unsafe fn push_value(out: &mut Vec<u8>, value: *mut ffi::PyObject) -> Option<()> {
    // SAFETY: a live object, whose type is checked before use. A subclass is written as its base type,
    // as `json` does.
    unsafe {
        if ffi::PyUnicode_Check(value) != 0 {
            json::push_text(out, text(value)?);
        } else if value == ffi::Py_None() {
            json::push_null(out);
        } else if ffi::PyBool_Check(value) != 0 {
            json::push_boolean(out, value == ffi::Py_True());
        } else if ffi::PyLong_Check(value) != 0 {
            let mut overflow = 0;
            let number = ffi::PyLong_AsLongLongAndOverflow(value, &mut overflow);
            if overflow != 0 {
                return None;
            }
            json::push_integer(out, number);
        } else if ffi::PyFloat_Check(value) != 0 {
            json::push_float(out, ffi::PyFloat_AsDouble(value));
        } else {
            return None;
        }
    }
    Some(())
}

/// Like [`push_value`], and accepts a dict of plain values.
///
/// # Safety
///
/// Like [`push_value`].
#[inline]
unsafe fn push_member(out: &mut Vec<u8>, value: *mut ffi::PyObject) -> Option<()> {
    // SAFETY: a live object, used as a dict only if its type is exactly dict. It does not change
    // meanwhile, because no Python code runs.
    unsafe {
        if ffi::PyDict_CheckExact(value) == 0 {
            return push_value(out, value);
        }
        out.push(b'{');
        let (mut place, mut name, mut item) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        let mut is_first = true;
        while ffi::PyDict_Next(value, &mut place, &mut name, &mut item) != 0 {
            if !std::mem::take(&mut is_first) {
                out.extend_from_slice(json::NEXT);
            }
            json::push_text(out, text(name)?);
            out.extend_from_slice(json::IS);
            push_value(out, item)?;
        }
        out.push(b'}');
    }
    Some(())
}

/// Appends the JSON of a call's event.
///
/// # Safety
///
/// `values` are live objects, one for each parameter.
#[inline]
unsafe fn push_event(
    out: &mut Vec<u8>,
    call: &Call,
    source: &str,
    values: &[*mut ffi::PyObject],
) -> Option<()> {
    let envelope = Envelope::new(call.record());
    out.extend_from_slice(br#"{"eventId": ""#);
    out.extend_from_slice(envelope.event_id.as_str().as_bytes());
    out.extend_from_slice(br#"", "eventType": ""#);
    out.extend_from_slice(envelope.event_type.as_bytes());
    out.extend_from_slice(br#"", "timestamp": "#);
    json::push_integer(out, envelope.timestamp_ms);
    out.extend_from_slice(br#", "source": "#);
    json::push_text(out, source);
    out.extend_from_slice(br#", "version": ""#);
    out.extend_from_slice(envelope.version.as_bytes());
    out.push(b'"');
    for (name, parameter) in call.members {
        out.extend_from_slice(br#", ""#);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(br#"": "#);
        // SAFETY: live objects.
        unsafe { push_member(out, values[*parameter]) }?;
    }
    out.push(b'}');
    Some(())
}

/// Lends this thread's buffer. A nested call, for example in a signal handler, gets a new one.
fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    /// A larger buffer is freed after use.
    const KEPT_BYTES: usize = 64 << 10;
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let outcome = work(&mut buffer);
    if buffer.capacity() <= KEPT_BYTES {
        // Fails if the thread is ending; the buffer is freed then.
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    outcome
}

/// Sends the event of a call. Returns `false` if the Python path has to send it.
///
/// # Safety
///
/// `object` and `values` are live objects.
#[inline]
unsafe fn send(
    py: Python<'_>,
    call: &Call,
    object: *mut ffi::PyObject,
    values: &[*mut ffi::PyObject],
) -> PyResult<bool> {
    let Some(module) = module(py) else {
        return Ok(false);
    };
    // SAFETY: live objects.
    let Some((producer, source)) = (unsafe { target(py, object, module) }) else {
        return Ok(false);
    };
    let producer = producer.get();
    let sent = if producer.calls_back() {
        Ok(false)
    } else if producer.writes_json() {
        with_buffer(|buffer| {
            // SAFETY: live objects, and no borrow of them outlives this block.
            let key_len = unsafe {
                let Some(key) = text(values[0]) else {
                    return Ok(false);
                };
                buffer.extend_from_slice(key.as_bytes());
                let key_len = key.len();
                if push_event(buffer, call, source, values).is_none() {
                    return Ok(false);
                }
                key_len
            };
            let (key, json) = buffer.split_at(key_len);
            // SAFETY: the caller's objects.
            let has_members = |value: &*mut ffi::PyObject| unsafe {
                ffi::PyDict_Check(*value) != 0 && ffi::PyDict_Size(*value) > 0
            };
            // A nested object may be another record with sensitive fields.
            let json = if values.iter().any(has_members) {
                protect_json(call.topic.name(), "", json)
            } else {
                Cow::Borrowed(json)
            };
            let send = |core: &carbon_events::EventProducer| {
                core.event_json(call.topic, &json).key(key).submit()
            };
            producer.send(py, send).map(|_| true)
        })
    } else {
        let mut slots: Slots = [std::ptr::null_mut(); MAX_FIELDS];
        slots[..values.len()].copy_from_slice(values);
        // SAFETY: the caller's objects, alive during its call.
        let mut arguments = unsafe { Arguments::new(py, &slots) };
        let mut send = |event: &dyn super::table::Sending| producer.send_borrowed(py, event);
        match (call.send)(&mut arguments, source, &mut send) {
            Ok(sent) => sent.map(|()| true),
            Err(_) => Ok(false),
        }
    };
    // SAFETY: a live object.
    sent.map_err(|error| unsafe { refused(py, module, object, call, error) })
}

/// Counts and logs a rejected event. Returns the error to raise.
///
/// # Safety
///
/// `object` is a live object.
#[cold]
unsafe fn refused(
    py: Python<'_>,
    module: &Module,
    object: *mut ffi::PyObject,
    call: &Call,
    error: PyErr,
) -> PyErr {
    // SAFETY: as promised.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    let logged = module
        .refused
        .call1(py, (object, call.topic.name(), error.value(py)));
    logged.map_or_else(|other| other, |_| error)
}

/// # Safety
///
/// Arguments as `METH_FASTCALL` gives them.
unsafe extern "C" fn call<const NUMBER: usize>(
    _: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: isize,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter.
    let py = unsafe { Python::assume_attached() };
    let work = || {
        // SAFETY: `count` live objects.
        let arguments = unsafe { std::slice::from_raw_parts(arguments, count as usize) };
        let call = &CALLS[NUMBER];
        match arguments {
            [object, values @ ..] if values.len() == call.parameters => {
                // SAFETY: live objects.
                unsafe { send(py, call, *object, values) }
            }
            _ => Ok(false),
        }
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let panicked = |_| {
        let message = "carbon_events panicked; please report it";
        Err(pyo3::exceptions::PyRuntimeError::new_err(message))
    };
    match outcome.unwrap_or_else(panicked) {
        Ok(sent) => pyo3::types::PyBool::new(py, sent).to_owned().into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// Registers the parts of the Python module `event_producer`: the producer class, the methods of a typed
/// call's path, the attributes that `__init__` sets, the types of JSON, and the functions that call
/// callbacks.
#[pyfunction]
fn install_drop_in(
    class: &Bound<'_, PyAny>,
    methods: Vec<String>,
    attributes: [String; Module::ATTRIBUTES],
    typed_json: Py<PyAny>,
    protected: Py<PyAny>,
    reports: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = class.py();
    let method = |name: String| {
        let method = class.getattr(&*name)?;
        PyResult::Ok((PyString::intern(py, &name).unbind(), method.unbind()))
    };
    let place = |name: &str| {
        let found = attributes.iter().position(|one| one == name);
        found.ok_or_else(|| pyo3::exceptions::PyValueError::new_err("an attribute is missing"))
    };
    let methods = methods
        .into_iter()
        .map(method)
        .collect::<PyResult<Vec<_>>>()?;
    let module = Module {
        class: Class::new(class, &methods)?,
        methods,
        producer: place("producer")?,
        source_service: place("source_service")?,
        attributes: attributes
            .each_ref()
            .map(|name| PyString::intern(py, name).unbind()),
        refused: class.getattr("_refused")?.unbind(),
        typed_json,
        protected,
        delivery_callback: class.getattr("_delivery_callback")?.unbind(),
        report: reports.getattr("report")?.unbind(),
        client_error: reports.getattr("client_error")?.unbind(),
        log_line: reports.getattr("log_line")?.unbind(),
    };
    // Reloading the module leaks the former one, because a call may be using it.
    MODULE.store(Box::into_raw(Box::new(module)), Ordering::Release);
    Ok(())
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let functions: [ffi::PyCFunctionFast; 4] = [call::<0>, call::<1>, call::<2>, call::<3>];
    for (one, function) in CALLS.iter().zip(functions) {
        let definition = ffi::PyMethodDef {
            ml_name: one.name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFast: function,
            },
            ml_flags: ffi::METH_FASTCALL,
            ml_doc: std::ptr::null(),
        };
        let definition = Box::leak(Box::new(definition));
        // SAFETY: a definition that lives as long as the process.
        let function = unsafe {
            let function =
                ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, function)?
        };
        module.add(&*one.name.to_string_lossy(), function)?;
    }
    module.add_function(wrap_pyfunction!(install_drop_in, module)?)
}

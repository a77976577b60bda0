//! The typed calls of `event_producer.EventProducer`, as methods of its native base class: called
//! by vectorcall, with the event made and sent before any Python object is.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::producer::DropInProducer;
use super::table::{CALLS, Sending};
use crate::errors;
use crate::events::{Arguments, MAX_FIELDS, Names, Slots};

/// The base class of `event_producer.EventProducer`.
#[pyclass(frozen, subclass, module = "carbon_events._native")]
pub(crate) struct DropInBase;

#[pymethods]
impl DropInBase {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        DropInBase
    }
}

/// What `event_producer` has in Python, to tell whether it is patched and to go on in.
struct Python_ {
    produce: Py<PyAny>,
    create_base_event: Py<PyAny>,
    calls: Vec<Py<PyAny>>,
}

static PYTHON: PyOnceLock<Python_> = PyOnceLock::new();
static NAMES: PyOnceLock<Vec<Names>> = PyOnceLock::new();
static ATTRIBUTES: PyOnceLock<Attributes> = PyOnceLock::new();

struct Attributes {
    producer: Py<PyString>,
    source_service: Py<PyString>,
    produce: Py<PyString>,
    create_base_event: Py<PyString>,
}

impl Attributes {
    fn get(py: Python<'_>) -> &'static Self {
        let intern = |text| PyString::intern(py, text).unbind();
        ATTRIBUTES.get_or_init(py, || Attributes {
            producer: intern("producer"),
            source_service: intern("source_service"),
            produce: intern("produce"),
            create_base_event: intern("_create_base_event"),
        })
    }
}

/// The producer and the source of an object whose call can be taken at once: nothing that the call
/// would go through in Python is patched or overridden.
///
/// # Safety
///
/// `object` is a live instance of [`DropInBase`].
#[inline]
unsafe fn target<'p>(
    py: Python<'p>,
    object: &Bound<'p, PyAny>,
    python: &Python_,
) -> Option<(Bound<'p, DropInProducer>, &'p str)> {
    let names = Attributes::get(py);
    // SAFETY: a live object; what the dict holds is borrowed while the dict is.
    unsafe {
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        let Some(dict) = Bound::from_owned_ptr_or_opt(py, dict) else {
            ffi::PyErr_Clear();
            return None;
        };
        let own = |name: &Py<PyString>| ffi::PyDict_GetItem(dict.as_ptr(), name.as_ptr());
        if !own(&names.produce).is_null() || !own(&names.create_base_event).is_null() {
            return None;
        }
        let class = object.get_type_ptr().cast::<ffi::PyObject>();
        let same = |name: &Py<PyString>, original: &Py<PyAny>| {
            let found = ffi::PyObject_GetAttr(class, name.as_ptr());
            if found.is_null() {
                ffi::PyErr_Clear();
                return false;
            }
            ffi::Py_DECREF(found);
            found == original.as_ptr()
        };
        if !same(&names.produce, &python.produce)
            || !same(&names.create_base_event, &python.create_base_event)
        {
            return None;
        }
        let producer = own(&names.producer);
        let source = own(&names.source_service);
        if producer.is_null() || source.is_null() {
            return None;
        }
        let producer = Bound::from_borrowed_ptr(py, producer)
            .cast_into_exact::<DropInProducer>()
            .ok()?;
        let mut len = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(source, &mut len);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        // The attribute is not changed before the call is over: no code of Python's runs until then.
        let text = std::slice::from_raw_parts(text.cast::<u8>(), len as usize);
        Some((producer, std::str::from_utf8_unchecked(text)))
    }
}

/// # Safety
///
/// Arguments as `METH_FASTCALL | METH_KEYWORDS` gives them.
unsafe extern "C" fn call<const NUMBER: usize>(
    object: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: isize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with a live object of the class.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: as above.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    let work = || {
        // SAFETY: the interpreter's arguments.
        let taken = unsafe { take::<NUMBER>(py, &object, arguments, count, keywords) }?;
        if taken {
            return Ok(py.None());
        }
        // SAFETY: the interpreter's arguments.
        unsafe { in_python(py, NUMBER, &object, arguments, count, keywords) }
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let panicked = |_| {
        let message = "carbon_events panicked; please report it";
        Err(pyo3::exceptions::PyRuntimeError::new_err(message))
    };
    match outcome.unwrap_or_else(panicked) {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// Makes and sends the event, if nothing stands in the way; whether it did.
///
/// # Safety
///
/// As [`call`].
#[inline]
unsafe fn take<const NUMBER: usize>(
    py: Python<'_>,
    object: &Bound<'_, PyAny>,
    arguments: *const *mut ffi::PyObject,
    count: isize,
    keywords: *mut ffi::PyObject,
) -> PyResult<bool> {
    let (Some(python), Some(names)) = (PYTHON.get(py), NAMES.get(py)) else {
        return Ok(false);
    };
    // SAFETY: an instance of the class.
    let Some((producer, source)) = (unsafe { target(py, object, python) }) else {
        return Ok(false);
    };
    let mut slots: Slots = [std::ptr::null_mut(); MAX_FIELDS];
    // SAFETY: the interpreter's arguments.
    let fits = unsafe { names[NUMBER].fill_from_call(py, arguments, count, keywords, &mut slots) };
    if fits.is_none() {
        return Ok(false);
    }
    // SAFETY: the caller's objects, alive during its call.
    let mut values = unsafe { Arguments::new(py, &slots) };
    let producer = producer.get();
    let mut send = |event: &dyn Sending| producer.send_hot(py, |core| event.send(core));
    match (CALLS[NUMBER].send)(&mut values, source, &mut send) {
        Ok(sent) => match sent? {
            Ok(()) => Ok(true),
            // As JSON it leaves as it did before there was anything to check it.
            Err(_) if producer.writes_json() => Ok(false),
            Err(error) => Err(errors::raised(py, &error)),
        },
        Err(_) => Ok(false),
    }
}

/// The same call in Python.
///
/// # Safety
///
/// As [`call`].
#[cold]
unsafe fn in_python(
    py: Python<'_>,
    number: usize,
    object: &Bound<'_, PyAny>,
    arguments: *const *mut ffi::PyObject,
    count: isize,
    keywords: *mut ffi::PyObject,
) -> PyResult<Py<PyAny>> {
    let python = PYTHON.get(py).ok_or_else(|| {
        pyo3::exceptions::PyRuntimeError::new_err("event_producer is not imported")
    })?;
    // SAFETY: the interpreter's arguments: so many, and behind them the keywords' values.
    let value = |place: usize| unsafe { Bound::from_borrowed_ptr(py, *arguments.add(place)) };
    let count = count as usize;
    let positional = std::iter::once(object.clone()).chain((0..count).map(value));
    let positional = PyTuple::new(py, positional.collect::<Vec<_>>())?;
    let named = PyDict::new(py);
    if !keywords.is_null() {
        // SAFETY: a tuple of names.
        let names = unsafe { Bound::from_borrowed_ptr(py, keywords) }.cast_into::<PyTuple>()?;
        for (index, name) in names.iter().enumerate() {
            named.set_item(name, value(count + index))?;
        }
    }
    python.calls[number].call(py, positional, Some(&named))
}

/// Tells what `event_producer` has in Python: `produce`, `_create_base_event`, and the typed calls
/// by name.
#[pyfunction]
fn install_drop_in(
    py: Python<'_>,
    produce: Py<PyAny>,
    create_base_event: Py<PyAny>,
    calls: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let calls = CALLS
        .iter()
        .map(|call| Ok(calls.as_any().get_item(call.name)?.unbind()))
        .collect::<PyResult<Vec<_>>>()?;
    let _ = PYTHON.set(
        py,
        Python_ {
            produce,
            create_base_event,
            calls,
        },
    );
    Ok(())
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let names = || {
        let names = CALLS.iter();
        names
            .map(|one| Names::new(py, one.names.iter().copied()))
            .collect()
    };
    NAMES.get_or_init(py, names);
    module.add_class::<DropInBase>()?;
    let class = py.get_type::<DropInBase>();
    let functions: [ffi::PyCFunctionFastWithKeywords; 4] =
        [call::<0>, call::<1>, call::<2>, call::<3>];
    for (one, function) in CALLS.iter().zip(functions) {
        let doc = format!("{}{}\n--\n\n", one.name, one.signature);
        let definition = ffi::PyMethodDef {
            ml_name: std::ffi::CString::new(one.name)?.into_raw(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFastWithKeywords: function,
            },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: std::ffi::CString::new(doc)?.into_raw(),
        };
        let definition = Box::leak(Box::new(definition));
        // SAFETY: a class, and a definition that lives as long as the process.
        let method = unsafe {
            let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(py, method)?
        };
        class.setattr(one.name, method)?;
    }
    module.add_function(wrap_pyfunction!(install_drop_in, module)?)
}

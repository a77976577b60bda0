//! The Python types: attributes, documentation and slots of the base class and of each record's.

use super::*;

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
    envelope_field("topic", "The event's topic.", |py, event| {
        event.topic().name().to_python(py)
    }),
];

const fn envelope_field(
    name: &'static str,
    doc: &'static str,
    get: crate::events::spec::Getter,
) -> Field {
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

pub(super) fn make_base(py: Python<'_>) -> PyResult<Py<PyType>> {
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

pub(super) fn make_class(
    meta: &Meta,
    record: &'static Record,
    base: &Bound<'_, PyType>,
) -> PyResult<Class> {
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

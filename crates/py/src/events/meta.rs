//! The metaclass of the event classes. It makes a call of a class a vectorcall, which passes keywords on
//! the stack. The default call of `type` creates a dict of them, which costs as much as encoding the
//! event.
//!
//! Each class has one more field at its end: the function. CPython finds it by `__vectorcalloffset__`,
//! which is in the stable ABI since 3.9. A class without one is called the default way.

use std::ffi::{CString, c_int, c_void};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

/// The function that creates an instance.
pub(super) type Vectorcall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    usize,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// `Py_TPFLAGS_HAVE_VECTORCALL`, whose bit is the same in every version since 3.9.
const HAVE_VECTORCALL: std::ffi::c_ulong = 1 << 11;
/// Masks `PY_VECTORCALL_ARGUMENTS_OFFSET`, the highest bit of the count, which is not used here.
pub(super) const COUNT: usize = usize::MAX >> 1;
/// `Py_T_PYSSIZET` and `Py_READONLY` of a member.
const SSIZE: c_int = 19;
const READONLY: c_int = 1;

/// The metaclass, and the offset of the function in its classes.
pub(super) struct Meta {
    class: Py<PyType>,
    offset: usize,
}

impl Meta {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let parent = py.get_type::<PyType>();
        let offset: usize = parent.getattr("__basicsize__")?.extract()?;
        let members = vec![
            ffi::PyMemberDef {
                name: c"__vectorcalloffset__".as_ptr(),
                type_code: SSIZE,
                offset: offset as ffi::Py_ssize_t,
                flags: READONLY,
                doc: std::ptr::null(),
            },
            ffi::PyMemberDef {
                name: std::ptr::null(),
                type_code: 0,
                offset: 0,
                flags: 0,
                doc: std::ptr::null(),
            },
        ];
        // SAFETY: a slot of the built-in class `type`.
        let call = unsafe { ffi::PyType_GetSlot(parent.as_type_ptr(), ffi::Py_tp_call) };
        let slots = vec![
            ffi::PyType_Slot {
                slot: ffi::Py_tp_members,
                pfunc: members.leak().as_mut_ptr().cast(),
            },
            ffi::PyType_Slot {
                slot: ffi::Py_tp_call,
                pfunc: call,
            },
            ffi::PyType_Slot {
                slot: 0,
                pfunc: std::ptr::null_mut(),
            },
        ];
        let mut spec = ffi::PyType_Spec {
            name: c"carbon_events.EventMeta".as_ptr(),
            basicsize: (offset + size_of::<usize>()) as c_int,
            itemsize: 0,
            flags: (ffi::Py_TPFLAGS_DEFAULT | HAVE_VECTORCALL) as _,
            slots: slots.leak().as_mut_ptr(),
        };
        // SAFETY: the specification and what it points to are complete and live on.
        let class = unsafe {
            let made = ffi::PyType_FromSpecWithBases(&mut spec, parent.as_ptr());
            Bound::from_owned_ptr_or_err(py, made)?
        };
        Ok(Meta {
            class: class.cast_into::<PyType>()?.unbind(),
            offset,
        })
    }

    /// Creates a subclass of `base` with these attributes. Its calls go to `function`.
    pub(super) fn make<'py>(
        &self,
        name: &str,
        base: &Bound<'py, PyType>,
        attributes: &Bound<'py, PyDict>,
        function: Vectorcall,
    ) -> PyResult<Bound<'py, PyType>> {
        let py = base.py();
        attributes.set_item("__slots__", PyTuple::empty(py))?;
        let made = self.class.bind(py).call1((name, (base,), attributes))?;
        let class = made.cast_into::<PyType>()?;
        // SAFETY: the metaclass adds this field to its classes, after the fields of `type`.
        unsafe {
            let field = class.as_ptr().cast::<u8>().add(self.offset);
            field.cast::<Vectorcall>().write(function);
        }
        Ok(class)
    }
}

/// A getter of a class; its definition lives as long as the process.
pub(super) fn add_getter(
    class: &Bound<'_, PyType>,
    name: &str,
    doc: &str,
    get: ffi::getter,
    closure: *mut c_void,
) -> PyResult<()> {
    let definition = ffi::PyGetSetDef {
        name: CString::new(name)?.into_raw(),
        get: Some(get),
        set: None,
        doc: CString::new(doc)?.into_raw(),
        closure,
    };
    let definition = Box::leak(Box::new(definition));
    // SAFETY: a live class, and a definition that lives on.
    let descriptor = unsafe {
        let made = ffi::PyDescr_NewGetSet(class.as_type_ptr(), definition);
        Bound::from_owned_ptr_or_err(class.py(), made)?
    };
    class.setattr(name, descriptor)
}

//! librdkafka's request and result objects.

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int};
use std::ptr::NonNull;

use rdkafka_sys as sys;

use super::{NO_ERROR, NewTopic, Outcome};
use crate::admin::errors::operation_error;
use crate::{Error, ErrorKind, Result};

/// An owned librdkafka object.
pub(super) struct Owned<T> {
    pub(super) ptr: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    pub(super) fn new(ptr: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(ptr).map(|ptr| Owned { ptr, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made with the function that destroys its kind, and destroyed once.
        unsafe { (self.destroy)(self.ptr.as_ptr()) }
    }
}

pub(super) fn pointers<T>(objects: &[Owned<T>]) -> Vec<*mut T> {
    objects.iter().map(|object| object.ptr.as_ptr()).collect()
}

pub(super) fn new_topic(topic: &NewTopic<'_>) -> Result<Owned<sys::rd_kafka_NewTopic_t>> {
    let doing = "create the topic";
    let name = c_text(topic.name)?;
    let mut why = [0 as c_char; 256];
    // SAFETY: name and buffer outlive the call, which copies the name.
    let native = unsafe {
        sys::rd_kafka_NewTopic_new(
            name.as_ptr(),
            topic.partitions,
            topic.replication_factor,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    let native =
        Owned::new(native, sys::rd_kafka_NewTopic_destroy).ok_or_else(|| refused(doing, &why))?;
    for (name, value) in &topic.configs {
        let (name, value) = (c_text(name)?, c_text(value)?);
        // SAFETY: the topic is ours and the texts outlive the call, which copies them.
        let code = unsafe {
            sys::rd_kafka_NewTopic_set_config(native.ptr.as_ptr(), name.as_ptr(), value.as_ptr())
        };
        if code != NO_ERROR {
            return Err(operation_error(code, None, doing).with("topic", topic.name));
        }
    }
    Ok(native)
}

pub(super) fn topic_resource(name: &str) -> Result<Owned<sys::rd_kafka_ConfigResource_t>> {
    let native = c_text(name)?;
    // SAFETY: the name outlives the call, which copies it.
    let resource = unsafe {
        let topic = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        sys::rd_kafka_ConfigResource_new(topic, native.as_ptr())
    };
    Owned::new(resource, sys::rd_kafka_ConfigResource_destroy).ok_or_else(|| {
        Error::new(ErrorKind::UnknownTopic, "this is not a topic name").with("topic", name)
    })
}

/// # Safety
/// `topics` points to `count` results that live as long as this call.
pub(super) unsafe fn topic_outcomes(
    topics: *mut *const sys::rd_kafka_topic_result_t,
    count: usize,
    doing: &str,
) -> Vec<Outcome<()>> {
    let outcome = |result: &*const sys::rd_kafka_topic_result_t| {
        // SAFETY: by this function's contract; the texts live as long as the result.
        let (name, code, why) = unsafe {
            let why = text(sys::rd_kafka_topic_result_error_string(*result));
            (
                text(sys::rd_kafka_topic_result_name(*result)),
                sys::rd_kafka_topic_result_error(*result),
                why,
            )
        };
        let outcome = match code {
            NO_ERROR => Ok(()),
            code => Err(operation_error(code, Some(&why), doing).with("topic", &name)),
        };
        (name, outcome)
    };
    // SAFETY: by this function's contract.
    unsafe { array(topics, count as c_int) }
        .iter()
        .map(outcome)
        .collect()
}

/// # Safety
/// `resources` points to `count` resources that live as long as this call.
pub(super) unsafe fn resource_outcomes<T>(
    resources: *mut *const sys::rd_kafka_ConfigResource_t,
    count: usize,
    doing: &str,
    read: impl Fn(*const sys::rd_kafka_ConfigResource_t) -> T,
) -> Vec<Outcome<T>> {
    let outcome = |resource: &*const sys::rd_kafka_ConfigResource_t| {
        // SAFETY: by this function's contract; the texts live as long as the resource.
        let (name, code, why) = unsafe {
            let why = text(sys::rd_kafka_ConfigResource_error_string(*resource));
            (
                text(sys::rd_kafka_ConfigResource_name(*resource)),
                sys::rd_kafka_ConfigResource_error(*resource),
                why,
            )
        };
        let outcome = match code {
            NO_ERROR => Ok(read(*resource)),
            code => Err(operation_error(code, Some(&why), doing).with("topic", &name)),
        };
        (name, outcome)
    };
    // SAFETY: by this function's contract.
    unsafe { array(resources, count as c_int) }
        .iter()
        .map(outcome)
        .collect()
}

/// # Safety
/// The resource is live.
pub(super) unsafe fn config_entries(
    resource: *const sys::rd_kafka_ConfigResource_t,
) -> Vec<(String, Option<String>)> {
    let mut count = 0;
    // SAFETY: by this function's contract; the entries and their texts live as long as the
    // resource, and a value may be null.
    unsafe {
        let entries = sys::rd_kafka_ConfigResource_configs(resource, &mut count);
        let entries = array(entries, count as c_int).iter().map(|entry| {
            let value = sys::rd_kafka_ConfigEntry_value(*entry);
            let value = (!value.is_null()).then(|| text(value));
            (text(sys::rd_kafka_ConfigEntry_name(*entry)), value)
        });
        entries.collect()
    }
}

/// # Safety
/// `first` points to `count` values that live for `'a`, or `count` is 0.
pub(super) unsafe fn array<'a, T>(first: *const T, count: c_int) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: by this function's contract.
        Ok(count) if count > 0 && !first.is_null() => unsafe {
            std::slice::from_raw_parts(first, count)
        },
        _ => &[],
    }
}

/// # Safety
/// `text` is null or NUL-terminated.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

pub(super) fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| {
        Error::new(
            ErrorKind::InvalidConfig,
            "a topic's name or setting contains a NUL character",
        )
    })
}

/// librdkafka's reason for rejecting a request before it is sent.
pub(super) fn refused(doing: &str, why: &[c_char]) -> Error {
    // SAFETY: librdkafka NUL-terminates what it wrote, and the buffer began as zeros.
    let why = unsafe { text(why.as_ptr()) };
    Error::new(ErrorKind::InvalidConfig, format!("cannot {doing}: {why}"))
}

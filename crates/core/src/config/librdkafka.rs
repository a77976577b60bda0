//! librdkafka's own list of its properties, which rdkafka does not wrap.

/// librdkafka's reference of its properties, one line each: name, producer or consumer, range,
/// default, importance and description, separated by ` | `.
#[cfg(unix)]
pub(super) fn properties_reference() -> String {
    let mut text = std::ptr::null_mut();
    let mut length = 0;
    // SAFETY: `text` and `length` outlive the stream, which is closed before they are read; closing
    // makes `text` an allocation of `length` bytes, which is copied once and freed once.
    unsafe {
        let stream = libc::open_memstream(&mut text, &mut length);
        if stream.is_null() {
            return String::new();
        }
        rdkafka_sys::rd_kafka_conf_properties_show(stream);
        libc::fclose(stream);
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
        let reference = String::from_utf8_lossy(bytes).into_owned();
        libc::free(text.cast());
        reference
    }
}

/// Other systems have no memory stream; the error of a mistyped property then has no suggestion.
#[cfg(not(unix))]
pub(super) fn properties_reference() -> String {
    String::new()
}

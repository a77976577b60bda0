//! The one thing of librdkafka that rdkafka does not wrap: its own list of properties.

/// librdkafka's reference of its properties, one line each: name, who it is for, range, default,
/// importance and description, divided by ` | `.
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

/// Elsewhere there is no stream to memory; a mistyped property is then refused without advice.
#[cfg(not(unix))]
pub(super) fn properties_reference() -> String {
    String::new()
}

//! Fetched records in librdkafka's memory: nothing is copied until it is read.

use std::ffi::CStr;
use std::os::raw::c_char;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::handle::{Handle, Queue};
use super::partitions::error_code;
use crate::sync::Mutex;

/// Records fetched together. librdkafka gets them back when this is dropped.
pub(crate) struct Messages {
    list: Box<[NonNull<sys::rd_kafka_message_t>]>,
    /// librdkafka parses a record's headers on the first request and keeps them in the record.
    parsing: Mutex<()>,
    /// None in a list that is empty.
    _handle: Option<Arc<Handle>>,
}

// SAFETY: a message is memory with reference counts that are atomic; what is changed after it was
// handed out (headers) is changed under `parsing`.
unsafe impl Send for Messages {}
// SAFETY: as above.
unsafe impl Sync for Messages {}

impl Default for Messages {
    fn default() -> Self {
        Messages {
            list: Box::default(),
            parsing: Mutex::new(()),
            _handle: None,
        }
    }
}

/// Where [`Queue::fetch`] puts what it finds; kept between calls.
pub(crate) struct FetchBuffer(Vec<*mut sys::rd_kafka_message_t>);

// SAFETY: empty between calls, and owned by one thread during one.
unsafe impl Send for FetchBuffer {}

impl FetchBuffer {
    pub(crate) fn new(records: usize) -> Self {
        FetchBuffer(Vec::with_capacity(records.max(1)))
    }
}

impl Queue {
    /// Takes what is fetched already, up to the buffer's size, without waiting.
    ///
    /// Fewer than that means that the queue was empty for a moment: the next record that comes
    /// calls what [`Queue::on_arrival`] was given.
    pub(crate) fn fetch(&self, buffer: &mut FetchBuffer) -> Messages {
        let list = &mut buffer.0;
        // SAFETY: the queue is live; librdkafka writes at most `capacity` pointers, each to a
        // message that is ours from then on.
        unsafe {
            let found = sys::rd_kafka_consume_batch_queue(
                self.ptr(),
                0,
                list.as_mut_ptr(),
                list.capacity(),
            );
            list.set_len(usize::try_from(found).unwrap_or(0));
        }
        Messages {
            list: list.drain(..).filter_map(NonNull::new).collect(),
            parsing: Mutex::new(()),
            _handle: Some(Arc::clone(self.handle())),
        }
    }
}

impl Messages {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Message<'_>> {
        self.list.get(index).map(|ptr| Message {
            // SAFETY: the messages of the list live until it is dropped.
            raw: unsafe { ptr.as_ref() },
            list: self,
        })
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        self.list.iter().map(|ptr| Message {
            // SAFETY: as in `get`.
            raw: unsafe { ptr.as_ref() },
            list: self,
        })
    }

    /// Asks the processor for the bytes of the record a few behind `index`: another core has written
    /// them, and waiting for them would take as long as decoding them.
    #[inline]
    pub(crate) fn prefetch_from(&self, index: usize) {
        const AHEAD: usize = 4;
        if let Some(later) = self.get(index + AHEAD) {
            prefetch(later.raw.payload.cast());
        }
    }

    /// Keeps the messages for which `keep` says so, in their order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Message<'_>) -> bool) {
        let all = std::mem::take(&mut self.list);
        let mut kept = Vec::with_capacity(all.len());
        for ptr in all {
            if keep(Message {
                // SAFETY: the message is live: it is given back below or with the list.
                raw: unsafe { ptr.as_ref() },
                list: self,
            }) {
                kept.push(ptr);
            } else {
                // SAFETY: ours, and in no list any more.
                unsafe { sys::rd_kafka_message_destroy(ptr.as_ptr()) };
            }
        }
        self.list = kept.into();
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        for ptr in &self.list {
            // SAFETY: each message is ours and destroyed once.
            unsafe { sys::rd_kafka_message_destroy(ptr.as_ptr()) };
        }
    }
}

/// One record, or an error about a partition.
#[derive(Clone, Copy)]
pub(crate) struct Message<'list> {
    raw: &'list sys::rd_kafka_message_t,
    list: &'list Messages,
}

impl<'list> Message<'list> {
    /// The error that this stands for, if it is no record.
    #[inline]
    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the field is a C enum, that is an `int`, whatever its value.
        error_code(unsafe { std::ptr::addr_of!(self.raw.err).cast::<i32>().read() })
    }

    /// What librdkafka says about that error.
    pub(crate) fn error_text(&self) -> String {
        String::from_utf8_lossy(self.value().unwrap_or_default()).into_owned()
    }

    /// Which topic, as a number that is the same for all records of it in one list.
    #[inline]
    pub(crate) fn topic_id(&self) -> usize {
        self.raw.rkt as usize
    }

    /// The topic's name; empty on an error that is about none.
    pub(crate) fn topic(&self) -> &'list str {
        if self.raw.rkt.is_null() {
            return "";
        }
        // SAFETY: the message keeps its topic alive, and the topic its NUL-terminated name.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.raw.rkt)) }
            .to_str()
            .unwrap_or_default()
    }

    #[inline]
    pub(crate) fn partition(&self) -> i32 {
        self.raw.partition
    }

    #[inline]
    pub(crate) fn offset(&self) -> i64 {
        self.raw.offset
    }

    #[inline]
    pub(crate) fn key(&self) -> Option<&'list [u8]> {
        // SAFETY: librdkafka's key is null or `key_len` bytes that live as long as the message.
        unsafe { bytes(self.raw.key.cast(), self.raw.key_len) }
    }

    #[inline]
    pub(crate) fn value(&self) -> Option<&'list [u8]> {
        // SAFETY: as for the key.
        unsafe { bytes(self.raw.payload.cast(), self.raw.len) }
    }

    /// Milliseconds UTC, where the record has a timestamp.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is live and `kind` is ours.
        let timestamp_ms = unsafe { sys::rd_kafka_message_timestamp(self.raw, &mut kind) };
        (timestamp_ms >= 0).then_some(timestamp_ms)
    }

    pub(crate) fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message is live.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.raw) };
        (epoch >= 0).then_some(epoch)
    }

    /// The header at `index` in the order in which they were written.
    pub(crate) fn header(&self, index: usize) -> Option<(&'list [u8], Option<&'list [u8]>)> {
        let mut headers = std::ptr::null_mut();
        let found = {
            let _parsing = self.list.parsing.lock();
            // SAFETY: the message is live; parsing changes it, which the lock lets one thread do.
            unsafe { sys::rd_kafka_message_headers(self.raw, &mut headers) }
        };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (std::ptr::null::<c_char>(), std::ptr::null(), 0);
        // SAFETY: parsed headers are only read from here on; the out-pointers are ours; name and
        // value live as long as the message.
        unsafe {
            let found =
                sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size);
            if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return None;
            }
            Some((CStr::from_ptr(name).to_bytes(), bytes(value.cast(), size)))
        }
    }
}

/// Asks the processor for a cache line; no more than a hint, whatever the address.
#[inline]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching reads nothing and faults on no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// # Safety
/// `start` is null or `len` bytes that live for `'a`.
#[inline]
unsafe fn bytes<'a>(start: *const u8, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
}

/// A deadline in whole milliseconds, as librdkafka takes it.
pub(crate) fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

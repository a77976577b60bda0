//! librdkafka's produce calls: `rd_kafka_produce_batch` for a run of records without headers,
//! `rd_kafka_produceva` for each record that has some (a batch call takes no headers). Neither copies
//! the values; both keep the order.

use std::cell::RefCell;
use std::ffi::c_void;

use rdkafka::types::{RDKafkaMessage, RDKafkaRespErr};
use rdkafka_sys as sys;

use super::batch::MIXED;
use super::batch::in_flight::RecordView;
use crate::kafka::{Handle, TopicHandle};

pub(super) const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

/// librdkafka's "no partition chosen".
const PARTITION_UA: i32 = -1;

/// Lends the array that a batch call takes: one a thread, kept for the next call.
pub(super) fn with_messages<T>(work: impl FnOnce(&mut Vec<RDKafkaMessage>) -> T) -> T {
    thread_local! {
        static MESSAGES: RefCell<Vec<RDKafkaMessage>> = const { RefCell::new(Vec::new()) };
    }
    MESSAGES.with_borrow_mut(work)
}

/// A record as the batch call takes it.
pub(super) fn message(record: &RecordView<'_>) -> RDKafkaMessage {
    let parts = |bytes: Option<&[u8]>| {
        bytes.map_or((std::ptr::null_mut(), 0), |bytes| {
            (bytes.as_ptr().cast_mut().cast::<c_void>(), bytes.len())
        })
    };
    let ((payload, len), (key, key_len)) = (parts(record.value), parts(record.key));
    RDKafkaMessage {
        err: NO_ERROR,
        rkt: std::ptr::null_mut(),
        partition: record.partition,
        payload,
        len,
        key,
        key_len,
        offset: 0,
        _private: record.opaque,
    }
}

/// Enqueues a run of records of one batch; returns how many librdkafka took. The others have an
/// `err`.
pub(super) fn produce_run(
    topic: &TopicHandle,
    partition: i32,
    messages: &mut [RDKafkaMessage],
) -> usize {
    let (flags, target) = if partition == MIXED {
        (sys::RD_KAFKA_MSG_F_PARTITION, PARTITION_UA)
    } else {
        (0, partition)
    };
    // SAFETY: the topic is live. Without the COPY and FREE flags librdkafka reads the values, which
    // stay where they are until the last record of their batch completes, and copies the keys.
    let taken = unsafe {
        sys::rd_kafka_produce_batch(
            topic.ptr(),
            target,
            flags,
            messages.as_mut_ptr(),
            messages.len() as i32,
        )
    };
    taken as usize
}

/// Enqueues one record, which may have headers.
pub(super) fn produce_one(
    handle: &Handle,
    topic: &TopicHandle,
    record: &RecordView<'_>,
) -> Result<(), RDKafkaRespErr> {
    use sys::rd_kafka_vtype_t as Type;
    let message = message(record);
    let value = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
    let bytes = |ptr, size| sys::rd_kafka_vu_s__bindgen_ty_1 {
        mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size },
    };
    // SAFETY: the headers object is ours until produceva takes it, which it does on success only;
    // names and values outlive the calls, and the value stays until its record completes.
    unsafe {
        let headers = sys::rd_kafka_headers_new(record.headers.len());
        for header in record.headers {
            let content = header.value.as_deref();
            sys::rd_kafka_header_add(
                headers,
                header.name.as_ptr().cast(),
                header.name.len() as isize,
                content.map_or(std::ptr::null(), |content| content.as_ptr().cast()),
                content.map_or(0, |content| content.len() as isize),
            );
        }
        let arguments = [
            value(
                Type::RD_KAFKA_VTYPE_RKT,
                sys::rd_kafka_vu_s__bindgen_ty_1 { rkt: topic.ptr() },
            ),
            value(
                Type::RD_KAFKA_VTYPE_PARTITION,
                sys::rd_kafka_vu_s__bindgen_ty_1 {
                    i32_: record.partition,
                },
            ),
            value(
                Type::RD_KAFKA_VTYPE_VALUE,
                bytes(message.payload, message.len),
            ),
            value(
                Type::RD_KAFKA_VTYPE_KEY,
                bytes(message.key, message.key_len),
            ),
            value(
                Type::RD_KAFKA_VTYPE_OPAQUE,
                sys::rd_kafka_vu_s__bindgen_ty_1 { ptr: record.opaque },
            ),
            value(
                Type::RD_KAFKA_VTYPE_HEADERS,
                sys::rd_kafka_vu_s__bindgen_ty_1 { headers },
            ),
        ];
        let error = sys::rd_kafka_produceva(handle.ptr(), arguments.as_ptr(), arguments.len());
        if error.is_null() {
            return Ok(());
        }
        let code = sys::rd_kafka_error_code(error);
        sys::rd_kafka_error_destroy(error);
        sys::rd_kafka_headers_destroy(headers);
        Err(code)
    }
}

//! Slabs to librdkafka: one `rd_kafka_produce_batch` call for a run of records without headers,
//! `rd_kafka_produceva` for each record that has some (a batch call takes no headers). Neither
//! copies the values; both leave the order of the slab as it is.

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::types::{RDKafkaErrorCode, RDKafkaMessage, RDKafkaRespErr};
use rdkafka_sys as sys;

use super::engine::Engine;
use super::slab::{InFlight, MIXED, Outgoing, Settling, count_for_owner};
use super::topic::Topic;
use crate::kafka::{TopicHandle, broker_error};
use crate::{Error, ErrorKind};

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
const QUEUE_FULL: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR__QUEUE_FULL;

/// librdkafka's "no partition chosen".
const PARTITION_UA: i32 = -1;

thread_local! {
    /// The array that a batch call takes, kept for the next.
    static MESSAGES: RefCell<Vec<RDKafkaMessage>> = const { RefCell::new(Vec::new()) };
}

/// Hands over the records of `slab` from `from` up to `to`. Gives the slab back with the first record
/// that did not go: `to`, or an earlier one where librdkafka's own queue is full (only a user's
/// property can make it smaller than ours).
pub(super) fn produce(
    engine: &Engine,
    slab: InFlight,
    from: usize,
    to: usize,
) -> Option<(InFlight, usize)> {
    let mut settling = Settling::default();
    let mut next = from;
    let count = slab.slab().len();
    slab.slab().topic.metrics.batch((to - from) as u64);
    match (engine.gave_up.get(), slab.slab().topic.native.get()) {
        (Some(error), _) => {
            let error = super::session::about(error, &slab.slab().topic);
            refuse_all(engine, &slab, next, &error, &mut settling);
            next = count;
        }
        (None, None) => {
            let error = Error::new(ErrorKind::Internal, "the topic has no librdkafka handle");
            refuse_all(engine, &slab, next, &error, &mut settling);
            next = count;
        }
        (None, Some(topic)) => {
            let opened = slab.slab().opened;
            let watched = engine.before_handover(opened, || slab.watched(next, to));
            let of = watched.is_some().then(|| {
                let slab = slab.slab();
                (Arc::clone(&slab.topic), (slab.partition, slab.opened))
            });
            MESSAGES.with_borrow_mut(|messages| {
                next = produce_from(engine, topic, &slab, next..to, messages, &mut settling);
            });
            if let (Some(mut watched), Some((topic, of))) = (watched, of) {
                watched.truncate(next - from);
                engine.watch(&topic, of, watched);
            }
        }
    }
    engine.book_last(&mut settling);
    (next < count).then_some((slab, next))
}

fn produce_from(
    engine: &Engine,
    topic: &TopicHandle,
    slab: &InFlight,
    records: Range<usize>,
    messages: &mut Vec<RDKafkaMessage>,
    settling: &mut Settling,
) -> usize {
    let mut next = records.start;
    let mut rest = slab.outgoing(next).take(records.len()).peekable();
    while rest.peek().is_some() {
        messages.clear();
        while let Some(record) = rest.next_if(|record| record.headers.is_empty()) {
            messages.push(message(&record));
        }
        let run = messages.len();
        let taken = produce_run(engine, topic, slab.slab().partition, messages, settling);
        next += taken;
        if taken < run {
            break;
        }
        if let Some(record) = rest.next() {
            match produce_with_headers(engine, topic, &record) {
                Err(error) if error.kind() == ErrorKind::QueueFull => break,
                Err(error) => settle_refused(engine, record.opaque, &error, settling),
                Ok(()) => {}
            }
            next += 1;
        }
    }
    next
}

/// A record as the batch call takes it.
fn message(record: &Outgoing<'_>) -> RDKafkaMessage {
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

/// Produces a run of records; returns how many of them librdkafka (or their refusal) has settled
/// or taken, which is less than all where its queue is full.
fn produce_run(
    engine: &Engine,
    topic: &TopicHandle,
    partition: i32,
    messages: &mut [RDKafkaMessage],
    settling: &mut Settling,
) -> usize {
    if messages.is_empty() {
        return 0;
    }
    let (flags, target) = if partition == MIXED {
        (sys::RD_KAFKA_MSG_F_PARTITION, PARTITION_UA)
    } else {
        (0, partition)
    };
    let count = messages.len();
    // Before the call: the first report may come before it returns.
    engine.in_flight.fetch_add(count, Ordering::Relaxed);
    // SAFETY: the topic is live. Without the COPY and FREE flags librdkafka reads the values, which
    // stay where they are until their slab's last record is settled, and copies the keys.
    let taken = unsafe {
        sys::rd_kafka_produce_batch(
            topic.ptr(),
            target,
            flags,
            messages.as_mut_ptr(),
            count as i32,
        )
    };
    if taken as usize == count {
        return count;
    }
    let full = messages
        .iter()
        .position(|message| message.err == QUEUE_FULL)
        .unwrap_or(count);
    let refused = count - taken as usize;
    engine.in_flight.fetch_sub(refused, Ordering::Relaxed);
    for message in messages[..full]
        .iter()
        .filter(|message| message.err != NO_ERROR)
    {
        let error = engine
            .explain_fatal(message.err)
            .with("topic", topic.name());
        settle_refused(engine, message._private, &error, settling);
    }
    full
}

/// Hands over one record, which may have headers.
pub(super) fn produce_one(
    engine: &Engine,
    topic: &Topic,
    record: &Outgoing<'_>,
) -> Result<(), Error> {
    match topic.native.get() {
        Some(topic) => produce_with_headers(engine, topic, record),
        None => Err(Error::new(
            ErrorKind::Internal,
            "the topic has no librdkafka handle",
        )),
    }
}

fn produce_with_headers(
    engine: &Engine,
    topic: &TopicHandle,
    record: &Outgoing<'_>,
) -> Result<(), Error> {
    use sys::rd_kafka_vtype_t as Type;
    let message = message(record);
    let value = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
    let bytes = |ptr, size| sys::rd_kafka_vu_s__bindgen_ty_1 {
        mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size },
    };
    // SAFETY: the headers object is ours until produceva takes it, which it does on success only;
    // names and values outlive the calls, and the value stays until its record is settled.
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
        engine.in_flight.fetch_add(1, Ordering::Relaxed);
        let error =
            sys::rd_kafka_produceva(engine.handle.ptr(), arguments.as_ptr(), arguments.len());
        if error.is_null() {
            return Ok(());
        }
        let code = sys::rd_kafka_error_code(error);
        sys::rd_kafka_error_destroy(error);
        sys::rd_kafka_headers_destroy(headers);
        engine.in_flight.fetch_sub(1, Ordering::Relaxed);
        Err(engine.explain_fatal(code).with("topic", topic.name()))
    }
}

pub(super) fn refuse_all(
    engine: &Engine,
    slab: &InFlight,
    from: usize,
    error: &Error,
    settling: &mut Settling,
) {
    for record in slab.outgoing(from) {
        settle_refused(engine, record.opaque, error, settling);
    }
}

/// Settles a record that librdkafka did not take.
pub(super) fn settle_refused(
    engine: &Engine,
    opaque: *mut c_void,
    error: &Error,
    settling: &mut Settling,
) {
    engine.withdraw(opaque);
    engine.count(0, 1);
    engine.opened(opaque, false);
    // SAFETY: the record was not taken, so nobody else settles it.
    unsafe { count_for_owner(opaque, false) };
    // SAFETY: the record was not taken, so this is its only settlement.
    if let Some(settled) = unsafe { settling.settle(opaque, Err(error)) } {
        engine.book(settled);
    }
}

impl Engine {
    /// The error of a code that librdkafka refuses records with; a fatal one (an idempotent
    /// producer that cannot go on without breaking its promises) says what it was.
    fn explain_fatal(&self, code: RDKafkaRespErr) -> Error {
        let fatal = (RDKafkaErrorCode::from(code) == RDKafkaErrorCode::Fatal)
            .then(|| self.fatal_error())
            .flatten();
        fatal.unwrap_or_else(|| broker_error(code, "hand a record to librdkafka"))
    }

    /// What ended librdkafka's part of the producer, if anything did.
    pub(super) fn fatal_error(&self) -> Option<Error> {
        let fatal = self.handle.fatal_error()?;
        let message = format!(
            "the session ended, and later records go in a new one: {}",
            fatal.message()
        );
        Some(Error::new(fatal.kind(), message))
    }
}

//! Delivery reports: each completes one record, unless the record goes again or had expired.

use std::collections::HashSet;
use std::ffi::{CStr, c_void};

use rdkafka::types::{RDKafkaErrorCode, RDKafkaMessage, RDKafkaRespErr};
use rdkafka_sys as sys;

use super::batch::completing::Completing;
use super::batch::in_flight::look_up;
use super::failure::{TOO_LARGE, log_failed, too_large};
use super::flow_control::Kept;
use super::produce::NO_ERROR;
use super::sender::Sender;
use crate::Error;
use crate::kafka::broker_error;

/// Completes the records of one delivery event. Returns how many were delivered. On the event thread.
pub(super) fn complete(sender: &Sender, reports: &[&RDKafkaMessage]) -> usize {
    let completion = sender.completion();
    let mut completing = Completing::default();
    let mut failure: Option<(_, Error)> = None;
    let is_delivered = |report: &RDKafkaMessage| is_delivered(sender, report);
    let expired = expired(sender, reports);
    let kept = sender.flow().reported(reports, is_delivered);
    let is_new = |report: &RDKafkaMessage| {
        !expired.contains(&report._private) && !kept.opaques.contains(&report._private)
    };
    let delivered = |one: &&&RDKafkaMessage| is_delivered(one) && is_new(one);
    let delivered = reports.iter().filter(delivered).count();
    let failed = reports.len() - delivered - expired.len() - kept.opaques.len();
    completion.count(delivered as u64, failed as u64);
    if completion.has_owners() {
        for report in reports.iter().filter(|one| is_new(one)) {
            // SAFETY: the opaque is the one that was sent; the loop below completes it.
            unsafe { look_up(report._private) }.count_for_owner(is_delivered(report));
        }
    }
    if sender.flow().has_openings() {
        for report in reports {
            sender
                .flow()
                .opening_ended(report._private, is_delivered(report));
        }
    }
    // Before the records complete: a caller that wakes and sends again finds none in flight.
    sender.reported(reports.len());
    for (index, report) in reports.iter().enumerate() {
        if kept.opaques.contains(&report._private) {
            continue;
        }
        let run = if is_delivered(report) {
            // SAFETY: the report is alive; a null pointer is allowed for the type.
            let timestamp_ms =
                unsafe { sys::rd_kafka_message_timestamp(*report, std::ptr::null_mut()) };
            let place = (report.partition, report.offset, timestamp_ms);
            // SAFETY: the opaque is the one that was sent, reported on once.
            unsafe { completing.complete(report._private, Ok(place)) }
        } else {
            let about = about(report);
            let error = match failure.take() {
                Some((same, error)) if same == about => error,
                _ if report.err == TOO_LARGE => refused_as_too_large(&reports[index..], &kept),
                _ => undelivered(sender, report),
            };
            // SAFETY: as above.
            let run = unsafe { completing.complete(report._private, Err(&error)) };
            failure = Some((about, error));
            run
        };
        if let Some(run) = run {
            completion.release_run(run);
        }
    }
    completion.finish(&mut completing);
    // Once the event's own reports are completed.
    sender.refuse_each(kept.lost);
    sender.late().reported(expired.len());
    if let Some((_, error)) = failure {
        log_failed(failed, &error);
    }
    if delivered > 0 {
        sender.health().recovered();
    }
    delivered
}

/// What reports of one failure have in common.
fn about(report: &RDKafkaMessage) -> (RDKafkaRespErr, *mut rdkafka::types::RDKafkaTopic, i32) {
    (report.err, report.rkt, report.partition)
}

/// The opaques of reported records that had expired; see [`super::late`].
fn expired(sender: &Sender, reports: &[&RDKafkaMessage]) -> HashSet<*mut c_void> {
    if !sender.late().has_expired() {
        return HashSet::new();
    }
    let opaques = reports.iter().map(|report| report._private);
    // SAFETY: the opaques are those that were sent; no report of the event is completed yet.
    opaques
        .filter(|opaque| unsafe { look_up(*opaque) }.is_complete())
        .collect()
}

/// Whether a report is about a record that is in the log. An idempotent session's report without an
/// offset is about a record that the broker took for a duplicate and does not know; see
/// [`super::flow`].
fn is_delivered(sender: &Sender, report: &RDKafkaMessage) -> bool {
    report.err == NO_ERROR && (report.offset >= 0 || !sender.is_idempotent())
}

/// Why a record was not delivered.
fn undelivered(sender: &Sender, report: &RDKafkaMessage) -> Error {
    // An idempotent producer that cannot go on (without the right to write, say) purges what it
    // has: the reason is not in the report.
    let purged = matches!(
        RDKafkaErrorCode::from(report.err),
        RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::Fatal
    );
    let error = match sender.fatal_error() {
        Some(fatal) if purged => fatal,
        _ if report.err == NO_ERROR => {
            let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
            broker_error(unknown, "tell whether a record was delivered")
        }
        _ => broker_error(report.err, "deliver a record"),
    };
    let error = sender.health().explain(error);
    // SAFETY: a report's topic lives as long as the report, and its name is NUL-terminated.
    let topic = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(report.rkt)) };
    let error = error.with("topic", topic.to_string_lossy());
    if report.partition < 0 {
        return error;
    }
    error.with("partition", report.partition)
}

/// The error of the first of `reports`, whose record a broker refused as too large. Those that follow
/// on it with the same error may have been in its batch.
fn refused_as_too_large(reports: &[&RDKafkaMessage], kept: &Kept) -> Error {
    let first = reports[0];
    // SAFETY: the report's record is not completed yet.
    let found = unsafe { look_up(first._private) };
    let run = reports
        .iter()
        .filter(|one| !kept.opaques.contains(&one._private))
        .take_while(|one| about(one) == about(first));
    let (mut count, bytes) = run.fold((0, 0), |(count, bytes), one| {
        (count + 1, bytes + one.len + one.key_len)
    });
    if kept.alone.contains(&first._private) {
        count = 1;
    }
    if count > 1 {
        found.topic().batch_limit().refused(bytes);
    }
    too_large(found.topic(), first.partition, count)
}

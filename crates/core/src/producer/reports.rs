//! The event thread: settles records from their delivery reports, hands over what has gathered
//! meanwhile, and watches deadlines.

use std::collections::HashSet;
use std::ffi::{CStr, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaErrorCode, RDKafkaMessage, RDKafkaRespErr};
use rdkafka_sys as sys;

use super::engine::Engine;
use super::slab::{Settling, count_for_owner, look_up};
use crate::Error;
use crate::kafka::broker_error;

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
const TOO_LARGE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;

/// How long the thread sleeps while nothing is on its way.
const IDLE: Duration = Duration::from_millis(500);
/// How often waiting records are looked at for their deadline, and topics for new partitions.
const EXPIRY_EVERY: Duration = Duration::from_millis(100);
const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// Serves events until the engine is stopping and nothing is in flight.
pub(super) fn run(engine: &Arc<Engine>) {
    let mut expired = Instant::now();
    let mut refreshed = expired;
    while !engine.stopping.load(Ordering::SeqCst) && !engine.is_over() {
        let busy = engine.in_flight.load(Ordering::Relaxed) > 0 || engine.has_gathered();
        // librdkafka's poll counts whole milliseconds.
        let linger = engine
            .settings
            .linger
            .clamp(Duration::from_millis(1), EXPIRY_EVERY);
        let wait = match (busy, engine.budget.records() > 0) {
            (true, _) => linger,
            (false, true) => EXPIRY_EVERY,
            (false, false) => IDLE,
        };
        let wait = engine.line_time_left().map_or(wait, |left| wait.min(left));
        if let Some(event) = engine.queue.poll(wait) {
            let mut reports = Vec::new();
            if event.delivery_reports(&mut reports) {
                engine.settle(&reports);
            } else {
                event.serve(
                    &engine.handle,
                    &engine.health,
                    engine.tokens.as_ref(),
                    engine.observer.as_ref(),
                );
                engine.end_if_fatal();
            }
        } else if !busy {
            engine.trim_pool();
        }
        engine.send_again();
        engine.admit();
        engine.hand_over_gathered();
        let now = Instant::now();
        if now - expired >= EXPIRY_EVERY {
            expired = now;
            engine.expire();
            engine.note_limits();
            engine.resolve_waiting();
        }
        if now - refreshed >= REFRESH_EVERY {
            refreshed = now;
            engine
                .topics()
                .iter()
                .for_each(|topic| engine.resolve(topic));
        }
    }
}

impl Engine {
    /// Settles the records of one delivery event.
    fn settle(&self, reports: &[&RDKafkaMessage]) {
        let mut settling = Settling::default();
        let mut failure: Option<(_, Error)> = None;
        let expired = self.expired(reports);
        let kept = self.note_windows(reports, |report| self.delivered(report));
        let is_new = |report: &RDKafkaMessage| {
            !expired.contains(&report._private) && !kept.opaques.contains(&report._private)
        };
        let delivered = |one: &&&RDKafkaMessage| self.delivered(one) && is_new(one);
        let delivered = reports.iter().filter(delivered).count();
        let failed = reports.len() - delivered - expired.len() - kept.opaques.len();
        self.count(delivered as u64, failed as u64);
        if self.has_owners() {
            for report in reports.iter().filter(|one| is_new(one)) {
                // SAFETY: the opaque is the one that was handed over; the loop below settles it.
                unsafe { count_for_owner(report._private, self.delivered(report)) };
            }
        }
        if !self.openings.is_empty() {
            for report in reports {
                self.opened(report._private, self.delivered(report));
            }
        }
        // Before the records settle: whoever wakes and sends again finds nothing on its way.
        self.in_flight.fetch_sub(reports.len(), Ordering::Relaxed);
        for (index, report) in reports.iter().enumerate() {
            if kept.opaques.contains(&report._private) {
                continue;
            }
            let settled = if self.delivered(report) {
                // SAFETY: the report is alive; a null pointer is allowed for the type.
                let timestamp_ms =
                    unsafe { sys::rd_kafka_message_timestamp(*report, std::ptr::null_mut()) };
                let place = (report.partition, report.offset, timestamp_ms);
                // SAFETY: the opaque is the one that was handed over, reported on once.
                unsafe { settling.settle(report._private, Ok(place)) }
            } else {
                let about = (report.err, report.rkt, report.partition);
                let error = match failure.take() {
                    Some((same, error)) if same == about => error,
                    _ if report.err == TOO_LARGE => {
                        let later = reports[index..].iter().copied();
                        let with = later.filter(|one| !kept.opaques.contains(&one._private));
                        self.refused_as_too_large(report, &kept, with)
                    }
                    _ => self.undelivered(report),
                };
                // SAFETY: as above.
                let settled = unsafe { settling.settle(report._private, Err(&error)) };
                failure = Some((about, error));
                settled
            };
            if let Some(settled) = settled {
                self.book(settled);
            }
        }
        self.book_last(&mut settling);
        self.settle_lost(kept);
        self.late.reported(expired.len());
        if let Some((_, error)) = failure.filter(|_| failed > 0) {
            let records = failed;
            tracing::error!(target: "carbon_events", records, %error, "records were not delivered");
        }
        if delivered > 0 {
            self.has_delivered.store(true, Ordering::Relaxed);
            self.health.recovered();
        }
    }

    /// Those of the reports' records that have had their outcome: see [`super::late`].
    fn expired(&self, reports: &[&RDKafkaMessage]) -> HashSet<*mut c_void> {
        if !self.late.has_expired() {
            return HashSet::new();
        }
        let opaques = reports.iter().map(|report| report._private);
        // SAFETY: the opaques are those that were handed over; nothing of the event is settled yet.
        opaques
            .filter(|opaque| unsafe { look_up(*opaque) }.is_settled())
            .collect()
    }

    /// Whether a report is about a record that is in the log. An idempotent session's report without
    /// an offset is about one that the broker took for a duplicate and does not know: see
    /// [`super::opening`].
    fn delivered(&self, report: &RDKafkaMessage) -> bool {
        report.err == NO_ERROR && (report.offset >= 0 || !self.is_idempotent)
    }

    /// Why a record was not delivered.
    fn undelivered(&self, report: &RDKafkaMessage) -> Error {
        // An idempotent producer that cannot go on (without the right to write, say) purges what it
        // has: the reason is not in the report.
        let purged = matches!(
            RDKafkaErrorCode::from(report.err),
            RDKafkaErrorCode::PurgeQueue
                | RDKafkaErrorCode::PurgeInflight
                | RDKafkaErrorCode::Fatal
        );
        let error = match self.fatal_error() {
            Some(fatal) if purged => fatal,
            _ if report.err == NO_ERROR => {
                let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
                broker_error(unknown, "tell whether a record was delivered")
            }
            _ => broker_error(report.err, "deliver a record"),
        };
        let error = self.health.explain(error);
        // SAFETY: a report's topic lives as long as the report, and its name is NUL-terminated.
        let topic = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(report.rkt)) };
        let error = error.with("topic", topic.to_string_lossy());
        if report.partition < 0 {
            return error;
        }
        error.with("partition", report.partition)
    }

    /// Books the last run of `settling`.
    pub(super) fn book_last(&self, settling: &mut Settling) {
        if let Some(settled) = settling.finish() {
            self.book(settled);
        }
    }
}

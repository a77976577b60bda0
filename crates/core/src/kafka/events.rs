//! Events of a client: logs and errors go to `tracing` and to [`Health`], token requests to the token
//! provider, delivery reports to the producer, rebalances and commit results to the consumer.

use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaErrorCode, RDKafkaEvent, RDKafkaMessage, RDKafkaRespErr};
use rdkafka_sys as sys;

use super::errors::{broker_error, client_error, kind_of, named};
use super::handle::Handle;
use super::partitions::PartitionList;
use crate::client::Observer;
use crate::config::TokenProvider;
use crate::sync::Mutex;
use crate::{Error, ErrorKind};

/// The last error of the whole client (not of one record), until the brokers answer again: the likely
/// cause of a timeout meanwhile.
#[derive(Default)]
pub(crate) struct Health {
    last_error: Mutex<Option<Error>>,
    /// Recent warnings and their times.
    warned: Mutex<Vec<(String, Instant)>>,
}

/// How long the same error is not logged again: librdkafka reports an unreachable broker with each
/// attempt.
const WARN_EVERY: Duration = Duration::from_secs(60);

impl Health {
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.last_error.lock().clone()
    }

    pub(crate) fn recovered(&self) {
        // Read before write: this is called for every delivery event.
        let mut last_error = self.last_error.lock();
        if last_error.is_some() {
            *last_error = None;
        }
    }

    /// "All brokers are down" is less specific than the rejected certificate before it.
    fn note(&self, error: Error) {
        let mut last = self.last_error.lock();
        let telling = |error: &Error| error.kind() != ErrorKind::Unavailable;
        if telling(&error) || !last.as_ref().is_some_and(telling) {
            *last = Some(error);
        }
    }

    /// Whether to log a client's error: not if the same one was logged recently.
    fn is_news(&self, reason: &str, now: Instant) -> bool {
        // The rest is the duration and the number of attempts.
        let trouble = reason.split(" (after ").next().unwrap_or(reason);
        let mut warned = self.warned.lock();
        warned.retain(|(_, at)| now.duration_since(*at) < WARN_EVERY);
        let is_news = warned.iter().all(|(said, _)| said != trouble);
        if is_news {
            warned.push((trouble.to_owned(), now));
        }
        is_news
    }

    /// `error`, or the client's own error if that explains a timeout or a failed connection: a rejected
    /// certificate is reported as `Authentication`, not as `Timeout` or `Unavailable`.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if !matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) {
            return error;
        }
        match self.trouble() {
            Some(trouble) => {
                let code = error.code().zip(error.code_name());
                let message = format!("{}; meanwhile: {}", error.message(), trouble.message());
                let kind = match trouble.kind() {
                    kind @ (ErrorKind::Authentication | ErrorKind::Authorization) => kind,
                    _ => error.kind(),
                };
                error
                    .context()
                    .fold(Error::new(kind, message), |explained, (name, value)| {
                        explained.with(name, value)
                    })
                    .with_code(code)
            }
            None => error,
        }
    }
}

/// A change of a consumer's partitions.
pub(crate) enum Rebalance {
    Assign(PartitionList),
    Revoke(PartitionList),
}

/// The result of a commit.
pub(crate) struct Commit {
    pub(crate) offsets: PartitionList,
    /// The first error, of the request or of a partition.
    pub(crate) outcome: crate::Result<()>,
}

/// An error of the client, not of one record.
pub(crate) struct ClientError {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) reason: String,
    /// Whether the client can no longer be used.
    pub(crate) is_fatal: bool,
}

/// One event from a client's queue.
pub(crate) struct Event {
    ptr: NonNull<RDKafkaEvent>,
}

impl Event {
    /// # Safety
    /// `ptr` is null or an event owned by the caller.
    pub(super) unsafe fn from_ptr(ptr: *mut RDKafkaEvent) -> Option<Event> {
        NonNull::new(ptr).map(|ptr| Event { ptr })
    }

    /// Writes the delivery reports of this event to `reports` (reusing its memory) and returns whether it
    /// was a delivery event. They are valid until the event is dropped.
    pub(crate) fn delivery_reports<'event>(
        &'event self,
        reports: &mut Vec<&'event RDKafkaMessage>,
    ) -> bool {
        // SAFETY: the event is live; the array call fills at most the capacity it is given with
        // pointers to messages that live as long as the event.
        unsafe {
            if sys::rd_kafka_event_type(self.ptr.as_ptr()) != sys::RD_KAFKA_EVENT_DR {
                return false;
            }
            reports.clear();
            let count = sys::rd_kafka_event_message_count(self.ptr.as_ptr());
            reports.reserve(count);
            let filled = sys::rd_kafka_event_message_array(
                self.ptr.as_ptr(),
                reports.as_mut_ptr().cast(),
                count,
            );
            reports.set_len(filled);
        }
        true
    }

    /// The change of the consumer's partitions, if this event is one.
    pub(crate) fn rebalance(&self) -> Option<Rebalance> {
        let event = self.ptr.as_ptr();
        // SAFETY: the event is live, and the list that it gives lives as long.
        unsafe {
            if sys::rd_kafka_event_type(event) != sys::RD_KAFKA_EVENT_REBALANCE {
                return None;
            }
            let partitions =
                PartitionList::copy_of(sys::rd_kafka_event_topic_partition_list(event));
            match RDKafkaErrorCode::from(sys::rd_kafka_event_error(event)) {
                RDKafkaErrorCode::AssignPartitions => Some(Rebalance::Assign(partitions)),
                _ => Some(Rebalance::Revoke(partitions)),
            }
        }
    }

    /// The result of a commit, if this event is one.
    pub(crate) fn commit(&self) -> Option<Commit> {
        let event = self.ptr.as_ptr();
        // SAFETY: the event is live, and the list that it gives lives as long.
        unsafe {
            if sys::rd_kafka_event_type(event) != sys::RD_KAFKA_EVENT_OFFSET_COMMIT {
                return None;
            }
            let code = sys::rd_kafka_event_error(event);
            let offsets = PartitionList::copy_of(sys::rd_kafka_event_topic_partition_list(event));
            let refused = offsets.iter().find_map(|entry| Some((entry, entry.error?)));
            let outcome = match refused {
                _ if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__NO_OFFSET => Ok(()),
                Some((entry, code)) => Err(Error::new(
                    kind_of(code),
                    format!("cannot commit offsets: {code}"),
                )
                .with("topic", entry.topic)
                .with("partition", entry.partition)),
                None if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
                None => Err(broker_error(code, "commit offsets")),
            };
            Some(Commit { offsets, outcome })
        }
    }

    /// The error that this event tells.
    pub(crate) fn error(&self) -> Option<ClientError> {
        let event = self.ptr.as_ptr();
        // SAFETY: the event is live.
        unsafe {
            if sys::rd_kafka_event_type(event) != sys::RD_KAFKA_EVENT_ERROR {
                return None;
            }
            let code = RDKafkaErrorCode::from(sys::rd_kafka_event_error(event));
            let reason = lossy(sys::rd_kafka_event_error_string(event));
            let is_fatal = sys::rd_kafka_event_error_is_fatal(event) != 0;
            Some(ClientError {
                code,
                reason,
                is_fatal,
            })
        }
    }

    /// Serves an event that is about the client itself.
    pub(crate) fn serve(
        &self,
        handle: &Arc<Handle>,
        health: &Health,
        tokens: Option<&TokenProvider>,
        observer: Option<&Observer>,
    ) {
        let event = self.ptr.as_ptr();
        // SAFETY: the event is live, and each accessor is called on its own type of event.
        unsafe {
            match sys::rd_kafka_event_type(event) {
                sys::RD_KAFKA_EVENT_LOG => self.log(observer),
                sys::RD_KAFKA_EVENT_STATS => {
                    if let Some(observer) = observer {
                        observer.statistics(&lossy(sys::rd_kafka_event_stats(event)));
                    }
                }
                sys::RD_KAFKA_EVENT_ERROR => {
                    let named = named(sys::rd_kafka_event_error(event));
                    let code = RDKafkaErrorCode::from(sys::rd_kafka_event_error(event));
                    let reason = lossy(sys::rd_kafka_event_error_string(event));
                    if health.is_news(&reason, Instant::now()) {
                        tracing::warn!(target: "carbon_events", %code, reason, "client error");
                    } else {
                        tracing::debug!(target: "carbon_events", %code, reason, "client error");
                    }
                    let error = client_error(code, &reason).with_code(Some(named));
                    if let Some(observer) = observer {
                        observer.error(&error);
                    }
                    health.note(error);
                }
                sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => refresh_token(handle, tokens),
                _ => {}
            }
        }
    }

    /// # Safety
    /// The event is of type LOG.
    unsafe fn log(&self, observer: Option<&Observer>) {
        let (mut facility, mut text, mut level) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: the out-pointers are ours; the strings live as long as the event.
        let (facility, text) = unsafe {
            if sys::rd_kafka_event_log(self.ptr.as_ptr(), &mut facility, &mut text, &mut level) != 0
            {
                return;
            }
            (lossy(facility), lossy(text))
        };
        if let Some(observer) = observer {
            observer.log(level, &facility, &text);
        }
        // syslog's levels: 0 to 3 are errors, 4 warnings, 5 notices, 6 information, 7 debug.
        match level {
            0..=3 => tracing::error!(target: "carbon_events::librdkafka", facility, "{text}"),
            4 => tracing::warn!(target: "carbon_events::librdkafka", facility, "{text}"),
            5 | 6 => tracing::info!(target: "carbon_events::librdkafka", facility, "{text}"),
            _ => tracing::debug!(target: "carbon_events::librdkafka", facility, "{text}"),
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.ptr.as_ptr()) }
    }
}

/// # Safety
/// `text` is null or NUL-terminated.
unsafe fn lossy(text: *const std::os::raw::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .trim()
        .to_owned()
}

/// Asks the caller's provider for an OAUTHBEARER token and hands it to librdkafka. Without a
/// provider librdkafka's own method (OIDC, or its unsecured tokens for tests) is at work.
/// Asks for a token on a thread of its own: what a provider waits for must not keep records from their
/// outcomes. librdkafka asks again only when this question is answered.
fn refresh_token(handle: &Arc<Handle>, tokens: Option<&TokenProvider>) {
    let Some(tokens) = tokens.cloned() else {
        return;
    };
    let for_thread = Arc::clone(handle);
    let thread = std::thread::Builder::new().name("carbon-token".into());
    if let Err(error) = thread.spawn(move || set_token(&for_thread, &tokens)) {
        refuse_token(
            handle,
            &format!("the system gives no thread to ask for one: {error}"),
        );
    }
}

fn refuse_token(handle: &Handle, why: &str) {
    tracing::error!(target: "carbon_events", why, "no OAUTHBEARER token");
    let why = CString::new(why.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the instance is live and the text NUL-terminated; librdkafka copies it.
    unsafe { sys::rd_kafka_oauthbearer_set_token_failure(handle.ptr(), why.as_ptr()) };
}

fn set_token(handle: &Handle, tokens: &TokenProvider) {
    let failed = |why: &str| refuse_token(handle, why);
    let token = match catch_unwind(AssertUnwindSafe(|| tokens.token())) {
        Ok(Ok(token)) => token,
        Ok(Err(error)) => return failed(error.message()),
        Err(_) => return failed("the token provider panicked"),
    };
    let (Ok(value), Ok(principal)) = (
        CString::new(token.token.expose()),
        CString::new(token.principal.as_str()),
    ) else {
        return failed("the token or its principal contains a NUL character");
    };
    let extensions = token
        .extensions
        .iter()
        .flat_map(|(name, value)| [name, value]);
    let Ok(extensions) = extensions
        .map(|text| CString::new(text.as_str()))
        .collect::<Result<Vec<_>, _>>()
    else {
        return failed("an extension of the token contains a NUL character");
    };
    let mut extensions: Vec<_> = extensions.iter().map(|text| text.as_ptr()).collect();
    let mut why = [0 as std::os::raw::c_char; 256];
    // SAFETY: the strings and the buffer outlive the call; librdkafka copies what it keeps.
    let code = unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            handle.ptr(),
            value.as_ptr(),
            token.expires_at_ms,
            principal.as_ptr(),
            extensions.as_mut_ptr(),
            extensions.len(),
            why.as_mut_ptr(),
            why.len(),
        )
    };
    if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        // SAFETY: librdkafka NUL-terminates what it wrote, and the buffer began as zeros.
        failed(&unsafe { lossy(why.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_warned_of_once_a_minute() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(health.is_news("a:9093: Connect failed (after 3ms in state CONNECT)", now));
        assert!(!health.is_news("a:9093: Connect failed (after 1ms in state CONNECT)", now));
        assert!(health.is_news("b:9093: Connect failed (after 3ms in state CONNECT)", now));
        let later = now + WARN_EVERY;
        assert!(health.is_news("a:9093: Connect failed (after 3ms in state CONNECT)", later));
    }
}

//! Which of librdkafka's errors a read returns, and when.
//!
//! librdkafka retries after nearly every error. What can pass by itself is logged, and returned only
//! once it has lasted for `unreachable_after`; what a user must mend is returned at once. The same
//! error is returned at most once in that time. An error after which librdkafka does nothing more is
//! returned by every read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;

use super::notify::Notify;
use crate::kafka::{ClientError, Handle, Health, REFUSED_LOGIN_GRACE, client_error, kind_of};
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// How many errors wait for a read; beyond that the oldest is dropped.
const MAX_ERRORS: usize = 16;

/// The errors of a consumer.
pub(super) struct Failures {
    health: Health,
    filter: Mutex<Filter>,
    /// Each for one read.
    errors: Mutex<VecDeque<Error>>,
    /// For every read.
    fatal: Mutex<Option<Error>>,
    /// Whether there may be anything in `errors` or `fatal`.
    any: AtomicBool,
    notify: Arc<Notify>,
}

impl Failures {
    pub(super) fn new(patience: Duration, notify: Arc<Notify>) -> Self {
        Failures {
            health: Health::default(),
            filter: Mutex::new(Filter::at_start(patience, Instant::now())),
            errors: Mutex::default(),
            fatal: Mutex::default(),
            any: AtomicBool::new(false),
            notify,
        }
    }

    /// The client's last error, which explains one that follows from it.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Fails with the oldest error that no read has returned.
    pub(super) fn check(&self) -> Result<()> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let error = self.errors.lock().pop_front();
        let error = error.or_else(|| self.fatal.lock().clone());
        error.map_or(Ok(()), Err)
    }

    /// Has the next read fail with `error`.
    pub(super) fn report(&self, error: Error) {
        let mut errors = self.errors.lock();
        if errors.len() == MAX_ERRORS {
            errors.pop_front();
        }
        errors.push_back(error);
        drop(errors);
        self.any.store(true, Ordering::Release);
        self.notify.notify();
    }

    /// Has every read fail with `error` from now on.
    pub(super) fn report_fatal(&self, error: Error) {
        tracing::error!(target: "carbon_events", %error, "the consumer cannot go on");
        self.fatal.lock().get_or_insert(error);
        self.any.store(true, Ordering::Release);
        self.notify.notify();
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.fatal.lock().is_some()
    }

    /// Takes an error of librdkafka; reads return it now, later or not at all. `topics` are those of
    /// the consumer.
    pub(super) fn note_client_error(
        &self,
        error: &ClientError,
        handle: &Handle,
        topics: &[Arc<str>],
    ) {
        if error.is_fatal {
            let fatal = handle.fatal_error();
            let error = fatal.unwrap_or_else(|| Error::new(kind_of(error.code), &*error.reason));
            self.report_fatal(error);
            return;
        }
        let is_connection = matches!(
            error.code,
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::SSL
                | Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::OperationTimedOut
        );
        let noted = client_error(error.code, &error.reason);
        // librdkafka names the topic of an error in its sentence only.
        let is_about = |topic: &&Arc<str>| error.reason.contains(&format!(": {topic}: "));
        let noted = match topics.iter().find(is_about) {
            Some(topic) if !is_connection => noted.with("topic", topic),
            _ => noted,
        };
        self.note(noted, is_connection);
    }

    /// Takes an error of a topic or the group or, with `is_connection`, of reaching the cluster.
    pub(super) fn note(&self, error: Error, is_connection: bool) {
        let due = self
            .filter
            .lock()
            .note(error, is_connection, Instant::now());
        if let Some(error) = due {
            self.report(error);
        }
    }

    /// Asks the brokers whether they answer, if a failure has lasted.
    pub(super) fn probe(&self, is_reachable: impl FnOnce() -> bool) {
        if !self.filter.lock().is_due(Instant::now()) {
            return;
        }
        let is_reachable = is_reachable();
        if is_reachable {
            self.health.recovered();
        }
        let due = self.filter.lock().probed(is_reachable, Instant::now());
        if let Some(error) = due {
            self.report(error);
        }
    }

    /// Records arrived: whatever failed has passed.
    pub(super) fn recovered(&self) {
        self.filter.lock().recovered();
    }
}

/// Decides when an error is returned.
struct Filter {
    patience: Duration,
    pending: Option<Pending>,
    /// What was returned within `patience`.
    returned: Vec<(Error, Instant)>,
}

/// A failure that can pass.
struct Pending {
    error: Error,
    /// When to ask the brokers whether it has passed.
    probe_at: Instant,
    last_seen: Instant,
    /// Whether it has passed as soon as any broker answers.
    is_connection: bool,
}

impl Filter {
    fn new(patience: Duration) -> Self {
        Filter {
            patience,
            pending: None,
            returned: Vec::new(),
        }
    }

    /// The state before any broker has answered: of one that accepts the connection and is silent
    /// librdkafka reports no error for a minute.
    fn at_start(patience: Duration, now: Instant) -> Self {
        let mut filter = Self::new(patience);
        let silence = Error::new(ErrorKind::Unavailable, "no broker has answered");
        filter.note(silence, true, now);
        filter
    }

    /// Returns the error if it is due at once.
    fn note(&mut self, error: Error, is_connection: bool, now: Instant) -> Option<Error> {
        if !is_connection && !error.retryable() {
            return self.once(error, now);
        }
        let is_refused = |error: &Error| error.kind() == ErrorKind::Authentication;
        let patience = if is_refused(&error) {
            REFUSED_LOGIN_GRACE.min(self.patience)
        } else {
            self.patience
        };
        match &mut self.pending {
            None => {
                self.pending = Some(Pending {
                    error,
                    probe_at: now + patience,
                    last_seen: now,
                    is_connection,
                });
            }
            Some(pending) => {
                pending.last_seen = now;
                pending.is_connection &= is_connection;
                // "All brokers are down" says less than the refused certificate before it.
                if is_refused(&error) || !is_refused(&pending.error) {
                    if is_refused(&error) && !is_refused(&pending.error) {
                        pending.probe_at = pending.probe_at.min(now + patience);
                    }
                    pending.error = error;
                }
            }
        }
        None
    }

    /// Whether it is time to ask the brokers.
    fn is_due(&self, now: Instant) -> bool {
        self.pending.as_ref().is_some_and(|it| it.probe_at <= now)
    }

    /// Takes the brokers' answer. Returns the pending error unless it has passed.
    fn probed(&mut self, is_reachable: bool, now: Instant) -> Option<Error> {
        let pending = self.pending.as_mut()?;
        let still_seen = now.duration_since(pending.last_seen) < self.patience;
        if is_reachable && (pending.is_connection || !still_seen) {
            self.pending = None;
            return None;
        }
        pending.probe_at = now + self.patience;
        Some(pending.error.clone())
    }

    fn recovered(&mut self) {
        self.pending = None;
    }

    /// Returns the error unless it was returned lately.
    fn once(&mut self, error: Error, now: Instant) -> Option<Error> {
        self.returned
            .retain(|(_, at)| now.duration_since(*at) < self.patience);
        if self.returned.iter().any(|(returned, _)| *returned == error) {
            return None;
        }
        self.returned.push((error.clone(), now));
        Some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "because")
    }

    #[test]
    fn what_a_user_must_mend_is_returned_at_once_and_not_all_the_time() {
        let (mut filter, now) = (Filter::new(PATIENCE), Instant::now());
        let unknown = || error(ErrorKind::UnknownTopic);
        assert_eq!(filter.note(unknown(), false, now), Some(unknown()));
        assert_eq!(filter.note(unknown(), false, now + PATIENCE / 2), None);
        let other = error(ErrorKind::Authorization);
        assert!(filter.note(other, false, now + PATIENCE / 2).is_some());
        assert!(filter.note(unknown(), false, now + PATIENCE).is_some());
    }

    #[test]
    fn unreachable_brokers_are_returned_once_that_has_lasted() {
        let (mut filter, now) = (Filter::new(PATIENCE), Instant::now());
        assert_eq!(filter.note(error(ErrorKind::Unavailable), true, now), None);
        assert!(!filter.is_due(now + PATIENCE / 2));
        assert!(filter.is_due(now + PATIENCE));
        let returned = filter.probed(false, now + PATIENCE);
        assert_eq!(returned, Some(error(ErrorKind::Unavailable)));
        assert!(!filter.is_due(now + PATIENCE * 3 / 2));
        assert_eq!(filter.probed(true, now + PATIENCE * 2), None);
        assert!(!filter.is_due(now + PATIENCE * 9), "it has passed");
    }

    #[test]
    fn a_refused_login_is_returned_sooner_and_not_covered_by_its_consequences() {
        let (mut filter, now) = (Filter::new(PATIENCE), Instant::now());
        filter.note(error(ErrorKind::Unavailable), true, now);
        filter.note(error(ErrorKind::Authentication), true, now);
        filter.note(error(ErrorKind::Unavailable), true, now);
        assert!(filter.is_due(now + REFUSED_LOGIN_GRACE));
        let returned = filter.probed(false, now + REFUSED_LOGIN_GRACE);
        assert_eq!(returned, Some(error(ErrorKind::Authentication)));
    }

    #[test]
    fn a_failure_of_the_group_is_returned_although_brokers_answer() {
        let (mut filter, now) = (Filter::new(PATIENCE), Instant::now());
        filter.note(error(ErrorKind::Unavailable), false, now);
        filter.note(error(ErrorKind::Unavailable), false, now + PATIENCE);
        assert!(filter.probed(true, now + PATIENCE).is_some());
        assert!(
            filter.probed(true, now + PATIENCE * 2).is_none(),
            "not seen since"
        );
    }

    #[test]
    fn silence_from_the_start_is_returned_and_an_answer_ends_it() {
        let now = Instant::now();
        let mut filter = Filter::at_start(PATIENCE, now);
        assert!(!filter.is_due(now));
        let returned = filter.probed(false, now + PATIENCE);
        assert_eq!(
            returned.map(|error| error.kind()),
            Some(ErrorKind::Unavailable)
        );
        assert_eq!(filter.probed(true, now + PATIENCE * 2), None);
        assert!(!filter.is_due(now + PATIENCE * 9));
    }

    #[test]
    fn records_end_a_failure() {
        let (mut filter, now) = (Filter::new(PATIENCE), Instant::now());
        filter.note(error(ErrorKind::Unavailable), true, now);
        filter.recovered();
        assert!(!filter.is_due(now + PATIENCE * 2));
    }
}

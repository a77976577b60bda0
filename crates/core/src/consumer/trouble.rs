//! Which of librdkafka's errors a reader gets to see, and when.
//!
//! librdkafka goes on trying after nearly every error. What time alone can mend is logged and shown
//! only once it has lasted; what somebody must mend is shown at once. Neither is shown again and
//! again: at most once per `patience` for the same sentence.

use std::time::{Duration, Instant};

use crate::kafka::REFUSED_LOGIN_GRACE;
use crate::{Error, ErrorKind};

pub(super) struct Trouble {
    patience: Duration,
    lasting: Option<Lasting>,
    shown: Vec<(Error, Instant)>,
}

/// Something that may pass.
struct Lasting {
    error: Error,
    /// When it is time to look whether it did.
    look_at: Instant,
    last_seen: Instant,
    /// Whether it is over as soon as any broker answers.
    connection: bool,
}

impl Trouble {
    pub(super) fn new(patience: Duration) -> Self {
        Trouble {
            patience,
            lasting: None,
            shown: Vec::new(),
        }
    }

    /// As it is before any broker has answered: one that takes the connection and says nothing gives
    /// librdkafka no error for a minute.
    pub(super) fn at_start(patience: Duration, now: Instant) -> Self {
        let mut trouble = Self::new(patience);
        let silence = Error::new(ErrorKind::Unavailable, "no broker has answered");
        trouble.note(silence, true, now);
        trouble
    }

    /// Takes note of an error, and gives it back if it is to be shown now. `connection` tells that
    /// it is about reaching or entering the cluster rather than about a topic or the group.
    pub(super) fn note(&mut self, error: Error, connection: bool, now: Instant) -> Option<Error> {
        if !connection && !error.retryable() {
            return self.show(error, now);
        }
        let refused = |error: &Error| error.kind() == ErrorKind::Authentication;
        let patience = if refused(&error) {
            REFUSED_LOGIN_GRACE.min(self.patience)
        } else {
            self.patience
        };
        match &mut self.lasting {
            None => {
                self.lasting = Some(Lasting {
                    error,
                    look_at: now + patience,
                    last_seen: now,
                    connection,
                });
            }
            Some(lasting) => {
                lasting.last_seen = now;
                lasting.connection &= connection;
                // "All brokers are down" says less than the refused certificate before it.
                if refused(&error) || !refused(&lasting.error) {
                    if refused(&error) && !refused(&lasting.error) {
                        lasting.look_at = lasting.look_at.min(now + patience);
                    }
                    lasting.error = error;
                }
            }
        }
        None
    }

    /// Whether it is time to ask the brokers if they are there.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.lasting.as_ref().is_some_and(|it| it.look_at <= now)
    }

    /// Takes note of whether they are, and gives the error to show if the trouble has lasted.
    pub(super) fn looked(&mut self, reachable: bool, now: Instant) -> Option<Error> {
        let lasting = self.lasting.as_mut()?;
        let still_seen = now.duration_since(lasting.last_seen) < self.patience;
        if reachable && (lasting.connection || !still_seen) {
            self.lasting = None;
            return None;
        }
        lasting.look_at = now + self.patience;
        Some(lasting.error.clone())
    }

    /// Records flow: whatever it was has passed.
    pub(super) fn over(&mut self) {
        self.lasting = None;
    }

    fn show(&mut self, error: Error, now: Instant) -> Option<Error> {
        self.shown
            .retain(|(_, at)| now.duration_since(*at) < self.patience);
        if self.shown.iter().any(|(shown, _)| *shown == error) {
            return None;
        }
        self.shown.push((error.clone(), now));
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
    fn what_somebody_must_mend_is_shown_at_once_and_not_all_the_time() {
        let (mut trouble, now) = (Trouble::new(PATIENCE), Instant::now());
        let unknown = || error(ErrorKind::UnknownTopic);
        assert_eq!(trouble.note(unknown(), false, now), Some(unknown()));
        assert_eq!(trouble.note(unknown(), false, now + PATIENCE / 2), None);
        let other = error(ErrorKind::Authorization);
        assert!(trouble.note(other, false, now + PATIENCE / 2).is_some());
        assert!(trouble.note(unknown(), false, now + PATIENCE).is_some());
    }

    #[test]
    fn unreachable_brokers_are_shown_once_it_has_lasted() {
        let (mut trouble, now) = (Trouble::new(PATIENCE), Instant::now());
        assert_eq!(trouble.note(error(ErrorKind::Unavailable), true, now), None);
        assert!(!trouble.is_due(now + PATIENCE / 2));
        assert!(trouble.is_due(now + PATIENCE));
        let shown = trouble.looked(false, now + PATIENCE);
        assert_eq!(shown, Some(error(ErrorKind::Unavailable)));
        assert!(!trouble.is_due(now + PATIENCE * 3 / 2));
        assert_eq!(trouble.looked(true, now + PATIENCE * 2), None);
        assert!(!trouble.is_due(now + PATIENCE * 9), "it is over");
    }

    #[test]
    fn a_refused_login_is_shown_sooner_and_not_covered_by_its_consequences() {
        let (mut trouble, now) = (Trouble::new(PATIENCE), Instant::now());
        trouble.note(error(ErrorKind::Unavailable), true, now);
        trouble.note(error(ErrorKind::Authentication), true, now);
        trouble.note(error(ErrorKind::Unavailable), true, now);
        assert!(trouble.is_due(now + REFUSED_LOGIN_GRACE));
        let shown = trouble.looked(false, now + REFUSED_LOGIN_GRACE);
        assert_eq!(shown, Some(error(ErrorKind::Authentication)));
    }

    #[test]
    fn a_group_in_trouble_is_shown_although_brokers_answer() {
        let (mut trouble, now) = (Trouble::new(PATIENCE), Instant::now());
        trouble.note(error(ErrorKind::Unavailable), false, now);
        trouble.note(error(ErrorKind::Unavailable), false, now + PATIENCE);
        assert!(trouble.looked(true, now + PATIENCE).is_some());
        assert!(
            trouble.looked(true, now + PATIENCE * 2).is_none(),
            "not seen since"
        );
    }

    #[test]
    fn silence_from_the_start_is_shown_and_an_answer_ends_it() {
        let now = Instant::now();
        let mut trouble = Trouble::at_start(PATIENCE, now);
        assert!(!trouble.is_due(now));
        let shown = trouble.looked(false, now + PATIENCE);
        assert_eq!(
            shown.map(|error| error.kind()),
            Some(ErrorKind::Unavailable)
        );
        assert_eq!(trouble.looked(true, now + PATIENCE * 2), None);
        assert!(!trouble.is_due(now + PATIENCE * 9));
    }

    #[test]
    fn records_end_the_trouble() {
        let (mut trouble, now) = (Trouble::new(PATIENCE), Instant::now());
        trouble.note(error(ErrorKind::Unavailable), true, now);
        trouble.over();
        assert!(!trouble.is_due(now + PATIENCE * 2));
    }
}

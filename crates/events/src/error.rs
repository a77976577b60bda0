//! The one error type of the crate: what happened, to which topic and record, and what to do.
//!
//! An [`Error`] has a [`kind`](Error::kind) that tells the caller what to do next, a message for a
//! person, and a context of named facts (`topic`, `partition`, `event`, `field`, …) for a program.
//! Payloads, keys' owners, passwords and key files never stand in any of the three.

use std::fmt;
use std::sync::Arc;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A field's value is refused: mend the event; the context names `event` and `field`.
    InvalidEvent,
    /// A setting is unknown or its value is refused: mend the configuration; the context names
    /// `setting`.
    InvalidConfig,
    /// The queue stayed full for as long as the caller was ready to wait: send again later.
    QueueFull,
    /// A deadline passed. For a record this means that nobody can say whether the broker has it.
    Timeout,
    /// The producer or consumer was closed: make a new one.
    Closed,
    /// The peer's certificate, our certificate or our password was refused: mend the credentials.
    Authentication,
    /// The broker or registry knows us and says no: mend the access rules; names `topic`.
    Authorization,
    /// The topic or partition does not exist: create it (`carbon-events topics apply`).
    UnknownTopic,
    /// The record is larger than the client or the topic allows: make it smaller.
    RecordTooLarge,
    /// Bytes that are no event in any of the formats we read: look at the record's writer.
    Undecodable,
    /// The registry or a reader's schema does not accept a schema: mend the schema.
    IncompatibleSchema,
    /// Broker or registry cannot be reached or is not able to answer: try again later.
    Unavailable,
    /// The record was given up before it was sent (a purge or an abandoned close): send again.
    Aborted,
    /// A fault of this library or of librdkafka that no input explains: report it.
    Internal,
}

impl ErrorKind {
    /// Every kind, for bindings that make a class of each.
    pub const ALL: [ErrorKind; 14] = [
        ErrorKind::InvalidEvent,
        ErrorKind::InvalidConfig,
        ErrorKind::QueueFull,
        ErrorKind::Timeout,
        ErrorKind::Closed,
        ErrorKind::Authentication,
        ErrorKind::Authorization,
        ErrorKind::UnknownTopic,
        ErrorKind::RecordTooLarge,
        ErrorKind::Undecodable,
        ErrorKind::IncompatibleSchema,
        ErrorKind::Unavailable,
        ErrorKind::Aborted,
        ErrorKind::Internal,
    ];

    /// The kind's name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::InvalidEvent => "InvalidEvent",
            ErrorKind::InvalidConfig => "InvalidConfig",
            ErrorKind::QueueFull => "QueueFull",
            ErrorKind::Timeout => "Timeout",
            ErrorKind::Closed => "Closed",
            ErrorKind::Authentication => "Authentication",
            ErrorKind::Authorization => "Authorization",
            ErrorKind::UnknownTopic => "UnknownTopic",
            ErrorKind::RecordTooLarge => "RecordTooLarge",
            ErrorKind::Undecodable => "Undecodable",
            ErrorKind::IncompatibleSchema => "IncompatibleSchema",
            ErrorKind::Unavailable => "Unavailable",
            ErrorKind::Aborted => "Aborted",
            ErrorKind::Internal => "Internal",
        }
    }

    /// Whether the same call can succeed later with nothing changed.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            ErrorKind::QueueFull | ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Aborted
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong. Cheap to clone: one failed batch gives the same error to all its records.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    /// librdkafka's or the broker's code, and its name.
    code: Option<(i32, &'static str)>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what happened and what to do, without payloads.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            code: None,
            source: None,
        }))
    }

    /// An [`ErrorKind::InvalidEvent`] about one field of one event.
    pub fn invalid_field(event: &str, field: &str, why: impl fmt::Display) -> Self {
        Error::new(ErrorKind::InvalidEvent, format!("{event}.{field} {why}"))
            .with("event", event)
            .with("field", field)
    }

    /// Adds a named fact, such as `topic` or `field`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        Arc::make_mut(&mut self.0)
            .context
            .push((name, value.to_string()));
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// Adds librdkafka's or the broker's error code, with its name.
    #[doc(hidden)]
    #[must_use]
    pub fn with_code(mut self, code: Option<(i32, &'static str)>) -> Self {
        Arc::make_mut(&mut self.0).code = code;
        self
    }

    /// librdkafka's (below zero) or the broker's error code, if this error is one of theirs.
    pub fn code(&self) -> Option<i32> {
        self.0.code.map(|(code, _)| code)
    }

    /// The name of [`code`](Self::code), such as `_MSG_TIMED_OUT`.
    pub fn code_name(&self) -> Option<&'static str> {
        self.0.code.map(|(_, name)| name)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, in a sentence, without the context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call can succeed later with nothing changed.
    pub fn retryable(&self) -> bool {
        self.0.kind.retryable()
    }

    /// The named facts in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .context
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// One named fact, such as `get("topic")`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.context()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)?;
        for (index, (name, value)) in self.context().enumerate() {
            write!(f, "{}{name}={value}", if index == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() {
            Ok(())
        } else {
            f.write_str(")")
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind == other.0.kind
            && self.0.message == other.0.message
            && self.0.context == other.0.context
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_line_with_its_facts() {
        let error = Error::invalid_field(
            "ServiceHealthEvent",
            "errorRate",
            "must be in 0.0..=1.0, got 1.5",
        );
        assert_eq!(
            error.to_string(),
            "InvalidEvent: ServiceHealthEvent.errorRate must be in 0.0..=1.0, got 1.5 \
             (event=ServiceHealthEvent, field=errorRate)"
        );
        assert_eq!(error.get("field"), Some("errorRate"));
        assert!(!error.retryable());
    }
}

//! The one error type of the crate.
//!
//! An [`Error`] has a [`kind`](Error::kind) that says what the caller must do, a message for a
//! person, and a context of named facts (`topic`, `partition`, `event`, `field`, …) for a program.
//! None of the three ever holds a payload, a password or the content of a key file.

use std::fmt;
use std::sync::Arc;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Declares the kinds: what happened, what the caller must do, and whether a retry can succeed.
/// The error classes of the other languages are generated from this table.
macro_rules! kinds {
    ($($(#[doc = $meaning:literal])+ $kind:ident, retryable: $retryable:literal;)+) => {
        /// What a caller must do about an [`Error`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[doc = $meaning])+ $kind,)+
        }

        impl ErrorKind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$kind),+];

            /// The kind's name, the same in every language.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(ErrorKind::$kind => stringify!($kind),)+
                }
            }

            /// Whether the same call can succeed later without a change.
            pub const fn retryable(self) -> bool {
                match self {
                    $(ErrorKind::$kind => $retryable,)+
                }
            }

            /// What happened and what the caller must do, in Markdown.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(ErrorKind::$kind => concat!($($meaning),+).trim_ascii(),)+
                }
            }
        }
    };
}

kinds! {
    /// A field has a wrong value. Fix the event; the context names `event` and `field`.
    InvalidEvent, retryable: false;
    /// A setting is unknown or has a wrong value. Fix the configuration; the context names `setting`.
    InvalidConfig, retryable: false;
    /// The queue stayed full for as long as a send may wait. Send again later.
    QueueFull, retryable: true;
    /// A deadline passed. Try again; a record that timed out may still have reached the broker.
    Timeout, retryable: true;
    /// The producer or consumer is closed. Create a new one.
    Closed, retryable: false;
    /// A certificate, a password or a token was rejected. Fix the credentials.
    Authentication, retryable: false;
    /// The broker or registry denies access. Grant the permission; the context names `topic`.
    Authorization, retryable: false;
    /// The topic or partition does not exist. Create it: `carbon-events topics apply`.
    UnknownTopic, retryable: false;
    /// The record is larger than the client or the topic allows. Make it smaller.
    RecordTooLarge, retryable: false;
    /// The bytes are not an event in any of the formats. Fix the producer that wrote them.
    Undecodable, retryable: false;
    /// The registry or a reader's schema rejects a schema. Fix the schema.
    IncompatibleSchema, retryable: false;
    /// A broker or the registry is unreachable or cannot answer. Try again later.
    Unavailable, retryable: true;
    /// The record was dropped before it was sent, by a purge or by a close that ran out of time.
    /// Send it again.
    Aborted, retryable: true;
    /// A bug in this library or in librdkafka. Report it.
    Internal, retryable: false;
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong. Cheap to clone: all records of a failed batch share one error.
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

    /// What the caller must do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, in a sentence, without the context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call can succeed later without a change.
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

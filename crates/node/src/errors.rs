//! Converts the core's errors to JSON. The JavaScript creates an instance of the kind's class from it.

use std::error::Error as _;

use carbon_events::{Error, ErrorKind};
use serde_json::{Map, Value, json};

/// `{kind, message, context, cause}`.
pub(crate) fn to_json(error: &Error) -> Value {
    let context: Map<String, Value> = error
        .context()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "kind": error.kind().as_str(),
        "message": error.message(),
        "context": context,
        "cause": error.source().map(ToString::to_string),
    })
}

/// An error to throw, with the JSON as its message.
pub(crate) fn thrown(error: &Error) -> napi::Error {
    napi::Error::from_reason(to_json(error).to_string())
}

/// Every kind, for the classes.
pub(crate) fn kinds() -> String {
    let kinds: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|kind| json!({"kind": kind.as_str(), "retryable": kind.retryable()}))
        .collect();
    Value::from(kinds).to_string()
}

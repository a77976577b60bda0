//! `carbon_events/errors.py`: a class for each kind of error.

use super::docstring;
use crate::declarations::ErrorKind;

/// The file, below its header.
pub(super) fn file(kinds: &[ErrorKind]) -> String {
    let mut out = include_str!("errors.py").to_owned();
    for error in kinds {
        let bases = match builtin(&error.kind) {
            Some(builtin) => format!("EventError, {builtin}"),
            None => "EventError".to_owned(),
        };
        let retryable = if error.retryable {
            "    retryable = True\n"
        } else {
            ""
        };
        out.push_str(&format!(
            "\n\nclass {}({bases}):\n{}\n    kind = \"{}\"\n{retryable}",
            class(&error.kind),
            docstring(&error.meaning, "    "),
            error.kind,
        ));
        if error.kind == "InvalidEvent" {
            out.push_str(FIELD_TYPE_ERROR);
        }
    }
    let mut classes: Vec<_> = kinds.iter().map(|error| class(&error.kind)).collect();
    out.push_str(
        "\n\nBY_KIND: dict[str, type[EventError]] = {\n    error.kind: error\n    for error in (\n",
    );
    out.extend(classes.iter().map(|class| format!("        {class},\n")));
    classes.extend(["EventError".to_owned(), "FieldTypeError".to_owned()]);
    classes.sort_unstable();
    out.push_str("    )\n}\n\n__all__ = [\n");
    out.extend(classes.iter().map(|class| format!("    \"{class}\",\n")));
    out.push_str("]\n");
    out
}

const FIELD_TYPE_ERROR: &str = r#"

class FieldTypeError(InvalidEventError, TypeError):
    """A keyword is missing or unknown, or its value has a wrong type."""
"#;

/// The class of a kind. Python has a `TimeoutError` of its own.
fn class(kind: &str) -> String {
    match kind {
        "Timeout" => "EventTimeoutError".to_owned(),
        kind => format!("{kind}Error"),
    }
}

/// The exception of Python's own that code which does not know this library catches.
fn builtin(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "InvalidEvent" | "InvalidConfig" | "RecordTooLarge" | "Undecodable"
        | "IncompatibleSchema" => "ValueError",
        "QueueFull" => "BufferError",
        "Timeout" => "TimeoutError",
        "Authorization" => "PermissionError",
        "UnknownTopic" => "LookupError",
        "Unavailable" => "ConnectionError",
        _ => return None,
    })
}

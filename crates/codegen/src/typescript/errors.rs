//! `lib/errors.d.ts`: a class for each kind of error.

use crate::declarations::ErrorKind;

/// The file, below its header.
pub(super) fn file(kinds: &[ErrorKind]) -> String {
    let mut out =
        "/** What a caller must do about an error. */\nexport type ErrorKind =".to_owned();
    out.extend(kinds.iter().map(|error| format!("\n  | '{}'", error.kind)));
    out.push_str(";\n\n");
    out.push_str(include_str!("errors.d.ts"));
    for ErrorKind { kind, meaning, .. } in kinds {
        out.push_str(&format!(
            "\n/** {meaning} */\nexport class {kind}Error extends EventError<'{kind}'> {{}}\n"
        ));
    }
    out
}

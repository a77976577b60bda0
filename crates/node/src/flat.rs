//! The flat JSON object of the drop-in: the envelope, then the members in the schema's order, each value
//! as JavaScript writes it.
//!
//! ```text
//! cells    key, timestamp, source ── a value for each field
//! value    the length of a text · -1 null · -2 absent · -3 true · -4 false · -5, an integer ·
//!          -6, the length of JSON
//! ```
//!
//! It is not validated. Sensitive values are protected.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::LazyLock;

use carbon_events::{Error, ErrorKind, EventId, Result, Topic};
use serde_json::Value;

use crate::cells::{Cells, Piece};

const NULL: f64 = -1.0;
const ABSENT: f64 = -2.0;
const TRUE: f64 = -3.0;
const FALSE: f64 = -4.0;
const WHOLE: f64 = -5.0;
const JSON: f64 = -6.0;

/// A member after the envelope.
struct Member {
    /// `,"latencyMs":`
    start: String,
    sensitive: bool,
}

static MEMBERS: LazyLock<Vec<Vec<Member>>> = LazyLock::new(|| {
    const ENVELOPE: usize = 7;
    let members = |topic: &Topic| {
        let schema: Value = serde_json::from_str(topic.spec().schema_json).unwrap_or_default();
        let fields = schema["fields"].as_array().into_iter().flatten();
        let member = |field: &Value| Member {
            start: format!(",{}:", field["name"]),
            sensitive: !field["sensitive"].is_null(),
        };
        fields.skip(ENVELOPE).map(member).collect()
    };
    Topic::ALL.iter().map(members).collect()
});

/// The envelope, as the start of a JSON object.
pub(crate) struct Start<'a> {
    pub(crate) record: &'static str,
    pub(crate) timestamp: f64,
    /// JSON; empty if absent.
    pub(crate) source: Cow<'a, [u8]>,
}

impl Start<'_> {
    /// Writes the start of the object.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let id = EventId::generate();
        for part in [
            "{\"eventId\":\"",
            id.as_str(),
            "\",\"eventType\":\"",
            self.record,
            "\",\"timestamp\":",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        if self.timestamp.is_finite() {
            // Writing into memory does not fail.
            let _ = write!(out, "{}", self.timestamp);
        } else {
            out.extend_from_slice(b"null");
        }
        if !self.source.is_empty() {
            out.extend_from_slice(b",\"source\":");
            out.extend_from_slice(&self.source);
        }
        out.extend_from_slice(b",\"version\":\"1.0.0\"");
    }
}

/// Appends a record's members from their cells. Returns whether one may hold a sensitive value.
pub(crate) fn members(number: i32, cells: &mut Cells<'_>, out: &mut Vec<u8>) -> Result<bool> {
    let members = usize::try_from(number).ok().and_then(|n| MEMBERS.get(n));
    let members = members.ok_or_else(crate::cells::no_symbol)?;
    let mut sensitive = false;
    for member in members {
        let value = cells.number()?;
        if value == ABSENT {
            continue;
        }
        out.extend_from_slice(member.start.as_bytes());
        if value == NULL {
            out.extend_from_slice(b"null");
            continue;
        }
        sensitive |= member.sensitive;
        if value >= 0.0 {
            string(cells.piece(value)?, out);
        } else if value == WHOLE {
            let number = cells.number()? as i64;
            let _ = write!(out, "{number}");
        } else if value == JSON {
            let length = cells.number()?;
            let json = cells.bytes_of(length)?;
            sensitive |= matches!(json.first(), Some(b'{' | b'['));
            out.extend_from_slice(&json);
        } else if value == TRUE {
            out.extend_from_slice(b"true");
        } else if value == FALSE {
            out.extend_from_slice(b"false");
        } else {
            let message = "unknown kind of value";
            return Err(Error::new(ErrorKind::Internal, message));
        }
    }
    out.push(b'}');
    Ok(sensitive)
}

/// Appends a text as JSON.stringify does: a lone surrogate is escaped.
fn string(piece: Piece<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    match piece {
        Piece::Ascii(text) => ascii(text, out),
        Piece::Wide(units) => {
            let mut bytes = [0; 4];
            for unit in char::decode_utf16(units.iter().copied()) {
                match unit {
                    Ok(letter) if letter.is_ascii() => ascii(&[letter as u8], out),
                    Ok(letter) => {
                        out.extend_from_slice(letter.encode_utf8(&mut bytes).as_bytes());
                    }
                    Err(half) => {
                        let _ = write!(out, "\\u{:04x}", half.unpaired_surrogate());
                    }
                }
            }
        }
    }
    out.push(b'"');
}

fn ascii(text: &[u8], out: &mut Vec<u8>) {
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&text[plain..]);
}

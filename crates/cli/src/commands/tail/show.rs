//! Records on stdout, a line each, as text or as JSON.

use std::io::{self, BufWriter, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use carbon_events::consumer::Record;
use carbon_events::{Error, Event};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::output::{self, BAD, DIM, GOOD, json_text, printable, steers, styled};

/// How many bytes of an undecodable record are shown.
const SHOWN_BYTES: usize = 120;

/// What has been shown.
pub(super) struct Shown {
    json: bool,
    out: BufWriter<anstream::AutoStream<io::Stdout>>,
    pub(super) records: u64,
}

impl Shown {
    pub(super) fn new(json: bool) -> Self {
        Shown {
            json,
            out: output::stdout(),
            records: 0,
        }
    }

    /// Shows an event; `fields` is the event as JSON.
    pub(super) fn event(
        &mut self,
        record: &Record<'_>,
        event: &Event<'_>,
        fields: Value,
    ) -> io::Result<()> {
        self.records += 1;
        if self.json {
            let mut line = head_json(record);
            line.insert("event".to_owned(), fields);
            return writeln!(self.out, "{}", json_text(&Value::Object(line)));
        }
        write!(self.out, "{} {}", head(record), styled(GOOD, event.name()))?;
        for (name, value) in fields.as_object().into_iter().flatten() {
            if is_told_already(name, value) {
                continue;
            }
            write!(
                self.out,
                " {}{}",
                styled(DIM, format!("{name}=")),
                short(value)
            )?;
        }
        writeln!(self.out)
    }

    /// Shows a record without a value.
    pub(super) fn tombstone(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.records += 1;
        if self.json {
            let mut line = head_json(record);
            line.insert("tombstone".to_owned(), Value::Bool(true));
            return writeln!(self.out, "{}", Value::Object(line));
        }
        writeln!(self.out, "{} {}", head(record), styled(DIM, "tombstone"))
    }

    /// Shows an undecodable record.
    pub(super) fn undecodable(&mut self, record: &Record<'_>, error: &Error) -> io::Result<()> {
        self.records += 1;
        if self.json {
            let mut line = head_json(record);
            line.insert("error".to_owned(), output::library_error_json(error));
            let value = bytes_json(record.value().unwrap_or_default());
            line.insert("value".to_owned(), value);
            return writeln!(self.out, "{}", json_text(&Value::Object(line)));
        }
        let value = shown_bytes(record.value().unwrap_or_default());
        let why = format!("{}: {}", error.kind(), error.message());
        writeln!(
            self.out,
            "{} {} {}",
            head(record),
            styled(BAD, printable(&why)),
            styled(DIM, value)
        )
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether the line already shows a field, or its value is null.
fn is_told_already(name: &str, value: &Value) -> bool {
    matches!(name, "eventType" | "timestamp") || value.is_null()
}

/// When, from where and with which key.
fn head(record: &Record<'_>) -> String {
    let time = match record.timestamp_ms().map(Timestamp::from_millisecond) {
        Some(Ok(time)) => format!("{time:.3}"),
        _ => "-".to_owned(),
    };
    let place = format!(
        "{}-{}@{}",
        record.topic(),
        record.partition(),
        record.offset()
    );
    let key = record.key().map_or("-".to_owned(), |key| {
        printable(&String::from_utf8_lossy(key))
    });
    format!("{} {place} {key}", styled(DIM, time))
}

fn head_json(record: &Record<'_>) -> Map<String, Value> {
    let headers: Vec<Value> = record
        .headers()
        .map(|header| {
            json!({ "name": header.name, "value": header.value.map_or(Value::Null, bytes_json) })
        })
        .collect();
    let head = json!({
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
        "timestamp": record.timestamp_ms(),
        "key": record.key().map_or(Value::Null, bytes_json),
        "headers": headers,
    });
    match head {
        Value::Object(head) => head,
        _ => Map::new(),
    }
}

/// Bytes as text if they are UTF-8, else as `{"base64": "…"}`.
fn bytes_json(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": BASE64_STANDARD.encode(bytes) }),
    }
}

/// The first bytes of a record, as text if they are UTF-8.
fn shown_bytes(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let more = if bytes.len() > shown.len() {
        format!("… ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    match str::from_utf8(bytes) {
        Ok(text) => {
            let text: String = text.chars().take(SHOWN_BYTES).collect();
            format!("{}{more}", printable(&text))
        }
        Err(_) => {
            let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{hex}{more}")
        }
    }
}

/// A value on one line, quoted only if its end is not obvious.
fn short(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON's own quotes escape control characters, so that no record can steer the terminal.
        Value::String(text) => Value::from(printable(text)).to_string(),
        other => printable(&other.to_string()),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| !c.is_whitespace() && !steers(c) && c != '"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_steers_the_terminal() {
        assert_eq!(short(&json!("plain")), "plain");
        assert_eq!(short(&json!("two words")), "\"two words\"");
        assert_eq!(short(&json!("")), "\"\"");
        assert!(!short(&json!("\u{1b}[31mred")).contains('\u{1b}'));
        assert!(!short(&json!({ "a": "\u{9b}31m" })).contains('\u{9b}'));
        for steering in [
            '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{2028}',
        ] {
            let text = format!("a{steering}b");
            assert!(!short(&json!(text)).contains(steering));
            assert!(!shown_bytes(text.as_bytes()).contains(steering));
            let value = json!({ "k": [&text], (&text): 1 });
            let shown = json_text(&value);
            assert!(!shown.contains(steering), "{shown}");
            assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        }
        assert_eq!(short(&json!("naïve")), "naïve");
    }

    #[test]
    fn bytes_are_text_where_they_can_be() {
        assert_eq!(bytes_json(b"text"), json!("text"));
        assert_eq!(bytes_json(&[0xff, 0]), json!({ "base64": "/wA=" }));
        assert_eq!(shown_bytes(&[0, 0xff]), "0x00ff");
        assert_eq!(shown_bytes(b"{}\n"), "{}\u{fffd}");
        assert!(shown_bytes(&[b'x'; 500]).ends_with("(500 bytes)"));
    }
}

//! JSON text as Python's `json.dumps` writes it by default: ASCII alone, `NaN` and `Infinity` as
//! words, a blank after each comma and colon.
//!
//! Readers of the older producers' JSON have never met anything else, and so a value that is written
//! here and one that Python writes are the same bytes.

/// What stands between two members.
pub const NEXT: &[u8] = b", ";
/// What stands between a name and its value.
pub const IS: &[u8] = b": ";

/// Appends a string.
#[inline]
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    out.push(b'"');
    // Without an early end, so that many bytes are looked at at once.
    if text
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
    {
        out.extend_from_slice(text.as_bytes());
    } else {
        push_escaped(out, text);
    }
    out.push(b'"');
}

#[cold]
fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='~' => out.push(character as u8),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
}

/// Appends a whole number.
#[inline]
pub fn push_integer(out: &mut Vec<u8>, value: i64) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &value);
}

/// Appends a number that stays one with a fraction: the shortest text that reads as the same.
#[inline]
pub fn push_float(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        let _ = serde_json::to_writer(out, &value);
    } else {
        push_rare_float(out, value);
    }
}

#[cold]
fn push_rare_float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        let word: &[u8] = if value > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        };
        return out.extend_from_slice(word);
    }
    // Rust writes 1.5e-7 and 1e16, Python 1.5e-07 and 1e+16.
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("{digits}e{sign}{:02}", exponent.abs()).as_bytes());
}

/// Appends a boolean.
#[inline]
pub fn push_boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a null.
#[inline]
pub fn push_null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_ascii_as_python_writes_it() {
        for (text, json) in [
            ("plain ~ text", r#""plain ~ text""#),
            ("", r#""""#),
            ("a\"b\\c/", r#""a\"b\\c/""#),
            (
                "\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}",
                r#""\n\r\t\b\f\u0000\u001f\u007f""#,
            ),
            ("é€", r#""\u00e9\u20ac""#),
            ("\u{1f600}", r#""\ud83d\ude00""#),
        ] {
            assert_eq!(written(|out| push_text(out, text)), json);
        }
    }

    #[test]
    fn numbers_keep_their_kind_and_every_digit() {
        for (value, json) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (12.0, "12.0"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (0.0001, "0.0001"),
            (0.00001234, "1.234e-05"),
            (5e-324, "5e-324"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (-1.5e300, "-1.5e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(written(|out| push_float(out, value)), json);
        }
        assert_eq!(
            written(|out| push_integer(out, i64::MIN)),
            "-9223372036854775808"
        );
    }
}

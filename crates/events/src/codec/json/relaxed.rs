//! JSON as lax writers have it, made such that a strict reader takes it.

/// The numbers that JSON does not have, as Python and JavaScript name them.
const NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
/// `\u` and four digits.
const ESCAPE: usize = 6;

/// The text with `NaN` and the infinities as strings, and U+FFFD for half a surrogate pair: what
/// Python's `json` and `JSON.stringify` write and RFC 8259 does not allow or does not define.
/// `None` where it has none of these.
pub fn relaxed(json: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    let mut in_text = false;
    while let Some(&byte) = json.get(at) {
        let rest = &json[at..];
        let (len, instead): (usize, Option<Vec<u8>>) = match byte {
            b'"' => {
                in_text = !in_text;
                (1, None)
            }
            b'\\' if in_text => match surrogate(rest) {
                None => (2, None),
                Some(Half::High) if surrogate(&rest[ESCAPE..]) == Some(Half::Low) => {
                    (2 * ESCAPE, None)
                }
                Some(_) => (ESCAPE, Some(b"\\ufffd".to_vec())),
            },
            b'N' | b'I' | b'-' if !in_text => {
                match NUMBERS.iter().find(|number| rest.starts_with(number)) {
                    None => (1, None),
                    Some(number) => (number.len(), Some([b"\"", *number, b"\""].concat())),
                }
            }
            _ => (1, None),
        };
        if let Some(instead) = instead {
            out.extend_from_slice(&json[copied..at]);
            out.extend_from_slice(&instead);
            copied = at + len;
        }
        at += len;
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(json.get(copied..).unwrap_or_default());
    Some(out)
}

/// Whether a text names one of the numbers that JSON does not have.
pub(super) fn number(text: &str) -> Option<f64> {
    let named = NUMBERS.contains(&text.as_bytes());
    named.then(|| text.parse().ok()).flatten()
}

#[derive(PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that an escape stands for.
fn surrogate(rest: &[u8]) -> Option<Half> {
    let digits = rest.get(..ESCAPE)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    match u32::from_str_radix(digits, 16).ok()? {
        0xd800..0xdc00 => Some(Half::High),
        0xdc00..0xe000 => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        relaxed(json.as_bytes()).map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn numbers_that_json_lacks_become_strings() {
        let lax = r#"{"a": NaN, "b":[Infinity,-Infinity, -1], "c": "NaN"}"#;
        let strict = r#"{"a": "NaN", "b":["Infinity","-Infinity", -1], "c": "NaN"}"#;
        assert_eq!(text(lax).as_deref(), Some(strict));
        assert_eq!(text(strict), None);
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        for (lax, strict) in [
            (r#""x\ud83d""#, r#""x\ufffd""#),
            (r#""\udce9.csv""#, r#""\ufffd.csv""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n""#, r#""\ufffd\n""#),
        ] {
            assert_eq!(text(lax).as_deref(), Some(strict));
        }
        for whole in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9""#, r#""\"#] {
            assert_eq!(text(whole), None, "{whole}");
        }
    }
}

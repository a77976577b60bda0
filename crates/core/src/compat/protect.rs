//! The sensitive values in JSON that is not a typed event: a custom event, or the flat object that
//! older producers send.
//!
//! ```text
//!  topic ──▶ its record's rules ─┐
//!  "eventType" of an object ─────┴──▶ rules in force, for the object and all within it
//!                                        │
//!  members named by a rule ──▶ candidates ──▶ edits ──▶ the same text, other values
//! ```
//!
//! One pass over the text, which need not be valid JSON (Python writes `NaN`): strings are skipped by
//! their quotes, and everything that is not replaced stays byte for byte. Neither the topic nor an
//! `eventType` is known before the object ends, so a member that a rule names is kept as a
//! candidate until an enclosing object that the rule is for has ended.
//!
//! Names are compared without case, `_` and `-`: `api_key` of a dict is `apiKey`.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use serde_json::Value;

use crate::codec::relaxed_json;
use crate::config::topic_behind;
use crate::events::{Topic, sensitive};

/// The longest name that is compared; longer ones are no field's.
const MAX_NAME: usize = 32;
const EVENT_TYPE: &str = "eventtype";

/// A sensitive field of a record, as its schema marks it.
struct Rule {
    topic: Topic,
    name: String,
    action: Action,
    /// The boolean field that makes this event's value sensitive; without one it always is.
    when: Option<String>,
}

#[derive(Clone, Copy)]
enum Action {
    Hash,
    Mask,
    Drop,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let mut rules = Vec::new();
    for topic in Topic::ALL {
        let schema: Value = serde_json::from_str(topic.spec().schema_json).unwrap_or_default();
        for field in schema["fields"].as_array().into_iter().flatten() {
            let marked = &field["sensitive"];
            let action = match marked["action"].as_str() {
                Some("hash") => Action::Hash,
                Some("mask") => Action::Mask,
                Some("drop") => Action::Drop,
                _ => continue,
            };
            rules.push(Rule {
                topic,
                name: plain_text(field["name"].as_str().unwrap_or_default()),
                action,
                when: marked["when"].as_str().map(plain_text),
            });
        }
    }
    rules
});

/// A value as JSON with the sensitive fields treated as their schemas say: those of the record of
/// `topic` (with or without `topic_prefix`), and in every object that names one of the records as
/// its `eventType`, those of that record. Nothing else changes.
pub fn protect_json<'j>(topic: &str, topic_prefix: &str, json: &'j [u8]) -> Cow<'j, [u8]> {
    protect_json_but(topic, topic_prefix, json, &[])
}

/// As [`protect_json`], of which these hashes are treated already.
pub(crate) fn protect_json_but<'j>(
    topic: &str,
    topic_prefix: &str,
    json: &'j [u8],
    hashes: &[String],
) -> Cow<'j, [u8]> {
    if !matches!(first_byte(json), Some(b'{' | b'[')) {
        return Cow::Borrowed(json);
    }
    let known = topic_behind(topic_prefix, topic).or_else(|| Topic::from_name(topic));
    let edits = Scan::new(json, known.map_or(0, bit), hashes).run();
    if edits.is_empty() {
        return Cow::Borrowed(json);
    }
    Cow::Owned(edited(json, edits))
}

/// A set of topics, by their numbers.
type Topics = u32;

fn bit(topic: Topic) -> Topics {
    1 << topic as u32
}

struct Edit {
    at: Range<usize>,
    value: String,
}

/// The text with each edit made. An edit inside another is part of what the outer one replaces.
fn edited(json: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|edit| (edit.at.start, std::cmp::Reverse(edit.at.end)));
    let mut out = Vec::with_capacity(json.len() + 32 * edits.len());
    let mut copied = 0;
    for edit in edits {
        if edit.at.start < copied {
            continue;
        }
        out.extend_from_slice(&json[copied..edit.at.start]);
        out.extend_from_slice(edit.value.as_bytes());
        copied = edit.at.end;
    }
    out.extend_from_slice(&json[copied..]);
    out
}

/// A member whose name a rule has.
struct Candidate {
    rule: usize,
    value: Range<usize>,
}

/// An object or array that has not ended.
struct Open {
    object: bool,
    /// The topics whose rules are in force here, as far as is known.
    topics: Topics,
    /// Candidates of the objects inside, whose rules were not in force there.
    candidates: Vec<Candidate>,
    /// This object's own.
    own: Vec<Candidate>,
    /// The flags that are set in this object.
    when: Vec<String>,
    /// The name of the member that is being read, if it is of interest.
    name: Option<Name>,
    value_start: usize,
}

enum Name {
    EventType,
    /// A field that some rule hangs on, or that is sensitive itself.
    Field(String),
}

struct Scan<'j> {
    json: &'j [u8],
    at: usize,
    root: Topics,
    open: Vec<Open>,
    edits: Vec<Edit>,
    hashes: &'j [String],
}

impl<'j> Scan<'j> {
    fn new(json: &'j [u8], root: Topics, hashes: &'j [String]) -> Self {
        Scan {
            json,
            hashes,
            at: 0,
            root,
            open: Vec::new(),
            edits: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Edit> {
        while let Some(&byte) = self.json.get(self.at) {
            match byte {
                b'{' | b'[' => self.begin(byte == b'{'),
                b'}' | b']' => {
                    self.at += 1;
                    self.end();
                    self.value_ended();
                }
                b'"' => self.string(),
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => self.scalar(),
            }
        }
        // Text that ends early: what is open ends here.
        while !self.open.is_empty() {
            self.end();
        }
        self.edits
    }

    fn begin(&mut self, object: bool) {
        let topics = self.open.last().map_or(self.root, |open| open.topics);
        self.value_begins();
        self.open.push(Open {
            object,
            topics,
            candidates: Vec::new(),
            own: Vec::new(),
            when: Vec::new(),
            name: None,
            value_start: 0,
        });
        self.at += 1;
    }

    /// Ends the innermost object or array: what its rules name is edited, the rest is left to the
    /// one around it.
    fn end(&mut self) {
        let Some(mut open) = self.open.pop() else {
            return;
        };
        let when = std::mem::take(&mut open.when);
        let holds = |rule: &Rule| rule.when.as_ref().is_none_or(|name| when.contains(name));
        open.own.retain(|one| holds(&RULES[one.rule]));
        open.candidates.append(&mut open.own);
        let in_force = |one: &Candidate| open.topics & bit(RULES[one.rule].topic) != 0;
        let (now, later): (Vec<_>, Vec<_>) = open.candidates.into_iter().partition(in_force);
        for one in now {
            self.edit(&one);
        }
        if let Some(around) = self.open.last_mut() {
            around.candidates.extend(later);
        }
    }

    fn value_begins(&mut self) {
        let at = self.at;
        if let Some(open) = self.open.last_mut() {
            open.value_start = at;
        }
    }

    /// A value of a member ended: kept where a rule has the member's name.
    fn value_ended(&mut self) {
        let end = self.at;
        let json = self.json;
        let Some(open) = self.open.last_mut() else {
            return;
        };
        let value = open.value_start..end;
        match open.name.take() {
            None => {}
            Some(Name::EventType) => {
                let named = text_of(&json[value]);
                let topic = named.and_then(|name| {
                    let mut topics = Topic::ALL.into_iter();
                    topics.find(|topic| topic.spec().record == name)
                });
                open.topics |= topic.map_or(0, bit);
            }
            Some(Name::Field(name)) => {
                for (index, rule) in RULES.iter().enumerate() {
                    if rule.name == name {
                        let value = value.clone();
                        open.own.push(Candidate { rule: index, value });
                    }
                }
                if is_true(&json[value]) {
                    open.when.push(name);
                }
            }
        }
    }

    fn string(&mut self) {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.json.get(self.at) {
            match byte {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at = (self.at + 1).min(self.json.len());
        let is_name = self.next_is_colon()
            && self
                .open
                .last()
                .is_some_and(|open| open.object && open.name.is_none());
        if is_name {
            let name = interesting(&self.json[start..self.at]);
            if let Some(open) = self.open.last_mut() {
                open.name = name;
            }
            return;
        }
        if let Some(open) = self.open.last_mut() {
            open.value_start = start;
        }
        self.value_ended();
    }

    fn next_is_colon(&self) -> bool {
        let rest = self.json[self.at..].iter();
        rest.copied().find(|byte| !byte.is_ascii_whitespace()) == Some(b':')
    }

    fn scalar(&mut self) {
        self.value_begins();
        let rest = &self.json[self.at..];
        let len = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"'))
            .unwrap_or(rest.len());
        let blanks = rest[..len].iter().rev();
        let blanks = blanks.take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += (len - blanks).max(1);
        self.value_ended();
    }

    fn edit(&mut self, one: &Candidate) {
        let raw = &self.json[one.value.clone()];
        if raw == b"null" || raw.is_empty() {
            return;
        }
        let treated = match RULES[one.rule].action {
            Action::Drop => "null".to_owned(),
            Action::Mask => format!("\"{}\"", sensitive::mask_text("", true)),
            Action::Hash => {
                let text = match text_of(raw) {
                    Some(text) if self.hashes.contains(&text) => return,
                    Some(text) => text,
                    // No string: what stands there is the value.
                    None => String::from_utf8_lossy(raw).into_owned(),
                };
                format!("\"{}\"", sensitive::hash_of(&text))
            }
        };
        if treated.as_bytes() != raw {
            self.edits.push(Edit {
                at: one.value.clone(),
                value: treated,
            });
        }
    }
}

/// What a member's name is here for, if for anything.
fn interesting(quoted: &[u8]) -> Option<Name> {
    let inner = &quoted[1..quoted.len().max(2) - 1];
    let name = if inner.contains(&b'\\') {
        plain_text(&text_of(quoted)?)
    } else {
        let mut plain = [0; MAX_NAME];
        let mut len = 0;
        for byte in inner.iter().filter(|byte| !matches!(byte, b'_' | b'-')) {
            *plain.get_mut(len)? = byte.to_ascii_lowercase();
            len += 1;
        }
        let plain = std::str::from_utf8(&plain[..len]).ok()?;
        if !is_of_interest(plain) {
            return None;
        }
        plain.to_owned()
    };
    if name == EVENT_TYPE {
        return Some(Name::EventType);
    }
    is_of_interest(&name).then_some(Name::Field(name))
}

fn is_of_interest(name: &str) -> bool {
    name == EVENT_TYPE
        || RULES
            .iter()
            .any(|rule| rule.name == name || rule.when.as_deref() == Some(name))
}

/// A name as it is compared.
fn plain_text(name: &str) -> String {
    let letters = name.chars().filter(|letter| !matches!(letter, '_' | '-'));
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The text of a JSON string; half a surrogate pair is U+FFFD.
fn text_of(quoted: &[u8]) -> Option<String> {
    if quoted.first() != Some(&b'"') {
        return None;
    }
    serde_json::from_slice(quoted)
        .ok()
        .or_else(|| serde_json::from_slice(&relaxed_json(quoted)?).ok())
}

/// Whether a flag is set, by what its writer may have meant: only what plainly says no is false.
fn is_true(raw: &[u8]) -> bool {
    match text_of(raw) {
        Some(text) => !matches!(
            text.to_ascii_lowercase().as_str(),
            "" | "false" | "0" | "no"
        ),
        None => !matches!(raw, b"false" | b"null" | b"0" | b"0.0" | b""),
    }
}

fn first_byte(json: &[u8]) -> Option<u8> {
    json.iter()
        .copied()
        .find(|byte| !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(topic: &str, json: &str) -> String {
        let bytes = protect_json(topic, "", json.as_bytes()).into_owned();
        String::from_utf8(bytes).unwrap()
    }

    const HASH: &str = "sha256:ba7816bf8f01cfea";

    #[test]
    fn a_sensitive_member_is_treated_by_its_topic_whatever_else_is_there() {
        for (json, expected) in [
            (r#"{"apiKey":"abc"}"#, r#"{"apiKey":"@"}"#),
            (
                r#"{ "statusCode" : NaN, "x": [1,{"y":"}"}], "apiKey" : "abc" , "z":null}"#,
                r#"{ "statusCode" : NaN, "x": [1,{"y":"}"}], "apiKey" : "@" , "z":null}"#,
            ),
            (
                r#"{"api_key":"abc","API-KEY":"abc"}"#,
                r#"{"api_key":"@","API-KEY":"@"}"#,
            ),
            (r#"{"api\u004bey":"ab\u0063"}"#, r#"{"api\u004bey":"@"}"#),
            (
                r#"{"apiKey":"abc","apiKey":"abc"}"#,
                r#"{"apiKey":"@","apiKey":"@"}"#,
            ),
            (
                r#"[{"apiKey":"abc"},{"request":{"apiKey":"abc"}}]"#,
                r#"[{"apiKey":"@"},{"request":{"apiKey":"@"}}]"#,
            ),
            (
                r#" {"apiKey": null, "a": "apiKey"}"#,
                r#" {"apiKey": null, "a": "apiKey"}"#,
            ),
        ] {
            assert_eq!(
                protected("audit-api-calls", json),
                expected.replace('@', HASH)
            );
        }
        // What looks like a hash is a value like any other.
        let hashed = format!(r#"{{"apiKey":"{HASH}"}}"#);
        let again = format!(r#"{{"apiKey":"{}"}}"#, sensitive::hash_of(HASH));
        assert_eq!(protected("audit-api-calls", &hashed), again);
    }

    #[test]
    fn a_value_that_is_no_text_does_not_leave_in_clear_either() {
        for value in [
            "123456",
            r#"["abc"]"#,
            r#"{"apiKey":"abc","k":1}"#,
            r#""x\ud800""#,
            "-1.5e3",
        ] {
            let treated = protected("audit-api-calls", &format!(r#"{{"apiKey":{value},"n":1}}"#));
            let rest = treated.strip_prefix(r#"{"apiKey":"sha256:"#).unwrap();
            assert!(rest.len() == 16 + r#"","n":1}"#.len(), "{treated}");
        }
    }

    #[test]
    fn an_object_that_names_a_record_is_treated_on_any_topic() {
        let json =
            r#"{"events":[{"apiKey":"abc","eventType":"AuditAPICallEvent"},{"apiKey":"abc"}]}"#;
        let expected =
            r#"{"events":[{"apiKey":"@","eventType":"AuditAPICallEvent"},{"apiKey":"abc"}]}"#;
        assert_eq!(protected("anything", json), expected.replace('@', HASH));
        let json = r#"{"request":{"apiKey":"abc"},"event_type":"AuditAPICallEvent"}"#;
        let expected = r#"{"request":{"apiKey":"@"},"event_type":"AuditAPICallEvent"}"#;
        assert_eq!(protected("anything", json), expected.replace('@', HASH));
        for untouched in [
            r#"{"apiKey":"abc","eventType":"DataIngestionEvent"}"#,
            r#"{"apiKey":"abc"}"#,
            r#""apiKey""#,
        ] {
            assert_eq!(protected("anything", untouched), untouched);
        }
    }

    #[test]
    fn a_value_is_masked_where_its_flag_is_set() {
        for (flag, masked) in [
            (r#""sensitive":true,"#, true),
            (r#""sensitive":"true","#, true),
            (r#""sensitive":1,"#, true),
            (r#""sensitive":false,"sensitive":true,"#, true),
            (r#""sensitive":false,"#, false),
            (r#""sensitive":"False","#, false),
            (r#""sensitive":null,"#, false),
            ("", false),
        ] {
            let json = format!(r#"{{"oldValue":"a",{flag}"newValue":{{"b":"c"}}}}"#);
            let expected = format!(r#"{{"oldValue":"***",{flag}"newValue":"***"}}"#);
            let expected = if masked { &expected } else { &json };
            assert_eq!(&protected("config-changes", &json), expected);
        }
        let json = r#"{"oldValue":null,"sensitive":true}"#;
        assert_eq!(protected("config-changes", json), json);
    }

    #[test]
    fn a_topic_is_known_with_its_prefix() {
        let json = br#"{"apiKey":"abc"}"#;
        for topic in ["dev-audit-api-calls", "audit-api-calls"] {
            assert_ne!(&*protect_json(topic, "dev-", json), json, "{topic}");
        }
        assert_eq!(&*protect_json("other-audit-api-calls", "dev-", json), json);
    }

    proptest::proptest! {
        /// Any bytes are taken, and what is valid JSON stays it.
        #[test]
        fn any_text_is_taken(json in r#"[\[\]{}":,\\ aN0-9"]{0,40}"#, value in ".{0,12}") {
            protect_json("audit-api-calls", "", json.as_bytes());
            let object = serde_json::json!({"a": [value, {"b": value}], "apiKey": value, "c": 1});
            let text = serde_json::to_vec(&object).unwrap();
            let treated = protect_json("audit-api-calls", "", &text);
            let treated: Value = serde_json::from_slice(&treated).unwrap();
            let mut expected = object.clone();
            expected["apiKey"] = sensitive::hash_of(&value).into();
            proptest::prop_assert_eq!(treated, expected);
        }
    }
}

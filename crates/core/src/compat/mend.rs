//! An event of a typed call of the older packages, as its caller meant it: what JSON let through and
//! Avro cannot hold.
//!
//! ```text
//!  flat JSON ──▶ values that are missing or in a list ──▶ sensitive values ──▶ the lenient reader ──▶ event
//! ```

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::protect_json;
use crate::codec::{Decoded, Fill, Rules, event_from_treated_json, relaxed_json};
use crate::events::{Event, Topic};
use crate::{Error, ErrorKind, Result};

/// Stands where a text is missing that Avro cannot do without.
const UNKNOWN: &str = "unknown";

/// The fields of the envelope, which the reader fills.
const ENVELOPE: usize = 7;

/// A field that may be mended.
struct Field {
    name: String,
    kind: Kind,
    /// Whether it must have a value, and has no default.
    required: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Double,
    Whole,
}

/// Those of each record, by the topics' numbers.
static FIELDS: LazyLock<Vec<Vec<Field>>> = LazyLock::new(|| {
    let fields = |topic: Topic| {
        let schema: Value = serde_json::from_str(topic.spec().schema_json).unwrap_or_default();
        let fields = schema["fields"].as_array().into_iter().flatten();
        fields.skip(ENVELOPE).filter_map(Field::read).collect()
    };
    Topic::ALL.into_iter().map(fields).collect()
});

impl Field {
    /// `None` for a field with parts or symbols.
    fn read(field: &Value) -> Option<Field> {
        let (given, nullable) = match &field["type"] {
            Value::Array(branches) => (branches.iter().find(|it| *it != "null")?, true),
            one => (one, false),
        };
        let kind = match given.as_str().or_else(|| given["type"].as_str())? {
            "string" => Kind::Text,
            "double" => Kind::Double,
            "int" | "long" => Kind::Whole,
            _ => return None,
        };
        // The reader takes the value of the old name.
        let has_default = field.get("default").is_some() || field.get("legacyJsonName").is_some();
        Some(Field {
            name: field["name"].as_str()?.to_owned(),
            kind,
            required: !nullable && !has_default,
        })
    }

    fn mend(&self, event: &mut Map<String, Value>) {
        if let Some(Value::Array(list)) = event.get_mut(&self.name)
            && list.len() == 1
            && let Some(only) = list.pop()
        {
            event.insert(self.name.clone(), only);
        }
        let value = event.get(&self.name).unwrap_or(&Value::Null);
        let instead = match self.kind {
            Kind::Text if value.is_null() => Value::from(UNKNOWN),
            Kind::Double if is_no_number(value) => Value::from(0.0),
            _ => return,
        };
        if self.required {
            event.insert(self.name.clone(), instead);
        }
    }
}

/// Whether nothing stands where a number should: null, no text, `NaN` or an infinity.
fn is_no_number(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => {
            let text = text.trim();
            text.is_empty() || text.parse().is_ok_and(|number: f64| !number.is_finite())
        }
        _ => false,
    }
}

/// The event that is the flat JSON of a typed call of the older packages.
///
/// What [`Rules::Lenient`] takes is taken. Besides, a required text that is missing or null is
/// `unknown`, and such a double, `NaN` and the infinities are 0.0; a list of one value stands for the
/// value, as a header that may be repeated comes. Sensitive values within what becomes a text are
/// protected.
///
/// # Errors
///
/// [`ErrorKind::InvalidEvent`] naming the event and, where it is one, the field.
pub fn event_from_call<'v>(
    topic: Topic,
    json: &[u8],
    fill: &Fill<'_>,
    scratch: &'v mut Vec<u8>,
) -> Result<Decoded<Event<'v>>> {
    let mended = mended(topic, json);
    // An object where the record has a text becomes one, with the secrets that are in it.
    let json = protect_json(topic.name(), "", &mended);
    event_from_treated_json(topic, &json, Rules::Lenient, fill, scratch).map_err(refused)
}

/// As [`event_from_call`], of JSON that [`protect_json`] gave for that topic.
///
/// # Errors
///
/// As there.
pub fn event_from_protected_call<'v>(
    topic: Topic,
    json: &[u8],
    fill: &Fill<'_>,
    scratch: &'v mut Vec<u8>,
) -> Result<Decoded<Event<'v>>> {
    let json = mended(topic, json);
    event_from_treated_json(topic, &json, Rules::Lenient, fill, scratch).map_err(refused)
}

/// The JSON with the fields mended; as it is where it is no object.
fn mended(topic: Topic, json: &[u8]) -> Cow<'_, [u8]> {
    let parsed = serde_json::from_slice(json).ok();
    let parsed = parsed.or_else(|| serde_json::from_slice(&relaxed_json(json)?).ok());
    let Some(mut event) = parsed else {
        return Cow::Borrowed(json);
    };
    for field in &FIELDS[topic as usize] {
        field.mend(&mut event);
    }
    Cow::Owned(Value::Object(event).to_string().into_bytes())
}

/// To its producer, what cannot be read is a value that is refused.
fn refused(error: Error) -> Error {
    if error.kind() != ErrorKind::Undecodable {
        return error;
    }
    let refused = Error::new(ErrorKind::InvalidEvent, error.message());
    error
        .context()
        .fold(refused, |refused, (name, value)| refused.with(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILL: Fill<'_> = Fill {
        event_id: "01890a5d-ac96-774b-bcce-b302099a8057",
        timestamp_ms: 1_700_000_000_000,
        source: "filled",
    };

    fn mended_text(topic: Topic, json: &str) -> String {
        String::from_utf8(mended(topic, json.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_required_text_that_is_missing_or_null_is_unknown() {
        let json = r#"{"service":"s","endpoint":null,"statusCode":null,"userId":null}"#;
        let expected = r#"{"service":"s","endpoint":"unknown","statusCode":null,"userId":null,"method":"unknown","ipAddress":"unknown"}"#;
        assert_eq!(mended_text(Topic::AuditApiCalls, json), expected);
        // Fields of the envelope are the reader's to fill.
        assert!(!expected.contains("source"));
    }

    #[test]
    fn a_double_that_is_no_number_is_zero_and_one_in_a_text_stays() {
        for nothing in ["null", "NaN", "Infinity", "-Infinity", r#""""#, r#"" ""#] {
            let json = format!(r#"{{"score":{nothing}}}"#);
            let event: Value =
                serde_json::from_str(&mended_text(Topic::DataQuality, &json)).unwrap();
            assert_eq!(event["score"], 0.0, "{nothing}");
        }
        for number in ["0.5", r#""0.5""#, "1", r#""high""#, "-0.0"] {
            let json = format!(r#"{{"score":{number}}}"#);
            let mended = mended_text(Topic::DataQuality, &json);
            assert!(mended.contains(&json[..json.len() - 1]), "{mended}");
        }
        let absent = mended_text(Topic::DataQuality, "{}");
        assert!(absent.contains(r#""score":0.0"#), "{absent}");
    }

    #[test]
    fn a_list_of_one_value_is_the_value() {
        let json = r#"{"service":["s"],"userId":["a","b"],"apiKey":["k"],"statusCode":["200"],"endpoint":[null]}"#;
        let expected = r#"{"service":"s","userId":["a","b"],"apiKey":"k","statusCode":"200","endpoint":"unknown","#;
        assert!(mended_text(Topic::AuditApiCalls, json).starts_with(expected));
        let json = r#"{"inputDatasets":["a"]}"#;
        assert!(mended_text(Topic::DataTransformation, json).starts_with(&json[..22]));
    }

    #[test]
    fn a_value_under_its_old_name_is_not_unknown() {
        let mended = mended_text(Topic::DeploymentEvents, r#"{"version":"2.1.0"}"#);
        assert!(!mended.contains("deployedVersion"), "{mended}");
    }

    #[test]
    fn a_call_becomes_an_event_without_secrets_in_clear() {
        let json = br#"{"service":"s","statusCode":"200","latencyMs":NaN,"apiKey":["abc"],"userId":{"eventType":"AuditAPICallEvent","apiKey":"abc"},"errorMessage":"x\ud83d"}"#;
        let mut scratch = Vec::new();
        let decoded = event_from_call(Topic::AuditApiCalls, json, &FILL, &mut scratch).unwrap();
        let Event::AuditAPICall(event) = decoded.event else {
            panic!("another event")
        };
        assert_eq!((event.status_code, event.latency_ms), (200, 0));
        assert_eq!(
            (&*event.endpoint, &*event.ip_address),
            ("unknown", "unknown")
        );
        assert_eq!(event.error_message.as_deref(), Some("x\u{fffd}"));
        assert_eq!(event.api_key.as_deref(), Some("sha256:ba7816bf8f01cfea"));
        assert!(!event.user_id.unwrap().contains("abc"));
    }

    #[test]
    fn what_cannot_be_read_is_an_invalid_event_that_names_its_field() {
        let mut scratch = Vec::new();
        let json = br#"{"serviceName":"s","healthStatus":"ON_FIRE"}"#;
        let error = event_from_call(Topic::SystemHealth, json, &FILL, &mut scratch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidEvent);
        assert_eq!(error.get("field"), Some("healthStatus"));
        for no_event in ["[1]", "5", "{", ""] {
            let error = event_from_call(
                Topic::SystemHealth,
                no_event.as_bytes(),
                &FILL,
                &mut scratch,
            );
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidEvent);
        }
    }
}

//! The bytes in `schemas/golden`, which Python's fastavro made, against ours.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use super::{decode, encode, json};
use crate::avro::Schema;
use crate::events::{Event, Topic};
use crate::testing::{entries, event_from_json, read, read_json};

/// Every valid example: its topic, its name, the JSON as written by hand, and its golden bytes.
fn examples() -> Vec<(Topic, String, Value, Vec<u8>)> {
    let mut examples = Vec::new();
    for topic in Topic::ALL {
        let record = topic.spec().record;
        for path in entries(Path::new("examples").join(record).join("valid")) {
            let name = path.file_stem().and_then(OsStr::to_str).unwrap().to_owned();
            let golden = read(format!("golden/{record}/{name}.avro"));
            examples.push((topic, name, read_json(&path), golden));
        }
    }
    assert!(
        examples.len() >= 140,
        "only {} examples found",
        examples.len()
    );
    examples
}

#[test]
fn every_example_is_encoded_to_its_golden_bytes() {
    for (topic, name, example, golden) in examples() {
        let event = event_from_json(topic, &example);
        event.validate("").unwrap();
        assert_eq!(encode(&event, "").as_slice(), golden, "{topic} {name}");
    }
}

#[test]
fn golden_bytes_are_decoded_and_encoded_to_themselves() {
    for (topic, name, _, golden) in examples() {
        let event = decode(topic, &golden);
        assert_eq!(encode(&event, ""), golden, "{topic} {name}");
        let owned = event.clone().into_owned();
        assert_eq!(owned, event, "{topic} {name}");
        assert_eq!(encode(&owned, ""), golden, "{topic} {name}");
    }
}

/// What our JSON of an event must be: the example as it left (sensitive fields treated), under the
/// names of today's producers.
fn expected_json(topic: Topic, name: &str, example: Value) -> Value {
    let record = topic.spec().record;
    let treated = format!("golden/{record}/{name}.json");
    let mut json = if crate::testing::path(&treated).exists() {
        read_json(&treated)
    } else {
        example
    };
    if topic == Topic::DeploymentEvents {
        let fields = json.as_object_mut().unwrap();
        let deployed = fields.shift_remove("deployedVersion").unwrap();
        fields.insert("version".to_owned(), deployed);
    }
    json
}

/// Equality in which 1 and 1.0 are the same number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || (left.is_f64() != right.is_f64() && left.as_f64() == right.as_f64())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            let in_right = |name, value| right.get(name).is_some_and(|other| same(value, other));
            left.len() == right.len() && left.iter().all(|(name, value)| in_right(name, value))
        }
        _ => left == right,
    }
}

#[test]
fn golden_bytes_give_the_examples_json() {
    for (topic, name, example, golden) in examples() {
        let json = json(&decode(topic, &golden), "");
        let expected = expected_json(topic, &name, example);
        assert!(
            same(&json, &expected),
            "{topic} {name}:\n{json}\n{expected}"
        );
    }
}

#[test]
fn our_fingerprints_are_those_that_another_library_computed() {
    let golden = read_json("golden/fingerprints.json");
    for topic in Topic::ALL {
        let spec = topic.spec();
        let schema = Schema::parse(spec.schema_json).unwrap();
        let bytes = schema.fingerprint().to_le_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(golden[spec.record], hex, "{topic}");
        assert_eq!(schema.fingerprint(), spec.fingerprint, "{topic}");
    }
    assert_eq!(golden.as_object().unwrap().len(), Topic::ALL.len());
}

#[test]
fn what_the_types_cannot_refuse_is_refused_as_the_examples_say() {
    let mut refused = 0;
    for topic in Topic::ALL {
        let record = topic.spec().record;
        for path in entries(Path::new("examples").join(record).join("invalid")) {
            let case = read_json(&path);
            let message = case["error"]["message"].as_str().unwrap();
            if !message.contains("must not be empty") && !message.contains("must be in") {
                continue;
            }
            let event: Event<'_> = event_from_json(topic, &case["event"]);
            let error = event.validate("").unwrap_err();
            assert_eq!(error.message(), message);
            assert_eq!(error.kind().as_str(), case["error"]["kind"]);
            assert_eq!(error.get("event"), Some(record));
            assert_eq!(error.get("field"), case["error"]["field"].as_str());
            refused += 1;
        }
    }
    assert!(refused >= 20, "only {refused} examples found");
}

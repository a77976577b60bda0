//! The examples of `schemas/`, and what producers before Avro wrote.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::codec::event_from_json;
use crate::codec::reader::EventReader;
use crate::events::{Event, Topic};
use crate::testing::{self, FILL};

fn body(topic: Topic, json: &str, rules: Rules) -> Result<(Vec<u8>, Leniency)> {
    let mut out = Vec::new();
    let leniency = read(
        &EventReader::of(topic)?.shape,
        json.as_bytes(),
        rules,
        &FILL,
        &mut out,
    )?;
    Ok((out, leniency))
}

/// The event as JSON with the names of the schema.
fn lenient(topic: Topic, json: &Value) -> (Event<'static>, Leniency) {
    let (body, leniency) = body(topic, &json.to_string(), Rules::Lenient).unwrap();
    (Event::decode(topic, &body).unwrap().into_owned(), leniency)
}

/// The examples of one kind: each topic, file name and text.
fn examples(kind: &str) -> Vec<(Topic, String, String)> {
    let mut examples = Vec::new();
    for topic in Topic::ALL {
        for path in testing::entries(format!("examples/{}/{kind}", topic.spec().record)) {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            examples.push((topic, name, String::from_utf8(testing::read(path)).unwrap()));
        }
    }
    assert!(examples.len() > 100, "{}", examples.len());
    examples
}

#[test]
fn every_valid_example_becomes_the_bytes_that_another_library_made() {
    for (topic, name, text) in examples("valid") {
        let record = topic.spec().record;
        let golden = testing::read(format!("golden/{record}/{name}.avro"));
        let (strict, leniency) = body(topic, &text, Rules::Strict).unwrap();
        assert_eq!(leniency, Leniency::default());
        let mut encoded = Vec::new();
        Event::decode(topic, &strict)
            .unwrap()
            .into_given()
            .encode("", &mut encoded);
        assert!(encoded == golden, "{record}/{name}");
        if !EventReader::of(topic).unwrap().sensitive {
            assert!(strict == golden, "{record}/{name}");
        }
        let (lenient, leniency) = body(topic, &text, Rules::Lenient).unwrap();
        assert_eq!(
            (lenient, leniency),
            (strict, Leniency::default()),
            "{record}/{name}"
        );
    }
}

#[test]
fn the_order_of_the_fields_does_not_matter() {
    for (topic, name, text) in examples("valid") {
        let ordered: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let reversed: Map<String, Value> = ordered.into_iter().rev().collect();
        let reversed = Value::Object(reversed).to_string();
        let expected = body(topic, &text, Rules::Strict).unwrap();
        assert!(
            body(topic, &reversed, Rules::Strict).unwrap() == expected,
            "{topic}/{name}"
        );
    }
}

#[test]
fn every_invalid_example_is_refused_with_its_error() {
    for (topic, name, text) in examples("invalid") {
        let example: Value = serde_json::from_str(&text).unwrap();
        let event = example["event"].to_string();
        let fill = Fill { source: "", ..FILL };
        let mut scratch = Vec::new();
        let read = event_from_json(topic, event.as_bytes(), Rules::Strict, &fill, &mut scratch);
        let error = read.map(|decoded| decoded.event).expect_err(&name);
        let expected = &example["error"];
        assert_eq!(
            error.kind().as_str(),
            expected["kind"],
            "{topic}/{name}: {error}"
        );
        assert_eq!(error.message(), expected["message"], "{topic}/{name}");
        assert_eq!(
            error.get("field"),
            expected["field"].as_str(),
            "{topic}/{name}"
        );
        assert_eq!(
            error.get("event"),
            Some(topic.spec().record),
            "{topic}/{name}"
        );
    }
}

#[test]
fn an_error_shows_no_value() {
    for json in [
        r#"{"apiKey": ["hunter2"]}"#,
        r#"{"apiKey": "hunter2", x}"#,
        r#"{"apiKey": "hunter2"#,
        r#"{"apiKey": hunter2}"#,
        r#"{"statusCode": "hunter2"}"#,
        r#""hunter2""#,
    ] {
        for rules in [Rules::Strict, Rules::Lenient] {
            let error = body(Topic::AuditApiCalls, json, rules).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
    let cut = body(
        Topic::AuditApiCalls,
        "{\n  \"service\": \"x",
        Rules::Lenient,
    )
    .unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::Undecodable);
    assert_eq!(
        cut.message(),
        "AuditAPICallEvent cannot be read: its JSON ends early at line 2, column 15"
    );
    let list = body(Topic::AuditApiCalls, "[]", Rules::Strict).unwrap_err();
    assert_eq!(list.kind(), ErrorKind::InvalidEvent);
    assert_eq!(
        list.message(),
        "AuditAPICallEvent must be a record, got an array"
    );
}

/// What the Python module wrote for `produce_api_call_event`, and what a Node service made of it.
#[test]
fn an_api_call_of_a_careless_producer_is_read() {
    let (event, leniency) = lenient(
        Topic::AuditApiCalls,
        &json!({
            "eventType": "AuditAPICallEvent",
            "timestamp": "2023-11-14T22:13:20.123456",
            "source": null,
            "service": "pricing",
            "endpoint": 42,
            "method": "GET",
            "statusCode": "200",
            "latencyMs": 12.7,
            "requestSizeBytes": "",
            "apiKey": true,
            "userId": {"id": 7, "tags": ["a"]},
            "ipAddress": "unknown",
            "traceId": "x",
            "extra": [1, {"deep": null}],
        }),
    );
    let Event::AuditAPICall(event) = event else {
        panic!("{event:?}")
    };
    assert_eq!(event.envelope.event_id.as_str(), FILL.event_id);
    assert_eq!(event.envelope.source, "filled");
    assert_eq!(event.envelope.version, "1.0.0");
    assert_eq!(event.envelope.timestamp_ms, 1_700_000_000_123);
    assert_eq!(event.envelope.correlation_id, None);
    assert_eq!(event.endpoint, "42");
    assert_eq!((event.status_code, event.latency_ms), (200, 13));
    assert_eq!(
        (event.request_size_bytes, event.response_size_bytes),
        (0, 0)
    );
    assert_eq!(event.api_key.as_deref(), Some("true"));
    assert_eq!(event.user_id.as_deref(), Some(r#"{"id":7,"tags":["a"]}"#));
    // eventId, timestamp, source, endpoint, statusCode, latencyMs, both sizes, apiKey, userId.
    assert_eq!(
        leniency,
        Leniency {
            unknown_fields: 2,
            mended_fields: 10
        }
    );
}

#[test]
fn map_values_become_text() {
    let mut json: Value = serde_json::from_slice(&testing::read(
        "examples/DataIngestionEvent/valid/typical.json",
    ))
    .unwrap();
    json["metadata"] = json!({"a": 1, "b": 1.5, "c": false, "d": null, "e": {"f": []}, "g": "h"});
    json["status"] = json!("success");
    json["recordCount"] = json!("1e3");
    let (event, leniency) = lenient(Topic::DataIngestion, &json);
    let Event::DataIngestion(event) = event else {
        panic!("{event:?}")
    };
    let metadata: Vec<_> = event.metadata.iter().collect();
    let expected = [
        ("a", "1"),
        ("b", "1.5"),
        ("c", "false"),
        ("d", "null"),
        ("e", r#"{"f":[]}"#),
        ("g", "h"),
    ];
    assert_eq!(metadata, expected);
    assert_eq!(event.status, crate::events::IngestionStatus::Success);
    assert_eq!(event.record_count, 1000);
    assert_eq!(
        leniency,
        Leniency {
            unknown_fields: 0,
            mended_fields: 7
        }
    );

    json["metadata"] = Value::Null;
    let (event, leniency) = lenient(Topic::DataIngestion, &json);
    let Event::DataIngestion(event) = event else {
        panic!("{event:?}")
    };
    assert_eq!(event.metadata.len(), 0);
    assert_eq!(leniency.mended_fields, 2);
}

#[test]
fn a_deployments_version_is_what_was_deployed_unless_that_is_there_too() {
    let path = "examples/DeploymentEvent/valid/typical.json";
    let mut json: Value = serde_json::from_slice(&testing::read(path)).unwrap();
    json["version"] = json!("3.0.0");
    for rules in [Rules::Strict, Rules::Lenient] {
        let (both, _) = body(Topic::DeploymentEvents, &json.to_string(), rules).unwrap();
        let Event::Deployment(both) = Event::decode(Topic::DeploymentEvents, &both).unwrap() else {
            panic!("another event")
        };
        assert_eq!(
            (&*both.deployed_version, &*both.envelope.version),
            ("2.4.1", "3.0.0")
        );
    }
    json.as_object_mut()
        .unwrap()
        .shift_remove("deployedVersion");
    for rules in [Rules::Strict, Rules::Lenient] {
        let (old, _) = body(Topic::DeploymentEvents, &json.to_string(), rules).unwrap();
        let Event::Deployment(old) = Event::decode(Topic::DeploymentEvents, &old).unwrap() else {
            panic!("another event")
        };
        assert_eq!(
            (&*old.deployed_version, &*old.envelope.version),
            ("3.0.0", "1.0.0")
        );
    }
    json.as_object_mut().unwrap().shift_remove("version");
    let error = body(Topic::DeploymentEvents, &json.to_string(), Rules::Lenient).unwrap_err();
    assert_eq!(
        error.message(),
        "DeploymentEvent.deployedVersion is required"
    );
}

#[test]
fn an_event_written_as_json_is_read_back() {
    for (topic, name, text) in examples("valid") {
        let (body, _) = body(topic, &text, Rules::Strict).unwrap();
        let mut event = Event::decode(topic, &body).unwrap();
        let mut json = Vec::new();
        event.write_json("", &mut json).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let (back, leniency) = lenient(topic, &json);
        assert_eq!(leniency, Leniency::default(), "{topic}/{name}");

        // As written: with sensitive fields treated, and the version that JSON has no place for.
        let mut treated = Vec::new();
        if topic == Topic::DeploymentEvents {
            event.envelope_mut().version = "1.0.0".into();
        }
        event.encode("", &mut treated);
        assert!(
            back == Event::decode(topic, &treated).unwrap(),
            "{topic}/{name}"
        );
    }
}

#[test]
fn of_a_name_that_comes_twice_the_last_value_counts() {
    let twice = r#""service": "a", "endpoint": "b", "method": "c", "ipAddress": "d", "#;
    let json = format!(r#"{{{twice} "latencyMs": 7, "service": "last"}}"#);
    let (out, _) = body(Topic::AuditApiCalls, &json, Rules::Lenient).unwrap();
    let Event::AuditAPICall(event) = Event::decode(Topic::AuditApiCalls, &out).unwrap() else {
        panic!("another event")
    };
    assert_eq!((&*event.service, &*event.endpoint), ("last", "b"));

    for count in [3, 40] {
        let entries: Vec<_> = (0..count).map(|n| format!(r#""k{n}":"{n}""#)).collect();
        let entries = entries.join(",");
        let path = "examples/DataIngestionEvent/valid/typical.json";
        let text = String::from_utf8(testing::read(path)).unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        json["metadata"] = json!("MAP");
        let map = format!(r#"{{{entries},"k1":"last","k{count}":"new","k0":"first"}}"#);
        let json = json.to_string().replace("\"MAP\"", &map);
        let (out, _) = body(Topic::DataIngestion, &json, Rules::Strict).unwrap();
        let Event::DataIngestion(event) = Event::decode(Topic::DataIngestion, &out).unwrap() else {
            panic!("another event")
        };
        assert_eq!(event.metadata.len(), count + 1);
        assert_eq!(event.metadata.get("k1"), Some("last"));
        assert_eq!(event.metadata.iter().next(), Some(("k0", "first")));
    }
}

#[test]
fn a_null_that_says_nothing_is_refused_where_a_number_would_be_a_statement() {
    let path = "examples/DataQualityEvent/valid/typical.json";
    let mut json: Value = serde_json::from_slice(&testing::read(path)).unwrap();
    json["score"] = Value::Null;
    let error = body(Topic::DataQuality, &json.to_string(), Rules::Lenient).unwrap_err();
    assert_eq!(
        error.message(),
        "DataQualityEvent.score must be a double, got null"
    );
    assert_eq!(error.kind(), ErrorKind::Undecodable);
}

/// JSON as producers might write it: the fields of an event with any values.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "[0-9eE.+-]{1,8}".prop_map(Value::from),
        Just(Value::from("success")),
        Just(Value::from("2024-02-29T12:00:00Z")),
    ];
    scalar.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_the_fields_hold_the_body_is_an_event_or_there_is_an_error(
        topic in prop::sample::select(Topic::ALL.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..6),
    ) {
        let path = format!("examples/{}/valid/typical.json", topic.spec().record);
        let mut json: Map<String, Value> = serde_json::from_slice(&testing::read(path)).unwrap();
        for (index, value) in changes {
            let name = json.keys().nth(index.index(json.len())).unwrap().clone();
            json[&name] = value;
        }
        let text = Value::Object(json).to_string();
        let strict = body(topic, &text, Rules::Strict);
        let lenient = body(topic, &text, Rules::Lenient);
        for read in [&strict, &lenient].into_iter().flatten() {
            Event::decode(topic, &read.0).unwrap();
        }
        // What strict reading takes, lenient reading takes for the same.
        if let Ok((body, _)) = strict {
            prop_assert_eq!(lenient.unwrap(), (body, Leniency::default()));
        }
    }
}

#[test]
fn what_lax_writers_write_is_read() {
    let health = |rate: &str, latency: &str, message: &str| {
        let json = format!(
            r#"{{"serviceName":"s","namespace":"n","healthStatus":"HEALTHY","latencyMs":{latency},
                "errorRate":{rate},"message":{message},"extra":NaN}}"#
        );
        assert!(body(Topic::SystemHealth, &json, Rules::Strict).is_err());
        let (body, leniency) = body(Topic::SystemHealth, &json, Rules::Lenient).unwrap();
        assert!(leniency.mended_fields > 0);
        match Event::decode(Topic::SystemHealth, &body)
            .unwrap()
            .into_owned()
        {
            Event::ServiceHealth(event) => event,
            other => panic!("{other:?}"),
        }
    };
    let event = health("NaN", "NaN", r#""caf\udce9""#);
    assert!(event.error_rate.is_nan() && event.latency_ms == 0);
    assert_eq!(event.message.as_deref(), Some("caf\u{fffd}"));
    let event = health("-Infinity", "Infinity", "NaN");
    assert_eq!(event.error_rate, f64::NEG_INFINITY);
    assert_eq!(event.message.as_deref(), Some("NaN"));
}

#[test]
fn timestamps_in_another_unit_are_converted_or_refused() {
    for (written, ms) in [
        ("1700000000", 1_700_000_000_000),
        ("1700000000.123", 1_700_000_000_123),
        ("\"1700000000\"", 1_700_000_000_000),
        ("\"1700000000.123\"", 1_700_000_000_123),
        ("1700000000123", 1_700_000_000_123),
        ("1700000000123456", 1_700_000_000_123),
        ("1700000000123456789", 1_700_000_000_123),
        ("\"1700000000123456789\"", 1_700_000_000_123),
        ("1.700000000123456e15", 1_700_000_000_123),
        ("-1700000000", -1_700_000_000_000),
        ("0", 0),
        ("-62135596800001", -62_135_596_801),
        ("9223372036854775807", 9_223_372_036_854),
    ] {
        let json = health_with_timestamp(written);
        let (event, leniency) = read_health(&json, Rules::Lenient).unwrap();
        assert_eq!(event.envelope.timestamp_ms, ms, "{written}");
        let is_ms = written == "1700000000123" || written == "0";
        assert_eq!(leniency.mended_fields == 0, is_ms, "{written}");
        if written.starts_with('"') {
            continue;
        }
        let strict = read_health(&json, Rules::Strict);
        assert_eq!(strict.is_ok(), is_ms, "{written}: {strict:?}");
        if let Err(error) = strict {
            assert_eq!(error.get("field"), Some("timestamp"), "{error}");
        }
    }
    let beyond = health_with_timestamp("9223372036854775808");
    let error = read_health(&beyond, Rules::Lenient).unwrap_err();
    assert_eq!(error.get("field"), Some("timestamp"), "{error}");
}

fn health_with_timestamp(written: &str) -> String {
    format!(
        r#"{{"eventId":"e","eventType":"ServiceHealthEvent","timestamp":{written},"source":"s","serviceName":"s","namespace":"n","healthStatus":"HEALTHY","latencyMs":1,"errorRate":0}}"#
    )
}

fn read_health(
    json: &str,
    rules: Rules,
) -> crate::Result<(crate::events::ServiceHealthEvent<'static>, Leniency)> {
    use crate::events::TypedEvent;
    let mut out = Vec::new();
    let fill = Fill {
        event_id: "e",
        timestamp_ms: 0,
        source: "s",
    };
    let reader = crate::codec::reader::EventReader::of(crate::events::Topic::SystemHealth)?;
    let leniency = read(&reader.shape, json.as_bytes(), rules, &fill, &mut out)?;
    let event = crate::events::ServiceHealthEvent::decode(&out)?;
    Ok((event.into_owned(), leniency))
}

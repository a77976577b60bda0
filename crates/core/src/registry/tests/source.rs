//! The registry as the decoder asks it.

use super::*;
use crate::codec::SchemaSource;
use crate::events::Topic;

#[test]
fn an_older_schema_is_found_by_its_fingerprint() {
    let (mock, client) = started();
    let subject = subject_name(Topic::ALL[1].name());
    mock.register(&subject, ORDER).unwrap();
    mock.register(&subject, ORDER_WITH_NOTE).unwrap();
    let older = Schema::parse(ORDER).unwrap().fingerprint();
    assert_eq!(client.by_fingerprint(older).unwrap().fingerprint(), older);
    let calls = mock.calls().total;
    assert_eq!(client.by_fingerprint(older).unwrap().fingerprint(), older);
    assert_eq!(mock.calls().total, calls, "what was gathered is kept");
    let error = client.by_fingerprint(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undecodable);
    assert!(error.message().contains("0000000000000001"), "{error}");
}

#[test]
fn unknown_fingerprints_do_not_make_the_registry_be_searched_each_time() {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings().failure_ttl(LONG)).unwrap();
    for fingerprint in 0..20 {
        assert!(client.by_fingerprint(fingerprint).is_err());
    }
    assert_eq!(mock.calls().total, Topic::ALL.len() as u64);
}

#[test]
fn schemas_of_one_fingerprint_that_mean_different_things_are_not_guessed_between() {
    let (mock, client) = started();
    let subject = subject_name(Topic::ALL[1].name());
    let with_type = |of_at: &str| {
        format!(
            r#"{{"type": "record", "name": "Order", "fields": [{{"name": "at", "type": {of_at}}}]}}"#
        )
    };
    let micros = with_type(r#"{"type": "long", "logicalType": "timestamp-micros"}"#);
    let millis = with_type(r#"{"type": "long", "logicalType": "timestamp-millis"}"#);
    mock.register(&subject, &micros).unwrap();
    let fingerprint = Schema::parse(&micros).unwrap().fingerprint();
    assert!(client.by_fingerprint(fingerprint).is_ok());
    mock.register(&subject, &millis).unwrap();
    let again = SchemaRegistry::new(&mock.settings()).unwrap();
    for _ in 0..2 {
        let error = again.by_fingerprint(fingerprint).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        assert!(error.message().contains("different units"), "{error}");
    }
}

/// Answers the next call with this schema and these references, as (subject, version).
fn answer(mock: &MockRegistry, schema: &str, references: &[(&str, u32)]) {
    let references: Vec<_> = references
        .iter()
        .map(|(subject, version)| json!({"name": "n", "subject": subject, "version": version}))
        .collect();
    let body = json!({"schema": schema, "references": references});
    mock.fail_next(1, RegistryFault::Body(body.to_string()));
}

#[test]
fn a_type_that_is_reached_by_two_references_is_the_first_of_them() {
    let (mock, client) = started();
    let state =
        |symbols: &str| format!(r#"{{"type": "enum", "name": "b.State", "symbols": [{symbols}]}}"#);
    let inner = r#"{"type": "record", "namespace": "a", "name": "Inner", "fields": [
        {"name": "state", "type": "b.State"}]}"#;
    let main = r#"{"type": "record", "name": "a.Main", "fields": [
        {"name": "inner", "type": "a.Inner"}, {"name": "state", "type": "b.State"}]}"#;
    answer(&mock, main, &[("inner", 1), ("state", 2)]);
    answer(&mock, inner, &[("state", 1), ("other", 1)]);
    answer(&mock, &state(r#""UP", "DOWN""#), &[]);
    answer(&mock, &state(r#""UP""#), &[]);
    answer(&mock, &state(r#""OTHER""#), &[]);
    let read = client.by_id(7).unwrap();
    let inline = main.replace(
        r#""a.Inner""#,
        &inner.replace(r#""b.State""#, &state(r#""UP", "DOWN""#)),
    );
    let inline = Schema::parse(&inline).unwrap();
    assert_eq!(read.fingerprint(), inline.fingerprint());
}

#[test]
fn a_writers_wrong_default_is_no_reason_not_to_read_it() {
    let (mock, client) = started();
    let writer = r#"{"type": "record", "name": "Order", "fields": [
        {"name": "name", "type": "string", "default": 0},
        {"name": "default", "type": "int", "default": 1.0},
        {"name": "state", "type": {"type": "enum", "name": "S", "symbols": ["A"], "default": "Z"}},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line",
            "fields": [{"name": "n", "type": ["null", "long"], "default": 3}]}}}]}"#;
    answer(&mock, writer, &[]);
    let read = client.by_id(7).unwrap();
    let without_defaults = r#"{"type": "record", "name": "Order", "fields": [
        {"name": "name", "type": "string"},
        {"name": "default", "type": "int"},
        {"name": "state", "type": {"type": "enum", "name": "S", "symbols": ["A"]}},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line",
            "fields": [{"name": "n", "type": ["null", "long"]}]}}}]}"#;
    let without_defaults = Schema::parse(without_defaults).unwrap();
    assert_eq!(read.fingerprint(), without_defaults.fingerprint());
    assert!(Schema::parse(writer).is_err(), "our own must be right");
}

#[test]
fn a_schema_by_guid_is_ready_for_the_decoder() {
    let (mock, client) = started();
    let id = mock.register("orders-value", ORDER).unwrap();
    let guid = mock.guid(id).unwrap().replace('-', "");
    let guid = u128::from_str_radix(&guid, 16).unwrap();
    assert_eq!(client.by_guid(guid).unwrap().name(), "Order");
    let error = client.by_guid(7).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undecodable);
    let seven = "00000000-0000-0000-0000-000000000007";
    assert_eq!(error.get("schema_guid"), Some(seven), "{error}");
}

#[test]
fn a_schema_by_id_is_ready_for_the_decoder() {
    let (mock, client) = started();
    mock.register("orders-value", ORDER).unwrap();
    assert_eq!(client.by_id(1).unwrap().name(), "Order");
    mock.fail_next(1, RegistryFault::Body(r#"{"schema": "{}"}"#.into()));
    let error = client.by_id(2).unwrap_err();
    assert_eq!(error.get("schema_id"), Some("2"));
}

//! What a builder fills and refuses, and what becomes of sensitive values.

use std::collections::BTreeMap;

use super::{decode, encode, json};
use crate::events::{
    AuditAPICallEvent, AuditAPICallEventBuilder, AuditDataAccessEvent, ColumnLineage,
    ConfigChangeEvent, ConfigChangeType, DataAccessType, DataLineageEvent, DataQualityEvent,
    DeploymentAction, DeploymentEvent, EncodedEvent, Event, List, QualityResult, SecurityCategory,
    SecurityEvent, SecurityEventBuilder, SecurityOutcome, ServiceHealthEvent, Severity, Topic,
    TransformationType, TypedEvent,
};
use crate::{ErrorKind, Result};

fn api_call<'a>() -> AuditAPICallEventBuilder<'a> {
    AuditAPICallEvent::builder()
        .service("gateway")
        .endpoint("/v1/prices")
        .method("GET")
        .status_code(200)
        .latency_ms(12)
        .request_size_bytes(512)
        .response_size_bytes(20_480)
        .ip_address("10.0.0.1")
}

fn security<'a>() -> SecurityEventBuilder<'a> {
    SecurityEvent::builder()
        .category(SecurityCategory::Authentication)
        .severity(Severity::High)
        .action("login")
        .outcome(SecurityOutcome::Denied)
        .description("Wrong password.")
}

fn key(event: &impl TypedEvent, default_source: &str) -> String {
    let mut key = Vec::new();
    event.write_key(default_source, &mut key);
    String::from_utf8(key).unwrap()
}

#[test]
fn a_builder_fills_the_envelope() {
    let before = std::time::SystemTime::now();
    let event = api_call().build().unwrap();
    let ms = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_millis() as i64
    };
    let envelope = event.envelope();
    assert!(envelope.event_id.is_uuid());
    assert_eq!(envelope.event_type, "AuditAPICallEvent");
    assert!((ms(before)..=ms(std::time::SystemTime::now())).contains(&envelope.timestamp_ms));
    assert_eq!(envelope.version, "1.0.0");
    assert_eq!(envelope.source, "");
    assert_eq!(envelope.correlation_id, None);
    // The id's first 48 bits are the time at which it was made.
    let id_ms = envelope.event_id.as_str().replace('-', "")[..12].to_owned();
    let id_ms = i64::from_str_radix(&id_ms, 16).unwrap();
    assert!((envelope.timestamp_ms..envelope.timestamp_ms + 1000).contains(&id_ms));
}

#[test]
fn the_producers_service_stands_where_no_source_was_given() {
    let event = Event::from(api_call().build().unwrap());
    assert_eq!(
        decode(Topic::AuditApiCalls, &encode(&event, "billing"))
            .envelope()
            .source,
        "billing"
    );
    assert_eq!(json(&event, "billing")["source"], "billing");
    let event = Event::from(api_call().source("own").build().unwrap());
    assert_eq!(
        decode(Topic::AuditApiCalls, &encode(&event, "billing"))
            .envelope()
            .source,
        "own"
    );
}

#[test]
fn a_required_field_that_was_not_given_is_named() {
    let error = AuditAPICallEvent::builder()
        .service("s")
        .endpoint("/")
        .method("GET")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidEvent);
    assert_eq!(error.message(), "AuditAPICallEvent.statusCode is required");
    assert_eq!(error.get("field"), Some("statusCode"));
}

#[test]
fn an_empty_key_field_is_refused_when_the_event_is_built() {
    let error = api_call().service("").build().unwrap_err();
    assert_eq!(
        error.message(),
        "AuditAPICallEvent.service must not be empty: it is the record's key"
    );
}

#[test]
fn a_number_beyond_its_limits_is_refused() {
    let quality = |score: f64| -> Result<()> {
        let event = DataQualityEvent::builder()
            .dataset_name("d")
            .check_type("c")
            .check_name("n")
            .result(QualityResult::Pass)
            .score(score)
            .failed_records(0)
            .total_records(1)
            .build();
        event.map(drop)
    };
    for within in [0.0, -0.0, 0.5, 1.0] {
        quality(within).unwrap();
    }
    for (beyond, text) in [
        (1.5, "1.5"),
        (-0.1, "-0.1"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
    ] {
        let error = quality(beyond).unwrap_err();
        let message = format!("DataQualityEvent.score must be in 0.0..=1.0, got {text}");
        assert_eq!(error.message(), message);
    }
}

#[test]
fn an_id_that_is_no_uuid_is_refused() {
    let error = api_call().event_id("42").build().unwrap_err();
    assert_eq!(error.message(), "AuditAPICallEvent.eventId must be a UUID");
    let id = "018F3C2A-7B1E-7C44-9A55-2F6D0E9B1C77";
    let event = api_call().event_id(id).build().unwrap();
    assert_eq!(event.envelope.event_id.as_str(), id);
}

#[test]
fn keys_are_made_as_the_topic_table_says() {
    assert_eq!(key(&api_call().build().unwrap(), ""), "gateway");
    let lineage = DataLineageEvent::builder()
        .source_dataset("raw.trades")
        .target_dataset("curated.trades")
        .transformation_type(TransformationType::Copy)
        .transformation_name("copy")
        .build()
        .unwrap();
    assert_eq!(key(&lineage, ""), "raw.trades->curated.trades");
    let change = config_change(false);
    assert_eq!(key(&change, ""), "gateway/limits.max");
    let known = security().principal("eve").build().unwrap();
    assert_eq!(key(&known, "sshd"), "eve");
    let unknown = security().build().unwrap();
    assert_eq!(key(&unknown, "sshd"), "sshd");
    let sourced = security().source("bastion").build().unwrap();
    assert_eq!(key(&sourced, "sshd"), "bastion");
}

#[test]
fn a_source_that_is_the_key_may_come_from_the_producer() {
    let event = security().build().unwrap();
    event.validate("sshd").unwrap();
    let error = event.validate("").unwrap_err();
    assert_eq!(error.get("field"), Some("source"));
    let error = security().principal("").build().unwrap_err();
    assert_eq!(error.get("field"), Some("principal"));
}

#[test]
fn an_event_names_what_caused_it() {
    let first = api_call().build().unwrap();
    let id = first.envelope.event_id.as_str();
    let second = security().caused_by(&first).build().unwrap();
    assert_eq!(second.envelope.causation_id.as_deref(), Some(id));
    assert_eq!(second.envelope.correlation_id.as_deref(), Some(id));
    let third = api_call().caused_by(&second).build().unwrap();
    assert_eq!(
        third.envelope.causation_id.as_deref(),
        Some(second.envelope.event_id.as_str())
    );
    assert_eq!(third.envelope.correlation_id.as_deref(), Some(id));
    // As a reader has it, who knows only now which event it is.
    let fourth = api_call().caused_by(&Event::from(third.clone()));
    let fifth = api_call().caused_by(&third.envelope);
    assert_eq!(
        fourth.build().unwrap().envelope.causation_id,
        fifth.build().unwrap().envelope.causation_id
    );
}

#[test]
fn an_api_key_never_leaves_the_process() {
    let event = api_call().api_key("abc").build().unwrap();
    let expected = "sha256:ba7816bf8f01cfea";
    assert!(format!("{event:?}").contains(expected));
    assert!(!format!("{event:?}").contains("abc"));
    assert_eq!(serde_json::to_value(&event).unwrap()["apiKey"], expected);
    let event = Event::from(event);
    assert_eq!(json(&event, "s")["apiKey"], expected);
    let body = encode(&event, "s");
    let Event::AuditAPICall(read) = decode(Topic::AuditApiCalls, &body) else {
        panic!("another event was read");
    };
    assert_eq!(read.api_key.as_deref(), Some(expected));
    // An event that was read is sent on as it is; what a caller gives is a value, whatever it
    // looks like.
    assert_eq!(encode(&Event::from(read.clone()), ""), body);
    let again = api_call().api_key(expected).build().unwrap();
    assert_ne!(json(&Event::from(again), "s")["apiKey"], expected);
    let kept = api_call().api_key(read.api_key).build().unwrap();
    assert_eq!(json(&Event::from(kept), "s")["apiKey"], expected);
}

#[test]
fn a_body_of_another_writer_leaves_without_its_secrets() {
    let mut body = encode(
        &Event::from(api_call().api_key("abc").build().unwrap()),
        "s",
    );
    let hash = b"sha256:ba7816bf8f01cfea";
    let at = body
        .windows(hash.len())
        .position(|part| part == hash)
        .unwrap();
    // The length before it, then the text.
    body.splice(at - 1..at + hash.len(), *b"\x06abc");
    let encoded = EncodedEvent::from_body(Topic::AuditApiCalls, &body).unwrap();
    assert!(!encoded.body().windows(3).any(|part| part == b"abc"));
    assert!(encoded.body().windows(hash.len()).any(|part| part == hash));
}

fn config_change(sensitive: bool) -> ConfigChangeEvent<'static> {
    ConfigChangeEvent::builder()
        .component("gateway")
        .namespace("prod")
        .config_key("limits.max")
        .change_type(ConfigChangeType::Update)
        .old_value("old-value")
        .new_value("new-value")
        .sensitive(sensitive)
        .changed_by("ops")
        .build()
        .unwrap()
}

#[test]
fn a_sensitive_setting_is_masked_and_another_is_not() {
    for (sensitive, old) in [(true, "***"), (false, "old-value")] {
        let event = Event::from(config_change(sensitive));
        assert_eq!(json(&event, "s")["oldValue"], old);
        assert!(format!("{event:?}").contains(old));
        assert_eq!(format!("{event:?}").contains("new-value"), !sensitive);
        let body = encode(&event, "s");
        let Event::ConfigChange(read) = decode(Topic::ConfigChanges, &body) else {
            panic!("another event was read");
        };
        assert_eq!(read.old_value.as_deref(), Some(old));
    }
}

#[test]
fn null_stays_null_whatever_the_treatment() {
    let event = Event::from(api_call().build().unwrap());
    assert!(json(&event, "s")["apiKey"].is_null());
}

#[test]
fn the_json_of_a_deployment_has_its_version_under_the_old_name() {
    let event = DeploymentEvent::builder()
        .deployment_name("gateway")
        .namespace("prod")
        .action(DeploymentAction::Deploy)
        .deployed_version("2.4.1")
        .replicas(3)
        .deployed_by("ci")
        .build()
        .unwrap();
    let json = json(&event.into(), "s");
    assert_eq!(json["version"], "2.4.1");
    assert!(json.get("deployedVersion").is_none());
}

#[test]
fn optional_text_and_collections_are_taken_in_every_form() {
    let maybe: Option<&str> = None;
    let event = api_call()
        .user_id(Some("u".to_owned()))
        .error_message(maybe)
        .correlation_id(String::from("c"))
        .build()
        .unwrap();
    assert_eq!(event.user_id.as_deref(), Some("u"));
    assert_eq!(event.error_message, None);

    let columns = vec!["price".to_owned(), "volume".to_owned()];
    let event = AuditDataAccessEvent::builder()
        .user_id("u")
        .dataset_name("d")
        .access_type(DataAccessType::Read)
        .tool("trino")
        .columns(columns.as_slice())
        .row_count(1)
        .size_bytes(1)
        .result("SUCCESS".parse().unwrap())
        .ip_address("::1")
        .build()
        .unwrap();
    assert_eq!(event.columns, List::from(["price", "volume"]));

    let details: BTreeMap<&str, &str> = [("b", "2"), ("a", "1")].into();
    let event = security().details(details).build().unwrap();
    assert!(event.details.iter().eq([("a", "1"), ("b", "2")]));

    let lineage = DataLineageEvent::builder()
        .source_dataset("a")
        .target_dataset("b")
        .transformation_type(TransformationType::Join)
        .transformation_name("t")
        .columns([
            ColumnLineage::new("x", "y"),
            ColumnLineage::new("x", "z").transformation("sum(x)"),
        ])
        .build()
        .unwrap();
    let body = encode(&lineage.clone().into(), "s");
    let read = DataLineageEvent::decode(&body).unwrap();
    assert_eq!(read.columns, lineage.columns);
    let last = read.columns.iter().last().unwrap();
    assert_eq!(last.transformation.as_deref(), Some("sum(x)"));
}

#[test]
fn an_unknown_symbol_is_refused_with_the_known_ones() {
    let error = "MAYBE".parse::<QualityResult>().unwrap_err();
    assert_eq!(
        error.message(),
        "QualityResult must be one of PASS, FAIL, WARNING"
    );
    assert_eq!(
        "WARNING".parse::<QualityResult>().unwrap(),
        QualityResult::Warning
    );
    assert_eq!(QualityResult::Warning.to_string(), "WARNING");
}

#[test]
fn topics_are_found_by_name_and_know_their_records() {
    assert_eq!(
        Topic::from_name("audit-api-calls"),
        Some(Topic::AuditApiCalls)
    );
    assert_eq!(Topic::from_name("market-data"), None);
    for topic in Topic::ALL {
        let spec = topic.spec();
        assert_eq!(spec.topic, topic);
        assert_eq!(Topic::from_name(spec.name), Some(topic));
        assert!(spec.schema_json.contains(spec.record));
    }
    assert_eq!(
        <ServiceHealthEvent<'_>>::TOPIC.spec().subject(),
        "system-health-value"
    );
}

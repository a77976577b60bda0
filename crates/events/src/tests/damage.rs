//! Bytes that are no event: each must give an error or an event, and nothing else.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{encode, json};
use crate::ErrorKind;
use crate::events::{AuditAPICallEvent, DataIngestionEvent, IngestionStatus, TypedEvent};
use crate::events::{Event, EventId, StringMap, Topic};
use crate::testing::{entries, read};

/// Decodes bytes and, where that gives an event, does with it all that can be done.
fn try_decode(topic: Topic, body: &[u8]) {
    match Event::decode(topic, body) {
        Ok(event) => {
            let again = encode(&event, "source");
            let read = Event::decode(topic, &again).unwrap();
            assert_eq!(read.envelope().timestamp_ms, event.envelope().timestamp_ms);
            drop(event.validate("source"));
            drop(format!("{event:?}"));
            drop(json(&event, "source"));
            drop(event.into_owned());
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Undecodable);
            assert_eq!(error.get("event"), Some(topic.spec().record));
            assert!(error.get("byte").is_some());
        }
    }
}

/// Golden bytes of every record.
static BODIES: LazyLock<Vec<(Topic, Vec<u8>)>> = LazyLock::new(|| {
    let mut bodies = Vec::new();
    for topic in Topic::ALL {
        for path in entries(format!("golden/{}", topic.spec().record)) {
            let body = read(&path);
            if path
                .extension()
                .is_some_and(|extension| extension == "avro")
                && body.len() < 2000
            {
                bodies.push((topic, body));
            }
        }
    }
    bodies
});

#[test]
fn an_event_that_is_cut_or_goes_on_is_refused() {
    for (topic, mut body) in BODIES.iter().cloned() {
        for len in 0..body.len() {
            let error = Event::decode(topic, &body[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Undecodable);
        }
        body.push(0);
        let error = Event::decode(topic, &body).unwrap_err();
        assert!(error.message().ends_with("but 1 bytes follow"), "{error}");
    }
}

#[test]
fn any_byte_may_be_any_other() {
    for (topic, body) in BODIES.iter() {
        let mut damaged = body.clone();
        for at in 0..body.len() {
            for byte in [0x00, 0x01, 0x7f, 0x80, 0xff, body[at] ^ 1, body[at] ^ 0x80] {
                damaged[at] = byte;
                try_decode(*topic, &damaged);
            }
            damaged[at] = body[at];
        }
    }
}

#[test]
fn a_huge_count_is_refused_before_anything_is_done_for_it() {
    let event = DataIngestionEvent::builder()
        .dataset_name("d")
        .record_count(1)
        .size_bytes(1)
        .format("parquet")
        .location("s3://b")
        .status(IngestionStatus::Success)
        .build()
        .unwrap();
    let mut body = Vec::new();
    event.encode("s", &mut body);
    // The empty map at the end is the last byte; in its place comes a count of 2^62.
    body.pop();
    body.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
    let error = DataIngestionEvent::decode(&body).unwrap_err();
    assert_eq!(error.get("field"), Some("metadata"));
    assert!(
        error.message().ends_with("more items than bytes are left"),
        "{error}"
    );
}

#[test]
fn an_error_holds_nothing_of_the_input() {
    let mut event = AuditAPICallEvent::builder()
        .service("s")
        .endpoint("/")
        .method("GET")
        .status_code(200)
        .latency_ms(1)
        .request_size_bytes(1)
        .response_size_bytes(1)
        .ip_address("secret-address")
        .build()
        .unwrap();
    event.envelope.event_id = EventId::from("secret-id");
    let error = event.validate("").unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
    let mut body = Vec::new();
    event.encode("s", &mut body);
    body.pop();
    let error = AuditAPICallEvent::decode(&body).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 2000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_are_survived(topic in 0..Topic::ALL.len(), body in prop::collection::vec(any::<u8>(), 0..400)) {
        try_decode(Topic::ALL[topic], &body);
    }

    #[test]
    fn several_damages_are_survived(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (topic, mut body) = which.get(&BODIES).clone();
        for (at, byte) in damages {
            let at = at.index(body.len());
            body[at] = byte;
        }
        try_decode(topic, &body);
        body.remove(cut.index(body.len()));
        try_decode(topic, &body);
    }

    #[test]
    fn a_map_of_anything_is_written_and_read(entries in prop::collection::vec((".{0,20}", ".{0,80}"), 0..40)) {
        let map: StringMap<'_> = entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut event = DataIngestionEvent::builder()
            .dataset_name("d")
            .record_count(1)
            .size_bytes(1)
            .format("parquet")
            .location("s3://b")
            .status(IngestionStatus::Success)
            .build()
            .unwrap();
        event.metadata = map;
        let body = encode(&event.clone().into(), "s");
        event.envelope.source = "s".into();
        let read = DataIngestionEvent::decode(&body).unwrap();
        prop_assert!(read.metadata.iter().eq(event.metadata.iter()));
        prop_assert_eq!(read, event);
    }
}

//! Values in every format, by every kind of writer.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::events::{AuditAPICallEvent, DataIngestionEvent, DataLineageEvent};
use crate::testing::{self, FILL};

/// A registry of one schema, that counts how often it is asked.
struct Registry {
    id: u32,
    schema: Arc<Schema>,
    asked: Cell<usize>,
    down: Cell<bool>,
}

impl Registry {
    fn new(id: u32, schema: Schema) -> Self {
        Registry {
            id,
            schema: Arc::new(schema),
            asked: Cell::new(0),
            down: Cell::new(false),
        }
    }
}

impl SchemaSource for Registry {
    fn by_id(&self, id: u32) -> Result<Arc<Schema>> {
        self.asked.set(self.asked.get() + 1);
        if self.down.get() {
            return Err(Error::new(ErrorKind::Unavailable, "the registry is down"));
        }
        if id == self.id {
            Ok(self.schema.clone())
        } else {
            NoSchemas.by_id(id)
        }
    }

    fn by_fingerprint(&self, fingerprint: u64) -> Result<Arc<Schema>> {
        self.asked.set(self.asked.get() + 1);
        match self.schema.fingerprint() == fingerprint {
            true => Ok(self.schema.clone()),
            false => NoSchemas.by_fingerprint(fingerprint),
        }
    }
}

fn golden(topic: Topic, name: &str) -> Vec<u8> {
    testing::read(format!("golden/{}/{name}.avro", topic.spec().record))
}

fn confluent(id: u32, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    frame::write_confluent_header(id, &mut value);
    value.extend_from_slice(body);
    value
}

fn single_object(fingerprint: u64, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    frame::write_single_object_header(fingerprint, &mut value);
    value.extend_from_slice(body);
    value
}

#[test]
fn the_three_formats_give_the_same_event() {
    for topic in Topic::ALL {
        let body = golden(topic, "typical");
        let event = Event::decode(topic, &body).unwrap();
        let registry = Registry::new(7, Schema::parse(topic.spec().schema_json).unwrap());
        let mut decoder = Decoder::new(&registry);
        // JSON of an older producer, its sensitive values treated if there are any.
        let record = topic.spec().record;
        let treated = format!("golden/{record}/typical.json");
        let example = match testing::path(&treated).exists() {
            true => treated,
            false => format!("examples/{record}/valid/typical.json"),
        };
        let fingerprint = topic.spec().fingerprint;
        for (value, format) in [
            (confluent(7, &body), WireFormat::Confluent { id: 7 }),
            (
                single_object(fingerprint, &body),
                WireFormat::SingleObject { fingerprint },
            ),
            (testing::read(example), WireFormat::Json),
        ] {
            let expected = Decoded {
                event: event.clone(),
                format,
                leniency: Leniency::default(),
            };
            let mut scratch = Vec::new();
            let decoded = decoder
                .decode_event(topic, &value, &FILL, &mut scratch)
                .unwrap();
            assert_eq!(decoded, expected);
            let mut scratch = Vec::new();
            let decoded = decoder.decode_any(&value, &FILL, &mut scratch).unwrap();
            assert_eq!(decoded, expected);
        }
    }
}

#[test]
fn our_own_body_is_borrowed_from_the_value_and_its_schema_asked_for_once() {
    let topic = Topic::AuditApiCalls;
    let registry = Registry::new(7, Schema::parse(topic.spec().schema_json).unwrap());
    let mut decoder = Decoder::new(&registry);
    let value = confluent(7, &golden(topic, "typical"));
    for _ in 0..3 {
        let mut scratch = Vec::new();
        let decoded = decoder
            .decode::<AuditAPICallEvent<'_>>(&value, &FILL, &mut scratch)
            .unwrap();
        let Cow::Borrowed(service) = decoded.event.service else {
            panic!("a copy")
        };
        assert!(value.as_ptr_range().contains(&service.as_ptr()));
        assert_eq!(scratch.capacity(), 0);
    }
    assert_eq!(registry.asked.get(), 1);
}

#[test]
fn another_writers_schema_is_asked_for_once_and_found_again_among_others() {
    let case = "evolution/DataLineageEvent/items-with-other-fields";
    let writer = testing::schema(format!("{case}/writer.avsc"));
    let fingerprint = writer.fingerprint();
    let registry = Registry::new(9, writer);
    let mut decoder = Decoder::new(&registry);
    let body = testing::read(format!("{case}/writer.avro"));
    let ours = single_object(
        Topic::DataLineage.spec().fingerprint,
        &golden(Topic::DataLineage, "typical"),
    );
    let expected = testing::read_json(format!("{case}/expected.json"));
    let expected = testing::event_from_json(Topic::DataLineage, &expected);
    let mut scratch = Vec::new();
    for _ in 0..3 {
        for value in [confluent(9, &body), single_object(fingerprint, &body)] {
            decoder
                .decode::<DataLineageEvent<'_>>(&ours, &FILL, &mut scratch)
                .unwrap();
            let decoded = decoder.decode_any(&value, &FILL, &mut scratch).unwrap();
            assert_eq!(decoded.event, expected);
        }
    }
    // Once to read it and once to know what it is, for each header.
    assert_eq!(registry.asked.get(), 4);
}

#[test]
fn a_schema_that_does_not_fit_is_asked_for_once_and_an_outage_is_not_remembered() {
    let registry = Registry::new(3, testing::schema("DataQualityEvent.avsc"));
    let mut decoder = Decoder::new(&registry);
    let value = confluent(3, &golden(Topic::DataQuality, "typical"));
    let mut scratch = Vec::new();
    let mut kind_of = |decoder: &mut Decoder<&Registry>, topic, value: &[u8]| {
        decoder
            .decode_event(topic, value, &FILL, &mut scratch)
            .unwrap_err()
    };
    registry.down.set(true);
    let error = kind_of(&mut decoder, Topic::DataQuality, &value);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    registry.down.set(false);
    for _ in 0..3 {
        let error = kind_of(&mut decoder, Topic::DataLineage, &value);
        assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
        assert_eq!(error.get("schema_id"), Some("3"));
    }
    assert_eq!(registry.asked.get(), 2);
    assert!(
        decoder
            .decode_event(Topic::DataQuality, &value, &FILL, &mut Vec::new())
            .is_ok()
    );
}

#[test]
fn a_value_that_nobody_knows_says_so() {
    let mut decoder = Decoder::new(NoSchemas);
    let mut scratch = Vec::new();
    for (value, message) in [
        (
            &[0, 0, 0, 0, 5, 1][..],
            "is written with schema id 5, and no schema registry is given",
        ),
        (
            &[0xC3, 1, 0xff, 0, 0, 0, 0, 0, 0, 0],
            "is written with a schema of fingerprint 00000000000000ff, which is none of ours",
        ),
        (
            b"{\"eventType\":\"Other\"}",
            "is a JSON object whose eventType is none of the events",
        ),
        (
            b"{}",
            "is a JSON object whose eventType is none of the events",
        ),
        (b"", "has no value (a tombstone)"),
    ] {
        let error = decoder.decode_any(value, &FILL, &mut scratch).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Undecodable, message)
        );
    }
    let registry = Registry::new(1, Schema::parse("\"string\"").unwrap());
    let error = Decoder::new(registry).decode_any(&[0, 0, 0, 0, 1], &FILL, &mut scratch);
    assert_eq!(
        error.unwrap_err().message(),
        "is a string, which is none of the events"
    );
}

#[test]
fn a_raw_secret_in_json_is_treated_when_it_is_read() {
    let mut decoder = Decoder::new(NoSchemas);
    let value = testing::read("examples/AuditAPICallEvent/valid/raw-api-key.json");
    let mut scratch = Vec::new();
    let decoded = decoder
        .decode::<AuditAPICallEvent<'_>>(&value, &FILL, &mut scratch)
        .unwrap();
    let expected = testing::read_json("golden/AuditAPICallEvent/raw-api-key.json");
    assert_eq!(
        decoded.event.api_key.as_deref(),
        expected["apiKey"].as_str()
    );
    assert!(
        decoded
            .event
            .api_key
            .is_some_and(|key| key.starts_with("sha256:"))
    );
}

#[test]
fn json_with_an_escaped_event_type_is_known() {
    let mut decoder = Decoder::new(NoSchemas);
    let value = testing::read("examples/DataIngestionEvent/valid/typical.json");
    let value = String::from_utf8(value).unwrap();
    let value = value.replace("\"DataIngestionEvent\"", "\"\\u0044ataIngestionEvent\"");
    let mut scratch = Vec::new();
    let decoded = decoder
        .decode_any(value.as_bytes(), &FILL, &mut scratch)
        .unwrap();
    assert_eq!(decoded.event.topic(), Topic::DataIngestion);
}

/// What a fault on the way makes of bytes.
fn mutate(bytes: &mut Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) {
    for (index, kind, byte) in changes {
        let place = index.index(bytes.len().max(1));
        match kind % 4 {
            0 => bytes.truncate(place),
            1 => bytes.insert(place.min(bytes.len()), *byte),
            _ if place < bytes.len() => bytes[place] = *byte,
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn damaged_values_are_an_error_or_another_event_but_never_a_panic(
        topic in prop::sample::select(Topic::ALL.to_vec()),
        format in 0..3,
        changes in prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..6),
    ) {
        let body = golden(topic, "typical");
        let mut value = match format {
            0 => confluent(7, &body),
            1 => single_object(topic.spec().fingerprint, &body),
            _ => testing::read(format!("examples/{}/valid/typical.json", topic.spec().record)),
        };
        mutate(&mut value, &changes);
        let registry = Registry::new(7, Schema::parse(topic.spec().schema_json).unwrap());
        let mut decoder = Decoder::new(&registry);
        let mut scratch = Vec::new();
        if let Ok(decoded) = decoder.decode_event(topic, &value, &FILL, &mut scratch) {
            // Whatever it is, it can be shown, encoded and read again.
            let mut again = Vec::new();
            decoded.event.encode("", &mut again);
            let shown = format!("{:?}", decoded.event);
            prop_assert!(!shown.is_empty());
            Event::decode(topic, &again).unwrap();
        }
        let _ = decoder.decode_any(&value, &FILL, &mut scratch);
    }

    #[test]
    fn damaged_bodies_of_other_writers_never_panic(
        changes in prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..6),
        case in any::<prop::sample::Index>(),
    ) {
        let records = testing::entries("evolution");
        let cases: Vec<_> = records.iter().flat_map(testing::entries).collect();
        let case = &cases[case.index(cases.len())];
        let record = case.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let mut value = confluent(1, &testing::read(case.join("writer.avro")));
        mutate(&mut value, &changes);
        let registry = Registry::new(1, testing::schema(case.join("writer.avsc")));
        let mut decoder = Decoder::new(&registry);
        let mut scratch = Vec::new();
        let topic = testing::topic_of(record);
        let _ = decoder.decode_event(topic, &value, &FILL, &mut scratch);
        prop_assert!(scratch.capacity() < 4 << 20);
    }
}

#[test]
fn every_cut_of_a_body_is_refused() {
    let body = golden(Topic::DataIngestion, "typical");
    let mut decoder = Decoder::new(NoSchemas);
    let value = single_object(Topic::DataIngestion.spec().fingerprint, &body);
    for len in 0..value.len() {
        let mut scratch = Vec::new();
        let decoded = decoder.decode::<DataIngestionEvent<'_>>(&value[..len], &FILL, &mut scratch);
        assert_eq!(decoded.unwrap_err().kind(), ErrorKind::Undecodable, "{len}");
    }
}

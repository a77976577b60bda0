//! Resolution against what the fixtures and apache-avro say.

use std::path::Path;

use serde_json::Value as Json;

use super::*;
use crate::avro::put_long;
use crate::events::{Event, Topic};
use crate::testing;

/// An event of a fixture, as a JSON object with the names of its schema.
fn event_of(json: &Json, topic: Topic) -> Event<'static> {
    testing::event_from_json(topic, json)
}

#[test]
fn every_writer_in_the_fixtures_is_read_as_another_library_reads_it() {
    let mut cases = 0;
    for record in testing::entries("evolution") {
        let name = record.file_name().unwrap().to_str().unwrap();
        let topic = testing::topic_of(name);
        for case in testing::entries(&record) {
            check(&case, topic);
            cases += 1;
        }
    }
    assert!(cases >= 30, "{cases}");
}

fn check(case: &Path, topic: Topic) {
    let shown = case.display();
    let expected = testing::read_json(case.join("expected.json"));
    let writer = testing::schema(case.join("writer.avsc"));
    let reader = if case.join("reader.avsc").exists() {
        testing::schema(case.join("reader.avsc"))
    } else {
        Schema::parse(topic.spec().schema_json).unwrap()
    };

    let mut body = Vec::new();
    let read = Plan::new(&writer, &reader)
        .and_then(|plan| plan.transcode(&testing::read(case.join("writer.avro")), &mut body))
        .and_then(|()| Event::decode(topic, &body));
    match (read, expected.get("error")) {
        (Ok(event), None) => assert_eq!(event, event_of(&expected, topic), "{shown}"),
        (Err(error), Some(kind)) => {
            assert_eq!(
                error.kind().as_str(),
                kind.as_str().unwrap(),
                "{shown}: {error}"
            );
            assert_eq!(
                error.get("field"),
                expected["field"].as_str(),
                "{shown}: {error}"
            );
            assert_eq!(
                error.get("event"),
                Some(topic.spec().record),
                "{shown}: {error}"
            );
        }
        (read, _) => panic!("{shown}: {read:?}"),
    }
}

#[test]
fn another_record_altogether_is_refused_naming_both() {
    let writer = testing::schema("DataQualityEvent.avsc");
    let reader = testing::schema("AuditAPICallEvent.avsc");
    let error = Plan::new(&writer, &reader).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
    assert_eq!(
        error.message(),
        "AuditAPICallEvent cannot be read from the writer's schema: its record is \
         com.carbon254.events.data.DataQualityEvent, which is not \
         com.carbon254.events.audit.AuditAPICallEvent"
    );
}

#[test]
fn ours_is_copied_as_it_stands() {
    for topic in Topic::ALL {
        let schema = Schema::parse(topic.spec().schema_json).unwrap();
        let plan = Plan::new(&schema, &schema).unwrap();
        assert!(matches!(plan.ops[plan.root], Op::Copy(_)), "{topic}");
        for body in testing::entries(format!("golden/{}", topic.spec().record)) {
            if body
                .extension()
                .is_some_and(|extension| extension == "avro")
            {
                let body = testing::read(body);
                let mut out = b"before".to_vec();
                plan.transcode(&body, &mut out).unwrap();
                assert_eq!(out[6..], body);
            }
        }
    }
}

/// What `writer` wrote as `body`, in the bytes of `reader`; none if it cannot be read.
fn transcoded(writer: &str, reader: &str, body: &[u8]) -> Result<Vec<u8>> {
    let plan = Plan::new(&Schema::parse(writer)?, &Schema::parse(reader)?)?;
    let mut out = Vec::new();
    plan.transcode(body, &mut out)?;
    Ok(out)
}

#[test]
fn a_timestamp_is_converted_to_the_readers_unit() {
    let time = |unit: &str| format!(r#"{{"type":"long","logicalType":"timestamp-{unit}"}}"#);
    let [millis, micros, nanos] = ["millis", "micros", "nanos"].map(time);
    let long = |value: i64| {
        let mut out = Vec::new();
        put_long(&mut out, value);
        out
    };
    let read = |writer: &str, reader: &str, value: i64| transcoded(writer, reader, &long(value));
    assert_eq!(
        read(&micros, &millis, 1_700_000_000_123_999).unwrap(),
        long(1_700_000_000_123)
    );
    assert_eq!(read(&micros, &millis, -1).unwrap(), long(-1));
    assert_eq!(read(&millis, &nanos, -2).unwrap(), long(-2_000_000));
    assert_eq!(read("\"long\"", &millis, 7).unwrap(), long(7));
    assert_eq!(read(&micros, "\"long\"", 7).unwrap(), long(7));
    assert!(read(&millis, &nanos, i64::MAX).is_err());
}

#[test]
fn schemas_that_contain_themselves_are_followed_to_a_limit() {
    let list = |name: &str, ty: &str| {
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"value","type":"{ty}"}},
                {{"name":"next","type":["null","{name}"]}}]}}"#
        )
    };
    let (writer, reader) = (list("L", "int"), list("L", "double"));
    let mut body = [2, 2].repeat(20);
    body.extend_from_slice(&[4, 0]);
    let out = transcoded(&writer, &reader, &body).unwrap();
    assert_eq!(out.len(), 21 * 9);
    assert_eq!(out[..9], [0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 2]);

    let error = transcoded(&writer, &reader, &[2, 2].repeat(100)).unwrap_err();
    assert!(
        error.message().ends_with("values are nested too deep"),
        "{error}"
    );
    let error = transcoded(&writer, &writer, &[2, 2].repeat(100)).unwrap_err();
    assert!(
        error.message().ends_with("values are nested too deep"),
        "{error}"
    );
}

#[test]
fn items_without_bytes_are_counted_up_to_a_limit() {
    let record = |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let nulls = record(r#"{"name":"a","type":{"type":"array","items":"null"}}"#);
    let options = record(r#"{"name":"a","type":{"type":"array","items":["null","int"]}}"#);
    let none = record("");
    assert_eq!(
        transcoded(&nulls, &options, &[6, 0]).unwrap(),
        [6, 0, 0, 0, 0]
    );
    assert_eq!(transcoded(&nulls, &none, &[0x80, 8, 0]).unwrap(), b"");
    let mut endless = Vec::new();
    put_long(&mut endless, 1 << 40);
    endless.push(0);
    for reader in [&none, &options, &nulls] {
        let error = transcoded(&nulls, reader, &endless).unwrap_err();
        assert!(
            error.message().ends_with("more items than bytes are left"),
            "{error}"
        );
    }

    // Each record holds the one before it twice: 2^25 records of no bytes at all.
    let mut doubling = record("");
    for level in 0..25 {
        let inner = if level == 0 {
            "R".to_owned()
        } else {
            format!("R{}", level - 1)
        };
        doubling = format!(
            r#"{{"type":"record","name":"R{level}","fields":[
                {{"name":"a","type":{doubling}}},{{"name":"b","type":"{inner}"}}]}}"#
        );
    }
    let writer =
        format!(r#"{{"type":"record","name":"Top","fields":[{{"name":"a","type":{doubling}}}]}}"#);
    let reader = r#"{"type":"record","name":"Top","fields":[]}"#;
    let error = transcoded(&writer, reader, b"").unwrap_err();
    assert!(
        error.message().ends_with("too many values take no bytes"),
        "{error}"
    );
}

#[test]
fn an_event_does_not_grow_without_bound() {
    let long = "x".repeat(10_000);
    let list = |fields: &str| {
        format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{{"type":"array",
                "items":{{"type":"record","name":"I","fields":[{fields}]}}}}}}]}}"#
        )
    };
    let writer = list(r#"{"name":"b","type":"boolean"}"#);
    let reader = list(&format!(
        r#"{{"name":"b","type":"boolean"}},{{"name":"c","type":"string","default":"{long}"}}"#
    ));
    let body = |items: usize| {
        let mut body = Vec::new();
        put_long(&mut body, items as i64);
        body.resize(body.len() + items, 1);
        body.push(0);
        body
    };
    assert_eq!(
        transcoded(&writer, &reader, &body(100)).unwrap().len(),
        100 * 10_004 + 3
    );
    let error = transcoded(&writer, &reader, &body(100_000)).unwrap_err();
    assert!(
        error
            .message()
            .ends_with("the event grows out of proportion"),
        "{error}"
    );
}

#[test]
fn a_record_of_many_fields_in_another_order_is_read() {
    let record = |fields: &mut dyn Iterator<Item = usize>| {
        let fields = fields.map(|n| format!(r#"{{"name":"f{n}","type":"int"}}"#));
        let fields = fields.collect::<Vec<_>>().join(",");
        format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
    };
    for count in [2, 64, 65, 100] {
        let writer = record(&mut (0..count));
        let reader = record(&mut (0..count).rev());
        let body: Vec<u8> = (0..count as u8).map(|n| n / 2 * 2).collect();
        let out = transcoded(&writer, &reader, &body).unwrap();
        assert!(out.iter().eq(body.iter().rev()), "{count}");
    }
}

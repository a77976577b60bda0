//! One topic, many writers: legacy JSON beside both framings of Avro, bytes that are no event, older
//! and newer schemas, and a registry that refuses one.

use std::fs;
use std::path::Path;

use carbon_events::codec::frame::write_confluent_header;
use carbon_events::config::{EventFormat, RegistrySettings};
use carbon_events::events::{AuditAPICallEvent, DataQualityEvent};
use carbon_events::registry::SchemaRegistry;
use carbon_events::{ErrorKind, Event, EventConsumer, Topic, TypedEvent};
use carbon_events_services::{Format, Peer, Registry, WriteRecord, shared};
use carbon_events_tests::{
    Read, SOON, assert_kind, create_topics, event, plain, producer, read_all, same_json, schemas,
    typical,
};
use serde_json::{Value, json};

/// The records of one topic by partition and offset, as they were appended.
fn of_topic<'a>(read: &'a [Read], topic: &str) -> Vec<&'a Read> {
    let mut found: Vec<&Read> = read.iter().filter(|read| read.topic == topic).collect();
    found.sort_by_key(|read| (read.partition, read.offset));
    found
}

fn register(registry: &Registry, topic: &str, schema: &str) -> u32 {
    let body = json!({ "schema": schema }).to_string();
    let path = format!("/subjects/{topic}-value/versions");
    let (status, answer) = registry
        .request("POST", &path, Some(&body))
        .expect("an answer");
    assert_eq!(status, 200, "{topic}: {answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["id"].as_u64().expect("an id") as u32
}

#[test]
fn json_and_both_framings_of_avro_in_one_topic_are_the_same_events() {
    let shared = shared();
    create_topics(&shared.kafka, "");
    let build = |format, registry| {
        let producer = producer(&shared.kafka, registry, "").format(format);
        producer.build().unwrap()
    };
    let writers = [
        build(EventFormat::Json, None),
        build(EventFormat::Avro, Some(&shared.registry)),
        build(EventFormat::Avro, None),
        build(EventFormat::Json, Some(&shared.registry)),
    ];
    for topic in Topic::ALL {
        for writer in &writers {
            // One after the other, so that the formats alternate in the partition.
            let example = typical(topic);
            writer.any(&example.event).send().unwrap().wait().unwrap();
        }
    }
    let names = Topic::ALL.map(Topic::name);
    let read = read_all(&shared.kafka, Some(&shared.registry), names);
    for topic in Topic::ALL {
        let found = of_topic(&read, topic.name());
        let first_bytes: Vec<u8> = found
            .iter()
            .map(|read| read.value.as_deref().unwrap()[0])
            .collect();
        assert_eq!(first_bytes, [b'{', 0, 0xc3, b'{'], "{topic}");
        for read in found {
            assert_eq!(read.event.as_ref().unwrap(), &typical(topic).written);
        }
    }
}

#[test]
fn what_todays_producers_send_is_read_as_typed_events() {
    let shared = shared();
    let prefix = "legacy-";
    create_topics(&shared.kafka, prefix);
    // As services in Python and Node write them: no version of the schema where `version` is the
    // deployed one, numbers as a header had them, fields of their own.
    let legacy = json!({
        "eventId": "0b0c9a3e-6a1f-4a51-9d7e-2f6c7d1a5b11",
        "eventType": "DeploymentEvent",
        "timestamp": 1_762_164_240_051_i64,
        "source": "argocd",
        "correlationId": null,
        "causationId": null,
        "deploymentName": "pricing-api",
        "namespace": "data-platform",
        "action": "ROLLBACK",
        "version": "v2.4.1",
        "previousVersion": "v2.5.0",
        "replicas": "3",
        "deployedBy": "ci",
        "cluster": "eu-1",
    });
    let python = WriteRecord {
        topic: format!("{prefix}deployment-events"),
        key: Some("pricing-api".into()),
        format: Format::Json,
        schema: None,
        event: legacy,
    };
    Peer::Python
        .write(&shared.kafka, &shared.registry, &[python])
        .unwrap();
    let read = read_all(
        &shared.kafka,
        Some(&shared.registry),
        [format!("{prefix}deployment-events")],
    );
    let Ok(Event::Deployment(deployment)) = &read[0].event else {
        panic!("{:?}", read[0].event);
    };
    assert_eq!(deployment.deployed_version, "v2.4.1");
    assert_eq!(deployment.envelope.version, "1.0.0");
    assert_eq!(deployment.replicas, 3);
    assert_eq!(deployment.envelope.timestamp_ms, 1_762_164_240_051);
}

#[test]
fn bytes_that_are_no_event_come_as_errors_with_their_place_and_reading_goes_on() {
    let shared = shared();
    let topic = "broken-audit-api-calls";
    shared.kafka.create_topic(topic, 1, &[]).unwrap();
    let typed = producer(&shared.kafka, Some(&shared.registry), "broken-")
        .build()
        .unwrap();
    let example = typical(Topic::AuditApiCalls);
    let mut unknown_id = Vec::new();
    write_confluent_header(0x7fff_fff0, &mut unknown_id);
    unknown_id.extend_from_slice(&example.body);
    let mut unknown_fingerprint = vec![0xc3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8];
    unknown_fingerprint.extend_from_slice(&example.body);
    let id = register(&shared.registry, topic, AuditAPICallEvent::SCHEMA_JSON);
    let mut truncated = Vec::new();
    write_confluent_header(id, &mut truncated);
    truncated.extend_from_slice(&example.body[..example.body.len() - 9]);
    let broken: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"\0\0"),
        Some(b"plain text"),
        Some(b"{\"eventType\": \"AuditAPICallEvent\", "),
        Some(&truncated),
        Some(&unknown_id),
        Some(&unknown_fingerprint),
    ];
    for value in broken {
        typed.any(&example.event).send().unwrap().wait().unwrap();
        let raw = typed.raw(topic).key(&b"broken"[..]);
        let raw = match value {
            Some(value) => raw.value(value),
            None => raw,
        };
        raw.send().unwrap().wait().unwrap();
    }
    typed.any(&example.event).send().unwrap().wait().unwrap();

    let read = read_all(&shared.kafka, Some(&shared.registry), [topic]);
    assert_eq!(read.len(), broken.len() * 2 + 1);
    for (offset, read) in read.iter().enumerate() {
        assert_eq!(read.offset, offset as i64);
        if offset % 2 == 0 {
            assert_eq!(read.event.as_ref().unwrap(), &example.written);
            continue;
        }
        let error = read.event.as_ref().unwrap_err();
        assert_kind(error, ErrorKind::Undecodable);
        assert_eq!(error.get("topic"), Some(topic));
        assert_eq!(error.get("partition"), Some("0"));
        assert_eq!(error.get("offset"), Some(offset.to_string().as_str()));
        assert_eq!(read.value.as_deref(), broken[offset / 2]);
        assert!(!error.to_string().contains("plain text"), "{error}");
    }

    // One type alone: the bytes are beside the error.
    let consumer = EventConsumer::builder()
        .connection(plain(&shared.kafka.bootstrap_servers()))
        .schema_registry_url(shared.registry.url())
        .topic(topic)
        .standalone()
        .detect_end()
        .build()
        .unwrap();
    let stream = consumer.typed::<AuditAPICallEvent<'static>>();
    let records: Vec<_> = futures::executor::block_on(futures::StreamExt::collect(stream));
    assert_eq!(records.len(), broken.len() * 2 + 1);
    for (offset, record) in records.into_iter().enumerate() {
        match record.unwrap().event {
            Ok(event) => assert_eq!(Event::from(event), example.written),
            Err(undecodable) => {
                assert_eq!(undecodable.value.as_deref(), broken[offset / 2]);
            }
        }
    }
}

/// One case of `schemas/evolution`.
struct Evolution {
    id: String,
    topic: Topic,
    writer: String,
    body: Vec<u8>,
    expected: Value,
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases that our own schemas read.
fn evolution() -> Vec<Evolution> {
    let mut cases = Vec::new();
    for topic in Topic::ALL {
        let record = topic.spec().record;
        let dir = schemas().join("evolution").join(record);
        for case in fs::read_dir(&dir).expect("the cases of a record") {
            let case = case.expect("a case").path();
            if case.join("reader.avsc").exists() {
                continue;
            }
            let name = case.file_name().and_then(|name| name.to_str());
            cases.push(Evolution {
                id: format!("{record}/{}", name.expect("a name")),
                topic,
                writer: text(&case.join("writer.avsc")),
                body: fs::read(case.join("writer.avro")).expect("a body"),
                expected: serde_json::from_str(&text(&case.join("expected.json"))).expect("JSON"),
            });
        }
    }
    cases
}

#[test]
fn older_and_newer_writers_are_read_through_the_registry() {
    let shared = shared();
    let prefix = "evolved-";
    let registry = &shared.registry;
    create_topics(&shared.kafka, prefix);
    let cases = evolution();
    assert!(cases.len() > 20);
    let ours = producer(&shared.kafka, Some(registry), prefix)
        .build()
        .unwrap();
    let mut places = Vec::new();
    for case in &cases {
        let topic = format!("{prefix}{}", case.topic);
        let mut value = Vec::new();
        write_confluent_header(register(registry, &topic, &case.writer), &mut value);
        value.extend_from_slice(&case.body);
        // Between two of ours, so that writers alternate.
        let example = typical(case.topic);
        ours.any(&example.event).send().unwrap().wait().unwrap();
        let report = ours.raw(&topic).value(value).send().unwrap().wait();
        let report = report.unwrap();
        places.push((topic, report.partition, report.offset));
    }
    let topics = Topic::ALL.map(|topic| format!("{prefix}{topic}"));
    let read = read_all(&shared.kafka, Some(registry), topics);
    assert_eq!(read.len(), cases.len() * 2);
    for (case, (topic, partition, offset)) in cases.iter().zip(&places) {
        let found = read
            .iter()
            .find(|read| read.place() == (topic, *partition, *offset))
            .unwrap();
        match (&found.event, case.expected["error"].as_str()) {
            (Ok(found), None) => {
                let expected = event(case.topic, case.expected.to_string().as_bytes());
                assert_eq!(found, &expected, "{}", case.id);
            }
            (Err(error), Some(kind)) => {
                assert_eq!(error.kind().as_str(), kind, "{}: {error}", case.id);
                assert_eq!(error.get("field"), case.expected["field"].as_str());
            }
            (found, _) => panic!("{}: {found:?}, not {}", case.id, case.expected),
        }
    }
    let ours = read.iter().filter(|read| read.key.is_some());
    for read in ours {
        let topic = Topic::from_name(&read.topic[prefix.len()..]).unwrap();
        assert_eq!(read.event.as_ref().unwrap(), &typical(topic).written);
    }
}

/// Our schema of data quality as it may have been a year ago: without `message` and `version`, the
/// own fields in another order, counts in an int and the score in a float.
fn older_schema() -> Value {
    let mut schema: Value = serde_json::from_str(DataQualityEvent::SCHEMA_JSON).expect("a schema");
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.retain(|field| field["name"] != "message" && field["name"] != "version");
    fields[6..].reverse();
    for field in fields {
        match field["name"].as_str() {
            Some("failedRecords" | "totalRecords") => field["type"] = json!("int"),
            Some("score") => field["type"] = json!("float"),
            _ => {}
        }
    }
    schema
}

/// The same as it may be in a year: with fields that we do not know.
fn newer_schema() -> Value {
    let mut schema: Value = serde_json::from_str(DataQualityEvent::SCHEMA_JSON).expect("a schema");
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.insert(
        7,
        json!({"name": "owner", "type": ["null", "string"], "default": null}),
    );
    let tags = json!({"type": "array", "items": {"type": "map", "values": "double"}});
    fields.push(json!({"name": "tags", "type": tags, "default": []}));
    schema
}

#[test]
fn python_and_java_with_older_and_newer_schemas_understand_us_and_we_them() {
    let shared = shared();
    let example = typical(Topic::DataQuality);
    let mut expected = example.written_json.clone();
    expected["score"] = json!(0.25);
    let written = event(Topic::DataQuality, expected.to_string().as_bytes());
    for peer in Peer::ALL {
        let prefix = format!("{peer:?}-").to_lowercase();
        let topic = format!("{prefix}data-quality");
        shared.kafka.create_topic(&topic, 1, &[]).unwrap();

        let mut older = expected.clone();
        let fields = older.as_object_mut().unwrap();
        fields.retain(|name, _| name != "message" && name != "version");
        let mut newer = expected.clone();
        newer["owner"] = json!("quality team");
        newer["tags"] = json!([{"a": 1.5}, {}]);
        let record = |schema: Value, event: Value| WriteRecord {
            topic: topic.clone(),
            key: None,
            format: Format::Confluent,
            schema: Some(schema),
            event,
        };
        let records = [
            record(older_schema(), older.clone()),
            record(newer_schema(), newer),
        ];
        peer.write(&shared.kafka, &shared.registry, &records)
            .unwrap();
        let ours = producer(&shared.kafka, Some(&shared.registry), &prefix)
            .build()
            .unwrap();
        ours.any(&written).send().unwrap().wait().unwrap();

        let read = read_all(&shared.kafka, Some(&shared.registry), [&topic]);
        let events: Vec<_> = read
            .iter()
            .map(|read| read.event.clone().unwrap())
            .collect();
        let mut without_message = expected.clone();
        without_message["message"] = Value::Null;
        without_message["version"] = json!("1.0.0");
        let of_older = event(Topic::DataQuality, without_message.to_string().as_bytes());
        assert_eq!(events, [of_older, written.clone(), written.clone()]);

        // The newer reader sees its defaults where we wrote.
        let theirs = peer
            .read_as(&newer_schema(), &shared.kafka, &shared.registry, &topic, 3)
            .unwrap();
        let mut ours_as_newer = expected.clone();
        ours_as_newer["owner"] = Value::Null;
        ours_as_newer["tags"] = json!([]);
        let seen = &theirs[2].event;
        assert!(same_json(seen, &ours_as_newer), "{peer:?}: {seen}");
    }
}

#[test]
fn a_schema_that_the_subject_refuses_fails_its_records_and_no_others() {
    let shared = shared();
    let prefix = "strict-";
    create_topics(&shared.kafka, prefix);
    let topic = format!("{prefix}data-quality");
    // What ours cannot read: the score is text, and a required field is not there.
    let mut other: Value = serde_json::from_str(DataQualityEvent::SCHEMA_JSON).unwrap();
    let fields = other["fields"].as_array_mut().unwrap();
    fields.retain(|field| field["name"] != "checkName");
    register(&shared.registry, &topic, &other.to_string());
    let (status, answer) = shared
        .registry
        .request(
            "PUT",
            &format!("/config/{topic}-value"),
            Some(r#"{"compatibility": "BACKWARD"}"#),
        )
        .unwrap();
    assert_eq!(status, 200, "{answer}");

    let settings = RegistrySettings::new(shared.registry.url());
    for settings in [settings.clone(), settings.clone().check_compatibility(true)] {
        let producer = producer(&shared.kafka, None, prefix)
            .registry(settings)
            .build()
            .unwrap();
        let refused = producer.any(&typical(Topic::DataQuality).event).send();
        let fine = producer.any(&typical(Topic::DataIngestion).event).send();
        let error = refused.unwrap().wait_timeout(SOON).unwrap_err();
        assert_kind(&error, ErrorKind::IncompatibleSchema);
        let subject = format!("{topic}-value");
        assert_eq!(error.get("subject"), Some(subject.as_str()), "{error}");
        fine.unwrap().wait_timeout(SOON).unwrap();
        let stats = producer.stats();
        assert_eq!((stats.delivered, stats.failed, stats.queued), (1, 1, 0));
    }

    let registry = SchemaRegistry::new(&settings).unwrap();
    let found = registry
        .check_compatibility_blocking(&topic, DataQualityEvent::SCHEMA_JSON)
        .unwrap();
    assert!(!found.compatible);
    let error = registry
        .register_blocking(&topic, DataQualityEvent::SCHEMA_JSON)
        .unwrap_err();
    assert_kind(&error, ErrorKind::IncompatibleSchema);
    // A schema that can read what was written before is taken under the same rule.
    let with_default = other.to_string().replace(
        r#"{"name":"message""#,
        r#"{"name":"checkName","type":"string","default":""},{"name":"message""#,
    );
    assert_ne!(with_default, other.to_string());
    registry.register_blocking(&topic, &with_default).unwrap();
}

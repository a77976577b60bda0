//! All twelve records between this library, Python's confluent-kafka and Java's Avro, in both
//! directions, on one broker with a registry.

use std::collections::{BTreeSet, HashMap};

use apache_avro::types::Value as AvroValue;
use carbon_events::codec::frame::{self, WireFormat};
use carbon_events::{DeliveryReport, Topic};
use carbon_events_services::{Format, Peer, ReadRecord, WriteRecord, java_partitions, shared};
use carbon_events_tests::{
    Example, Read, SOON, create_topics, examples, producer, read_all, same_json,
};
use schema_registry_converter::async_impl::avro::AvroDecoder;
use schema_registry_converter::async_impl::schema_registry::SrSettings;

fn topics(prefix: &str) -> impl Iterator<Item = String> {
    Topic::ALL
        .into_iter()
        .map(move |topic| format!("{prefix}{topic}"))
}

/// Sends all examples as typed events and reads them back; the records in the examples' order.
fn round_trip(examples: &[Example], prefix: &str, with_registry: bool) -> Vec<Read> {
    let shared = shared();
    let registry = with_registry.then_some(&shared.registry);
    create_topics(&shared.kafka, prefix);
    // Without a service's name an empty source stays as it is, and so does every other byte.
    let producer = producer(&shared.kafka, registry, prefix)
        .service_name("")
        .build()
        .expect("a producer");
    let deliveries: Vec<_> = examples
        .iter()
        .map(|example| {
            producer
                .any(&example.event)
                .send()
                .expect("an accepted event")
        })
        .collect();
    let reports: Vec<DeliveryReport> = deliveries
        .iter()
        .map(|delivery| delivery.wait().expect("a delivered event"))
        .collect();
    producer.close(SOON).expect("nothing left at close");

    let read = read_all(&shared.kafka, registry, topics(prefix));
    assert_eq!(read.len(), examples.len());
    let mut by_place: HashMap<(String, i32, i64), Read> = read
        .into_iter()
        .map(|read| ((read.topic.clone(), read.partition, read.offset), read))
        .collect();
    examples
        .iter()
        .zip(reports)
        .map(|(example, report)| {
            assert_eq!(*report.topic, format!("{prefix}{}", example.topic));
            let place = (report.topic.to_string(), report.partition, report.offset);
            let read = by_place.remove(&place);
            read.unwrap_or_else(|| panic!("{} is not at {place:?}", example.id()))
        })
        .collect()
}

fn key_of(example: &Example) -> String {
    let mut key = Vec::new();
    example.event.write_key("", &mut key);
    String::from_utf8(key).expect("a key is UTF-8")
}

#[test]
fn every_record_we_write_is_read_equal_by_us_by_python_and_by_java() {
    let shared = shared();
    let examples = examples();
    let records: BTreeSet<_> = examples.iter().map(|example| example.topic as u8).collect();
    assert_eq!(records.len(), Topic::ALL.len());
    let confluent = round_trip(&examples, "ours-", true);
    let single_object = round_trip(&examples, "ours-single-object-", false);
    for (read, example) in confluent.iter().zip(&examples) {
        assert_eq!(
            read.event.as_ref().expect("an event"),
            &example.written,
            "{}",
            example.id()
        );
        assert_eq!(
            read.key.as_deref(),
            Some(key_of(example).as_bytes()),
            "{}",
            example.id()
        );
        let value = read.value.as_deref().expect("a value");
        let frame = frame::split(value).expect("a frame");
        assert!(matches!(frame.format, WireFormat::Confluent { .. }));
        assert_eq!(frame.body, example.body, "{}", example.id());
    }
    for (read, example) in single_object.iter().zip(&examples) {
        assert_eq!(
            read.event.as_ref().expect("an event"),
            &example.written,
            "{}",
            example.id()
        );
        let value = read.value.as_deref().expect("a value");
        let frame = frame::split(value).expect("a frame");
        let fingerprint = example.topic.spec().fingerprint;
        assert_eq!(frame.format, WireFormat::SingleObject { fingerprint });
        assert_eq!(frame.body, example.body, "{}", example.id());
    }

    // The very same keys and values on one topic, so that each peer has to start only once.
    let all = "ours-all";
    shared.kafka.create_topic(all, 1, &[]).unwrap();
    let copier = producer(&shared.kafka, None, "").build().unwrap();
    for read in confluent.iter().chain(&single_object) {
        let record = copier
            .raw(all)
            .key(read.key.as_deref().unwrap())
            .value(read.value.as_deref().unwrap());
        drop(record.send().unwrap());
    }
    copier.close(SOON).unwrap();
    assert_eq!(copier.stats().failed, 0);

    let count = examples.len() * 2;
    for peer in Peer::ALL {
        let read = peer
            .read(&shared.kafka, &shared.registry, all, count)
            .unwrap();
        let both = [Format::Confluent, Format::SingleObject]
            .into_iter()
            .flat_map(|format| examples.iter().map(move |example| (format, example)));
        assert_eq!(read.len(), count);
        for (found, (format, example)) in read.iter().zip(both) {
            let ReadRecord { event, key, .. } = found;
            let id = example.id();
            assert!(
                same_json(event, &example.written_json),
                "{peer:?} {format:?} {id}: {event} is not {}",
                example.written_json
            );
            assert_eq!(found.format, format, "{peer:?} {id}");
            assert_eq!(key.as_deref(), Some(key_of(example).as_str()), "{id}");
        }
    }
}

#[test]
fn every_record_that_python_and_java_write_is_read_equal_by_us() {
    let shared = shared();
    let examples = examples();
    for peer in Peer::ALL {
        let prefix = format!("{peer:?}-").to_lowercase();
        create_topics(&shared.kafka, &prefix);
        let records: Vec<WriteRecord> = [Format::Confluent, Format::SingleObject]
            .into_iter()
            .flat_map(|format| {
                let prefix = &prefix;
                examples.iter().map(move |example| WriteRecord {
                    topic: format!("{prefix}{}", example.topic),
                    key: Some(key_of(example)),
                    format,
                    schema: None,
                    event: example.written_json.clone(),
                })
            })
            .collect();
        let places = peer
            .write(&shared.kafka, &shared.registry, &records)
            .unwrap();

        let read = read_all(&shared.kafka, Some(&shared.registry), topics(&prefix));
        assert_eq!(read.len(), records.len());
        let by_place: HashMap<_, _> = read.iter().map(|read| (read.place(), read)).collect();
        let written = examples.iter().chain(&examples);
        for ((example, record), place) in written.zip(&records).zip(&places) {
            let found = by_place[&(record.topic.as_str(), place.partition, place.offset)];
            let event = found.event.as_ref().unwrap();
            let format = record.format;
            assert_eq!(
                event,
                &example.written,
                "{peer:?} {format:?} {}",
                example.id()
            );
        }

        // Whoever writes a key, it is in the same partition.
        let ours = producer(&shared.kafka, None, "").build().unwrap();
        for (record, place) in records.iter().zip(&places) {
            let key = record.key.as_deref().unwrap();
            let report = ours
                .raw(&record.topic)
                .key(key.as_bytes())
                .send()
                .unwrap()
                .wait()
                .unwrap();
            assert_eq!(report.partition, place.partition, "{peer:?} {key:?}");
        }
    }
}

#[test]
fn each_key_goes_where_the_java_client_puts_it() {
    let shared = shared();
    let topic = "partitions";
    shared.kafka.create_topic(topic, 12, &[]).unwrap();
    let mut keys: Vec<String> = [
        "",
        " ",
        "\u{0}",
        "\u{feff}",
        "ü",
        "日本語",
        "🔑",
        "a->b",
        "null",
    ]
    .map(String::from)
    .to_vec();
    // Each length modulo four is a case of its own in murmur2, and so is each sign of a byte.
    keys.extend((0..200).map(|length| "k".repeat(length)));
    keys.extend((0..200).map(|length| "ÿ€𐍈".chars().cycle().take(length).collect()));
    keys.extend((0..600).map(|number| format!("dataset_{number}")));
    keys.push("long".repeat(10_000));
    let partitions = java_partitions(&keys, 12).unwrap();
    assert_eq!(partitions.iter().collect::<BTreeSet<_>>().len(), 12);

    let producer = producer(&shared.kafka, None, "").build().unwrap();
    let deliveries: Vec<_> = keys
        .iter()
        .map(|key| producer.raw(topic).key(key.as_bytes()).send().unwrap())
        .collect();
    for ((key, delivery), partition) in keys.iter().zip(deliveries).zip(partitions) {
        let report = delivery.wait().unwrap();
        let shown: String = key.chars().take(40).collect();
        assert_eq!(report.partition, partition, "{shown:?}");
    }
}

#[tokio::test]
async fn another_rust_client_decodes_our_records_through_the_registry() {
    let shared = shared();
    let prefix = "converter-";
    create_topics(&shared.kafka, prefix);
    let producer = producer(&shared.kafka, Some(&shared.registry), prefix)
        .build()
        .unwrap();
    let examples: Vec<_> = Topic::ALL.map(carbon_events_tests::typical).into();
    for example in &examples {
        producer
            .any(&example.event)
            .send_async()
            .await
            .unwrap()
            .await
            .unwrap();
    }
    let read = read_all(&shared.kafka, None, topics(prefix));
    let settings = SrSettings::new_builder(shared.registry.url())
        .no_proxy()
        .build()
        .unwrap();
    let decoder = AvroDecoder::new(settings);
    for example in &examples {
        let name = format!("{prefix}{}", example.topic);
        let read = read.iter().find(|read| read.topic == name).unwrap();
        let decoded = decoder.decode(read.value.as_deref()).await.unwrap();
        let AvroValue::Record(fields) = decoded.value else {
            panic!("{} is no record", example.id());
        };
        let expected = example.written_json.as_object().unwrap();
        let names: Vec<&String> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected.keys().collect::<Vec<_>>());
        let event_id = AvroValue::Uuid(expected["eventId"].as_str().unwrap().parse().unwrap());
        assert_eq!(fields[0].1, event_id);
        for (name, value) in &fields {
            match value {
                AvroValue::String(text) => assert_eq!(expected[name], **text, "{name}"),
                AvroValue::Long(number) => assert_eq!(expected[name], *number, "{name}"),
                AvroValue::Double(number) => assert_eq!(expected[name], *number, "{name}"),
                AvroValue::Enum(_, symbol) => assert_eq!(expected[name], **symbol, "{name}"),
                _ => {}
            }
        }
    }
}

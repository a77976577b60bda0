//! Writers' schemas: asked for before records are handed out, and what happens while they cannot be
//! had.

use std::sync::Arc;

use futures::StreamExt;
use futures::executor::block_on;
use futures::future::FutureExt;

use super::*;
use crate::codec::frame::{SCHEMA_ID_HEADER, write_confluent_header};
use crate::config::RegistrySettings;
use crate::consumer::{Offsets, TopicPartition};
use crate::testkit::{MockRegistry, RegistryFault};
use crate::{ErrorKind, Topic};

const LONG: Duration = Duration::from_secs(3600);
const SUBJECT: &str = "system-health-value";

/// The schema of our event by another writer, who has one field more.
fn another_schema(number: usize) -> String {
    let ours = Topic::SystemHealth.spec().schema_json;
    let mut schema: serde_json::Value = serde_json::from_str(ours).unwrap();
    let field = serde_json::json!({"name": format!("extra{number}"), "type": "int", "default": 0});
    schema["fields"].as_array_mut().unwrap().push(field);
    schema.to_string()
}

/// The schema of our event with its timestamp in another unit.
fn schema_with_unit(unit: &str) -> String {
    let ours = Topic::SystemHealth.spec().schema_json;
    ours.replace("timestamp-millis", unit)
}

fn body(event: &ServiceHealthEvent<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    event.encode("tests", &mut body);
    body
}

/// An event as the writer of [`another_schema`] writes it.
fn confluent(id: u32, latency_ms: i64) -> Vec<u8> {
    let mut value = Vec::new();
    write_confluent_header(id, &mut value);
    value.extend(body(&event(latency_ms)));
    value.push(0); // `extra`
    value
}

/// A registry with so many other writers' schemas, whose ids count from 1.
fn registry(schemas: usize) -> MockRegistry {
    let registry = MockRegistry::start().unwrap();
    registry.set_compatibility(SUBJECT, "NONE").unwrap();
    for number in 1..=schemas {
        let id = registry.register(SUBJECT, &another_schema(number)).unwrap();
        assert_eq!(id as usize, number);
    }
    registry
}

fn quick(registry: &MockRegistry) -> RegistrySettings {
    registry.settings().retries(0)
}

fn reader(broker: &Broker, registry: RegistrySettings, patience: Duration) -> EventConsumer {
    let settings = settings(broker, "g").unreachable_after(patience);
    let builder = builder(broker, "g").consumer(settings).registry(registry);
    builder.build().unwrap()
}

#[test]
fn a_registry_outage_fails_the_read_and_the_same_records_come_later() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, (0..3).map(|n| confluent(1, n)));
    registry.down();
    let consumer = reader(&broker, quick(&registry), Duration::from_millis(300));
    for _ in 0..2 {
        let error = error(&consumer);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.retryable());
        assert_eq!(error.get("schema_id"), Some("1"));
    }
    assert!(consumer.handled().is_empty(), "no record was returned");
    registry.up();
    assert_eq!(read(&consumer, 3)[&0], [0, 1, 2]);
    consumer.acknowledge();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g")[&0], 3);
}

#[test]
fn a_short_outage_fails_no_read() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, [confluent(1, 7)]);
    registry.fail_next(2, RegistryFault::Status(503));
    let consumer = reader(&broker, quick(&registry), SOON);
    assert_eq!(read(&consumer, 1)[&0], [7]);
    assert_eq!(registry.calls().schemas, 3);
}

#[test]
fn a_registry_that_hangs_holds_no_read_beyond_its_timeout() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, [confluent(1, 7)]);
    registry.fail(RegistryFault::Slow(LONG));
    let settings = settings(&broker, "g").detect_end(true);
    let settings = settings.unreachable_after(Duration::from_millis(500));
    let builder = builder(&broker, "g").consumer(settings);
    let consumer = builder.registry(quick(&registry)).build().unwrap();
    until("the registry to be asked", || {
        assert!(matches!(consumer.next_batch(Duration::ZERO), Ok(None)));
        registry.calls().schemas > 0
    });
    let started = Instant::now();
    let nothing = consumer.next_batch(Duration::from_millis(100));
    assert!(matches!(nothing, Ok(None)), "{nothing:?}");
    assert!(started.elapsed() < Duration::from_millis(400));
    assert!(!consumer.at_end() && consumer.buffered_records() > 0);
    let error = error(&consumer);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let started = Instant::now();
    consumer.close(SOON).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_stream_does_not_block_its_executor_while_a_schema_is_asked_for() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, [confluent(1, 7)]);
    registry.fail_next(1, RegistryFault::Slow(Duration::from_millis(1_500)));
    let consumer = reader(&broker, registry.settings(), SOON);
    let mut stream = consumer.stream();
    until("the record", || {
        let started = Instant::now();
        let next = stream.next().now_or_never();
        assert!(started.elapsed() < Duration::from_secs(1), "it blocks");
        let Some(record) = next else { return false };
        record.unwrap().unwrap().into_event().is_ok()
    });
    assert_eq!(registry.calls().schemas, 1);
}

#[test]
fn records_come_once_every_schema_of_them_is_known() {
    let (broker, registry) = (broker(), registry(20));
    let ids = [1, 20].into_iter().chain(1..=20);
    write_values(&broker, TOPIC, 0, ids.map(|id| confluent(id, id.into())));
    let consumer = reader(&broker, registry.settings(), SOON);
    let mut latencies = Vec::new();
    while latencies.len() < 22 {
        registry.up();
        let batch = next(&consumer);
        registry.down();
        for record in &batch {
            latencies.push(record.typed::<ServiceHealthEvent>().unwrap().latency_ms);
        }
    }
    let expected = [1, 20].into_iter().chain(1..=20);
    assert_eq!(latencies, expected.collect::<Vec<i64>>());
    assert_eq!(registry.calls().schemas, 20, "each once");
}

#[test]
fn a_schema_that_the_registry_does_not_have_is_the_records_own_error() {
    let (broker, registry) = (broker(), registry(1));
    let values = [confluent(1, 1), confluent(9, 2), confluent(1, 3)];
    write_values(&broker, TOPIC, 0, values);
    let consumer = reader(&broker, registry.settings(), SOON);
    let mut outcomes = Vec::new();
    while outcomes.len() < 3 {
        let batch = next(&consumer);
        let calls = registry.calls().total;
        for record in &batch {
            let latency = record.typed::<ServiceHealthEvent>().map(|it| it.latency_ms);
            assert_eq!(latency.is_ok(), record.event().is_ok());
            assert_eq!(latency.is_ok(), record.encoded().is_ok());
            outcomes.push(latency);
        }
        assert_eq!(registry.calls().total, calls, "decoding makes no call");
    }
    let [Ok(1), Err(error), Ok(3)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Undecodable);
    assert_eq!(error.get("schema_id"), Some("9"));
    assert_eq!(error.get("offset"), Some("1"));
}

#[test]
fn a_proxys_page_and_a_refused_login_fail_the_read_and_not_the_record() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, [confluent(1, 7)]);
    registry.fail(RegistryFault::Status(404));
    let consumer = reader(&broker, quick(&registry), Duration::from_millis(300));
    let page = error(&consumer);
    assert_eq!(page.kind(), ErrorKind::Unavailable, "{page}");
    assert!(page.message().contains("base URL"), "{page}");
    registry.fail(RegistryFault::Status(401));
    until("the refusal", || {
        error(&consumer).kind() == ErrorKind::Authentication
    });
    registry.recover();
    assert_eq!(read(&consumer, 1)[&0], [7]);
}

#[test]
fn records_pending_for_a_schema_are_dropped_by_a_seek_in_their_partition() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, (0..3).map(|n| confluent(1, n)));
    write_values(&broker, TOPIC, 1, (5..7).map(|n| confluent(1, n)));
    registry.down();
    let consumer = reader(&broker, quick(&registry), Duration::from_millis(50));
    until("all to wait", || {
        let _ = consumer.next_batch(Duration::ZERO);
        consumer.buffered_records() == 5
    });
    consumer.seek(Offsets::at(TOPIC, 0, 2), SOON).unwrap();
    registry.up();
    let mut latencies: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    until("the rest", || {
        if let Ok(Some(batch)) = consumer.next_batch(Duration::from_millis(100)) {
            for record in &batch {
                let event = record.typed::<ServiceHealthEvent>().unwrap();
                let of_partition = latencies.entry(record.partition()).or_default();
                of_partition.push(event.latency_ms);
            }
        }
        latencies.values().map(Vec::len).sum::<usize>() >= 3
    });
    assert_eq!(
        (&latencies[&0][..], &latencies[&1][..]),
        (&[2][..], &[5, 6][..])
    );
}

#[test]
fn a_rebalance_does_not_wait_for_records_pending_for_a_schema() {
    let (broker, registry) = (broker(), registry(1));
    for partition in 0..3 {
        write_values(&broker, TOPIC, partition, [confluent(1, partition.into())]);
    }
    registry.down();
    let settings = settings(&broker, "g").unreachable_after(SOON);
    let settings = settings.revoke_timeout(LONG);
    let build = || {
        let builder = builder(&broker, "g").consumer(settings.clone());
        builder.registry(quick(&registry)).build().unwrap()
    };
    let first = build();
    until("all to wait", || {
        let _ = first.next_batch(Duration::ZERO);
        first.buffered_records() == 3
    });
    let second = build();
    until("both to have partitions", || {
        let _ = first.next_batch(Duration::ZERO);
        let _ = second.next_batch(Duration::ZERO);
        !second.assignment().is_empty() && !first.assignment().is_empty()
    });
    registry.up();
    let mut read: Vec<(TopicPartition, i64)> = Vec::new();
    until("each record", || {
        for consumer in [&first, &second] {
            if let Ok(Some(batch)) = consumer.next_batch(Duration::from_millis(50)) {
                for record in &batch {
                    let partition = TopicPartition::new(record.topic(), record.partition());
                    let latency_ms = record.typed::<ServiceHealthEvent>().unwrap().latency_ms;
                    read.push((partition, latency_ms));
                }
            }
        }
        read.len() >= 3
    });
    read.sort_unstable();
    let expected =
        (0..3).map(|partition| (TopicPartition::new(TOPIC, partition), partition.into()));
    assert_eq!(read, expected.collect::<Vec<_>>(), "each once");
}

#[test]
fn a_timestamp_in_another_unit_is_converted_though_the_fingerprint_is_ours() {
    let (broker, registry) = (broker(), registry(0));
    for (unit, timestamp) in [
        ("timestamp-micros", 1_700_000_000_123_456),
        ("timestamp-nanos", 1_700_000_000_123_456_789),
        ("local-timestamp-micros", 1_700_000_000_123_456),
        ("timestamp-millis", 1_700_000_000_123),
    ] {
        let id = registry.register(SUBJECT, &schema_with_unit(unit)).unwrap();
        let mut event = event(1);
        event.envelope.timestamp_ms = timestamp;
        let mut value = Vec::new();
        write_confluent_header(id, &mut value);
        value.extend(body(&event));
        write_values(&broker, TOPIC, 0, [value]);
    }
    let consumer = reader(&broker, registry.settings(), SOON);
    let records = block_on(consumer.stream().take(4).collect::<Vec<_>>());
    for record in records {
        let event = record.unwrap().into_event().unwrap();
        assert_eq!(event.envelope().timestamp_ms, 1_700_000_000_123);
    }
}

/// Writes values that name their schema in a header.
fn write_by_header(broker: &Broker, header: &[u8], value: Vec<u8>) {
    let producer = EventProducer::builder().connection(broker.connection());
    let producer = producer.build().unwrap();
    let record = producer.raw(TOPIC).partition(0).key(&b"catalog"[..]);
    let record = record.header(SCHEMA_ID_HEADER, header.to_vec());
    record.value(value).send().unwrap().wait().unwrap();
    producer.close(SOON).unwrap();
}

fn guid_header(guid: &str) -> Vec<u8> {
    let digits = guid.replace('-', "");
    let guid = u128::from_str_radix(&digits, 16).unwrap();
    [&[1][..], &guid.to_be_bytes()].concat()
}

#[test]
fn a_schema_that_a_header_names_is_asked_for_by_its_guid() {
    let (broker, registry) = (broker(), registry(1));
    let ours = Topic::SystemHealth.spec().schema_json;
    let ours = registry.register(SUBJECT, ours).unwrap();
    let guid = |id| guid_header(&registry.guid(id).unwrap());
    let alone = |latency_ms| confluent(0, latency_ms).split_off(5);
    write_by_header(&broker, &guid(1), alone(1));
    write_by_header(&broker, &guid(ours), body(&event(2)));
    write_by_header(
        &broker,
        &[&[0][..], &1_u32.to_be_bytes()].concat(),
        alone(3),
    );
    write_values(&broker, TOPIC, 0, [confluent(1, 4)]);
    // A header beside a known id in the value, as a copy of a record may have it.
    let unknown = guid_header("00112233-4455-6677-8899-aabbccddeeff");
    write_by_header(&broker, &unknown, confluent(1, 5));
    let consumer = reader(&broker, registry.settings(), SOON);
    assert_eq!(read(&consumer, 5)[&0], [1, 2, 3, 4, 5]);
}

#[test]
fn an_unknown_schema_in_a_header_is_an_error_that_names_the_header() {
    let (broker, registry) = (broker(), registry(1));
    let unknown = guid_header("00112233-4455-6677-8899-aabbccddeeff");
    write_by_header(&broker, &unknown, body(&event(1)));
    write_by_header(&broker, b"\x07", body(&event(1)));
    let named = |consumer: &EventConsumer| {
        let records = block_on(consumer.stream().take(2).collect::<Vec<_>>());
        for record in records {
            let error = record.unwrap().into_event().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Undecodable);
            assert!(error.message().contains("__value_schema_id"), "{error}");
        }
    };
    named(&reader(&broker, registry.settings(), SOON));
    named(&builder(&broker, "without-registry").build().unwrap());
}

#[test]
fn an_id_that_no_registry_gives_is_the_records_own_error() {
    let (broker, registry) = (broker(), registry(1));
    let garbage = vec![0, 0xff, 0xff, 0xff, 0xff];
    write_values(&broker, TOPIC, 0, [garbage, confluent(1 << 31, 1)]);
    write_values(&broker, TOPIC, 0, [confluent(1, 7)]);
    let consumer = reader(&broker, quick(&registry), SOON);
    let records = block_on(consumer.stream().take(3).collect::<Vec<_>>());
    let events = records
        .into_iter()
        .map(|record| record.unwrap().into_event());
    let outcomes: Vec<_> = events.collect();
    let [Err(garbage), Err(beyond), Ok(_)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(garbage.kind(), ErrorKind::Undecodable);
    assert_eq!(garbage.get("schema_id"), Some("4294967295"));
    assert_eq!(beyond.get("schema_id"), Some("2147483648"));
    assert_eq!(registry.calls().schemas, 1, "only what may be there");
}

#[test]
fn a_guid_that_the_registry_cannot_be_asked_for_is_the_records_own_error() {
    let (broker, proxy) = (broker(), registry(1));
    let guid = guid_header(&proxy.guid(1).unwrap());
    write_by_header(&broker, &guid, confluent(0, 1).split_off(5));
    // A proxy without a registry behind it answers everything so.
    proxy.fail(RegistryFault::Status(404));
    let consumer = reader(&broker, quick(&proxy), Duration::from_millis(300));
    let page = error(&consumer);
    assert_eq!(page.kind(), ErrorKind::Unavailable, "{page}");
    consumer.close(SOON).unwrap();
    // A registry that is older than GUIDs answers what else it is asked.
    let older = registry(1);
    older.fail_next(1, RegistryFault::Status(404));
    let consumer = reader(&broker, quick(&older), SOON);
    let record = block_on(consumer.stream().next()).unwrap().unwrap();
    let error = record.into_event().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undecodable, "{error}");
    assert!(error.message().contains("__value_schema_id"), "{error}");
    assert!(error.get("schema_guid").is_some(), "{error}");
}

#[test]
fn zero_patience_with_the_registry_is_a_short_one() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, [confluent(1, 7)]);
    registry.fail(RegistryFault::Slow(Duration::from_millis(50)));
    let settings = settings(&broker, "g").unreachable_after(Duration::from_millis(0));
    let builder = builder(&broker, "g").consumer(settings);
    let consumer = builder.registry(registry.settings()).build().unwrap();
    let mut latency_ms = None;
    until("the record", || {
        // Brokers are not waited for either.
        if let Ok(Some(batch)) = consumer.next_batch(Duration::from_millis(100)) {
            let record = batch.get(0).unwrap();
            latency_ms = Some(record.typed::<ServiceHealthEvent>().unwrap().latency_ms);
        }
        latency_ms.is_some()
    });
    assert_eq!((latency_ms, registry.calls().schemas), (Some(7), 1));
}

#[test]
fn threads_that_read_together_share_pending_records() {
    let (broker, registry) = (broker(), registry(1));
    write_values(&broker, TOPIC, 0, (0..10).map(|n| confluent(1, n)));
    registry.fail_next(1, RegistryFault::Slow(Duration::from_millis(200)));
    let consumer = Arc::new(reader(&broker, registry.settings(), SOON));
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                until("all", || {
                    if let Some(batch) = consumer.next_batch(Duration::from_millis(50)).unwrap() {
                        assert!(batch.iter().all(|record| record.event().is_ok()));
                        count.fetch_add(batch.len(), std::sync::atomic::Ordering::SeqCst);
                    }
                    count.load(std::sync::atomic::Ordering::SeqCst) == 10
                });
            });
        }
    });
}

//! The fixtures themselves: what tests of the library rely on.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use carbon_events_services::{
    Format, Kafka, Peer, WriteRecord, java_partitions, shared, wait_until,
};
use serde_json::{Value, json};

fn health_event(name: &str) -> Value {
    json!({
        "eventId": "01890a5d-ac96-774b-bcce-b302099a8057",
        "eventType": "ServiceHealthEvent",
        "timestamp": 1_767_225_600_123_i64,
        "source": "checker",
        "version": "1.0.0",
        "correlationId": null,
        "causationId": "cause",
        "serviceName": name,
        "namespace": "data-platform",
        "healthStatus": "DEGRADED",
        "latencyMs": i64::MAX,
        "errorRate": 0.25,
        "message": "schlüsselfertig \u{1f511}",
    })
}

#[test]
fn each_peer_reads_what_the_other_wrote_in_all_formats() {
    let shared = shared();
    for writer in Peer::ALL {
        let topic = format!("interop-{writer:?}").to_lowercase();
        shared.kafka.create_topic(&topic, 3, &[]).unwrap();
        let records: Vec<WriteRecord> = [Format::Confluent, Format::SingleObject, Format::Json]
            .into_iter()
            .map(|format| WriteRecord {
                topic: topic.clone(),
                key: Some(format!("{format:?}")),
                format,
                schema: None,
                event: health_event(&format!("{format:?}")),
            })
            .collect();
        let places = writer
            .write(&shared.kafka, &shared.registry, &records)
            .unwrap();

        for reader in Peer::ALL {
            let read = reader
                .read(&shared.kafka, &shared.registry, &topic, 3)
                .unwrap();
            for (record, place) in records.iter().zip(&places) {
                let found = read
                    .iter()
                    .find(|read| (read.partition, read.offset) == (place.partition, place.offset))
                    .unwrap_or_else(|| panic!("{reader:?} found nothing at {place:?}"));
                assert_eq!(found.event, record.event, "{writer:?} to {reader:?}");
                assert_eq!(found.format, record.format);
                assert_eq!(found.key, record.key);
                assert_eq!(
                    found.schema_id.is_some(),
                    record.format == Format::Confluent
                );
            }
        }
        let keys: Vec<&String> = records
            .iter()
            .filter_map(|record| record.key.as_ref())
            .collect();
        let partitions: Vec<i32> = places.iter().map(|place| place.partition).collect();
        assert_eq!(
            java_partitions(&keys, 3).unwrap(),
            partitions,
            "{writer:?}'s partitioner"
        );
    }
}

#[test]
fn a_restarted_registry_has_the_same_ids() {
    let registry = carbon_events_services::Registry::start().unwrap();
    let schema = Some(r#"{"schema": "{\"type\": \"string\"}"}"#);
    let first = registry
        .request("POST", "/subjects/a-value/versions", schema)
        .unwrap();
    assert_eq!(first.0, 200, "{first:?}");

    registry.kill().unwrap();
    assert!(registry.request("GET", "/subjects", None).is_err());
    registry.restart().unwrap();

    assert_eq!(
        registry
            .request("POST", "/subjects/a-value/versions", schema)
            .unwrap(),
        first
    );
    assert_eq!(
        registry.request("GET", "/subjects", None).unwrap().1,
        r#"["a-value"]"#
    );
}

#[test]
fn a_killed_node_of_three_comes_back_in_sync() {
    let kafka = Kafka::builder().brokers(3).tls(true).start().unwrap();
    assert_eq!(kafka.tls_bootstrap_servers().split(',').count(), 3);
    kafka.create_topic("survivor", 6, &[]).unwrap();
    kafka.wait_until_in_sync(Duration::from_secs(60)).unwrap();

    kafka.kill(2).unwrap();
    assert!(kafka.pid(2).is_err());
    kafka.restart(2).unwrap();
    kafka.wait_until_in_sync(Duration::from_secs(120)).unwrap();
}

#[test]
fn a_paused_node_keeps_connections_and_answers_nothing() {
    let kafka = Kafka::builder().start().unwrap();
    kafka.pause(1).unwrap();
    let mut stream = TcpStream::connect(kafka.bootstrap_servers()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(
        stream.read(&mut [0]).is_err(),
        "a paused broker neither answers nor hangs up"
    );
    kafka.resume(1).unwrap();
    kafka.create_topic("after-the-pause", 1, &[]).unwrap();
}

#[test]
fn nothing_is_left_of_a_dropped_cluster() {
    let kafka = Kafka::builder().start().unwrap();
    let pid = kafka.pid(1).unwrap();
    let address = kafka.bootstrap_servers();
    let logs = kafka.logs_dir().to_owned();
    assert!(logs.join("node-1.log").exists());
    drop(kafka);
    assert!(TcpStream::connect(address).is_err());
    assert!(!logs.exists());
    let process = format!("/proc/{pid}");
    assert!(wait_until(Duration::from_secs(10), || {
        !std::path::Path::new(&process).exists()
    }));
}

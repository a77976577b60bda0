//! The fixtures themselves: what tests of the library rely on.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use carbon_events_services::{
    Format, KEY_PASSWORD, Kafka, Peer, READER_USER, Registry, User, WRITER_USER, WriteRecord,
    java_partitions, python, run, shared, wait_until,
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
    let registry = Registry::start().unwrap();
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
        !Path::new(&process).exists()
    }));
}

#[test]
fn nothing_outlives_a_killed_process() {
    let home = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(home.path().join("socket")).unwrap();
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_carbon-events-services"))
        .args(["keep", "--no-registry"])
        .env(run::RUN_DIR_VARIABLE, home.path().join("run"))
        .current_dir(home.path())
        .stdin(OwnedFd::from(socket))
        .spawn()
        .unwrap();
    let variables = home.path().join("env");
    assert!(wait_until(Duration::from_secs(120), || variables.exists()));
    let variables = fs::read_to_string(variables).unwrap();
    let address = variables.split('\'').nth(1).unwrap();
    TcpStream::connect(address).unwrap();

    keeper.kill().unwrap();
    keeper.wait().unwrap();

    let gone = || TcpStream::connect(address).is_err() && !home.path().join("run").exists();
    assert!(wait_until(Duration::from_secs(30), gone));
}

/// Whether librdkafka gets the topics of a cluster with these settings, and if not, why.
fn librdkafka_connects(settings: &Value) -> Result<(), String> {
    const SCRIPT: &str = "
import json, sys
from confluent_kafka.admin import AdminClient
errors = []
settings = json.loads(sys.argv[1]) | {'error_cb': lambda error: errors.append(str(error))}
try:
    AdminClient(settings).list_topics(timeout=5)
except Exception as error:
    sys.exit(f'{error} {errors}')
";
    let mut python = python().expect("a Python with confluent-kafka");
    python.args(["-c", SCRIPT, &settings.to_string()]);
    let output = python.output().expect("Python runs");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn the_tls_listener_takes_our_clients_and_no_stranger() {
    let kafka = &shared().kafka;
    let certs = kafka.certs().unwrap();
    let tls = |more: Value| {
        let mut settings = json!({
            "bootstrap.servers": kafka.tls_bootstrap_servers(),
            "security.protocol": "SSL",
            "ssl.ca.location": certs.ca(),
        });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        librdkafka_connects(&settings)
    };
    for client in [certs.client(), certs.reader()] {
        tls(
            json!({"ssl.certificate.location": client.certificate, "ssl.key.location": client.key}),
        )
        .unwrap();
    }
    let encrypted = certs.encrypted_client().unwrap();
    tls(json!({
        "ssl.certificate.location": encrypted.certificate,
        "ssl.key.location": encrypted.key,
        "ssl.key.password": KEY_PASSWORD,
    }))
    .unwrap();
    tls(json!({
        "ssl.keystore.location": certs.client_keystore().unwrap(),
        "ssl.keystore.password": KEY_PASSWORD,
    }))
    .unwrap();

    let stranger = certs.stranger();
    let refused = tls(json!({
        "ssl.certificate.location": stranger.certificate,
        "ssl.key.location": stranger.key,
    }));
    assert!(refused.unwrap_err().contains("bad certificate"));
    assert!(tls(json!({})).unwrap_err().contains("bad certificate"));
    let wrong_authority = tls(json!({"ssl.ca.location": certs.stranger_ca()}));
    assert!(
        wrong_authority
            .unwrap_err()
            .contains("certificate verify failed")
    );
}

#[test]
fn the_sasl_listeners_take_our_users_by_every_mechanism() {
    let kafka = &shared().kafka;
    let ca = kafka.certs().unwrap().ca();
    let sasl = |mechanism: &str, user: User| {
        librdkafka_connects(&json!({
            "bootstrap.servers": kafka.sasl_tls_bootstrap_servers(),
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": ca,
            "sasl.mechanism": mechanism,
            "sasl.username": user.name,
            "sasl.password": user.password,
        }))
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        sasl(mechanism, WRITER_USER).unwrap();
        sasl(mechanism, READER_USER).unwrap();
        let wrong = sasl(
            mechanism,
            User {
                password: "wrong",
                ..WRITER_USER
            },
        )
        .unwrap_err();
        assert!(wrong.contains("Authentication failed"), "{wrong}");
    }
    librdkafka_connects(&json!({
        "bootstrap.servers": kafka.sasl_bootstrap_servers(),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": true,
        "sasl.oauthbearer.config": "principal=carbon-events",
    }))
    .unwrap();
}

#[test]
fn a_registry_speaks_tls_with_the_clusters_certificate() {
    let certs = shared().kafka.certs().unwrap();
    let registry = Registry::start_with_tls(certs).unwrap();
    let script = "
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
print(urllib.request.urlopen(sys.argv[1] + '/subjects', context=context).read().decode())
";
    let mut ask = python().unwrap();
    ask.args(["-c", script, &registry.tls_url().unwrap()])
        .arg(certs.ca());
    let output = ask.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "[]",
        "{output:?}"
    );
}

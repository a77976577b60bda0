//! What goes wrong on a real cluster: topics that are not there, records that are too large, brokers
//! and registries that do not answer, and topics that differ from the table.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use carbon_events::admin::{Admin, Difference, TopicTable};
use carbon_events::codec::frame::{self, WireFormat};
use carbon_events::config::{ProducerSettings, RegistrySettings};
use carbon_events::registry::SchemaRegistry;
use carbon_events::{ErrorKind, EventConsumer, EventProducer, Topic};
use carbon_events_services::{Kafka, Registry, wait_until};
use carbon_events_tests::{
    SOON, assert_kind, create_topics, noise, plain, producer, read_all, reading_error, schemas,
    typical,
};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;

/// What a busy machine adds to a deadline.
const GRACE: Duration = Duration::from_secs(5);

/// The broker that these tests share; each has topics of its own.
fn kafka() -> &'static Kafka {
    static KAFKA: LazyLock<Kafka> = LazyLock::new(|| Kafka::builder().start().expect("a broker"));
    &KAFKA
}

#[test]
fn an_unknown_topic_fails_its_records_and_no_others() {
    let prefix = "unknown-";
    let known = format!("{prefix}data-quality");
    kafka().create_topic(&known, 1, &[]).unwrap();
    let producer = producer(kafka(), None, prefix).build().unwrap();
    let began = Instant::now();
    let lost = producer.any(&typical(Topic::DataLineage).event).send();
    let fine = producer.any(&typical(Topic::DataQuality).event).send();
    fine.unwrap().wait().unwrap();
    let error = lost.unwrap().wait().unwrap_err();
    assert_kind(&error, ErrorKind::UnknownTopic);
    assert_eq!(error.get("topic"), Some("unknown-data-lineage"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5) + GRACE);

    let began = Instant::now();
    let chosen = producer.raw(&known).partition(7).send();
    let error = chosen.and_then(|delivery| delivery.wait()).unwrap_err();
    assert_kind(&error, ErrorKind::UnknownTopic);
    assert!(began.elapsed() < GRACE);

    let consumer = EventConsumer::builder()
        .connection(plain(&kafka().bootstrap_servers()))
        .group_id("unknown-topic")
        .topic("unknown-data-lineage")
        .build()
        .unwrap();
    let error = reading_error(&consumer, SOON);
    assert_kind(&error, ErrorKind::UnknownTopic);
    assert_eq!(error.get("topic"), Some("unknown-data-lineage"), "{error}");
}

#[test]
fn a_topic_that_is_made_a_moment_late_gets_its_records() {
    let prefix = "late-";
    let producer = producer(kafka(), None, prefix).build().unwrap();
    let example = typical(Topic::ConfigChanges);
    let delivery = producer.any(&example.event).send().unwrap();
    kafka()
        .create_topic(&format!("{prefix}config-changes"), 3, &[])
        .unwrap();
    delivery.wait().unwrap();
}

#[test]
fn a_record_too_large_for_its_topic_fails_alone() {
    let topic = "small-records";
    kafka()
        .create_topic(topic, 1, &[("max.message.bytes", "20000")])
        .unwrap();
    let producer = producer(kafka(), None, "").build().unwrap();
    let send = |len: usize| producer.raw(topic).key(&b"k"[..]).value(noise(len)).send();
    send(100).unwrap().wait().unwrap();
    let error = send(50_000).unwrap().wait().unwrap_err();
    assert_kind(&error, ErrorKind::RecordTooLarge);
    assert_eq!(error.get("topic"), Some(topic), "{error}");
    send(100).unwrap().wait().unwrap();

    // Larger than any topic of this client's: refused at the call, and not queued.
    let error = send(2_000_000).unwrap_err();
    assert_kind(&error, ErrorKind::RecordTooLarge);
    assert_eq!(error.get("topic"), Some(topic), "{error}");
    let stats = producer.stats();
    assert_eq!((stats.accepted, stats.delivered, stats.failed), (3, 2, 1));
    assert_eq!(read_all(kafka(), None, [topic]).len(), 2);
}

/// With librdkafka's bound alone, all of a batch would fail that is larger than the topic takes.
#[test]
fn a_topic_of_small_batches_gets_every_record_in_order_and_refuses_one_too_large_alone() {
    for (topic, idempotence) in [("small-batches", true), ("small-batches-again", false)] {
        kafka()
            .create_topic(topic, 1, &[("max.message.bytes", "20000")])
            .unwrap();
        let settings = ProducerSettings::default().idempotence(idempotence);
        let producer = producer(kafka(), None, "")
            .producer(settings)
            .build()
            .unwrap();
        let deliveries: Vec<_> = (0..500)
            .map(|number| {
                let value = noise(if number == 100 { 50_000 } else { 1_600 });
                let sent = producer.raw(topic).key(&b"k"[..]).value(value).send();
                sent.unwrap()
            })
            .collect();
        let mut offsets = Vec::new();
        for (number, delivery) in deliveries.into_iter().enumerate() {
            match delivery.wait() {
                Ok(report) => offsets.push(report.offset),
                Err(error) => {
                    assert_eq!(number, 100, "{error}");
                    assert_kind(&error, ErrorKind::RecordTooLarge);
                    assert_eq!(error.get("max.message.bytes"), Some("20000"), "{error}");
                }
            }
        }
        assert_eq!(offsets, (0..499).collect::<Vec<i64>>());
        assert_eq!(read_all(kafka(), None, [topic]).len(), 499);
    }
}

#[test]
fn brokers_that_do_not_answer_fail_records_within_the_delivery_timeout() {
    let deadline = Duration::from_secs(3);
    // Takes connections, as the system does for it, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let closed = {
        let freed = TcpListener::bind("127.0.0.1:0").unwrap();
        freed.local_addr().unwrap().to_string()
    };
    let addresses = [silent.as_str(), &closed, "no-such-host.invalid:9092"];
    std::thread::scope(|scope| {
        for address in addresses {
            scope.spawn(move || {
                let producer = EventProducer::builder()
                    .connection(plain(address))
                    .producer(ProducerSettings::default().delivery_timeout(deadline))
                    .build()
                    .unwrap();
                let began = Instant::now();
                let event = typical(Topic::DataQuality).event;
                let error = producer.any(&event).send().unwrap().wait().unwrap_err();
                let took = began.elapsed();
                assert!(
                    matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable),
                    "{error}"
                );
                assert!(error.retryable());
                assert_eq!(error.get("topic"), Some("data-quality"), "{error}");
                assert!(took >= deadline && took < deadline + GRACE, "{took:?}");
                let began = Instant::now();
                producer.close(Duration::from_secs(1)).unwrap();
                assert!(began.elapsed() < GRACE);
            });
            scope.spawn(move || {
                let consumer = EventConsumer::builder()
                    .connection(plain(address))
                    .consumer(
                        carbon_events::config::ConsumerSettings::new("g", ["data-quality"])
                            .unreachable_after(deadline),
                    )
                    .build()
                    .unwrap();
                let error = reading_error(&consumer, deadline * 3 + GRACE);
                assert_kind(&error, ErrorKind::Unavailable);
            });
            scope.spawn(move || {
                let admin = Admin::builder()
                    .connection(plain(address))
                    .timeout(deadline);
                let began = Instant::now();
                let error = admin.build().unwrap().diff(&TopicTable::all()).unwrap_err();
                assert!(
                    matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable),
                    "{error}"
                );
                assert!(began.elapsed() < deadline + GRACE);
            });
        }
    });
}

#[test]
fn a_producer_that_starts_without_its_registry_uses_given_ids_or_waits_for_it() {
    let prefix = "outage-";
    create_topics(kafka(), prefix);
    let registry = Registry::start().unwrap();
    let settings = RegistrySettings::new(registry.url());
    let (known, waiting) = (typical(Topic::DataQuality), typical(Topic::DataIngestion));
    let known_topic = format!("{prefix}{}", known.topic);
    let client = SchemaRegistry::new(&settings).unwrap();
    let id = client
        .register_blocking(&known_topic, known.topic.spec().schema_json)
        .unwrap();
    // Stopped, not killed: the id is to be the same afterwards, and the registry's database writes
    // a moment late.
    registry.stop().unwrap();

    let producer = producer(kafka(), None, prefix)
        .registry(settings.schema_id(known_topic.as_str(), id))
        .build()
        .unwrap();
    let delivery = producer.any(&waiting.event).send().unwrap();
    // Delivered while the registry is down: the id is the one that was given.
    producer.any(&known.event).send().unwrap().wait().unwrap();
    let errors = || producer.metrics().snapshot().registry.errors;
    assert!(wait_until(SOON, || !errors().is_empty()));
    assert!(delivery.outcome().is_none(), "{delivery:?}");
    assert_eq!(producer.stats().queued, 1);

    registry.restart().unwrap();
    delivery.wait_timeout(SOON).unwrap();
    producer.close(SOON).unwrap();
    let topics = [known_topic.clone(), format!("{prefix}{}", waiting.topic)];
    let read = read_all(kafka(), Some(&registry), topics);
    assert_eq!(read.len(), 2);
    for read in read {
        let frame = frame::split(read.value.as_deref().unwrap()).unwrap();
        let example = if read.topic == known_topic {
            assert_eq!(frame.format, WireFormat::Confluent { id });
            &known
        } else {
            &waiting
        };
        assert_eq!(read.event.as_ref().unwrap(), &example.written);
    }
}

/// Somebody else's admin client, to look at what ours did and to undo it.
fn other_admin() -> AdminClient<DefaultClientContext> {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", kafka().bootstrap_servers());
    config.create().expect("an admin client")
}

/// The partitions and the configurations in force of a topic.
async fn state_of(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
) -> (usize, BTreeMap<String, String>) {
    let metadata = admin
        .inner()
        .fetch_metadata(Some(topic), SOON)
        .expect("the topic's metadata");
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new())
        .await
        .expect("an answer");
    let configs = described.into_iter().next().expect("one answer");
    let entries = configs.expect("the topic's configurations").entries;
    let values = entries
        .into_iter()
        .filter_map(|entry| Some((entry.name, entry.value?)));
    (metadata.topics()[0].partitions().len(), values.collect())
}

#[tokio::test]
async fn topics_are_made_as_the_table_says_kept_and_mended() {
    let table = TopicTable::all().fit_cluster();
    let ours = Admin::new(plain(&kafka().bootstrap_servers())).unwrap();
    let other = other_admin();
    let error = ours.verify_async(&table).await.unwrap_err();
    assert_kind(&error, ErrorKind::UnknownTopic);

    let applied = ours.apply_async(&table).await.unwrap();
    assert_eq!(applied.done.len(), Topic::ALL.len());
    assert!(applied.failed.is_empty() && applied.left.is_empty());
    ours.verify_async(&table).await.unwrap();
    let again = ours.apply_async(&table).await.unwrap();
    assert!(again.done.is_empty() && again.left.is_empty());

    // What the table's file says, seen by another client.
    let file = fs::read_to_string(schemas().join("topics.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let rows = file["topics"].as_array().unwrap();
    assert_eq!(rows.len(), Topic::ALL.len());
    for row in rows {
        let topic = row["topic"].as_str().unwrap();
        let (partitions, configs) = state_of(&other, topic).await;
        assert_eq!(Some(partitions as u64), row["partitions"].as_u64());
        assert_eq!(configs["retention.ms"], row["retentionMs"].to_string());
        assert_eq!(
            configs["cleanup.policy"],
            row["cleanupPolicy"].as_str().unwrap()
        );
        assert_eq!(configs["compression.type"], "lz4");
        assert_eq!(configs["min.insync.replicas"], "1");
    }

    // Somebody changes a retention and a setting of their own, and makes two topics anew.
    let drifted = AlterConfig::new(ResourceSpecifier::Topic("data-quality"))
        .set("retention.ms", "1000")
        .set("segment.ms", "7200000")
        .set("cleanup.policy", "delete")
        .set("compression.type", "lz4")
        .set("min.insync.replicas", "1");
    other
        .alter_configs([&drifted], &AdminOptions::new())
        .await
        .unwrap();
    let gone = ["data-ingestion", "data-lineage"];
    other
        .delete_topics(&gone, &AdminOptions::new())
        .await
        .unwrap();
    let configs = |retention_ms| {
        [
            ("compression.type", "lz4"),
            ("min.insync.replicas", "1"),
            ("retention.ms", retention_ms),
        ]
    };
    let few = configs("604800000");
    let many = [&configs("7776000000")[..], &[("cleanup.policy", "compact")]].concat();
    let create = |topic: &'static str, partitions, properties: &[(&str, &str)]| {
        // A name is free again some moments after its topic was deleted.
        assert!(wait_until(SOON, || {
            kafka().create_topic(topic, partitions, properties).is_ok()
        }));
    };
    create("data-ingestion", 2, &few);
    create("data-lineage", 5, &many);

    let partitions = |want, have| Difference::Partitions { want, have };
    let retention = Difference::Config {
        name: "retention.ms",
        want: "2592000000".into(),
        have: Some("1000".into()),
        blocked: None,
    };
    let diff = ours.diff_async(&table).await.unwrap();
    let found: Vec<_> = diff.iter().collect();
    assert_eq!(
        found,
        [
            (Topic::DataIngestion, &partitions(12, 2)),
            (Topic::DataQuality, &retention),
            (Topic::DataLineage, &partitions(3, 5)),
        ]
    );
    let error = ours.verify_async(&table).await.unwrap_err();
    assert_kind(&error, ErrorKind::InvalidConfig);
    assert_eq!(error.get("topic"), Some("data-ingestion"), "{error}");

    let applied = ours.apply_async(&table).await.unwrap();
    assert!(applied.failed.is_empty());
    assert_eq!(applied.done.len(), 2);
    let left: Vec<_> = applied.left.iter().collect();
    assert_eq!(left, [(Topic::DataLineage, &partitions(3, 5))]);
    assert_eq!(state_of(&other, "data-ingestion").await.0, 12);
    assert_eq!(state_of(&other, "data-lineage").await.0, 5);
    let (_, configs) = state_of(&other, "data-quality").await;
    assert_eq!(configs["retention.ms"], "2592000000");
    assert_eq!(
        configs["segment.ms"], "7200000",
        "what the table leaves alone"
    );
}

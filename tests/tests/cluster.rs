//! Failures of a real cluster under load: every record that was acknowledged is where its handle
//! says, and every record that was not is an error that somebody sees.

#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use carbon_events::config::{ProducerSettings, RegistrySettings, StartPosition};
use carbon_events::consumer::EventConsumer;
use carbon_events::events::{DeploymentAction, DeploymentEvent};
use carbon_events::{Delivery, EventProducer};
use carbon_events_services::{Kafka, Registry};
use carbon_events_tests::{SOON, plain};

const TOPIC: &str = "deployment-events";
const PARTITIONS: u16 = 3;

fn event(service: &str, number: usize) -> DeploymentEvent<'_> {
    DeploymentEvent::builder()
        .deployment_name(service)
        .namespace("data-platform")
        .action(DeploymentAction::Deploy)
        .deployed_version(number.to_string())
        .replicas(3)
        .deployed_by("tests")
        .build()
        .unwrap()
}

/// Sends from several threads until told to stop; gives each record's number and handle.
fn send_until(
    producer: &EventProducer,
    stop: &Arc<AtomicBool>,
    threads: usize,
) -> Vec<std::thread::JoinHandle<Vec<(String, Delivery)>>> {
    (0..threads)
        .map(|thread| {
            let (producer, stop) = (producer.clone(), Arc::clone(stop));
            std::thread::spawn(move || {
                let service = format!("service-{thread}");
                let mut sent = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.len();
                    let delivery = producer.send(&event(&service, number)).unwrap();
                    sent.push((format!("{service}/{number}"), delivery));
                    if number % 64 == 0 {
                        // A service's pace, not a benchmark's: faults are to meet open batches.
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                }
                sent
            })
        })
        .collect()
}

/// Reads a topic to its end: what stands at each partition and offset.
fn read_all(kafka: &Kafka, registry: Option<&Registry>) -> BTreeMap<(i32, i64), String> {
    let mut builder = EventConsumer::builder()
        .connection(plain(&kafka.bootstrap_servers()))
        .topic(TOPIC)
        .start(StartPosition::Earliest)
        .standalone()
        .detect_end();
    if let Some(registry) = registry {
        builder = builder.schema_registry_url(registry.url());
    }
    let consumer = builder.build().unwrap();
    let mut found = BTreeMap::new();
    let deadline = Instant::now() + SOON;
    while !consumer.at_end() {
        assert!(
            Instant::now() < deadline,
            "no end after {} records",
            found.len()
        );
        let Some(batch) = consumer.next_batch(Duration::from_millis(500)).unwrap() else {
            continue;
        };
        for record in &batch {
            let event = record.typed::<DeploymentEvent<'_>>().unwrap();
            let name = format!("{}/{}", event.deployment_name, event.deployed_version);
            found.insert((record.partition(), record.offset()), name);
        }
    }
    found
}

/// Every delivered record is where its handle says, and none stands in the log twice.
fn check(sent: &[(String, Delivery)], found: &BTreeMap<(i32, i64), String>) -> (usize, usize) {
    let mut delivered = 0;
    for (name, delivery) in sent {
        let Ok(report) = delivery.outcome().expect("settled after a flush") else {
            continue;
        };
        delivered += 1;
        let place = (report.partition, report.offset);
        assert_eq!(found.get(&place), Some(name), "at {place:?}");
    }
    let mut times = HashMap::new();
    for name in found.values() {
        *times.entry(name).or_insert(0) += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "written twice: {twice:?}");
    // Order of each key: the versions of a service rise with the offsets of its partition.
    let mut last = HashMap::new();
    for ((partition, _), name) in found {
        let (service, number) = name.split_once('/').unwrap();
        let number: usize = number.parse().unwrap();
        if let Some(before) = last.insert((*partition, service.to_owned()), number) {
            assert!(before < number, "{service}: {before} before {number}");
        }
    }
    (delivered, sent.len())
}

#[test]
fn a_broker_of_three_is_killed_and_restarted_under_load_and_nothing_acknowledged_is_lost() {
    let kafka = Kafka::builder().brokers(3).start().unwrap();
    let config = [("min.insync.replicas", "2")];
    kafka.create_topic(TOPIC, PARTITIONS, &config).unwrap();
    let producer = EventProducer::builder()
        .connection(plain(&kafka.bootstrap_servers()))
        .producer(ProducerSettings::default().queue_max_records(20_000u64))
        .build()
        .unwrap();
    producer
        .send(&event("warm", 0))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let threads = send_until(&producer, &stop, 4);
    let grown = |by: u64| {
        let target = producer.stats().delivered + by;
        let deadline = Instant::now() + SOON;
        while producer.stats().delivered < target {
            assert!(Instant::now() < deadline, "{:?}", producer.stats());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    for node in 1..=3 {
        grown(2_000);
        kafka.kill(node).unwrap();
        grown(2_000);
        kafka.restart(node).unwrap();
        kafka.wait_until_in_sync(SOON).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let sent: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    producer.flush(SOON).unwrap();
    let (delivered, all) = check(&sent, &read_all(&kafka, None));
    // With two of three in sync the whole time, nothing had to fail either.
    assert_eq!(delivered, all);
    let stats = producer.stats();
    assert_eq!(
        (stats.delivered, stats.failed, stats.queued),
        (all as u64 + 1, 0, 0)
    );
}

#[test]
fn a_registry_is_killed_while_producing_and_while_starting() {
    let kafka = Kafka::builder().start().unwrap();
    kafka.create_topic(TOPIC, PARTITIONS, &[]).unwrap();
    let registry = Registry::start().unwrap();
    let settings = RegistrySettings::new(registry.url());
    let producer = |settings: RegistrySettings| {
        EventProducer::builder()
            .connection(plain(&kafka.bootstrap_servers()))
            .registry(settings)
            .build()
            .unwrap()
    };
    let running = producer(settings.clone());
    let first = running.send(&event("running", 0)).unwrap();
    first.wait_timeout(SOON).unwrap();
    registry.kill().unwrap();
    // A running producer does not notice.
    let mut sent = vec![("running/0".to_owned(), first)];
    for number in 1..1000 {
        let delivery = running.send(&event("running", number)).unwrap();
        sent.push((format!("running/{number}"), delivery));
    }
    running.flush(SOON).unwrap();
    // One that starts during the outage holds its records until the registry is back.
    let starting = producer(settings);
    for number in 0..1000 {
        let delivery = starting.send(&event("starting", number)).unwrap();
        sent.push((format!("starting/{number}"), delivery));
    }
    assert!(sent.last().unwrap().1.outcome().is_none());
    registry.restart().unwrap();
    starting.flush(SOON).unwrap();
    let (delivered, all) = check(&sent, &read_all(&kafka, Some(&registry)));
    assert_eq!((delivered, all), (2000, 2000));
}

/// Which records a process that was killed had seen acknowledged: what it printed before it died.
#[test]
fn what_a_killed_process_had_seen_acknowledged_is_in_the_log() {
    use std::io::{BufRead, BufReader};
    if let Ok(bootstrap) = std::env::var("CARBON_EVENTS_TEST_CHILD") {
        return acknowledge_for_ever(&bootstrap);
    }
    let kafka = Kafka::builder().start().unwrap();
    kafka.create_topic(TOPIC, PARTITIONS, &[]).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("what_a_killed_process_had_seen_acknowledged_is_in_the_log")
        .env("CARBON_EVENTS_TEST_CHILD", kafka.bootstrap_servers())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let Some((_, acknowledgement)) = line.split_once("acknowledged ") else {
            continue;
        };
        let mut words = acknowledgement.split(' ');
        let name = words.next().unwrap().to_owned();
        let numbers: Vec<i64> = words.map(|word| word.parse().unwrap()).collect();
        acknowledged.push((name, (i32::try_from(numbers[0]).unwrap(), numbers[1])));
        if acknowledged.len() == 500 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= 500);
    let found = read_all(&kafka, None);
    for (name, place) in acknowledged {
        assert_eq!(found.get(&place), Some(&name), "at {place:?}");
    }
}

fn acknowledge_for_ever(bootstrap: &str) {
    let producer = EventProducer::builder()
        .connection(plain(bootstrap))
        .build()
        .unwrap();
    let mut number = 0;
    loop {
        let sent: Vec<_> = (0..10)
            .map(|_| {
                number += 1;
                (number, producer.send(&event("child", number)).unwrap())
            })
            .collect();
        for (number, delivery) in sent {
            let report = delivery.wait_timeout(SOON).unwrap();
            println!(
                "acknowledged child/{number} {} {}",
                report.partition, report.offset
            );
        }
    }
}

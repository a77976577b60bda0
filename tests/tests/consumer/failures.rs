//! Brokers that go away and members that crash.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use carbon_events::ErrorKind;

use super::*;

const ALL: usize = 6_000;

#[test]
fn a_broker_that_goes_away_is_waited_for_and_nothing_is_lost() {
    let kafka = Kafka::builder().start().unwrap();
    let topic = "restart";
    kafka.create_topic(topic, 3, &[]).unwrap();
    fill(&producer(&kafka), topic, 3, ALL as i32 / 2);
    let consumer = builder(&kafka, topic).build().unwrap();
    let mut seen = BTreeSet::from_iter(read(&consumer, 1));
    kafka.kill(1).unwrap();
    // What was fetched is still given; then there is nothing, and in time that is said.
    let mut error = None;
    until("an error", || {
        match consumer.next_batch(Duration::from_millis(200)) {
            Ok(batch) => seen.extend(places_of(batch.as_ref())),
            Err(told) => error = Some(told),
        }
        error.is_some()
    });
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    kafka.restart(1).unwrap();
    fill(&producer(&kafka), topic, 3, ALL as i32 / 2);
    until("every record", || {
        if let Ok(batch) = consumer.next_batch(Duration::from_millis(200)) {
            seen.extend(places_of(batch.as_ref()));
        }
        seen.len() == ALL
    });
    let all = BTreeMap::from([(0, 2_000), (1, 2_000), (2, 2_000)]);
    until("the commit", || {
        let _ = consumer.next_batch(Duration::from_millis(10));
        committed(&kafka, topic, 3) == all
    });
    consumer.close(SOON).unwrap();
}

/// What the member says it has handled before it is killed.
const HANDLED: &str = "handled ";
const CHILD: &str = "CARBON_EVENTS_TEST_MEMBER";

#[test]
fn what_a_killed_member_had_not_committed_is_read_again_and_no_more() {
    let topic = "killed";
    if let Ok(bootstrap) = std::env::var(CHILD) {
        return handle_for_ever(&bootstrap, topic);
    }
    kafka().create_topic(topic, 3, &[]).unwrap();
    fill(&producer(kafka()), topic, 3, ALL as i32);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("failures::what_a_killed_member_had_not_committed_is_read_again_and_no_more")
        .env(CHILD, kafka().bootstrap_servers())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut by_child = BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, place)) = line.split_once(HANDLED) else {
            continue;
        };
        let (partition, offset) = place.split_once(' ').unwrap();
        let place: Place = (partition.parse().unwrap(), offset.parse().unwrap());
        assert!(by_child.insert(place), "read twice: {place:?}");
        let has_committed = || {
            committed(kafka(), topic, 3)
                .values()
                .any(|offset| *offset > 0)
        };
        if by_child.len() % 500 == 0 && has_committed() {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(by_child.len() < ALL, "killed too late");
    let before = committed(kafka(), topic, 3);
    let consumer = builder(kafka(), topic).build().unwrap();
    let mut by_next = Vec::new();
    until("every record", || {
        by_next.extend(places(&consumer, Duration::from_millis(200)));
        by_child.len() + by_next.len() >= ALL
            && by_child
                .iter()
                .chain(&by_next)
                .collect::<BTreeSet<_>>()
                .len()
                == ALL
    });
    consumer.acknowledge();
    consumer.close(SOON).unwrap();
    let from = |partition: i32| before.get(&partition).copied().unwrap_or(0);
    let expected: BTreeSet<Place> = (0..3)
        .flat_map(|partition| (from(partition)..2_000).map(move |offset| (partition, offset)))
        .collect();
    assert_eq!(by_next.len(), expected.len(), "from where it was committed");
    assert_eq!(BTreeSet::from_iter(by_next), expected);
    let all = BTreeMap::from([(0, 2_000), (1, 2_000), (2, 2_000)]);
    assert_eq!(committed(kafka(), topic, 3), all);
}

fn handle_for_ever(bootstrap: &str, topic: &str) {
    let settings = ConsumerSettings::new(topic, [topic])
        .commit_interval(Duration::from_millis(100))
        .session_timeout(Duration::from_secs(6))
        .max_batch_records(50_u32);
    let builder = EventConsumer::builder().connection(plain(bootstrap));
    let consumer = builder.consumer(settings).build().unwrap();
    loop {
        for (partition, offset) in places(&consumer, SOON) {
            println!("{HANDLED}{partition} {offset}");
        }
        // A handler that takes its time.
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

//! `graceful_shutdown`: every accepted record is delivered at the end, or counted as given up.

use std::io::Read;
use std::process::Stdio;

use carbon_events::Topic;
use carbon_events_services::{Kafka, Registry};

use crate::harness::{Running, program_on, records_on, wait_for_more_than};

/// `N accepted, N delivered, N not`.
fn counts(line: &str) -> [usize; 3] {
    let numbers = line.split([' ', ',']).filter_map(|word| word.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{line}"))
}

#[test]
fn a_service_told_to_end_delivers_what_it_accepted_or_says_how_much_it_gave_up() {
    // A broker of its own: it is stopped.
    let kafka = Kafka::builder().start().unwrap();
    let registry = Registry::start().unwrap();
    let topic = Topic::SystemHealth;
    kafka.create_topic(topic.name(), 3, &[]).unwrap();
    let read = || records_on(&kafka, &registry, topic).len();

    let mut program = program_on("graceful_shutdown", &kafka, Some(&registry));
    let (running, _) = Running::start(program.args(["--every=1"]));
    wait_for_more_than(&kafka, &registry, topic, 50);
    let (code, line) = running.terminate();
    let [accepted, delivered, not] = counts(&line);
    assert_eq!((code, delivered, not), (Some(0), accepted, 0));
    assert_eq!(read(), accepted);

    let mut program = program_on("graceful_shutdown", &kafka, Some(&registry));
    let (mut running, _) = Running::start(
        program
            .args(["--every=1", "--deadline=500"])
            .stderr(Stdio::piped()),
    );
    let mut stderr = running.stderr();
    wait_for_more_than(&kafka, &registry, topic, accepted + 50);
    kafka.pause(1).unwrap();
    let (code, line) = running.terminate();
    kafka.resume(1).unwrap();
    let [accepted_now, delivered_now, given_up] = counts(&line);
    assert_eq!((code, accepted_now), (Some(1), delivered_now + given_up));
    assert!(given_up > 0, "{line}");
    let mut errors = String::new();
    stderr.read_to_string(&mut errors).unwrap();
    let said = format!("{given_up} records were given up");
    assert!(errors.contains(&said), "{errors}");
    // The broker may have had some of those that were given up; of the delivered it has each.
    assert!(read() >= accepted + delivered_now);
}

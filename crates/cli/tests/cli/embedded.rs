//! Demo, bench and schemas with the broker and the registry of the test kit.

use std::process::Command;

use carbon_events::Topic;
use carbon_events::testkit::Platform;
use serde_json::Value;

use crate::run::{command, run};

/// The command, connected to a platform.
pub(crate) fn connected(platform: &Platform) -> Command {
    let mut command = command();
    command.envs(platform.environment());
    command
}

#[test]
fn the_demo_checks_every_event() {
    let demo = run(
        command(),
        ["demo", "--events", "20000", "--rate", "1000", "--json"],
    );
    assert_eq!(demo.code, 0, "{demo:#?}");
    let report = demo.json();
    assert_eq!(report["good"], true);
    assert_eq!(report["sent"], 22_000);
    assert_eq!(report["checked"], 22_000);
    let topics = report["topics"].as_object().unwrap();
    assert_eq!(topics.len(), Topic::ALL.len());
    assert!(
        topics
            .values()
            .all(|topic| topic["events"].as_u64() > Some(0)),
        "{report}"
    );
    assert!(report["latency"]["p99Micros"].as_f64() > Some(0.0));
}

#[test]
fn the_demo_on_a_cluster_begins_with_its_topics() {
    let platform = Platform::start().unwrap();
    let servers = platform.broker().bootstrap_servers();
    // The in-process broker takes no admin requests, and so no demo of a cluster.
    let demo = run(
        connected(&platform),
        ["demo", "-b", servers, "--events", "10"],
    );
    assert_eq!(demo.code, 3, "{demo:#?}");
    assert!(demo.stderr.contains("no controller"), "{}", demo.stderr);
}

#[test]
fn schemas_are_registered_and_held_against_those_that_are_there() {
    let platform = Platform::start().unwrap();
    let check = |expected| {
        let ran = run(
            connected(&platform),
            ["schemas", "check", "data-quality", "--json"],
        );
        assert_eq!(ran.code, expected, "{ran:#?}");
        ran.json()[0].clone()
    };
    assert_eq!(check(0)["version"], Value::Null);
    let registered = run(connected(&platform), ["schemas", "register", "--json"]).json();
    assert_eq!(
        registered["registered"].as_array().unwrap().len(),
        Topic::ALL.len()
    );
    let again = run(connected(&platform), ["schemas", "register", "--json"]).json();
    assert_eq!(registered, again, "a schema keeps its id");
    assert_eq!(check(0)["version"], 1);

    // Readers of our schema need its fields.
    platform
        .registry()
        .set_compatibility("data-quality-value", "NONE")
        .unwrap();
    let other = r#"{"type":"record","name":"DataQualityEvent","namespace":"com.carbon254.events.data","fields":[]}"#;
    platform
        .registry()
        .register("data-quality-value", other)
        .unwrap();
    platform
        .registry()
        .set_compatibility("data-quality-value", "BACKWARD")
        .unwrap();
    let incompatible = check(1);
    assert_eq!(incompatible["compatible"], false);
    assert!(
        !incompatible["messages"].as_array().unwrap().is_empty(),
        "{incompatible}"
    );
}

#[test]
fn the_bench_measures_without_a_cluster() {
    // Latencies are for a cluster: here the broker shares its threads with everything else.
    let arguments = ["bench", "produce", "consume", "--embedded", "--json"];
    let small = ["--events", "2000", "--rounds", "1"];
    let bench = run(command(), arguments.iter().chain(&small));
    assert_eq!(bench.code, 0, "{bench:#?}");
    let report = bench.json();
    assert!(report.as_object().is_some_and(|report| !report.is_empty()));
}

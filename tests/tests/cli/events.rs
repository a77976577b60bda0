//! `produce`, `tail`, `demo` and `bench`.

use carbon_events::config::EventFormat;
use carbon_events::{Event, EventProducer, Topic};
use carbon_events_tests::{plain, typical};
use serde_json::json;

use super::*;
use crate::run::{run, run_with_input};

#[test]
fn lines_of_a_file_are_published_and_shown_again() {
    ends(0, &["topics", "apply", "--dev", "system-health"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("health.jsonl");
    let line = |service: &str, rate: f64| {
        let mut line = typical(Topic::SystemHealth).written_json;
        line["serviceName"] = service.into();
        line["errorRate"] = rate.into();
        line.as_object_mut().unwrap().remove("eventId");
        line.to_string()
    };
    let lines = [line("a", 0.1), "{".into(), line("b", 1.5), line("b", 0.2)].join("\n");
    std::fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    let produce = ["produce", "--event", "ServiceHealthEvent", "--json", file];
    let produced = ends(2, &produce);
    let summary = produced.json();
    assert_eq!(
        (&summary["delivered"], &summary["rejected"]),
        (&json!(2), &json!(2))
    );
    let rejected = std::fs::read_to_string(dir.path().join("health.jsonl.rejected.jsonl")).unwrap();
    let numbers = rejected.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["line"].as_u64().unwrap()
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [2, 3]);

    let shown = ends(
        0,
        &[
            "tail",
            "system-health",
            "--from",
            "earliest",
            "--exit",
            "--json",
        ],
    );
    let mut services: Vec<_> = shown
        .json_lines()
        .iter()
        .map(|line| line["event"]["serviceName"].clone())
        .collect();
    services.sort_by_key(Value::to_string);
    assert_eq!(services, ["a", "b"]);
}

#[test]
fn every_format_of_a_topic_is_shown_as_it_is_asked_for() {
    let topic = "data-quality";
    ends(0, &["topics", "apply", "--dev", topic]);
    let Services { kafka, registry } = services();
    let send = |builder: carbon_events::producer::EventProducerBuilder, source: &str| {
        let producer = builder.connection(plain(&kafka.bootstrap_servers()).service_name(source));
        let Event::DataQuality(mut event) = typical(Topic::DataQuality).event else {
            panic!("the topic of another event")
        };
        event.envelope.source = source.to_owned().into();
        let producer = producer.build().unwrap();
        producer
            .event(&event)
            .key(source.as_bytes())
            .send()
            .unwrap()
            .wait()
            .unwrap()
    };
    let confluent = || EventProducer::builder().schema_registry_url(registry.url());
    send(confluent(), "confluent");
    send(EventProducer::builder(), "single-object");
    let json = send(confluent().format(EventFormat::Json), "json");

    let shown = |arguments: &[&str]| {
        let always = ["tail", topic, "--exit", "--json"];
        let ran = ends(
            0,
            &always.iter().chain(arguments).copied().collect::<Vec<_>>(),
        );
        let lines = ran.json_lines();
        let mut sources: Vec<_> = lines
            .iter()
            .map(|line| line["event"]["source"].as_str().unwrap().to_owned())
            .collect();
        sources.sort();
        sources.join(" ")
    };
    let all = "confluent json single-object";
    assert_eq!(shown(&["--from", "earliest"]), all);
    assert_eq!(shown(&["--since", "1h"]), all);
    assert_eq!(
        shown(&["--from", "earliest", "--until", "1h"]),
        "",
        "all are younger"
    );
    assert_eq!(shown(&["--from", "latest"]), "");
    assert_eq!(shown(&["--from", "earliest", "--key", "json"]), "json");
    assert_eq!(
        shown(&["--from", "earliest", "--where", "source~on"]),
        "confluent json"
    );
    let from = format!("offset:{}", json.offset + 1);
    let behind = shown(&["--from", &from]);
    assert!(!behind.contains("json"), "{behind}");
    let two = ends(0, &["tail", topic, "--from", "earliest", "-n", "2"]);
    assert_eq!(two.stdout.lines().count(), 2);
}

#[test]
fn an_unknown_topic_fails_in_one_line() {
    let ran = ends(1, &["tail", "no-such-topic", "--exit"]);
    let errors: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.contains("error:"))
        .collect();
    assert_eq!(errors.len(), 1, "{ran:#?}");
    assert!(errors[0].contains("no-such-topic"), "{ran:#?}");
    let json = ends(1, &["tail", "no-such-topic", "--exit", "--json"]);
    let last = json.stderr.lines().last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["kind"], "UnknownTopic");

    let rejected = tempfile::tempdir().unwrap();
    let path = rejected.path().join("r.jsonl");
    let arguments = [
        "produce",
        "--topic",
        "data-lineage",
        "--rejected",
        path.to_str().unwrap(),
    ];
    let line = typical(Topic::DataLineage).written_json.to_string();
    let ran = run_with_input(connected(), arguments, &line);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("data-lineage"), "{ran:#?}");
    let set_aside = std::fs::read_to_string(path).unwrap();
    assert_eq!(set_aside.lines().count(), 1);
}

#[test]
fn the_demo_and_the_bench_run_on_a_cluster() {
    // Brokers of their own: the demo makes and fills every topic.
    let kafka = Kafka::builder().start().unwrap();
    let mut command = run::command();
    command
        .env("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
        .env("KAFKA_SCHEMA_REGISTRY_URL", services().registry.url());
    let servers = kafka.bootstrap_servers();
    let demo = [
        "demo", "-b", &servers, "--events", "20000", "--rate", "1000", "--json",
    ];
    let demo = run(command, demo);
    assert_eq!(demo.code, 0, "{demo:#?}");
    let report = demo.json();
    assert_eq!(
        (&report["good"], &report["checked"]),
        (&json!(true), &json!(22_000))
    );

    let mut command = run::command();
    command.env("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT");
    let small = [
        "--events",
        "5000",
        "--rounds",
        "1",
        "--rate",
        "500",
        "--duration",
        "500ms",
    ];
    let bench = ["bench", "-b", &servers, "--json"];
    let bench = run(command, bench.iter().chain(&small));
    assert_eq!(bench.code, 0, "{bench:#?}");
    assert!(bench.json().is_object(), "{bench:#?}");
}

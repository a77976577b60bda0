//! `tail`: what it shows of a topic.

use std::io::{BufRead, BufReader};

use carbon_events::EventProducer;
use carbon_events::config::EventFormat;
use carbon_events::events::{DataQualityEvent, QualityResult};
use carbon_events::testkit::Platform;
use serde_json::Value;

use crate::embedded::connected;
use crate::run::{Ran, run};

fn produce_quality(platform: &Platform, dataset: &str, format: EventFormat) {
    let producer = platform.producer("loader").format(format).build().unwrap();
    let event = quality(dataset);
    producer.send(&event).unwrap().wait().unwrap();
}

fn quality(dataset: &str) -> DataQualityEvent<'_> {
    DataQualityEvent::builder()
        .dataset_name(dataset)
        .check_type("completeness")
        .check_name("no gaps")
        .result(QualityResult::Warning)
        .score(0.75)
        .failed_records(25)
        .total_records(100)
        .build()
        .unwrap()
}

/// A topic with an event in each format and a record that is none.
fn mixed() -> Platform {
    let platform = Platform::start().unwrap();
    produce_quality(&platform, "avro", EventFormat::Avro);
    produce_quality(&platform, "json", EventFormat::Json);
    let connection = platform.broker().connection();
    let without_registry = EventProducer::builder()
        .connection(connection)
        .build()
        .unwrap();
    without_registry
        .send(&quality("single-object"))
        .unwrap()
        .wait()
        .unwrap();
    let raw = without_registry
        .raw("data-quality")
        .key(&b"avro"[..])
        .value(&b"\x1b[31mno event"[..]);
    raw.send().unwrap().wait().unwrap();
    platform
}

#[test]
fn topics_behind_a_prefix_are_one_environments_own() {
    let platform = Platform::start().unwrap();
    let platform = platform.with_topic_prefix("staging.").unwrap();
    produce_quality(&platform, "prices", EventFormat::Json);
    let shown = tail(&platform, &["--json", "--topic-prefix", "staging."]).json();
    assert_eq!(shown["topic"], "staging.data-quality");
    assert_eq!(shown["event"]["datasetName"], "prices");
    assert_eq!(tail(&platform, &["--json"]).stdout, "");
}

fn tail(platform: &Platform, arguments: &[&str]) -> Ran {
    let always = ["tail", "data-quality", "--from", "earliest", "--exit"];
    let ran = run(connected(platform), always.iter().chain(arguments));
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran
}

#[test]
fn tail_decodes_every_format_and_shows_what_is_no_event() {
    let platform = mixed();
    let lines = tail(&platform, &["--json"]).json_lines();
    assert_eq!(lines.len(), 4);
    for dataset in ["avro", "json", "single-object"] {
        let line = lines
            .iter()
            .find(|line| line["event"]["datasetName"] == dataset);
        let line = line.unwrap_or_else(|| panic!("{dataset}: {lines:#?}"));
        assert_eq!(line["key"], dataset);
        assert_eq!(line["event"]["score"], 0.75);
        assert_eq!(line["topic"], "data-quality");
    }
    let other = lines.iter().find(|line| line["error"].is_object()).unwrap();
    assert_eq!(other["error"]["kind"], "Undecodable");
    assert_eq!(other["value"], "\u{1b}[31mno event");

    let text = tail(&platform, &[]);
    assert_eq!(text.stdout.lines().count(), 4, "{}", text.stdout);
    assert!(text.stdout.contains("DataQualityEvent"), "{}", text.stdout);
    assert!(
        !text.stdout.contains('\u{1b}'),
        "no record steers the terminal"
    );
    assert!(
        text.stderr.contains("1 record is undecodable"),
        "{}",
        text.stderr
    );
}

#[test]
fn tail_shows_a_tombstone_as_one() {
    let platform = Platform::start().unwrap();
    let producer = platform.producer("loader").build().unwrap();
    let tombstone = producer.raw("data-quality").key(&b"prices"[..]);
    tombstone.send().unwrap().wait().unwrap();
    let [line] = &tail(&platform, &["--json"]).json_lines()[..] else {
        panic!("more than one line")
    };
    assert_eq!(
        (&line["tombstone"], &line["key"]),
        (&true.into(), &"prices".into())
    );
    assert!(
        line.get("error").is_none() && line.get("event").is_none(),
        "{line}"
    );
    let text = tail(&platform, &[]);
    assert!(text.stdout.contains("prices tombstone"), "{}", text.stdout);
    assert!(!text.stderr.contains("undecodable"), "{}", text.stderr);
}

#[test]
fn tail_shows_what_is_asked_for() {
    let platform = mixed();
    let shown = |arguments: &[&str]| {
        let lines = tail(&platform, arguments).json_lines();
        let datasets = lines
            .iter()
            .map(|line| match &line["event"]["datasetName"] {
                Value::String(dataset) => dataset.clone(),
                _ => "-".to_owned(),
            });
        let mut datasets: Vec<String> = datasets.collect();
        datasets.sort();
        datasets.join(" ")
    };
    assert_eq!(shown(&["--json", "--key", "avro"]), "- avro");
    assert_eq!(shown(&["--json", "--where", "datasetName=json"]), "json");
    assert_eq!(
        shown(&[
            "--json",
            "--where",
            "score>=0.75",
            "--where",
            "datasetName~s"
        ]),
        "json single-object"
    );
    assert_eq!(shown(&["--json", "--where", "score>0.75"]), "");
    assert_eq!(tail(&platform, &["-n", "2"]).stdout.lines().count(), 2);
    assert_eq!(
        shown(&["--json", "--until", "1h"]),
        "",
        "all of them are younger"
    );
}

#[test]
fn tail_follows_a_topic_and_joins_no_group() {
    let platform = Platform::start().unwrap();
    produce_quality(&platform, "first", EventFormat::Avro);
    let mut child = connected(&platform)
        .args([
            "tail",
            "DataQualityEvent",
            "--from",
            "earliest",
            "-n",
            "2",
            "--json",
        ])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["event"]["datasetName"], "first");
    produce_quality(&platform, "second", EventFormat::Avro);
    assert_eq!(next()["event"]["datasetName"], "second");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn tail_to_the_end_ends_each_time() {
    let platform = mixed();
    for _ in 0..10 {
        assert_eq!(tail(&platform, &["--json"]).json_lines().len(), 4);
    }
}

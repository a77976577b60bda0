//! `produce`: what becomes of each line.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use carbon_events::Topic;
use carbon_events::testkit::Platform;
use serde_json::{Value, json};

use crate::embedded::connected;
use crate::run::{command, run, run_with_input, wait};

fn health(service: &str, error_rate: &str) -> String {
    format!(
        r#"{{"serviceName":"{service}","namespace":"shop","healthStatus":"HEALTHY","latencyMs":3,"errorRate":{error_rate}}}"#
    )
}

#[test]
fn good_lines_are_sent_and_bad_ones_set_aside() {
    let platform = Platform::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("health.jsonl");
    let bad = health("checkout", "1.5");
    let text = [
        &health("a", "0.1"),
        "",
        &bad,
        "{not json",
        &health("b", "0.2"),
    ]
    .join("\n");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let arguments = [
        "produce",
        "--event",
        "ServiceHealthEvent",
        "--service-name",
        "loader",
        file,
    ];
    let ran = run(connected(&platform), arguments);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stdout.contains("2 events delivered"), "{}", ran.stdout);
    assert!(ran.stdout.contains("2 lines rejected"), "{}", ran.stdout);
    let why = "ServiceHealthEvent.errorRate must be in 0.0..=1.0, got 1.5";
    assert!(
        ran.stderr.contains(&format!("{file}:3: {why}")),
        "{}",
        ran.stderr
    );

    let rejected = std::fs::read_to_string(dir.path().join("health.jsonl.rejected.jsonl")).unwrap();
    let rejected: Vec<Value> = rejected
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rejected.len(), 2);
    assert_eq!(rejected[0]["line"], 3);
    assert_eq!(rejected[0]["error"]["context"]["field"], "errorRate");
    assert_eq!(rejected[0]["error"]["message"], why);
    assert_eq!(rejected[0]["input"], bad);
    assert_eq!(rejected[1]["line"], 4);

    let sent = platform.records(Topic::SystemHealth).unwrap();
    assert_eq!(sent.len(), 2);
    for record in sent {
        let event = record.event.unwrap();
        assert_eq!(event.envelope().source, "loader", "the envelope is filled");
        assert!(event.envelope().event_id.is_uuid());
    }
}

#[test]
fn inputs_whose_names_differ_behind_a_dot_have_a_file_of_rejected_lines_each() {
    let platform = Platform::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for day in ["01", "02"] {
        let file = dir.path().join(format!("events.log.2026-11-{day}"));
        std::fs::write(&file, format!("{{{day}\n")).unwrap();
        let file = file.to_str().unwrap();
        let ran = run(
            connected(&platform),
            ["produce", "--dry-run", "-t", "system-health", file],
        );
        assert_eq!(ran.code, 2, "{ran:#?}");
    }
    for day in ["01", "02"] {
        let path = dir
            .path()
            .join(format!("events.log.2026-11-{day}.rejected.jsonl"));
        let rejected: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(rejected["input"], format!("{{{day}"));
    }
}

#[cfg(unix)]
#[test]
fn the_input_is_not_emptied_by_what_is_set_aside() {
    let platform = Platform::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("in.jsonl"), dir.path().join("link.jsonl"));
    std::fs::write(&file, "{bad\n").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let link = link.to_str().unwrap();
    let arguments = [
        "produce",
        "--dry-run",
        "-t",
        "system-health",
        "--rejected",
        link,
    ];
    let from_file = arguments.iter().copied().chain([file.to_str().unwrap()]);
    let mut from_stdin = connected(&platform);
    from_stdin
        .args(arguments)
        .stdin(std::fs::File::open(&file).unwrap());
    for ran in [
        run(connected(&platform), from_file),
        wait(from_stdin.spawn().unwrap()),
    ] {
        assert_ne!(ran.code, 0, "{ran:#?}");
        assert!(ran.stderr.contains("which is the input"), "{}", ran.stderr);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{bad\n");
    }
}

#[cfg(unix)]
#[test]
fn rejected_lines_are_for_their_owner_alone_in_an_old_file_too() {
    use std::os::unix::fs::PermissionsExt;
    let platform = Platform::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    std::fs::write(
        &path,
        "what was there before, which is longer than what comes".repeat(99),
    )
    .unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let rejected = path.to_str().unwrap();
    let arguments = [
        "produce",
        "--dry-run",
        "-t",
        "system-health",
        "--rejected",
        rejected,
    ];
    let ran = run_with_input(connected(&platform), arguments, "{bad");
    assert_eq!(ran.code, 2, "{ran:#?}");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let rejected: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(rejected["input"], "{bad");
}

#[test]
fn lines_from_stdin_may_be_events_of_any_kind() {
    let platform = Platform::start().unwrap();
    let health = health("a", "0").replacen('{', r#"{"eventType":"ServiceHealthEvent","#, 1);
    let quality = r#"{"eventType":"DataQualityEvent","datasetName":"d","checkType":"c","checkName":"n","result":"PASS","score":1,"failedRecords":0,"totalRecords":5}"#;
    let input = [&health, quality, r#"{"eventType":"Other"}"#, "{}"].join("\n");
    let rejected = tempfile::tempdir().unwrap();
    let path = rejected.path().join("r.jsonl");
    let arguments = [
        "produce",
        "--json",
        "--rejected",
        path.to_str().unwrap(),
        "-H",
        "team=ops",
    ];
    let ran = run_with_input(connected(&platform), arguments, &input);
    assert_eq!(ran.code, 2, "{ran:#?}");
    let summary = ran.json();
    assert_eq!(summary["delivered"], 2);
    assert_eq!(summary["rejected"], 2);
    assert_eq!(
        summary["topics"]["data-quality"],
        json!({ "accepted": 1, "delivered": 1 })
    );
    let record = &platform.records(Topic::DataQuality).unwrap()[0];
    assert_eq!(record.header("team"), Some(&b"ops"[..]));
}

#[test]
fn a_dry_run_sends_nothing() {
    let platform = Platform::start().unwrap();
    let arguments = ["produce", "--topic", "system-health", "--dry-run"];
    let ran = run_with_input(connected(&platform), arguments, &health("a", "0"));
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(
        ran.stdout.contains("1 event would be sent"),
        "{}",
        ran.stdout
    );
    assert_eq!(platform.records(Topic::SystemHealth).unwrap().len(), 0);
}

#[test]
fn what_no_broker_takes_is_set_aside_too() {
    let platform = Platform::start().unwrap();
    platform.broker().take_down().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    let arguments = [
        "produce",
        "--topic",
        "system-health",
        "-X",
        "delivery.timeout.ms=1000",
        "--rejected",
        path.to_str().unwrap(),
    ];
    let ran = run_with_input(connected(&platform), arguments, &health("a", "0"));
    assert_eq!(ran.code, 3, "{ran:#?}");
    let rejected: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(rejected["input"], health("a", "0"));
    assert_eq!(rejected["error"]["retryable"], true, "{rejected}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_delivers_what_it_has_taken_and_says_how_much() {
    let platform = Platform::start().unwrap();
    let mut child = connected(&platform)
        .args(["produce", "--topic", "system-health", "--json"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for service in 0..100 {
        writeln!(stdin, "{}", health(&format!("s{service}"), "0")).unwrap();
    }
    // Stdin stays open: the command waits for more lines.
    let sent = || platform.records(Topic::SystemHealth).unwrap().len() == 100;
    while !sent() {}
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ran = wait(child);
    drop(stdin);
    assert_eq!(ran.code, 130, "{ran:#?}");
    let summary = ran.json();
    assert_eq!(summary["interrupted"], true);
    assert_eq!(summary["delivered"], 100);
    assert_eq!(summary["undelivered"], 0);
}

/// Sends a line to an address; gives what the command did and how long it took.
fn produced_to(address: &str, arguments: &[&str]) -> (crate::run::Ran, Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    let began = Instant::now();
    let always = [
        "produce",
        "--topic",
        "system-health",
        "-b",
        address,
        "--rejected",
    ];
    let always = always.iter().copied().chain([path.to_str().unwrap()]);
    let plaintext = ["--security-protocol", "plaintext"];
    let arguments = always.chain(plaintext).chain(arguments.iter().copied());
    let ran = run_with_input(command(), arguments, &health("a", "0"));
    (ran, began.elapsed())
}

#[test]
fn an_address_without_a_broker_is_told_at_once_and_given_up_in_time() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (ran, took) = produced_to(&nobody.to_string(), &["--timeout", "4s"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("no answer from"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Connection refused"), "{}", ran.stderr);
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn a_broker_that_says_nothing_is_told_too() {
    // Takes the connection into its backlog and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (ran, _) = produced_to(&address, &["--timeout", "4s"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains(&address), "{}", ran.stderr);
}

//! What the command does without a cluster.

use carbon_events::Topic;

use serde_json::json;

use crate::run::{command, run, wait};

#[test]
fn help_tells_the_exit_codes_and_every_variable() {
    let help = run(command(), ["--help"]);
    assert_eq!(help.code, 0);
    for told in [
        "Exit codes:",
        "130",
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_SSL_KEY_PASSWORD",
    ] {
        assert!(help.stdout.contains(told), "{told}");
    }
    for subcommand in [
        "demo",
        "topics",
        "schemas",
        "produce",
        "tail",
        "completions",
    ] {
        let help = run(command(), [subcommand, "--help"]);
        assert_eq!(help.code, 0, "{subcommand}");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(command(), ["completions", shell]);
        assert_eq!(script.code, 0, "{shell}");
        assert!(script.stdout.contains("completions"), "{shell}");
    }
}

#[test]
fn arguments_that_are_wrong_are_told_apart_from_what_fails() {
    for arguments in [
        &["tip"][..],
        &["topics", "diff", "no-such-topic"],
        &["topics", "diff", "-X", "linger.mss=5"],
        &["tail", "--where", "nothing"],
        &["tail", "--since", "yesterday"],
        &["schemas", "check"],
        &[
            "produce",
            "--topic",
            "data-quality",
            "--event",
            "DataQualityEvent",
        ],
        &["topics", "diff", "--config", "Cargo.toml"],
    ] {
        let ran = run(command(), arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:#?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    let ran = run(command(), ["topics", "diff", "-X", "linger.mss=5"]);
    assert!(ran.stderr.contains("linger.ms"), "{}", ran.stderr);
}

#[test]
fn a_cluster_that_cannot_be_reached_is_something_to_try_again() {
    let nobody = ["-b", "127.0.0.1:1", "--security-protocol", "plaintext"];
    let ran = run(
        command(),
        ["topics", "verify", "--timeout", "1s"]
            .iter()
            .chain(&nobody),
    );
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("Connection refused"), "{}", ran.stderr);
    let ran = run(
        command(),
        ["topics", "verify", "--timeout", "1s", "--json"]
            .iter()
            .chain(&nobody),
    );
    let error: serde_json::Value =
        serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    assert_eq!(error["error"]["kind"], "Unavailable");
    assert_eq!(error["error"]["retryable"], true);
}

#[test]
fn an_address_where_nobody_answers_is_told_long_before_the_command_gives_up() {
    for command_line in [
        &["topics", "verify", "--timeout", "4s"][..],
        &["tail", "--exit"],
    ] {
        let nobody = ["-b", "127.0.0.1:1", "--security-protocol", "plaintext"];
        let ran = run(command(), command_line.iter().chain(&nobody));
        assert_eq!(ran.code, 3, "{ran:#?}");
        let mut told = ran.stderr.lines();
        let notice = told.find(|line| line.contains("no answer from 127.0.0.1:1"));
        assert!(notice.is_some(), "{ran:#?}");
        assert!(told.any(|line| line.contains("error:")), "{ran:#?}");
    }
}

#[test]
fn the_topic_table_is_listed() {
    let list = run(command(), ["topics", "list", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), Topic::ALL.len());
    assert_eq!(list[0]["topic"], "data-ingestion");
    assert_eq!(list[0]["retentionMs"], 604_800_000);
    let behind = ["--topic-prefix", "staging."];
    let list = run(
        command(),
        ["topics", "list", "--json"].iter().chain(&behind),
    )
    .json();
    assert_eq!(list[0]["topic"], "staging.data-ingestion");
    let list = run(
        command(),
        ["schemas", "list", "--json"].iter().chain(&behind),
    )
    .json();
    assert_eq!(list[0]["subject"], "staging.data-ingestion-value");
    // An event stands for its topic.
    let one = run(command(), ["topics", "list", "DataQualityEvent"]);
    assert_eq!(one.stdout.lines().count(), 2, "{}", one.stdout);
    assert!(
        one.stdout
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("data-quality  DataQualityEvent")
    );
}

#[test]
fn a_schema_is_shown_as_it_is_in_the_crate() {
    let shown = run(command(), ["schemas", "show", "audit-api-calls"]).json();
    let ours: serde_json::Value =
        serde_json::from_str(Topic::AuditApiCalls.spec().schema_json).unwrap();
    assert_eq!(shown, ours);
    let list = run(command(), ["schemas", "list", "--json"]).json();
    let named = list
        .as_array()
        .unwrap()
        .iter()
        .find(|schema| schema["topic"] == "audit-api-calls");
    assert_eq!(
        named.unwrap(),
        &json!({
            "name": "com.carbon254.events.audit.AuditAPICallEvent",
            "topic": "audit-api-calls",
            "subject": "audit-api-calls-value",
            "fields": 18,
            "fingerprint": format!("{:016x}", Topic::AuditApiCalls.spec().fingerprint),
        })
    );
}

#[test]
fn colours_are_for_terminals_unless_they_are_asked_for() {
    let arguments = ["topics", "diff", "-b", "127.0.0.1:1", "--timeout", "1s"];
    let plain = run(command(), arguments);
    assert!(!plain.stderr.contains('\u{1b}'), "{}", plain.stderr);
    let coloured = run(command(), arguments.iter().chain(&["--color", "always"]));
    assert!(coloured.stderr.contains('\u{1b}'), "{}", coloured.stderr);
}

#[test]
fn a_reader_that_stops_reading_is_no_failure() {
    let mut show = command();
    let mut child = show
        .args(["schemas", "show", "audit-api-calls"])
        .spawn()
        .unwrap();
    // Closed before the command has written anything, or while it writes.
    drop(child.stdout.take());
    let ran = wait(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

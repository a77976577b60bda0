//! `access_log` and `auth_log`: every line accounted for, and exactly a run's own events read back.

use std::fs::File;
use std::process::Stdio;

use carbon_events::events::{SecurityOutcome, Severity};
use carbon_events::{Event, OwnedRecord, Topic};
use carbon_events_tests::producer;
use jiff::Timestamp;

use crate::harness::{output, platform, program, records, run};

/// A table's rows as words: a line's indentation is for people.
fn rows<'o>(output: &'o str, headline: &str) -> Vec<Vec<&'o str>> {
    let lines = output
        .lines()
        .skip_while(|line| !line.trim_end().ends_with(headline));
    lines
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect())
        .collect()
}

fn time(record: &OwnedRecord) -> String {
    let timestamp_ms = record
        .event
        .as_ref()
        .expect("an event")
        .envelope()
        .timestamp_ms;
    Timestamp::from_millisecond(timestamp_ms)
        .expect("a time")
        .to_string()
}

#[test]
fn an_access_log_is_published_read_back_and_summed_up() {
    let platform = platform();
    let output = output(program("access_log").args([
        "examples/data/access.log",
        "--service",
        "shop-front",
        "--top=3",
    ]));
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let first = "13 lines: 10 published, 3 malformed; 10 read back";
    assert_eq!(shown.lines().next(), Some(first));
    assert_eq!(
        errors,
        "examples/data/access.log:6: malformed: no time in brackets stands before the request\n\
         examples/data/access.log:11: malformed: the time is none\n\
         examples/data/access.log:13: malformed: the user agent's quote is not closed\n"
    );
    assert_eq!(rows(&shown, "in all"), [["10", "26965", "requests"]]);
    assert_eq!(
        rows(&shown, "by status"),
        [
            vec!["3", "26412", "200"],
            vec!["2", "306", "404"],
            vec!["1", "150", "400"],
            vec!["…", "and", "4", "more"],
        ]
    );
    assert_eq!(
        rows(&shown, "by path")[..3],
        [
            ["2", "20480", "/api/v1/prices"],
            ["2", "5120", "/index.html"],
            ["2", "306", "/wp-login.php"],
        ]
    );
    assert_eq!(
        rows(&shown, "by client")[..3],
        [
            ["4", "456", "203.0.113.99"],
            ["3", "5932", "192.0.2.7"],
            ["2", "20577", "198.51.100.23"],
        ]
    );

    let found = records(Topic::AuditApiCalls);
    let prices = found.iter().find(|record| {
        let Ok(Event::AuditAPICall(call)) = &record.event else {
            return false;
        };
        call.service == "shop-front" && call.user_id.as_deref() == Some("ada")
    });
    let prices = prices.unwrap();
    assert_eq!(time(prices), "2025-05-17T10:05:09Z");
    assert_eq!(prices.key.as_deref(), Some(&b"shop-front"[..]));
    assert_eq!(
        prices.header("user-agent"),
        Some(&b"python-requests/2.32.3"[..])
    );
    assert_eq!(prices.header("referer"), None);
    let Ok(Event::AuditAPICall(call)) = &prices.event else {
        panic!("{prices:?}");
    };
    assert_eq!((&*call.method, &*call.endpoint), ("GET", "/api/v1/prices"));
    assert_eq!((call.status_code, call.response_size_bytes), (200, 20_480));
    assert_eq!(
        (&*call.ip_address, &*call.envelope.source),
        ("198.51.100.23", "access-log")
    );

    // A second run, from standard input, finds its own among what the first and others left.
    let other = producer(&platform.kafka, None, "").build().unwrap();
    let foreign = other.raw("audit-api-calls").value(&b"no event"[..]);
    foreign.send().unwrap().wait().unwrap();
    let log = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/data/access.log")).unwrap();
    let again = run(program("access_log").stdin(Stdio::from(log)));
    assert_eq!(again.lines().next(), Some(first));
}

#[test]
fn an_ssh_log_is_published_read_back_and_shows_who_failed_to_log_in() {
    let output = output(program("auth_log").args([
        "examples/data/auth.log",
        "--until=2025-01-01",
        "--time-zone=Europe/Berlin",
    ]));
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert_eq!(
        shown.lines().next(),
        Some("19 lines: 15 published, 2 of other programs, 2 malformed; 15 read back")
    );
    assert_eq!(
        errors,
        "examples/data/auth.log:9: malformed: it begins with no time\n\
         examples/data/auth.log:18: malformed: a login without its client\n"
    );
    assert_eq!(rows(&shown, "in all"), [["8", "attempts"]]);
    assert_eq!(
        rows(&shown, "by address"),
        [
            ["6", "203.0.113.99"],
            ["1", "192.0.2.7"],
            ["1", "2001:db8::bad"]
        ]
    );
    let forged = vec!["1", "x", "from", "192.0.2.7", "port", "1", "ssh2"];
    assert_eq!(
        rows(&shown, "by user"),
        [
            vec!["5", "root"],
            vec!["1", "ada"],
            vec!["1", "admin"],
            forged
        ]
    );

    let found = records(Topic::SecurityEvents);
    assert_eq!(found.len(), 15);
    let security = |record: &OwnedRecord| match &record.event {
        Ok(Event::Security(event)) => event.clone(),
        other => panic!("{other:?}"),
    };
    let repeated = found
        .iter()
        .find(|record| security(record).details.get("repeated").is_some());
    let repeated = repeated.unwrap();
    assert_eq!(time(repeated), "2024-12-31T23:00:09Z");
    assert_eq!(repeated.key.as_deref(), Some(&b"root"[..]));
    let event = security(repeated);
    assert_eq!(event.severity, Severity::Medium);
    assert_eq!(event.outcome, SecurityOutcome::Failure);
    assert_eq!(event.principal.as_deref(), Some("root"));
    assert_eq!(event.resource.as_deref(), Some("gate"));
    assert_eq!(event.ip_address.as_deref(), Some("203.0.113.99"));
    assert!(event.details.iter().eq([
        ("pid", "917"),
        ("port", "40100"),
        ("method", "password"),
        ("repeated", "4"),
    ]));
    let of_nobody = found
        .iter()
        .find(|record| security(record).principal.is_none())
        .unwrap();
    assert_eq!(of_nobody.key.as_deref(), Some(&b"auth-log"[..]));
    let first = found.iter().map(time).min().unwrap();
    assert_eq!(first, "2024-12-31T22:58:01Z");
}

#[test]
fn a_log_that_cannot_be_read_ends_with_its_name() {
    let output = output(program("access_log").arg("no/such.log"));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("cannot read no/such.log"), "{errors}");
}

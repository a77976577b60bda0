//! `topics` and `schemas`.

use carbon_events::Topic;
use carbon_events_services::{KEY_PASSWORD, WRITER_USER};
use serde_json::json;

use super::*;
use crate::run::run;

/// The differences that a command shows as JSON.
fn differences(ran: &Ran) -> Vec<Value> {
    ran.json()["differences"].as_array().unwrap().clone()
}

#[test]
fn topics_behind_a_prefix_are_made_and_verified() {
    let behind = |verb: &'static str| {
        let words = ["topics", verb, "--dev", "data-lineage", "--json"];
        run(
            connected(),
            words.iter().chain(&["--topic-prefix", "staging."]),
        )
    };
    assert_eq!(
        differences(&behind("verify"))[0]["topic"],
        "staging.data-lineage"
    );
    let made = behind("apply").json();
    assert_eq!(made["done"][0]["topic"], "staging.data-lineage");
    let verified = behind("verify");
    assert_eq!((verified.code, differences(&verified)), (0, Vec::new()));
    let without = ends(1, &["topics", "verify", "--dev", "data-lineage", "--json"]);
    assert_eq!(differences(&without)[0]["topic"], "data-lineage");
}

#[test]
fn topics_are_made_grown_and_never_shrunk() {
    let Services { kafka, .. } = services();
    let topics = [
        "audit-user-actions",
        "audit-data-access",
        "audit-admin-operations",
    ];
    let with = |verb: &'static str, more: &[&'static str]| {
        ["topics", verb, "--dev"]
            .into_iter()
            .chain(topics)
            .chain(more.iter().copied())
            .collect::<Vec<_>>()
    };
    kafka
        .create_topic(topics[0], 2, &[("retention.ms", "60000")])
        .unwrap();
    kafka.create_topic(topics[2], 5, &[]).unwrap();

    let verified = ends(1, &with("verify", &["--json"]));
    let found = differences(&verified);
    let of = |topic: &str, difference: &str| {
        let same = |found: &&Value| found["topic"] == topic && found["difference"] == difference;
        found.iter().find(same).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(of(topics[0], "partitions")["have"], 2, "{found:#?}");
    assert_eq!(of(topics[1], "missing")["partitions"], 12, "{found:#?}");
    assert_eq!(
        of(topics[2], "partitions")["applicable"],
        false,
        "{found:#?}"
    );
    let shown = ends(0, &with("diff", &[]));
    assert!(
        shown.stdout.contains("audit-data-access: "),
        "{}",
        shown.stdout
    );

    let dry = ends(0, &with("apply", &["--dry-run"]));
    assert!(dry.stdout.contains("audit-data-access"), "{}", dry.stdout);
    assert_eq!(
        differences(&ends(0, &with("diff", &["--json"]))),
        found,
        "nothing was done"
    );

    // More partitions than the table has: told, and left as it is.
    let applied = ends(0, &with("apply", &["--json"])).json();
    assert_eq!(applied["failed"], json!([]), "{applied:#}");
    let left = differences(&ends(1, &with("verify", &["--json"])));
    let shrink = json!({"topic": topics[2], "difference": "partitions", "want": 3, "have": 5, "applicable": false});
    assert_eq!(left, [shrink]);
    let again = ends(0, &with("apply", &[]));
    assert!(
        again.stdout.contains("nothing to change"),
        "{}",
        again.stdout
    );
    ends(0, &["topics", "verify", "--dev", topics[0], topics[1]]);

    let listed = ends(0, &["topics", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), Topic::ALL.len());
}

#[test]
fn a_table_that_a_broker_refuses_is_told_by_topic() {
    let refused = ends(
        1,
        &[
            "topics",
            "apply",
            "config-changes",
            "--replication-factor",
            "3",
        ],
    );
    assert!(refused.stdout.contains("config-changes"), "{refused:#?}");
    let refused = ends(
        1,
        &[
            "topics",
            "apply",
            "config-changes",
            "--replication-factor",
            "3",
            "--json",
        ],
    );
    assert_eq!(
        refused.json()["failed"].as_array().unwrap().len(),
        1,
        "{refused:#?}"
    );
}

/// One line, without a password or a stack of causes.
fn one_line(ran: &Ran, says: &str) {
    let lines: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.contains("error"))
        .collect();
    assert_eq!(lines.len(), 1, "{ran:#?}");
    assert!(lines[0].contains(says), "{ran:#?}");
}

#[test]
fn a_refused_certificate_is_told_soon_and_in_one_line() {
    let stranger = services().kafka.certs().unwrap().stranger();
    let mut command = connected();
    command
        .env("KAFKA_SSL_CERTIFICATE_LOCATION", &stranger.certificate)
        .env("KAFKA_SSL_KEY_LOCATION", &stranger.key);
    let ran = run(command, ["topics", "verify"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    one_line(&ran, "certificate");

    let mut wrong_ca = connected();
    let authority = services().kafka.certs().unwrap().stranger_ca();
    wrong_ca.env("KAFKA_SSL_CA_LOCATION", authority);
    let ran = run(wrong_ca, ["topics", "verify", "--json"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let error: Value = serde_json::from_str(ran.stderr.trim()).unwrap();
    assert_eq!(error["error"]["kind"], "Authentication");

    let mut missing = connected();
    missing.env("KAFKA_SSL_KEY_LOCATION", "/nowhere/key.pem");
    let ran = run(missing, ["tail", "data-quality"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    one_line(&ran, "ssl_key_location");
}

#[test]
fn keys_and_logins_come_from_the_environment_and_by_option() {
    let kafka = &services().kafka;
    let certs = kafka.certs().unwrap();
    let encrypted = certs.encrypted_client().unwrap();
    let keystore = certs.client_keystore().unwrap();
    let verified = |command: Command, options: &[&str]| {
        let ran = run(command, ["topics", "verify"].iter().chain(options));
        // 1 says that a topic differs, which the broker was asked for.
        assert!(ran.stdout.contains("system-health"), "{ran:#?}");
        assert!(!format!("{ran:?}").contains(KEY_PASSWORD), "{ran:#?}");
    };
    let key = encrypted.key.to_str().unwrap();
    let mut variables = connected();
    variables
        .env("KAFKA_SSL_KEY_LOCATION", key)
        .env("KAFKA_SSL_KEY_PASSWORD", KEY_PASSWORD);
    verified(variables, &[]);
    let location = format!("ssl.key.location={key}");
    let password = format!("ssl.key.password={KEY_PASSWORD}");
    verified(connected(), &["-X", &location, "-X", &password]);

    let mut store = connected();
    store
        .env_remove("KAFKA_SSL_CERTIFICATE_LOCATION")
        .env_remove("KAFKA_SSL_KEY_LOCATION")
        .env("KAFKA_SSL_KEYSTORE_LOCATION", keystore)
        .env("KAFKA_SSL_KEYSTORE_PASSWORD", KEY_PASSWORD);
    verified(store, &[]);

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut login = connected();
        login
            .env("KAFKA_BOOTSTRAP_SERVERS", kafka.sasl_bootstrap_servers())
            .env("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT");
        let properties = [
            format!("sasl.mechanism={mechanism}"),
            format!("sasl.username={}", WRITER_USER.name),
            format!("sasl.password={}", WRITER_USER.password),
        ];
        let options: Vec<_> = properties.iter().flat_map(|it| ["-X", it]).collect();
        verified(login, &options);
    }
}

#[test]
fn schemas_are_checked_and_registered() {
    let checked = ends(0, &["schemas", "check", "--json"]).json();
    assert_eq!(checked.as_array().unwrap().len(), Topic::ALL.len());
    let registered = ends(0, &["schemas", "register", "--json"]).json();
    assert_eq!(registered["refused"], json!([]));
    let ids = registered["registered"].as_array().unwrap();
    assert_eq!(ids.len(), Topic::ALL.len());
    assert_eq!(
        ends(0, &["schemas", "register", "--json"]).json(),
        registered
    );
    let text = ends(0, &["schemas", "check", "system-health"]).stdout;
    assert!(text.contains("compatible"), "{text}");
    let shown = ends(0, &["schemas", "show", "system-health", "--json"]).json();
    assert_eq!(shown["name"], "ServiceHealthEvent");

    let nobody = ["--schema-registry-url", "http://127.0.0.1:1"];
    let away = ["schemas", "check"].iter().chain(&nobody).copied();
    let ran = ends(3, &away.collect::<Vec<_>>());
    one_line(&ran, "127.0.0.1:1");
}

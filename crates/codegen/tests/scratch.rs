//! What a maintainer does on a scratch copy of the repository: add a field, add a thirteenth topic,
//! remove one; edit `schemas/`, generate, and nothing else.

#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use carbon_events_codegen as codegen;
use serde_json::{Value, json};
use tempfile::TempDir;

const EVENTS: &str = "crates/events";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            copy(&path, &to.join(path.file_name().unwrap()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// A workspace of the schemas and the crate that is generated from them.
fn scratch() -> TempDir {
    let scratch = TempDir::new().unwrap();
    fs::create_dir(scratch.path().join("schemas")).unwrap();
    for entry in fs::read_dir(root().join("schemas")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap();
            copy(&path, &scratch.path().join("schemas").join(name));
        }
    }
    copy(&root().join(EVENTS), &scratch.path().join(EVENTS));
    copy(
        &root().join("Cargo.lock"),
        &scratch.path().join("Cargo.lock"),
    );
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find(|line| line.starts_with("members"));
    let manifest = manifest.replace(members.unwrap(), &format!("members = [{EVENTS:?}]"));
    fs::write(scratch.path().join("Cargo.toml"), manifest).unwrap();
    scratch
}

fn edit(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(path, serde_json::to_string_pretty(&json).unwrap()).unwrap();
}

fn fields(json: &mut Value) -> &mut Vec<Value> {
    json["fields"].as_array_mut().unwrap()
}

/// A record with a field of every kind that there is code for.
fn write_thirteenth_topic(schemas: &Path) {
    edit(&schemas.join("topics.json"), |table| {
        table["topics"].as_array_mut().unwrap().push(json!({
            "topic": "trade-settlements", "record": "TradeSettledEvent", "partitions": 6,
            "retentionMs": 90_000, "cleanupPolicy": "compact,delete", "key": "t/{desk|type}",
            "owner": "trading", "group": "data",
        }));
    });
    let text = fs::read_to_string(schemas.join("DataLineageEvent.avsc")).unwrap();
    let mut schema: Value = serde_json::from_str(&text).unwrap();
    schema["name"] = "TradeSettledEvent".into();
    schema["doc"] = "A trade was settled.".into();
    fields(&mut schema).truncate(7);
    let own = json!([
        {"name": "type", "type": "string", "doc": "A word of Rust's own."},
        {"name": "desk", "type": ["null", "string"], "default": null, "doc": "Who traded."},
        {"name": "side", "type": {"type": "enum", "name": "TradeSide",
            "doc": "Which way.\n- BUY: In.\n- SELL_SHORT: Out.", "symbols": ["BUY", "SELL_SHORT"]},
            "default": "BUY", "doc": "Which way it went."},
        {"name": "otherSide", "type": ["null", "TradeSide"], "default": null, "doc": "The other's."},
        {"name": "sides", "type": {"type": "array", "items": "TradeSide"}, "default": [], "doc": "All."},
        {"name": "lots", "type": "int", "default": 1, "minimum": 1, "doc": "How many."},
        {"name": "price", "type": ["null", "double"], "default": null, "minimum": 0.0,
            "maximum": 1e6, "doc": "What was paid."},
        {"name": "weight", "type": "double", "default": 0.5, "doc": "A double."},
        {"name": "tradedAtMs", "type": ["null", "long"], "default": null, "doc": "A long."},
        {"name": "checked", "type": ["null", "boolean"], "default": null, "doc": "A boolean."},
        {"name": "confidential", "type": "boolean", "default": false, "doc": "A boolean."},
        {"name": "note", "type": "string", "default": "none", "doc": "Text.",
            "sensitive": {"action": "mask", "when": "confidential"}},
        {"name": "account", "type": "string", "doc": "Text.", "sensitive": {"action": "hash"}},
        {"name": "pin", "type": ["null", "string"], "default": null, "doc": "Text.",
            "sensitive": {"action": "drop"}},
        {"name": "memo", "type": ["null", "string"], "default": null, "doc": "Text.",
            "sensitive": {"action": "drop", "when": "confidential"}},
        {"name": "volumes", "type": {"type": "array", "items": "long"}, "doc": "Longs."},
        {"name": "legs", "default": [], "doc": "Parts.", "type": {"type": "array", "items": {
            "type": "record", "name": "TradeLeg", "doc": "A part.", "fields": [
                {"name": "hub", "type": "string", "doc": "Where."},
                {"name": "side", "type": "TradeSide", "doc": "Which way."},
                {"name": "volume", "type": "double", "default": 1.5, "doc": "How much."},
                {"name": "hour", "type": ["null", "int"], "default": null, "doc": "When."},
                {"name": "cleared", "type": "boolean", "default": true, "doc": "A boolean."}
            ]}}},
        {"name": "attributes", "type": {"type": "map", "values": "string"}, "doc": "More."},
        {"name": "counterpartyLegalEntityIdentifie",
            "type": ["null", "string"], "default": null, "doc": "Text.",
            "sensitive": {"action": "hash", "when": "confidential"}},
        {"name": "longestPermittedDelayBeforePayMs",
            "type": "long", "doc": "A number with a long name."}
    ]);
    fields(&mut schema).extend(own.as_array().unwrap().iter().cloned());
    let path = schemas.join("TradeSettledEvent.avsc");
    fs::write(path, schema.to_string()).unwrap();
}

/// The directory that this test itself was built in.
fn target() -> PathBuf {
    let test = env::current_exe().unwrap();
    // target / release / deps / scratch-…
    test.ancestors().nth(3).unwrap().to_owned()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_field_and_a_thirteenth_topic_need_nothing_but_their_schemas() {
    let scratch = scratch();
    let schemas = scratch.path().join("schemas");
    edit(&schemas.join("AuditAPICallEvent.avsc"), |schema| {
        let field = json!({
            "name": "retryCount", "type": "int", "default": 0, "doc": "How often it was tried."
        });
        fields(schema).push(field);
    });
    write_thirteenth_topic(&schemas);

    let written = codegen::write(scratch.path()).unwrap();
    let written: Vec<_> = written
        .iter()
        .filter(|path| path.starts_with(EVENTS))
        .map(|path| path.file_name().and_then(OsStr::to_str).unwrap())
        .collect();
    let expected = [
        "mod.rs",
        "event.rs",
        "topic.rs",
        "enums.rs",
        "audit_api_call_event.rs",
        "trade_settled_event.rs",
    ];
    assert_eq!(written, expected);
    assert!(codegen::stale(scratch.path()).unwrap().is_empty());

    let directory = scratch.path().join(EVENTS);
    fs::create_dir(directory.join("tests")).unwrap();
    fs::write(
        directory.join("tests/new.rs"),
        include_str!("scratch/new.rs"),
    )
    .unwrap();
    run(Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--offline", "--release", "--test", "new"])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", target()));
}

#[test]
fn a_topic_that_is_gone_takes_its_file_with_it() {
    let scratch = scratch();
    edit(&scratch.path().join("schemas/topics.json"), |table| {
        let topics = table["topics"].as_array_mut().unwrap();
        topics.retain(|row| row["topic"] != "security-events");
    });
    let file = Path::new("crates/events/src/events/security_event.rs");
    assert!(
        codegen::stale(scratch.path())
            .unwrap()
            .iter()
            .any(|path| path == file)
    );
    codegen::write(scratch.path()).unwrap();
    assert!(!scratch.path().join(file).exists());
    assert!(codegen::stale(scratch.path()).unwrap().is_empty());
    // What is written by hand is left alone.
    assert!(
        scratch
            .path()
            .join("crates/events/src/events/envelope.rs")
            .exists()
    );
}

/// The error for an edited `DataQualityEvent.avsc`.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let scratch = scratch();
    edit(
        &scratch.path().join("schemas/DataQualityEvent.avsc"),
        change,
    );
    format!("{:#}", codegen::generate(scratch.path()).unwrap_err())
}

#[test]
fn a_mistake_in_a_schema_is_named_with_its_file_and_field() {
    let field = |ty: Value| {
        refused(|schema| {
            fields(schema).push(json!({"name": "new", "type": ty, "doc": "New."}));
        })
    };
    assert_eq!(
        field(json!(["string", "null"])),
        "schemas/DataQualityEvent.avsc: field new: null must be the first branch of a union"
    );
    assert_eq!(
        field(json!({"type": "map", "values": "long"})),
        "schemas/DataQualityEvent.avsc: field new: of maps there is only code for those of strings"
    );
    assert_eq!(
        field(json!("bytes")),
        "schemas/DataQualityEvent.avsc: field new: there is no code for a field of type \"bytes\""
    );
    assert_eq!(
        field(json!({"type": "enum", "name": "N", "symbols": ["A"], "doc": "One."})),
        "schemas/DataQualityEvent.avsc: field new: enum N does not document A"
    );
    assert_eq!(
        refused(|schema| fields(schema)[3]["type"] = "long".into()),
        "schemas/DataQualityEvent.avsc: field 3 must be the envelope's source of type \"string\""
    );
    assert_eq!(
        refused(|schema| drop(fields(schema)[8].as_object_mut().unwrap().remove("doc"))),
        "schemas/DataQualityEvent.avsc: field checkType: attribute doc is missing"
    );
    let error = refused(|schema| fields(schema)[8]["type"] = "strin".into());
    assert!(
        error.starts_with("schemas/DataQualityEvent.avsc: "),
        "{error}"
    );
    let error = refused(|schema| {
        fields(schema)[7]["name"] = "dataset".into();
    });
    assert_eq!(
        error,
        "schemas/topics.json: topic data-quality: key {datasetName}: datasetName is no field that \
         a key can be made of"
    );
}

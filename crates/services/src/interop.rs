//! Other people's clients on our topics: Java and Python programs that share no code with ours.
//!
//! Both programs speak the same JSON lines; see `tests/java/Interop.java` and
//! `tests/python/interop.py`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::java::{compile, java, join_class_path};
use crate::{Kafka, Registry, artifacts, python};

const JAVA_SOURCE: &str = include_str!("../../../tests/java/Interop.java");

/// A client written in another language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The Java client with `org.apache.avro` and nothing of Confluent's.
    Java,
    /// confluent-kafka with its `AvroSerializer` and `AvroDeserializer`; fastavro for the
    /// single-object encoding.
    Python,
}

impl Peer {
    /// Both.
    pub const ALL: [Peer; 2] = [Peer::Java, Peer::Python];
}

/// How a value stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// 0x00 and the registry's schema id before the Avro body.
    Confluent,
    /// 0xC3 0x01 and the schema's fingerprint before the Avro body.
    SingleObject,
    /// A flat JSON object.
    Json,
}

/// A record as a peer read it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<String>,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its format on the wire.
    pub format: Format,
    /// The registry's id of its schema, where the format has one.
    #[serde(default)]
    pub schema_id: Option<u32>,
    /// Its fields by their Avro names: enums as strings, timestamps as milliseconds.
    pub event: Value,
}

/// A record that a peer is to write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WriteRecord {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: Option<String>,
    /// The format on the wire.
    pub format: Format,
    /// The writer's schema; by default the one of `schemas/` that `eventType` names.
    pub schema: Option<Value>,
    /// The fields by their Avro names.
    pub event: Value,
}

/// Where a written record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Place {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl Peer {
    /// Reads `count` records of `topic` from its beginning, each with its own writer's schema. In
    /// each partition they come in order; the partitions come as they please.
    pub fn read(
        self,
        kafka: &Kafka,
        registry: &Registry,
        topic: &str,
        count: usize,
    ) -> Result<Vec<ReadRecord>> {
        self.run("read", kafka, registry, &[topic, &count.to_string()], "")
    }

    /// The same, with all Avro records resolved to `reader_schema`.
    pub fn read_as(
        self,
        reader_schema: &Value,
        kafka: &Kafka,
        registry: &Registry,
        topic: &str,
        count: usize,
    ) -> Result<Vec<ReadRecord>> {
        let schema = reader_schema.to_string();
        self.run(
            "read",
            kafka,
            registry,
            &[topic, &count.to_string(), &schema],
            "",
        )
    }

    /// Writes `records` in their order and returns where each of them is.
    pub fn write(
        self,
        kafka: &Kafka,
        registry: &Registry,
        records: &[WriteRecord],
    ) -> Result<Vec<Place>> {
        let places: Vec<Place> = self.run("write", kafka, registry, &[], &json_lines(records)?)?;
        ensure!(
            places.len() == records.len(),
            "{self:?} wrote {} records",
            places.len()
        );
        Ok(places)
    }

    fn run<T: DeserializeOwned>(
        self,
        verb: &str,
        kafka: &Kafka,
        registry: &Registry,
        arguments: &[&str],
        input: &str,
    ) -> Result<Vec<T>> {
        let mut command = match self {
            Peer::Java => java_command()?,
            Peer::Python => {
                let mut python = python::python()?;
                python.arg(repository().join("tests/python/interop.py"));
                python
            }
        };
        command.args([verb, &kafka.bootstrap_servers(), &registry.url()]);
        command.arg(repository().join("schemas")).args(arguments);
        let output = filter(&mut command, input)?;
        let parse =
            |line| serde_json::from_str(line).with_context(|| format!("{self:?} printed {line:?}"));
        output.lines().map(parse).collect()
    }
}

/// The partition that the Java client gives to each key in a topic of so many.
pub fn java_partitions(keys: &[impl AsRef<str>], partitions: u16) -> Result<Vec<i32>> {
    let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    let mut command = java_command()?;
    command.args(["partitions", &partitions.to_string()]);
    let output = filter(&mut command, &json_lines(&keys)?)?;
    output.lines().map(|line| Ok(line.parse()?)).collect()
}

/// The class path of `Interop`: itself, Avro and Kafka's clients.
pub(crate) fn java_class_path() -> Result<String> {
    let kafka = artifacts::kafka()?.class_path;
    compile(
        "Interop",
        JAVA_SOURCE,
        &join_class_path(&[&artifacts::avro_class_path()?, &kafka]),
    )
}

fn java_command() -> Result<Command> {
    let mut java = java();
    java.arg("-XX:TieredStopAtLevel=1")
        .arg(artifacts::kafka()?.tools_log4j_argument());
    java.args(["-cp", &java_class_path()?, "Interop"]);
    Ok(java)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn json_lines<T: Serialize>(items: &[T]) -> Result<String> {
    let lines = items
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

/// Runs a program that reads lines and prints lines.
fn filter(command: &mut Command, input: &str) -> Result<String> {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program:?}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let output = thread::scope(|scope| {
        // A program that has failed no longer reads: what it says then is in its output.
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output()
    })?;
    ensure!(
        output.status.success(),
        "{program:?} failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

//! Running a program of this package against the services of the tests.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;

use carbon_events::config::RegistrySettings;
use carbon_events::consumer::EventConsumerBuilder;
use carbon_events::{EventConsumer, OwnedRecord, Topic};
use carbon_events_services::{Kafka, Registry, Shared, shared};
use carbon_events_tests::{SOON, create_topics, plain};

/// One broker with the topics of all events, and a registry.
pub(crate) fn platform() -> &'static Shared {
    static READY: LazyLock<&'static Shared> = LazyLock::new(|| {
        let shared = shared();
        create_topics(&shared.kafka, "");
        shared
    });
    &READY
}

/// A program, with the variables of a service on the platform.
pub(crate) fn program(name: &str) -> Command {
    let platform = platform();
    program_on(name, &platform.kafka, Some(&platform.registry))
}

/// A program on services of its own.
pub(crate) fn program_on(name: &str, kafka: &Kafka, registry: Option<&Registry>) -> Command {
    let mut command = Command::new(path(name));
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("KAFKA_") || name.starts_with("SERVICE_") {
            command.env_remove(&variable);
        }
    }
    command
        .env("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers())
        .env("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null());
    if let Some(registry) = registry {
        command.env("KAFKA_SCHEMA_REGISTRY_URL", registry.url());
    }
    command
}

/// Cargo builds a package's examples with its tests, and puts them beside.
fn path(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the test");
    let path = test
        .parent()
        .expect("its directory")
        .with_file_name("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} is not built; `cargo test -p carbon-events-examples` builds it",
        path.display()
    );
    path
}

/// Everything that is on a topic now.
pub(crate) fn records(topic: Topic) -> Vec<OwnedRecord> {
    let platform = platform();
    records_on(&platform.kafka, &platform.registry, topic)
}

pub(crate) fn records_on(kafka: &Kafka, registry: &Registry, topic: Topic) -> Vec<OwnedRecord> {
    let consumer = reader(kafka, registry, topic).detect_end();
    let consumer = consumer.build().expect("a consumer");
    let mut records = Vec::new();
    while let Some(batch) = consumer.next_batch(SOON).expect("a batch") {
        records.extend(batch.iter().map(|record| record.to_owned()));
    }
    assert!(consumer.at_end());
    records
}

/// Waits until a topic has more than `count` records, also while it is written to.
pub(crate) fn wait_for_more_than(kafka: &Kafka, registry: &Registry, topic: Topic, count: usize) {
    let consumer = reader(kafka, registry, topic);
    let consumer = consumer.build().expect("a consumer");
    let mut came = 0;
    while came <= count {
        let batch = consumer.next_batch(SOON).expect("a batch");
        came += batch.expect("another record").len();
    }
}

fn reader(kafka: &Kafka, registry: &Registry, topic: Topic) -> EventConsumerBuilder {
    EventConsumer::builder()
        .connection(plain(&kafka.bootstrap_servers()))
        .registry(RegistrySettings::new(registry.url()))
        .topic(topic)
        .standalone()
}

/// Runs a program to its end; standard output of one that succeeds.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = output(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{errors}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A program that runs until it is told to end.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> (Running, String) {
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.expect("a running program");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Running { child, stdout };
        let mut line = String::new();
        running.stdout.read_line(&mut line).expect("a line");
        (running, line)
    }

    /// Its standard error, where that was piped.
    pub(crate) fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("a pipe")
    }

    /// Sends SIGTERM; the exit code and the rest of standard output.
    pub(crate) fn terminate(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill")
                .success()
        );
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        let status = self.child.wait().expect("an exit");
        (status.code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a failed assertion; otherwise it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

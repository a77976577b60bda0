//! The command on real brokers with mutual TLS and a real registry. What needs neither is tested
//! beside the command.

#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod events;
#[path = "../../../crates/cli/tests/cli/run.rs"]
#[allow(dead_code, reason = "the tests beside the command use more of it")]
mod run;
mod topics;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use carbon_events_services::{Kafka, Registry};
use serde_json::Value;

use run::Ran;

/// A broker that asks for a certificate, and a registry, for all of these tests. Each uses topics of
/// its own.
struct Services {
    kafka: Kafka,
    registry: Registry,
}

fn services() -> &'static Services {
    static SERVICES: LazyLock<Services> = LazyLock::new(|| Services {
        kafka: Kafka::builder()
            .tls(true)
            .sasl(true)
            .start()
            .expect("a broker"),
        registry: Registry::start().expect("a registry"),
    });
    &SERVICES
}

/// The program, built as these tests are.
fn binary() -> PathBuf {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "-p", "carbon-events-cli", "--message-format=json"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let output = cargo.current_dir(root).output().expect("cargo starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        let artifacts = output.stdout.split(|byte| *byte == b'\n');
        let artifacts = artifacts.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let mut programs =
            artifacts.filter_map(|artifact| Some(artifact["executable"].as_str()?.into()));
        programs.next_back().expect("a program")
    });
    BINARY.clone()
}

/// The command as a service on the platform has it: TLS with a certificate, and the registry.
fn connected() -> Command {
    let Services { kafka, registry } = services();
    let certs = kafka.certs().unwrap();
    let client = certs.client();
    let mut command = run::command();
    command
        .env("KAFKA_BOOTSTRAP_SERVERS", kafka.tls_bootstrap_servers())
        .env("KAFKA_SSL_CA_LOCATION", certs.ca())
        .env("KAFKA_SSL_CERTIFICATE_LOCATION", &client.certificate)
        .env("KAFKA_SSL_KEY_LOCATION", &client.key)
        .env("KAFKA_SCHEMA_REGISTRY_URL", registry.url());
    command
}

/// Runs the command with these arguments, which must end with this code.
#[track_caller]
fn ends(code: i32, arguments: &[&str]) -> Ran {
    let ran = run::run(connected(), arguments);
    assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
    ran
}

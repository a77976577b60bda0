//! `carbon-events-services`: the services for a person, and for the project's command runner.
//!
//! `up` starts a second process of this program, the keeper, which holds the services until `down`
//! asks it to let go. The two speak over a socket in `.services/` at the repository's root: a
//! keeper that was killed leaves a socket that nobody answers, so no stale process number can
//! mislead anyone.

mod keeper;
mod serve;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

/// Real Kafka and a real schema registry on 127.0.0.1
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start them in the background and print the environment variables to export
    Up(Wanted),
    /// Stop them and remove their data
    Down,
    /// Tell whether they run, and print the environment variables
    Status,
    /// Download and prepare everything that tests and `up` need
    Fetch,
    /// Run a Python script with the packages of tests/python/requirements.txt
    Python {
        /// The script and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Start services for a test run that is no Rust, and obey its words on standard input
    Serve(Wanted),
    /// Hold the services until told to stop; what `up` starts
    #[command(hide = true)]
    Keep(Wanted),
}

/// Which services.
#[derive(Args, Clone)]
struct Wanted {
    /// How many Kafka nodes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    brokers: u16,
    /// A TLS listener that asks for a client certificate; the variables then name it
    #[arg(long)]
    tls: bool,
    /// A SASL listener, over TLS too with --tls
    #[arg(long)]
    sasl: bool,
    /// Refuse what is not allowed: the reader may not write
    #[arg(long)]
    access_rules: bool,
    /// All of the JVM's optimisation and twice the memory: slower to start, for measuring
    #[arg(long)]
    steady: bool,
    /// No schema registry
    #[arg(long)]
    no_registry: bool,
}

impl Wanted {
    /// The arguments that give the same again.
    fn arguments(&self) -> Vec<String> {
        let switches = [
            (self.tls, "--tls"),
            (self.sasl, "--sasl"),
            (self.access_rules, "--access-rules"),
            (self.steady, "--steady"),
            (self.no_registry, "--no-registry"),
        ];
        let on = switches
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| name.to_owned());
        on.chain([format!("--brokers={}", self.brokers)]).collect()
    }
}

fn main() -> ExitCode {
    dispatch(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn dispatch(command: Verb) -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    match command {
        Verb::Up(wanted) => keeper::up(&root, &wanted),
        Verb::Down => keeper::down(&root),
        Verb::Status => keeper::status(&root),
        Verb::Keep(wanted) => keeper::keep(&wanted).map(|()| ExitCode::SUCCESS),
        Verb::Serve(wanted) => serve::serve(&wanted).map(|()| ExitCode::SUCCESS),
        Verb::Fetch => carbon_events_services::fetch_all().map(|()| ExitCode::SUCCESS),
        Verb::Python { arguments } => run(carbon_events_services::python()?.args(arguments)),
    }
}

/// Runs a command in our place; its exit code is ours.
fn run(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .status()
        .with_context(|| format!("{:?}", command.get_program()))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, Into::into))
}

/// Where the keeper's files are.
fn state_dir(root: &Path) -> PathBuf {
    root.join(".services")
}

//! `carbon-events-services`: starts the services from a shell and from `cargo xtask`.
//!
//! `up` starts a second process of this program, the keeper, which runs the services until `down`
//! stops it. They communicate over a socket in `.services/` at the repository's root: a killed keeper
//! leaves a socket without an answer, so there is no stale process id.

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
    /// Show whether they run, and print the environment variables
    Status,
    /// Download and prepare everything that tests and `up` need
    Fetch,
    /// Run a Python script with the packages of tests/python/requirements.txt
    Python {
        /// The script and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Start services for a test run in another language, which sends commands on standard input
    Serve(Wanted),
    /// Run the services until `down`; started by `up`
    #[command(hide = true)]
    Keep(Wanted),
}

/// Which services.
#[derive(Args, Clone)]
struct Wanted {
    /// Number of Kafka nodes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    brokers: u16,
    /// Add a TLS listener that requires a client certificate; the variables use it
    #[arg(long)]
    tls: bool,
    /// Add a SASL listener, with --tls one over TLS, too
    #[arg(long)]
    sasl: bool,
    /// Turn on access rules: the reader may not write
    #[arg(long)]
    access_rules: bool,
    /// For measurements: full JVM optimisation and twice the memory, with a slower start
    #[arg(long)]
    steady: bool,
    /// Start no schema registry
    #[arg(long)]
    no_registry: bool,
}

impl Wanted {
    /// The arguments that select the same services.
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

/// Runs a command and returns its exit code.
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

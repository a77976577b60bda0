//! The one command runner: `cargo xtask test`, `demo`, `generate`, `npm`, `wheel`, `platforms`,
//! `services`, `bench`, `fuzz`.

mod fuzz;
mod npm;
mod platforms;
mod prerequisites;
mod run;
mod test;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use carbon_events_codegen as codegen;
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use prerequisites::Needs;
use run::cargo;

/// The command runner of carbon-events
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Send a million events of all twelve kinds through an embedded broker and check each
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of `carbon-events demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check formatting, generated code, lints, documents and golden bytes, then run all tests
    Test {
        /// Only what needs neither Java nor Python nor the network
        #[arg(long)]
        quick: bool,
        /// Arguments of `cargo test`, such as a test's name
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Write the source files that come from schemas/ and from the core's settings and errors
    Generate {
        /// Change nothing; fail if a file is stale
        #[arg(long)]
        check: bool,
    },
    /// Build and pack the Node package and this platform's addon into target/npm
    Npm {
        /// Another platform's addon, by Rust's name of it; its toolchain must be there
        #[arg(long)]
        target: Option<String>,
        /// Install what was packed into a clean folder and run the package's tests there
        #[arg(long)]
        test: bool,
        /// Install it and measure it beside kafkajs and @platformatic/kafka
        #[arg(long, conflicts_with = "test")]
        bench: bool,
        /// Arguments of the tests, such as a file's name, or of the benchmark: rounds and cases
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Start, stop or look at a real Kafka and a real registry on this machine
    #[command(disable_help_flag = true)]
    Services {
        /// `up [--brokers 3] [--tls] [--sasl]`, `down`, `status`, `fetch`; `--help` tells more
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build and run `carbon-events bench`: beside rdkafka's own clients, on any cluster
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of `carbon-events bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the Python wheel, and check what it links to
    Wheel {
        /// Also run its tests, as it is installed: all on `python3`, the quick ones on every other
        /// CPython of this machine
        #[arg(long)]
        test: bool,
        /// All tests on this interpreter instead, by path or by version, such as 3.12; repeatable
        #[arg(long, requires = "test", value_name = "WHICH")]
        python: Vec<String>,
        /// For machines with an older C library than this one's, such as 2_17; Zig links it
        #[arg(long, value_name = "VERSION", value_parser = glibc)]
        manylinux: Option<(u32, u32)>,
    },
    /// Build the wheel and the addon for every Linux that services run on, with Zig, and check what
    /// each asks of its platform
    Platforms {
        /// Only the wheels or only the addons, and only for these platforms
        #[arg(value_name = "wheel|npm|TARGET", value_parser = words())]
        words: Vec<String>,
        /// Also run what can be run on this machine: other processors by QEMU, musl by its loader
        #[arg(long)]
        smoke: bool,
        /// Compile with Debian's Rust and its source of the standard library, where rustup's server
        /// cannot be reached
        #[arg(long)]
        debian_rust: bool,
    },
    /// Feed made-up bytes to everything that reads bytes (needs nightly Rust and cargo-fuzz)
    Fuzz {
        /// For how long each target runs
        #[arg(default_value_t = 60)]
        seconds: u32,
        /// Only these targets
        targets: Vec<String>,
    },
    /// Tell what building and testing need and this machine lacks
    Prerequisites {
        /// Print only the Debian packages that are missing
        #[arg(long)]
        packages: bool,
    },
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Verb) -> Result<ExitCode> {
    let root = root()?;
    match command {
        Verb::Demo { arguments } => {
            prerequisites::check(Needs::Build)?;
            let mut demo = cargo(
                &root,
                &["run", "--release", "-p", "carbon-events-cli", "--", "demo"],
            );
            return run::exit_code(demo.args(arguments));
        }
        Verb::Test { quick, arguments } => test::run(&root, quick, &arguments)?,
        Verb::Generate { check } => {
            generate_events(&root, check)?;
            generate_declared(&root, check)?;
        }
        Verb::Npm {
            target,
            test: false,
            bench: false,
            ..
        } => {
            prerequisites::check(Needs::Npm)?;
            for packed in npm::pack(&root, target.as_deref())? {
                println!("{}", packed.display());
            }
        }
        Verb::Npm {
            bench, arguments, ..
        } => {
            prerequisites::check(Needs::Test)?;
            let run = if bench { npm::bench } else { npm::test };
            run(&root, &arguments)?;
        }
        Verb::Services { arguments } => {
            return run::exit_code(run::services(&root).args(arguments));
        }
        Verb::Bench { arguments } => {
            prerequisites::check(Needs::Build)?;
            let bench = ["run", "--release", "-p", "carbon-events-cli", "--", "bench"];
            run::step(cargo(&root, &bench).args(arguments))?;
        }
        Verb::Wheel {
            test,
            python,
            manylinux,
        } => {
            prerequisites::check(if test { Needs::Test } else { Needs::Build })?;
            let wheel = match manylinux {
                Some(version) => platforms::old_glibc_wheel(&root, version)?,
                None => wheel::build(&root)?,
            };
            if test {
                wheel::test(&root, &wheel, &python)?;
            }
            println!("{}", wheel.display());
        }
        Verb::Platforms {
            words,
            smoke,
            debian_rust,
        } => {
            prerequisites::check(Needs::Npm)?;
            let chosen = platforms::Chosen::from_words(&words);
            for packed in platforms::build(&root, &chosen, debian_rust, smoke)? {
                println!("{}", packed.display());
            }
        }
        Verb::Fuzz { seconds, targets } => fuzz::run(&root, seconds, &targets)?,
        Verb::Prerequisites { packages } => return prerequisites::tell(packages),
    }
    Ok(ExitCode::SUCCESS)
}

/// What `platforms` takes.
fn words() -> PossibleValuesParser {
    let targets = platforms::ALL.iter().map(|platform| platform.target);
    PossibleValuesParser::new(["wheel", "npm"].into_iter().chain(targets))
}

/// `2_17` as numbers.
fn glibc(version: &str) -> Result<(u32, u32)> {
    let (major, minor) = version
        .split_once(['_', '.'])
        .context("a version of glibc is like 2_17")?;
    Ok((major.parse()?, minor.parse()?))
}

/// The repository's root, two levels above this crate.
fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize()
        .context("this program was built in a repository that is gone; build it again")
}

/// Events, which no step may find missing.
fn generate_events(root: &Path, check: bool) -> Result<()> {
    if check {
        let stale = codegen::stale(root)?;
        ensure!(
            stale.is_empty(),
            "stale: {stale:?}; run `cargo xtask generate`"
        );
        return Ok(());
    }
    for path in codegen::write(root)? {
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// Options and error classes, by a program that links the core.
fn generate_declared(root: &Path, check: bool) -> Result<()> {
    let package = ["run", "-q", "--release", "-p", "carbon-events-codegen"];
    let mut program = cargo(root, &package);
    program.args(["--example", "declarations"]);
    if check {
        program.args(["--", "--check"]);
    }
    run::step(&mut program)
}

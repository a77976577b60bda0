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
    /// Send a million events of all twelve kinds through an embedded broker and verify each
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of `carbon-events demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check formatting, generated code, lints, documents and golden bytes, then run all tests
    Test {
        /// Only what works without Java, Python and the network
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
        /// Another platform's addon, by Rust's target name; its toolchain must be installed
        #[arg(long)]
        target: Option<String>,
        /// Install the packages into a clean folder and run the tests there
        #[arg(long)]
        test: bool,
        /// Install the packages and compare their speed with kafkajs and @platformatic/kafka
        #[arg(long, conflicts_with = "test")]
        bench: bool,
        /// Arguments of the tests, such as a file's name, or of the benchmark: rounds and cases
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Start and stop a real Kafka and a real registry on this machine
    #[command(disable_help_flag = true)]
    Services {
        /// `up [--brokers 3] [--tls] [--sasl]`, `down`, `status`, `fetch`; `--help` explains them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build and run `carbon-events bench`, which compares rdkafka's own clients on any cluster
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of `carbon-events bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the Python wheel, and check its shared libraries
    Wheel {
        /// Also install it and run its tests: all on `python3`, the quick ones on every other CPython of
        /// this machine
        #[arg(long)]
        test: bool,
        /// All tests on this interpreter instead, by path or by version, such as 3.12; repeatable
        #[arg(long, requires = "test", value_name = "WHICH")]
        python: Vec<String>,
        /// For machines with an older C library, such as 2_17; linked by Zig
        #[arg(long, value_name = "VERSION", value_parser = glibc)]
        manylinux: Option<(u32, u32)>,
    },
    /// Build the wheel and the addon for every Linux that services run on, with Zig, and check their
    /// requirements
    Platforms {
        /// Only the wheels or only the addons, and only for these platforms
        #[arg(value_name = "wheel|npm|TARGET", value_parser = words())]
        words: Vec<String>,
        /// Also run them on this machine: other processors by QEMU, musl by its loader
        #[arg(long)]
        smoke: bool,
        /// Compile with Debian's Rust and its standard library's source, if rustup's server is
        /// unreachable
        #[arg(long)]
        debian_rust: bool,
    },
    /// Fuzz all decoders (needs nightly Rust and cargo-fuzz)
    Fuzz {
        /// Seconds per target
        #[arg(default_value_t = 60)]
        seconds: u32,
        /// Only these targets
        targets: Vec<String>,
    },
    /// List missing prerequisites of building and testing
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

/// The arguments of `platforms`.
fn words() -> PossibleValuesParser {
    let targets = platforms::ALL.iter().map(|platform| platform.target);
    PossibleValuesParser::new(["wheel", "npm"].into_iter().chain(targets))
}

/// `2_17` as numbers.
fn glibc(version: &str) -> Result<(u32, u32)> {
    let (major, minor) = version
        .split_once(['_', '.'])
        .context("a glibc version looks like 2_17")?;
    Ok((major.parse()?, minor.parse()?))
}

/// The repository's root, two levels above this crate.
fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize()
        .context("the repository of this program was moved; build it again")
}

/// Generates the files that come from schemas/.
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

/// Generates options and error classes, by a program that links the core.
fn generate_declared(root: &Path, check: bool) -> Result<()> {
    let package = ["run", "-q", "--release", "-p", "carbon-events-codegen"];
    let mut program = cargo(root, &package);
    program.args(["--example", "declarations"]);
    if check {
        program.args(["--", "--check"]);
    }
    run::step(&mut program)
}

//! Checks what must be installed, before an hour of building.

use std::fmt::Write;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, bail};

/// A purpose; each includes the needs of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// Build the library and run the demo.
    Build,
    /// Build and pack the Node package.
    Npm,
    /// Format, lint and run the tests without services.
    QuickTest,
    /// Run all tests.
    Test,
    /// Fuzz, which is not part of the tests.
    Fuzz,
}

/// How a missing thing is installed.
enum Install {
    Debian(&'static str),
    Line(&'static str),
}

struct Prerequisite {
    needed: Needs,
    what: &'static str,
    /// A command that succeeds where it is installed.
    probe: &'static [&'static str],
    install: Install,
}

const fn debian(
    needed: Needs,
    what: &'static str,
    probe: &'static [&'static str],
    package: &'static str,
) -> Prerequisite {
    Prerequisite {
        needed,
        what,
        probe,
        install: Install::Debian(package),
    }
}

const fn line(
    needed: Needs,
    what: &'static str,
    probe: &'static [&'static str],
    install: &'static str,
) -> Prerequisite {
    Prerequisite {
        needed,
        what,
        probe,
        install: Install::Line(install),
    }
}

static ALL: [Prerequisite; 16] = [
    debian(
        Needs::Build,
        "a C compiler",
        &["cc", "--version"],
        "build-essential",
    ),
    debian(
        Needs::Build,
        "a C++ compiler",
        &["c++", "--version"],
        "build-essential",
    ),
    debian(
        Needs::Build,
        "make, for OpenSSL",
        &["make", "--version"],
        "build-essential",
    ),
    debian(
        Needs::Build,
        "cmake, for librdkafka",
        &["cmake", "--version"],
        "cmake",
    ),
    debian(
        Needs::Build,
        "perl, for OpenSSL",
        &["perl", "-e", "use IPC::Cmd; use FindBin"],
        "perl",
    ),
    debian(
        Needs::Npm,
        "Node 18 or later",
        &["node", "--version"],
        "nodejs",
    ),
    debian(Needs::Npm, "npm", &["npm", "--version"], "npm"),
    debian(Needs::Npm, "strip", &["strip", "--version"], "binutils"),
    line(
        Needs::QuickTest,
        "rustfmt",
        &["cargo", "fmt", "--version"],
        "rustup component add rustfmt",
    ),
    line(
        Needs::QuickTest,
        "clippy",
        &["cargo", "clippy", "--version"],
        "rustup component add clippy",
    ),
    debian(
        Needs::Test,
        "a JDK, for Kafka and the registry",
        &["javac", "--version"],
        "default-jdk-headless",
    ),
    debian(
        Needs::Test,
        "java, for Kafka and the registry",
        &["java", "-version"],
        "default-jdk-headless",
    ),
    debian(
        Needs::Test,
        "Maven, which downloads them",
        &["mvn", "--version"],
        "maven",
    ),
    debian(
        Needs::Test,
        "Python 3 with venv, for another library's view of our bytes",
        &["python3", "-c", "import venv, ensurepip"],
        "python3-venv",
    ),
    line(
        Needs::Fuzz,
        "nightly Rust",
        &["cargo", "+nightly", "--version"],
        "rustup toolchain install nightly",
    ),
    line(
        Needs::Fuzz,
        "cargo-fuzz",
        &["cargo", "+nightly", "fuzz", "--version"],
        "cargo install cargo-fuzz",
    ),
];

/// Fails with the commands that install what is missing.
pub(crate) fn check(needs: Needs) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let mut message = String::from("this machine lacks");
    for prerequisite in &missing {
        write!(message, "\n  {}", prerequisite.what)?;
    }
    message += "\ninstall it with";
    let packages = debian_packages(&missing);
    if !packages.is_empty() {
        write!(message, "\n  sudo apt-get install {}", packages.join(" "))?;
    }
    for prerequisite in &missing {
        if let Install::Line(line) = prerequisite.install {
            write!(message, "\n  {line}")?;
        }
    }
    bail!(message)
}

/// The command `prerequisites`: for all tests.
pub(crate) fn tell(packages: bool) -> Result<ExitCode> {
    if packages {
        println!("{}", debian_packages(&missing(Needs::Test)).join(" "));
    } else {
        check(Needs::Test)?;
        eprintln!("everything for building and testing is installed");
    }
    Ok(ExitCode::SUCCESS)
}

fn missing(needs: Needs) -> Vec<&'static Prerequisite> {
    ALL.iter()
        .filter(|prerequisite| prerequisite.needed <= needs && !works(prerequisite.probe))
        .collect()
}

fn works(probe: &[&str]) -> bool {
    Command::new(probe[0])
        .args(&probe[1..])
        // Lets cargo's `+nightly` reach rustup.
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn debian_packages(missing: &[&Prerequisite]) -> Vec<&'static str> {
    let mut packages: Vec<_> = missing
        .iter()
        .filter_map(|prerequisite| match prerequisite.install {
            Install::Debian(package) => Some(package),
            Install::Line(_) => None,
        })
        .collect();
    packages.dedup();
    packages
}

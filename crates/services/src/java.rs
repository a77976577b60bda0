//! The JDK: finding it, running Kafka's own tools and our small programs with it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::certs::Identity;
use crate::process::output_of;
use crate::{artifacts, cache, versions};

const KEYS_SOURCE: &str = include_str!("../java/Keys.java");

/// How long a JVM may take to end when it writes a class data archive first.
pub(crate) const ARCHIVE_WITHIN: Duration = Duration::from_secs(300);

/// How the JVM of a service is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jvm {
    /// Only the quick compiler: half the CPU time until ready, for tests.
    #[default]
    Quick,
    /// All of the JVM's optimisation, for benchmarks and long runs.
    Steady,
}

impl Jvm {
    /// The arguments for it; `archive` is a class data archive, of which a JVM that does not match
    /// takes no notice.
    pub(crate) fn arguments(self, heap_mb: u32, archive: Option<&Path>) -> Vec<String> {
        let mut arguments = vec![format!("-Xmx{heap_mb}m")];
        if self == Jvm::Quick {
            arguments.push("-XX:TieredStopAtLevel=1".into());
        }
        if let Some(archive) = archive {
            arguments.push(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        arguments
    }
}

/// The `java` of `JAVA_HOME`, else of the path.
pub(crate) fn java() -> Command {
    tool("java")
}

fn tool(name: &str) -> Command {
    match env::var_os("JAVA_HOME") {
        Some(home) if !home.is_empty() => Command::new(Path::new(&home).join("bin").join(name)),
        _ => Command::new(name),
    }
}

/// What `java -version` prints, once a process. Class data archives hold for exactly this JVM.
pub(crate) fn version() -> Result<&'static str> {
    static VERSION: LazyLock<Result<String, String>> =
        LazyLock::new(|| find_version().map_err(|error| format!("{error:#}")));
    VERSION.as_deref().map_err(|error| anyhow!("{error}"))
}

fn find_version() -> Result<String> {
    let output = java()
        .arg("-version")
        .output()
        .context("cannot start java; install a JDK")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // `openjdk version "17.0.15" 2025-04-15`
    let major = text
        .split('"')
        .nth(1)
        .and_then(|number| number.split('.').next()?.parse().ok());
    ensure!(
        major >= Some(versions::JAVA),
        "Kafka {} needs Java {} or later, found: {}",
        versions::KAFKA,
        versions::JAVA,
        text.lines().next().unwrap_or("nothing"),
    );
    Ok(text)
}

/// One of Kafka's own tools, ready for arguments, such as
/// `org.apache.kafka.tools.ProducerPerformance`.
pub fn kafka_tool(class: &str) -> Result<Command> {
    let kafka = artifacts::kafka()?;
    let mut command = java();
    command.arg("-Xmx512m").arg(kafka.tools_log4j_argument());
    command.args(["-cp", &kafka.class_path, class]);
    Ok(command)
}

/// Compiles `source`, the text of `name`.java, and returns the class path to run it with.
pub(crate) fn compile(name: &str, source: &str, class_path: &str) -> Result<String> {
    let inputs = [name, source, class_path, version()?];
    let classes = cache::entry(&format!("java-{}", name.to_lowercase()), &inputs, |dir| {
        let file = dir.join(format!("{name}.java"));
        std::fs::write(&file, source)?;
        let mut javac = tool("javac");
        javac.args(["-nowarn", "-cp", class_path, "-d"]);
        output_of("compile", javac.arg(dir).arg(file)).map(drop)
    })?;
    Ok(join_class_path(&[&classes.to_string_lossy(), class_path]))
}

/// Class path entries in one string; none of them may be empty, that would mean the current
/// directory.
pub(crate) fn join_class_path(entries: &[&str]) -> String {
    entries
        .iter()
        .filter(|entry| !entry.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(":")
}

/// Runs `Keys`: puts a key under a password, as encrypted PEM or as a PKCS #12 store.
pub(crate) fn keys(form: &str, from: &Identity, password: &str, to: &PathBuf) -> Result<()> {
    let class_path = compile("Keys", KEYS_SOURCE, "")?;
    let mut command = java();
    command.args(["-XX:TieredStopAtLevel=1", "-cp", &class_path, "Keys", form]);
    command
        .arg(&from.certificate)
        .arg(&from.key)
        .arg(password)
        .arg(to);
    output_of("put a key under a password", &mut command).map(drop)
}

//! The programs that services run, fetched through Maven and made ready to start quickly.
//!
//! "Ready" is worth a cache entry of its own: a formatted Kafka node's bootstrap metadata, so that
//! no start runs the storage tool (a JVM start for each node), and a class data archive, which takes
//! a third of the CPU time off a JVM's start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Result, anyhow};

use crate::process::output_of;
use crate::versions::{APICURIO, AVRO, KAFKA, LOG4J, MAVEN_DEPENDENCY_PLUGIN};
use crate::{cache, kafka, registry};

/// A Maven artifact: group, name, version.
type Artifact = (&'static str, &'static str, &'static str);

const KAFKA_ARTIFACTS: [Artifact; 3] = [
    ("org.apache.kafka", "kafka_2.13", KAFKA),
    ("org.apache.kafka", "kafka-tools", KAFKA),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J),
];
const AVRO_ARTIFACTS: [Artifact; 1] = [("org.apache.avro", "avro", AVRO)];

/// Kafka's programs.
pub(crate) struct Kafka {
    /// For `java -cp`.
    pub(crate) class_path: String,
    /// Log settings of a broker: everything worth reading to standard output.
    broker_log4j: PathBuf,
    /// Log settings of a tool: only warnings, to standard error.
    tools_log4j: PathBuf,
}

impl Kafka {
    /// The JVM argument by which a tool prints only warnings.
    pub(crate) fn tools_log4j_argument(&self) -> String {
        format!("-Dlog4j2.configurationFile={}", self.tools_log4j.display())
    }

    /// The JVM argument by which a broker logs what is worth reading.
    pub(crate) fn broker_log4j_argument(&self) -> String {
        format!("-Dlog4j2.configurationFile={}", self.broker_log4j.display())
    }
}

/// Kafka's programs, fetched if need be.
pub(crate) fn kafka() -> Result<Kafka> {
    let dir = fetch("kafka", &KAFKA_ARTIFACTS, |dir| {
        fs::write(dir.join("broker-log4j2.xml"), log4j("info", "SYSTEM_OUT"))?;
        Ok(fs::write(
            dir.join("tools-log4j2.xml"),
            log4j("warn", "SYSTEM_ERR"),
        )?)
    })?;
    Ok(Kafka {
        class_path: format!("{}/*", dir.display()),
        broker_log4j: dir.join("broker-log4j2.xml"),
        tools_log4j: dir.join("tools-log4j2.xml"),
    })
}

/// The class path of Avro for Java.
pub(crate) fn avro_class_path() -> Result<String> {
    Ok(format!(
        "{}/*",
        fetch("avro-java", &AVRO_ARTIFACTS, |_| Ok(()))?.display()
    ))
}

/// What speeds up a broker's start; see [`kafka::prepare`].
pub(crate) fn kafka_ready(kafka: &Kafka) -> Result<PathBuf> {
    let inputs = [
        &kafka.class_path,
        crate::java::version()?,
        kafka::PREPARED_WITH,
    ];
    cache::entry("kafka-ready", &inputs, |dir| kafka::prepare(kafka, dir))
}

/// Apicurio's jar, fetched if need be.
pub(crate) fn registry_jar() -> Result<PathBuf> {
    let artifact = format!("io.apicurio:apicurio-registry-app:{APICURIO}:tar.gz:all");
    let dir = cache::entry("registry", &[&artifact], |dir| {
        // Maven wants a project's directory to run in; any will do.
        let mut maven = maven("unpack", dir);
        maven.arg(format!("-Dartifact={artifact}"));
        maven.arg(format!("-DoutputDirectory={}", dir.display()));
        output_of("download Apicurio Registry", &mut maven).map(drop)
    })?;
    Ok(dir.join(format!("apicurio-registry-app-{APICURIO}-runner.jar")))
}

/// The class data archive of the registry; see [`registry::prepare`].
pub(crate) fn registry_ready(jar: &Path) -> Result<PathBuf> {
    let inputs = [&*jar.to_string_lossy(), crate::java::version()?];
    cache::entry("registry-ready", &inputs, |dir| registry::prepare(jar, dir))
}

/// Copies the artifacts and all that they need into one directory.
fn fetch(
    name: &str,
    artifacts: &[Artifact],
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let dependencies: String = artifacts
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>\n"
            )
        })
        .collect();
    let project = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
         <modelVersion>4.0.0</modelVersion><groupId>carbon-events</groupId>\
         <artifactId>{name}</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{dependencies}</dependencies></project>\n"
    );
    cache::entry(name, &[&project, MAVEN_DEPENDENCY_PLUGIN], |dir| {
        fs::write(dir.join("pom.xml"), &project)?;
        let mut maven = maven("copy-dependencies", dir);
        maven.arg(format!("-DoutputDirectory={}", dir.display()));
        output_of(&format!("download {name}"), &mut maven)?;
        finish(dir)
    })
}

fn maven(goal: &str, dir: &Path) -> Command {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B"]).current_dir(dir);
    maven.arg(format!(
        "org.apache.maven.plugins:maven-dependency-plugin:{MAVEN_DEPENDENCY_PLUGIN}:{goal}"
    ));
    maven
}

fn log4j(level: &str, target: &str) -> String {
    format!(
        "<Configuration status=\"warn\"><Appenders><Console name=\"console\" target=\"{target}\">\
         <PatternLayout pattern=\"%d{{ISO8601}} %p %c{{1}} %m%n\"/></Console></Appenders>\
         <Loggers><Root level=\"{level}\"><AppenderRef ref=\"console\"/></Root></Loggers>\
         </Configuration>\n"
    )
}

/// Fetches and prepares everything, so that later starts need no network.
pub fn fetch_all() -> Result<()> {
    thread::scope(|scope| {
        let python = scope.spawn(crate::python::interpreter);
        kafka_ready(&kafka()?)?;
        registry_ready(&registry_jar()?)?;
        crate::interop::java_class_path()?;
        python
            .join()
            .map_err(|_| anyhow!("preparing Python panicked"))??;
        Ok(())
    })
}

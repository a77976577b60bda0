//! Apache Kafka's own performance tools as contenders, each run a process of its own. Their rates are
//! those that they print, without the start of the JVM; their CPU seconds are the whole process's.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};

use super::Bench;
use super::work::{Taken, seconds};
use crate::exit::Usage;

/// Different ready-made values; the tool picks from them.
const VALUES: u64 = 10_000;

/// Where Java's tools are.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Apache Kafka's jars (its `libs` folder, with the tools): measures Java's ProducerPerformance
    /// and ConsumerPerformance as well
    #[arg(long, value_name = "DIR")]
    java_libs: Option<PathBuf>,
    /// Properties for Java's tools, where the cluster asks for TLS or SASL
    #[arg(long, value_name = "FILE", requires = "java_libs")]
    java_config: Option<PathBuf>,
}

impl Options {
    pub(super) fn is_wanted(&self) -> bool {
        self.java_libs.is_some()
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        match &self.java_libs {
            Some(libs) if !libs.is_dir() => {
                bail!(Usage(format!(
                    "--java-libs: {} is no folder",
                    libs.display()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Ready bytes without keys, as long as an event is, with the producer's settings as ours.
    pub(super) fn produce(&self, bench: &Bench<'_>) -> anyhow::Result<Taken> {
        let values = std::env::temp_dir().join(format!("bench-values-{}", std::process::id()));
        std::fs::write(&values, ready_values(bench)?)
            .with_context(|| format!("cannot write {}", values.display()))?;
        let mut tool = self.tool("ProducerPerformance", bench);
        tool.arg("--payload-file").arg(&values);
        tool.args(["--num-records", &bench.work.events.to_string()]);
        tool.args(["--throughput", "-1", "--command-property"]);
        tool.args([
            "acks=all",
            "enable.idempotence=true",
            "compression.type=lz4",
        ]);
        tool.args([
            "linger.ms=10",
            "batch.size=1000000",
            "buffer.memory=134217728",
        ]);
        let printed = run(tool);
        // It is only a file of made-up values in the folder for such.
        let _ = std::fs::remove_file(&values);
        let (printed, cpu_seconds) = printed?;
        let rate = printed.lines().rev().find_map(|line| {
            let before = line.split(" records/sec").next()?;
            before.rsplit(' ').next()?.parse().ok()
        });
        taken(bench, rate, cpu_seconds)
    }

    pub(super) fn consume(&self, bench: &Bench<'_>) -> anyhow::Result<Taken> {
        let mut tool = self.tool("ConsumerPerformance", bench);
        tool.args(["--num-records", &bench.work.events.to_string()]);
        tool.args(["--timeout", "30000"]);
        let (printed, cpu_seconds) = run(tool)?;
        // The last column: records a second of the time that was spent fetching.
        let rate = printed
            .lines()
            .rev()
            .find_map(|line| line.rsplit(',').next()?.trim().parse().ok());
        taken(bench, rate, cpu_seconds)
    }

    fn tool(&self, class: &str, bench: &Bench<'_>) -> Command {
        let libs = self.java_libs.as_deref().unwrap_or_else(|| ".".as_ref());
        let mut tool = Command::new("java");
        tool.args(["-Xmx1g", "-cp"]).arg(libs.join("*"));
        tool.arg(format!("org.apache.kafka.tools.{class}"));
        let servers = &bench.settings.connection.bootstrap_servers;
        tool.args(["--bootstrap-server", servers]);
        tool.args(["--topic", &bench.topic.name()]);
        if let Some(config) = &self.java_config {
            tool.arg("--command-config").arg(config);
        }
        tool
    }
}

/// A line of text for each value, with what an event says and as long as it is.
fn ready_values(bench: &Bench<'_>) -> anyhow::Result<String> {
    let length = bench.work.event_bytes()?;
    let mut lines = String::new();
    for number in 0..VALUES {
        let event = serde_json::to_value(bench.work.event(number, 0)?)?;
        let mut line = String::new();
        for value in event
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.values())
        {
            write!(line, "{value}|")?;
        }
        lines.extend(
            line.chars()
                .filter(|c| *c != '"')
                .chain(std::iter::repeat('.'))
                .take(length),
        );
        lines.push('\n');
    }
    Ok(lines)
}

/// What the tool printed, and its CPU seconds.
fn run(mut tool: Command) -> anyhow::Result<(String, f64)> {
    let before = children_seconds();
    let output = tool.output().context("cannot run java")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "Java's tool failed: {}",
            errors.lines().last().unwrap_or("silently")
        );
    }
    Ok((printed, children_seconds() - before))
}

fn taken(bench: &Bench<'_>, rate: Option<f64>, cpu_seconds: f64) -> anyhow::Result<Taken> {
    let rate = rate
        .filter(|rate| *rate > 0.0)
        .context("Java's tool printed no rate")?;
    Ok(Taken {
        events: bench.work.events,
        wall: Duration::from_secs_f64(bench.work.events as f64 / rate),
        cpu_seconds,
    })
}

fn children_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(f64::NAN, |usage| {
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}

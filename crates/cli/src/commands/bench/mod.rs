//! `bench`: measures this library on a cluster, and rdkafka's own clients with the same work.
//!
//! The clients take turns, round by round, so that other load on the machine affects all of them; the
//! table shows each one's median. Every client builds and encodes its events, except for Java's own tool,
//! which sends prepared bytes. CPU seconds are those of this process, including librdkafka's threads.

mod consume;
mod java;
mod latency;
mod native;
mod produce;
mod report;
mod topic;
mod work;

use std::time::Duration;

use anyhow::bail;
use carbon_events::config::Settings;
use carbon_events::testkit::Broker;
use clap::{Args, ValueEnum};

use crate::args::Cli;
use crate::exit::Exit;
use crate::{format, output};

use report::Report;
use topic::BenchTopic;
use work::Work;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// Events built, encoded, sent and acknowledged, in a burst
    Produce,
    /// Events fetched and decoded
    Consume,
    /// Latency from send to consumer at a steady rate, and of awaited sends, one after the other
    Latency,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    phases: Vec<Phase>,
    /// Use a broker inside this process instead of a cluster: a smoke test, not a measurement
    #[arg(long, conflicts_with = "bootstrap_servers")]
    embedded: bool,
    /// Events per round
    #[arg(long, value_name = "EVENTS", default_value_t = 1_000_000)]
    events: u64,
    /// Rounds, of which the medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Distinct keys
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Partitions of the topic, which is created for this run and deleted after it
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Events per second for the latency measurement
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Duration of the latency measurement, per client and round
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = format::parse_duration)]
    duration: Duration,
    /// Measure this library only, not rdkafka's clients
    #[arg(long)]
    no_peers: bool,
    #[command(flatten)]
    java: java::Options,
}

pub(crate) fn run(cli: &Cli, options: &Options) -> anyhow::Result<Exit> {
    let mut settings = cli.connection.settings()?;
    let broker = if options.embedded {
        Some(Broker::start()?)
    } else {
        None
    };
    if let Some(broker) = &broker {
        settings.connection = broker.connection();
    }
    options.java.check()?;
    if options.events == 0 {
        bail!(crate::exit::Usage("--events must be at least 1".into()));
    }
    let phases = match options.phases.as_slice() {
        [] => Phase::value_variants(),
        phases => phases,
    };
    let topic = match &broker {
        Some(broker) => BenchTopic::embedded(broker, options.partitions)?,
        None => BenchTopic::create(cli, &settings, options.partitions)?,
    };
    let bench = Bench {
        work: Work::new(options.events, options.keys),
        settings,
        topic,
        options,
        quiet: cli.output.quiet,
    };
    let mut report = Report::default();
    for phase in phases {
        match phase {
            Phase::Produce => produce::run(&bench, &mut report)?,
            Phase::Consume => consume::run(&bench, &mut report)?,
            Phase::Latency => latency::run(&bench, &mut report)?,
        }
    }
    if cli.output.json {
        output::json_line(&report.json(&bench))?;
    } else {
        report.print(&bench)?;
    }
    Ok(Exit::Done)
}

/// Whose clients a contender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Own,
    Peer,
    Java,
}

/// Shared by all phases.
struct Bench<'a> {
    settings: Settings,
    topic: BenchTopic,
    work: Work,
    options: &'a Options,
    quiet: bool,
}

impl Bench<'_> {
    /// This library's settings, writing to the bench's own topic.
    fn own_settings(&self) -> Settings {
        let mut settings = self.settings.clone();
        settings.connection = settings.connection.topic_prefix(self.topic.prefix());
        settings
    }

    /// Runs the selected `contenders` in turn, round by round.
    fn rounds<C: Copy>(
        &self,
        contenders: &[(C, Side, &'static str)],
        mut measure: impl FnMut(C, &'static str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let asked_for = |(_, side, _): &&(C, Side, &str)| match side {
            Side::Own => true,
            Side::Peer => !self.options.no_peers,
            Side::Java => self.options.java.is_wanted(),
        };
        for round in 1..=self.options.rounds {
            for &(contender, _, name) in contenders.iter().filter(asked_for) {
                if !self.quiet {
                    output::note(format!(
                        "round {round} of {}: {}",
                        self.options.rounds, name
                    ));
                }
                measure(contender, name)?;
            }
        }
        Ok(())
    }
}

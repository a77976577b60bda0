//! Publishes what an SSH server wrote into the system's log as [`SecurityEvent`]s, reads them back
//! and shows who failed to log in.
//!
//! ```sh
//! cargo run --release -p carbon-events-examples --example auth_log -- examples/data/auth.log
//! ```
//!
//! Lines of other programs are counted and passed over. A syslog time has no year and no zone: see
//! `--until` and `--time-zone`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use carbon_events::events::{SecurityEvent, SecurityOutcome};
use carbon_events::{Delivery, ErrorKind, EventProducer, StringMap};
use carbon_events_examples::lines::Log;
use carbon_events_examples::run::Run;
use carbon_events_examples::ssh_log::{Entry, LOGIN};
use carbon_events_examples::syslog::{Clock, Line};
use carbon_events_examples::tally::Tally;
use clap::Parser;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Publish an SSH server's log, read it back and show failed logins
#[derive(Parser)]
struct Options {
    /// The log; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The day on which the log ends. Each line is of the latest year in which it is not newer
    /// [default: the day the file was last written to; today for standard input]
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<Date>,
    /// The time zone of the host that wrote the log
    #[arg(long, value_name = "NAME", default_value = "UTC")]
    time_zone: String,
    /// How many rows each table has at most
    #[arg(long, default_value_t = 10)]
    top: usize,
}

impl Options {
    fn clock(&self, log: &Log) -> anyhow::Result<Clock> {
        let zone = TimeZone::get(&self.time_zone).context("--time-zone")?;
        let end = match (self.until, log.modified) {
            (Some(day), _) => {
                let midnight = day.checked_add(1.day())?.at(0, 0, 0, 0);
                zone.to_timestamp(midnight)?
            }
            (None, Some(modified)) => modified.try_into()?,
            (None, None) => Timestamp::now(),
        };
        Ok(Clock { end, zone })
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let producer = EventProducer::from_env().service_name("auth-log").build()?;
    let mut log = Log::open(&options.file)?;
    let clock = options.clock(&log)?;
    let mut run = Run::default();
    let mut of_others = 0;
    while let Some(line) = log.next_line()? {
        let parsed = clock.parse(&line.text).and_then(|line| {
            // Newer servers have a process of another name for each session.
            let ssh = matches!(line.program, "sshd" | "sshd-session" | "sshd-auth");
            let entry = ssh.then(|| Entry::parse(line.message)).transpose()?;
            Ok(entry.map(|entry| (line, entry)))
        });
        match parsed {
            Ok(None) => of_others += 1,
            Ok(Some((head, entry))) => match publish(&producer, &run.id, &head, &entry) {
                Ok(delivery) => run.sent(delivery),
                Err(error) if error.kind() == ErrorKind::RecordTooLarge => {
                    log.malformed(line.number, error.message());
                }
                Err(error) => return Err(error.into()),
            },
            Err(why) => log.malformed(line.number, why),
        }
    }
    let delivered = run.settle()?;
    producer.close(Duration::from_secs(10))?;

    let mut by_outcome = Tally::new(["events"], "by action and outcome");
    let mut by_address = Tally::new(["failed logins"], "by address");
    let mut by_user = Tally::new(["failed logins"], "by user");
    let mut failed = Tally::new(["failed logins"], "in all");
    let read = run.read_back::<SecurityEvent>(|event| {
        by_outcome.add(&format!("{} {}", event.action, event.outcome), [1]);
        if event.action == LOGIN && event.outcome == SecurityOutcome::Failure {
            let repeated = event.details.get("repeated");
            let times = repeated.and_then(|times| times.parse().ok()).unwrap_or(1);
            failed.add("attempts", [times]);
            by_address.add(event.ip_address.as_deref().unwrap_or_default(), [times]);
            by_user.add(event.principal.as_deref().unwrap_or_default(), [times]);
        }
    })?;

    let mut out = std::io::stdout().lock();
    let (lines, malformed) = (log.lines, log.malformed);
    writeln!(
        out,
        "{lines} lines: {delivered} published, {of_others} of other programs, {malformed} \
         malformed; {read} read back"
    )?;
    for tally in [by_outcome, failed, by_address, by_user] {
        writeln!(out, "\n{}", tally.table(options.top).trim_end())?;
    }
    Ok(())
}

/// Sends one message's event; its key is the user, or this program where there is none.
fn publish(
    producer: &EventProducer,
    run: &str,
    line: &Line<'_>,
    entry: &Entry<'_>,
) -> carbon_events::Result<Delivery> {
    let repeated = (entry.repeated > 1).then(|| entry.repeated.to_string());
    let details: StringMap<'_> = [
        ("pid", line.pid),
        ("port", entry.port),
        ("method", entry.method),
        ("invalidUser", entry.invalid_user.then_some("true")),
        ("repeated", repeated.as_deref()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let event = SecurityEvent::builder()
        .timestamp_ms(line.timestamp_ms)
        .correlation_id(run)
        .category(entry.category)
        .severity(entry.severity)
        .action(entry.action)
        .outcome(entry.outcome)
        .principal(entry.user)
        .resource(line.host)
        .ip_address(entry.address)
        .description(entry.message)
        .details(details)
        .build()?;
    producer.send(&event)
}

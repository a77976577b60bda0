//! `demo`: sends a million events of all kinds through Kafka, reads them back and verifies each.
//!
//! ```text
//! event(0), event(1), … --EventProducer--> Kafka --EventConsumer--> event
//!      \                                                              | equal to event(its number),
//!       \--------------------- built again from its number ----------> | field by field?
//! ```
//!
//! First as fast as possible, for the table; then at a steady rate, for the latency from send to read.
//! Without `--bootstrap-servers` the broker and the registry are the test kit's, in this process, so
//! that both ends and the broker share the same cores.

mod check;
mod events;
mod latency;
mod random;
mod report;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use carbon_events::admin::TopicTable;
use carbon_events::config::{Settings, StartPosition};
use carbon_events::consumer::EventConsumer;
use carbon_events::testkit::Platform;
use carbon_events::{EventProducer, Topic};
use clap::Args;
use indicatif::ProgressBar;

use self::check::Check;
use self::events::Events;
use self::latency::Latencies;
use self::report::Report;
use super::topics;
use crate::args::Cli;
use crate::exit::Exit;
use crate::output::{self, DIM, styled};
use crate::{format, interrupt, progress};

/// How far the sender may be ahead of the reader. The in-process broker keeps at most 5 MB of a
/// partition; this is a fraction of that in the largest one.
const LEAD: u64 = 100_000;
/// After how long without a record the rest counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(20);
/// How long the cluster may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  carbon-events demo
  carbon-events demo --events 5000000
  carbon-events demo --bootstrap-servers localhost:9092 --security-protocol PLAINTEXT")]
pub(crate) struct Options {
    /// How many events to send as fast as possible
    #[arg(long, value_name = "EVENTS", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events: u64,
    /// Events per second to send afterwards to measure latency; 0 skips that
    #[arg(long, value_name = "EVENTS", default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    rate: u64,
    /// For how long to send them
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = format::parse_duration)]
    latency_time: Duration,
}

pub(crate) fn run(cli: &Cli, options: &Options) -> anyhow::Result<Exit> {
    interrupt::catch()?;
    // Only a cluster named on the command line: the demo's events do not belong on the one that the
    // environment names.
    let (settings, platform) = if cli.connection.names_a_cluster() {
        let settings = cli.connection.settings()?;
        make_topics(cli, &settings)?;
        (settings, None)
    } else {
        let platform = Platform::start()?;
        (platform.settings(), Some(platform))
    };
    let steady = (options.rate as f64 * options.latency_time.as_secs_f64()) as u64;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let events = Events::new(RandomState::new().hash_one(now_ms), now_ms);
    let demo = Demo {
        producer: producer(&settings)?,
        consumer: consumer(&settings, platform.is_some(), now_ms)?,
        events,
        topic_prefix: settings.connection.topic_prefix.clone(),
        bulk: options.events,
        total: options.events + steady,
        rate: options.rate,
        back: AtomicU64::new(0),
        over: AtomicBool::new(false),
        latencies: Latencies::new(options.events, steady),
        bar: progress::bar(options.events + steady, "events", cli.output.quiet),
    };
    let report = demo.run()?;
    demo.bar.finish_and_clear();
    let _ = demo.consumer.close(Duration::from_secs(5));
    if cli.output.json {
        report.print_json()?;
    } else {
        if platform.is_some() {
            output::note(styled(
                DIM,
                "through the broker and the registry inside this process",
            ));
        }
        report.print()?;
    }
    Ok(match report.is_good() {
        _ if interrupt::requested() => Exit::Interrupted,
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// Creates the topics that a development cluster lacks.
fn make_topics(cli: &Cli, settings: &Settings) -> anyhow::Result<()> {
    let table = TopicTable::all().fit_cluster();
    let (admin, _) = topics::compare(cli, settings.connection.clone(), ANSWERS_WITHIN, &table)?;
    let made = admin.create_missing(&table)?.into_result()?;
    if !made.done.is_empty() {
        let count = format::counted(made.done.len() as u64, "topic", "topics");
        output::note(styled(DIM, format!("created {count}")));
    }
    Ok(())
}

fn producer(settings: &Settings) -> anyhow::Result<EventProducer> {
    Ok(EventProducer::builder()
        .settings(settings.clone())
        .service_name("demo")
        .build()?)
}

fn consumer(settings: &Settings, embedded: bool, now_ms: i64) -> anyhow::Result<EventConsumer> {
    let mut settings = settings.clone();
    if embedded {
        // Its broker answers an empty fetch only after this time.
        settings.consumer = settings.consumer.fetch_max_wait(Duration::from_millis(1));
    } else {
        // Records have their events' timestamps, by this machine's clock.
        settings.consumer = settings
            .consumer
            .start(StartPosition::TimestampMs(now_ms - 1000));
    }
    Ok(EventConsumer::builder()
        .settings(settings)
        .topics(Topic::ALL)
        .standalone()
        .build()?)
}

struct Demo {
    producer: EventProducer,
    consumer: EventConsumer,
    events: Events,
    topic_prefix: String,
    /// How many are sent as fast as possible.
    bulk: u64,
    /// How many are sent in total.
    total: u64,
    rate: u64,
    /// How many were read back.
    back: AtomicU64,
    /// Whether sending has ended.
    over: AtomicBool,
    latencies: Latencies,
    bar: ProgressBar,
}

impl Demo {
    fn run(&self) -> anyhow::Result<Report> {
        let started = Instant::now();
        let (sent, read) = thread::scope(|scope| {
            let reader = thread::Builder::new()
                .name("demo-reader".to_owned())
                .spawn_scoped(scope, || self.read(started))
                .context("cannot spawn a thread")?;
            let sent = self.send();
            self.over.store(true, Ordering::SeqCst);
            let read = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
            anyhow::Ok((sent, read))
        })?;
        let (check, bulk_took) = read?;
        let sent = sent?;
        let stats = self.producer.stats();
        Ok(Report {
            sent,
            bulk: sent.min(self.bulk),
            bulk_took,
            failed: stats.failed,
            latency: self.latencies.summary(self.rate),
            check,
        })
    }

    /// Sends all events; returns how many were accepted.
    fn send(&self) -> anyhow::Result<u64> {
        self.bar.set_message("at full speed");
        let mut sent = 0;
        while sent < self.bulk && !interrupt::requested() {
            // Counted by the producer: a failure shows in its statistics.
            drop(self.producer.any(&self.events.event(sent)?).send()?);
            sent += 1;
            // Reading the counter costs time: not for every event.
            while sent.is_multiple_of(256) && sent - self.back.load(Ordering::Relaxed) > LEAD {
                if interrupt::requested() {
                    break;
                }
                thread::sleep(Duration::from_micros(500));
            }
        }
        self.producer.flush(Duration::from_secs(60))?;
        // The steady phase starts with empty queues.
        self.wait_for(sent);
        if self.total > self.bulk {
            self.bar.set_message("steady rate");
            sent = self.send_steadily(sent)?;
            self.producer.flush(Duration::from_secs(60))?;
        }
        Ok(sent)
    }

    fn send_steadily(&self, mut sent: u64) -> anyhow::Result<u64> {
        let started = Instant::now();
        let begun_at = sent;
        while sent < self.total && !interrupt::requested() {
            let due = (started.elapsed().as_secs_f64() * self.rate as f64) as u64;
            let due = (begun_at + due).min(self.total);
            if sent >= due {
                thread::sleep(Duration::from_micros(200));
            }
            while sent < due {
                let event = self.events.event(sent)?;
                self.latencies.sent(sent);
                drop(self.producer.any(&event).send()?);
                sent += 1;
            }
        }
        Ok(sent)
    }

    /// Waits until so many were read back, or none arrived for [`LOST_AFTER`].
    fn wait_for(&self, count: u64) {
        let (mut last, mut since) = (0, Instant::now());
        while !interrupt::requested() {
            let back = self.back.load(Ordering::Relaxed);
            if back >= count || since.elapsed() > LOST_AFTER {
                return;
            }
            if back != last {
                (last, since) = (back, Instant::now());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Reads and checks until every sent event was read, or none arrived for [`LOST_AFTER`]. Also
    /// returns how long the fast part took.
    fn read(&self, started: Instant) -> anyhow::Result<(Check, Duration)> {
        let mut check = Check::new(self.events, self.total, self.topic_prefix.clone());
        let mut bulk_took = None;
        let mut heard = Instant::now();
        loop {
            let everything = self.producer.stats().delivered;
            let over = self.over.load(Ordering::SeqCst);
            if over && (check.unique >= everything || heard.elapsed() > LOST_AFTER) {
                break;
            }
            let Some(batch) = self.consumer.next_batch(Duration::from_millis(50))? else {
                continue;
            };
            for record in &batch {
                if let Some(index) = check.record(&record) {
                    self.latencies.came_back(index);
                }
            }
            heard = Instant::now();
            self.back.store(check.unique, Ordering::Relaxed);
            self.bar.set_position(check.unique);
            if check.unique >= self.bulk && bulk_took.is_none() {
                bulk_took = Some(started.elapsed());
            }
        }
        Ok((check, bulk_took.unwrap_or_else(|| started.elapsed())))
    }
}

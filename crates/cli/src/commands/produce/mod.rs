//! `produce`: publishes lines of JSON as typed events.
//!
//! ```text
//! file or stdin --a thread reads--> lines --strict JSON--> event --send--> delivery
//!                                     |                      |               |
//!                                     invalid: set aside     not accepted:   failed: set aside,
//!                                     with line and error    the run ends    counted
//! ```
//!
//! Each line is either acknowledged, or set aside with its error, or (if the run is interrupted) not
//! read.

mod input;
mod rejects;
mod summary;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use carbon_events::codec::{Fill, Rules, event_from_json};
use carbon_events::config::{ProducerSettings, Settings};
use carbon_events::{Delivery, Error, ErrorKind, EventId, EventProducer, Topic};
use clap::Args;
use indicatif::ProgressBar;

use self::input::{Line, Next};
use self::rejects::Rejects;
use self::summary::Summary;
use super::{event_parser, topic_parser};
use crate::args::Cli;
use crate::exit::Exit;
use crate::output::{self, BAD, NOTE, styled};
use crate::silence::Silence;
use crate::{format, interrupt, progress};

/// How long closing waits beyond the delivery timeout; less than that would abort records that may
/// still be delivered.
const EXTRA: Duration = Duration::from_secs(5);
/// The default delivery timeout. The library's two minutes are for services; at a shell a mistyped
/// address is more likely.
const TRIED_FOR: Duration = Duration::from_secs(30);
/// How many rejected lines are shown; the file holds all.
const SHOWN: u64 = 10;
/// After how many failed deliveries, and none that succeeded, the run ends.
const HOPELESS: u64 = 100;

#[derive(Debug, Args)]
#[command(after_long_help = "\
Each line is one event: a flat JSON object with the field names of its schema (`carbon-events schemas
show`). Missing eventId, timestamp, source, eventType and version are filled in. A line with a value of
a wrong type or a field that the schema does not have is rejected.

Examples:
  carbon-events produce --event ServiceHealthEvent health.jsonl
  jq -c '.events[]' dump.json | carbon-events produce --topic audit-api-calls")]
pub(crate) struct Options {
    /// The file to read; - for standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// The topic of all lines [default: each line's eventType decides]
    #[arg(short, long, value_parser = topic_parser())]
    topic: Option<Topic>,
    /// The event of all lines
    #[arg(short, long, value_parser = event_parser(), conflicts_with = "topic")]
    event: Option<Topic>,
    /// A header for every record; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// File for rejected lines, readable by its owner only; an existing one is replaced [default: the
    /// input's name and .rejected.jsonl]
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Delivery timeout of an event, after which it is set aside [default: 30s, or
    /// delivery_timeout_ms of a --config file]
    #[arg(long, value_name = "TIME", value_parser = format::parse_duration)]
    timeout: Option<Duration>,
    /// Check the lines without sending them
    #[arg(long)]
    dry_run: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Options {
    /// The producer's settings with this command's timeout.
    fn producer(&self, settings: &Settings) -> carbon_events::Result<ProducerSettings> {
        let given = settings.producer.clone();
        let untouched = given.delivery_timeout == ProducerSettings::default().delivery_timeout;
        let tried_for = match self.timeout {
            None if !untouched => given.delivery_timeout,
            timeout => timeout.unwrap_or(TRIED_FOR),
        };
        let producer = given.delivery_timeout(tried_for);
        producer.with_properties(&settings.connection.properties)
    }

    fn is_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    /// The input's name in messages.
    fn input_name(&self) -> String {
        if self.is_stdin() {
            "stdin".to_owned()
        } else {
            self.file.display().to_string()
        }
    }

    fn rejected_path(&self) -> PathBuf {
        match &self.rejected {
            Some(path) => path.clone(),
            None if self.is_stdin() => PathBuf::from("stdin.rejected.jsonl"),
            // After the whole name: `events.log.2026-11-01` and `…-02` have a file each.
            None => {
                let mut path = self.file.clone().into_os_string();
                path.push(".rejected.jsonl");
                path.into()
            }
        }
    }
}

pub(crate) fn run(cli: &Cli, options: &Options) -> anyhow::Result<Exit> {
    let mut settings = cli.connection.settings()?;
    settings.producer = options.producer(&settings)?;
    let tried_for = settings.producer.delivery_timeout;
    let patience = tried_for.saturating_add(EXTRA);
    let silence = Silence::new(cli, &settings.connection, tried_for);
    let service = settings.connection.service_name.clone();
    let topic_prefix = settings.connection.topic_prefix.clone();
    settings.connection.check_files()?;
    let producer = EventProducer::builder().settings(settings).build()?;
    interrupt::catch()?;

    let rejects = Rejects::new(options.rejected_path());
    let (lines, size) = if options.is_stdin() {
        #[cfg(unix)]
        if let Ok(stdin) = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned() {
            rejects.check_is_not(&std::fs::File::from(stdin))?;
        }
        (input::lines(std::io::stdin()), None)
    } else {
        let shown = options.file.display();
        let file =
            std::fs::File::open(&options.file).with_context(|| format!("cannot read {shown}"))?;
        rejects.check_is_not(&file)?;
        let size = file.metadata().ok().map(|found| found.len());
        (input::lines(file), size)
    };
    let bar = match size {
        Some(size) => progress::bytes(size, cli.output.quiet),
        None => progress::counter("lines", cli.output.quiet),
    };
    let mut run = Run {
        options,
        producer: &producer,
        service: &service,
        rejects,
        bar,
        waiting: VecDeque::new(),
        silence,
        summary: Summary::new(topic_prefix),
        scratch: Vec::new(),
    };
    let started = Instant::now();
    let outcome = run.all(&lines?).and_then(|()| run.wait_out_silence());
    if interrupt::requested() {
        run.summary.interrupted = true;
        let left = run.producer.stats().queued;
        run.say(format!("interrupted; waiting for {left} acknowledgements"));
    }
    // In any case: accepted records are sent, and their outcome awaited.
    let closed = producer.close(patience);
    run.settle(true)?;
    run.bar.finish_and_clear();
    run.summary.took = started.elapsed();
    let rejected_to = run.rejects.finish()?;
    run.summary
        .print(cli.output.json, options.dry_run, rejected_to.as_deref())?;
    outcome?;
    match closed {
        // Aborted records count as undelivered, and their lines are set aside.
        Err(error) if error.kind() != ErrorKind::Aborted => Err(error.into()),
        _ => Ok(run.summary.exit()),
    }
}

/// One run over an input.
struct Run<'a> {
    options: &'a Options,
    producer: &'a EventProducer,
    service: &'a str,
    rejects: Rejects,
    bar: ProgressBar,
    /// Accepted lines whose outcome is not known yet, oldest first.
    waiting: VecDeque<(Line, Topic, Delivery)>,
    silence: Silence,
    summary: Summary,
    scratch: Vec<u8>,
}

impl Run<'_> {
    fn all(&mut self, lines: &input::Lines) -> anyhow::Result<()> {
        loop {
            if interrupt::requested() {
                return Ok(());
            }
            match lines.next(Duration::from_millis(100)) {
                Next::Lines(batch) => {
                    for line in batch {
                        self.line(line)?;
                        if interrupt::requested() {
                            return Ok(());
                        }
                    }
                }
                Next::Nothing => {}
                Next::End => return Ok(()),
                Next::Failed(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read {}", self.options.input_name()));
                }
            }
            self.settle(false)?;
            self.break_silence();
        }
    }

    fn break_silence(&mut self) {
        let heard = self.summary.delivered + self.summary.undelivered > 0;
        if let Some(text) = self.silence.look(heard, self.waiting.is_empty()) {
            self.say(text);
        }
    }

    /// After the last line: waits until a first record has its outcome, or the cluster's silence was
    /// reported.
    fn wait_out_silence(&mut self) -> anyhow::Result<()> {
        while !self.waiting.is_empty() && !self.silence.is_over() && !interrupt::requested() {
            self.settle(false)?;
            self.break_silence();
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn line(&mut self, line: Line) -> anyhow::Result<()> {
        self.advance(&line);
        self.summary.lines += 1;
        if let Some(why) = &line.fault {
            let error = Error::new(ErrorKind::InvalidEvent, why.as_str());
            return self.reject(&line, &error);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = self.send(&line.text, &mut scratch);
        self.scratch = scratch;
        match outcome {
            Ok((topic, Some(delivery))) => {
                self.summary.accepted(topic);
                self.waiting.push_back((line, topic, delivery));
                Ok(())
            }
            Ok((topic, None)) => {
                self.summary.accepted(topic);
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidEvent | ErrorKind::RecordTooLarge
                ) =>
            {
                self.reject(&line, &error)
            }
            Err(error) => {
                // Every other line would fail the same way. Set this one aside, too.
                self.undelivered(&line, &error)?;
                Err(error.into())
            }
        }
    }

    fn send(
        &self,
        line: &[u8],
        scratch: &mut Vec<u8>,
    ) -> carbon_events::Result<(Topic, Option<Delivery>)> {
        let topic = match self.options.topic.or(self.options.event) {
            Some(topic) => topic,
            None => topic_of(line)?,
        };
        let id = EventId::generate();
        let fill = Fill {
            event_id: id.as_str(),
            timestamp_ms: jiff::Timestamp::now().as_millisecond(),
            source: self.service,
        };
        let event = event_from_json(topic, line, Rules::Strict, &fill, scratch)?.event;
        if self.options.dry_run {
            return Ok((topic, None));
        }
        let headers = self.options.headers.iter();
        let record = headers.fold(self.producer.any(&event), |record, (name, value)| {
            record.header(name, value.as_bytes())
        });
        Ok((topic, Some(record.send()?)))
    }

    /// Counts the outcomes of accepted lines; with `all`, waits for each.
    fn settle(&mut self, all: bool) -> anyhow::Result<()> {
        while let Some((_, _, delivery)) = self.waiting.front() {
            let outcome = match delivery.outcome() {
                Some(outcome) => outcome,
                None if all => delivery.wait(),
                None => break,
            };
            let Some((line, topic, _)) = self.waiting.pop_front() else {
                break;
            };
            match outcome {
                Ok(_) => self.summary.delivered(topic),
                Err(error) => {
                    self.undelivered(&line, &error)?;
                    if self.summary.delivered == 0 && self.summary.undelivered >= HOPELESS && !all {
                        return Err(error.into());
                    }
                }
            }
        }
        Ok(())
    }

    fn reject(&mut self, line: &Line, error: &Error) -> anyhow::Result<()> {
        self.summary.rejected += 1;
        self.rejects.add(line, error)?;
        self.show(self.summary.rejected, line, error.message());
        Ok(())
    }

    fn undelivered(&mut self, line: &Line, error: &Error) -> anyhow::Result<()> {
        self.summary.undelivered(error);
        self.rejects.add(line, error)?;
        self.show(self.summary.undelivered, line, error);
        Ok(())
    }

    /// Shows a line's error; of many only the first few.
    fn show(&self, count: u64, line: &Line, what: impl std::fmt::Display) {
        if count <= SHOWN {
            let place = format!("{}:{}:", self.options.input_name(), line.number);
            let what = output::printable(&what.to_string());
            self.say(format!(
                "{} {}",
                output::printable(&place),
                styled(BAD, what)
            ));
        } else if count == SHOWN + 1 {
            let path = self.rejects.path().display().to_string();
            self.say(styled(NOTE, format!("more lines are set aside in {path}")));
        }
    }

    fn say(&self, text: String) {
        self.bar.suspend(|| output::note(text));
    }

    fn advance(&self, line: &Line) {
        if self.bar.length().is_some() {
            self.bar.set_position(line.end);
        } else {
            self.bar.inc(1);
        }
        if self.summary.lines.is_multiple_of(1024) {
            let rejected = self.summary.rejected;
            if rejected > 0 {
                self.bar
                    .set_message(format!("{} rejected", format::count(rejected)));
            }
        }
    }
}

/// The topic of a line by its `eventType`.
fn topic_of(line: &[u8]) -> carbon_events::Result<Topic> {
    let refused = |why: String| Error::new(ErrorKind::InvalidEvent, why).with("field", "eventType");
    let json: serde_json::Value = serde_json::from_slice(line)
        .map_err(|error| refused(format!("the line is not JSON: {error}")))?;
    let Some(name) = json["eventType"].as_str() else {
        let message = "the line has no eventType: name the event with --event or --topic";
        return Err(refused(message.to_owned()));
    };
    let found = Topic::ALL
        .into_iter()
        .find(|topic| topic.spec().record == name);
    found.ok_or_else(|| refused(format!("eventType {name:?} is unknown")))
}

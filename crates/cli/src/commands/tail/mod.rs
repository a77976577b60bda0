//! `tail`: shows the events of topics as they arrive.
//!
//! It reads without a consumer group: it takes no partition from a service and commits nothing. It
//! decodes every wire format; an undecodable record is shown with its error.

mod filter;
mod show;
mod when;

use std::time::Duration;

use carbon_events::config::{ConsumerSettings, StartPosition};
use carbon_events::consumer::{EventConsumer, Record};
use carbon_events::{ErrorKind, Topic};
use clap::Args;

use self::filter::Condition;
use self::show::Shown;
use self::when::When;
use crate::args::Cli;
use crate::exit::Exit;
use crate::format::counted;
use crate::output::{self, DIM, styled};
use crate::silence::Silence;
use crate::{interrupt, progress};

#[derive(Debug, Args)]
#[command(after_long_help = "\
Conditions compare a field of the event, by its name in JSON, with a value: `statusCode>=500`,
`service=checkout`, `errorMessage~timeout` (contains), `details.region!=eu` (an entry of a map),
`userId=null`. Numbers are compared as numbers. All conditions must hold.

Examples:
  carbon-events tail audit-api-calls --where 'statusCode>=500'
  carbon-events tail --since 2h --exit --json | jq .event.source
  carbon-events tail data-quality --from earliest -n 10")]
pub(crate) struct Options {
    /// Topics or events [default: the platform's topics]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to start: earliest, latest, or offset:N in every partition [default: latest]
    #[arg(long, value_name = "POSITION", value_parser = position, conflicts_with = "since")]
    from: Option<StartPosition>,
    /// Start with records whose timestamp is this or later: RFC 3339, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<When>,
    /// Skip records whose timestamp is this or later, and exit when the time has passed
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<When>,
    /// Exit when the end of every partition is reached, instead of waiting for more
    #[arg(short, long)]
    exit: bool,
    /// Exit after this many records
    #[arg(short = 'n', long, value_name = "RECORDS")]
    count: Option<u64>,
    /// Show only records with this key
    #[arg(short, long)]
    key: Option<String>,
    /// Show only events for which this condition holds; repeatable
    #[arg(short, long = "where", value_name = "CONDITION")]
    conditions: Vec<Condition>,
}

fn position(text: &str) -> Result<StartPosition, String> {
    match text.parse() {
        Ok(StartPosition::TimestampMs(_)) => Err("use --since for a time".to_owned()),
        Ok(position) => Ok(position),
        Err(_) => Err("must be earliest, latest or offset:N".to_owned()),
    }
}

impl Options {
    /// The topics' names; an event's name means its topic.
    fn topics(&self) -> Vec<&str> {
        if self.topics.is_empty() {
            return Topic::ALL.iter().map(|topic| topic.name()).collect();
        }
        let name = |given: &'_ String| {
            let event = Topic::ALL
                .into_iter()
                .find(|topic| topic.spec().record == given);
            event.map(Topic::name)
        };
        self.topics
            .iter()
            .map(|given| name(given).unwrap_or(given))
            .collect()
    }
}

/// How long brokers may be unreachable: a person is waiting.
const TRIED_FOR: Duration = Duration::from_secs(10);

pub(crate) fn run(cli: &Cli, options: &Options) -> anyhow::Result<Exit> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let since_ms = options.since.map(|since| since.at(now_ms));
    let until_ms = options.until.map(|until| until.at(now_ms));
    let mut settings = cli.connection.settings()?;
    settings.connection.check_files()?;
    // Unless a file sets another time.
    let mut tried_for = settings.consumer.unreachable_after;
    if tried_for == ConsumerSettings::default().unreachable_after {
        tried_for = TRIED_FOR;
        settings.consumer = settings.consumer.unreachable_after(tried_for);
    }
    let silence = Silence::new(cli, &settings.connection, tried_for);
    let mut builder = EventConsumer::builder()
        .settings(settings)
        .topics(options.topics())
        .standalone()
        .start(match (since_ms, options.from) {
            (Some(since_ms), _) => StartPosition::TimestampMs(since_ms),
            (None, Some(position)) => position,
            (None, None) => StartPosition::Latest,
        });
    // Records from before a past time are already there.
    let to_the_end = options.exit || until_ms.is_some_and(|until_ms| until_ms <= now_ms);
    if to_the_end {
        builder = builder.detect_end();
    }
    let consumer = builder.build()?;
    interrupt::catch()?;
    let mut tail = Tail {
        options,
        since_ms,
        until_ms,
        shown: Shown::new(cli.output.json),
        undecodable: 0,
        silence,
    };
    // A progress bar would disturb the lines of output.
    let searching = to_the_end && !(options.key.is_none() && options.conditions.is_empty());
    let bar = progress::counter("records", cli.output.quiet || !searching);
    let outcome = tail.all(&consumer, &bar, to_the_end);
    bar.finish_and_clear();
    // Nothing is committed, so there is nothing to wait for.
    let _ = consumer.close(Duration::from_secs(1));
    tail.report(cli);
    outcome.map(|()| Exit::Done)
}

struct Tail<'a> {
    options: &'a Options,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    shown: Shown,
    undecodable: u64,
    silence: Silence,
}

impl Tail<'_> {
    fn all(
        &mut self,
        consumer: &EventConsumer,
        bar: &indicatif::ProgressBar,
        to_the_end: bool,
    ) -> anyhow::Result<()> {
        let mut connected = false;
        while !interrupt::requested() {
            let batch = match consumer.next_batch(Duration::from_millis(200)) {
                Ok(Some(batch)) => batch,
                Ok(None) if to_the_end && consumer.at_end() => return Ok(()),
                Ok(None) => {
                    self.shown.flush()?;
                    if !to_the_end && self.is_past_until() {
                        return Ok(());
                    }
                    connected |= !consumer.assignment().is_empty();
                    if let Some(text) = self.silence.look(connected, false) {
                        bar.suspend(|| output::note(text));
                    }
                    continue;
                }
                // Continue when the brokers are reachable again.
                Err(error) if connected && error.kind() == ErrorKind::Unavailable => {
                    bar.suspend(|| output::note(styled(DIM, error.message())));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            connected = true;
            bar.inc(batch.len() as u64);
            for record in &batch {
                if self.record(&record)? {
                    return Ok(self.shown.flush()?);
                }
            }
            self.shown.flush()?;
        }
        Ok(())
    }

    /// Shows a record if it matches; returns whether it was the last one.
    fn record(&mut self, record: &Record<'_>) -> anyhow::Result<bool> {
        let before_end = |time: i64| self.until_ms.is_none_or(|until_ms| time < until_ms);
        let after_start = |time: i64| self.since_ms.is_none_or(|since_ms| time >= since_ms);
        // A record without a timestamp, from a very old producer, always matches.
        let in_time = |time| before_end(time) && after_start(time);
        if !record.timestamp_ms().is_none_or(in_time) {
            return Ok(false);
        }
        let key = self.options.key.as_ref();
        if key.is_some_and(|key| record.key() != Some(key.as_bytes())) {
            return Ok(false);
        }
        if record.is_tombstone() {
            // It has no field, so no condition holds.
            if !self.options.conditions.is_empty() {
                return Ok(false);
            }
            self.shown.tombstone(record)?;
            return Ok(self.is_last());
        }
        match record.event() {
            Ok(event) => {
                let json = serde_json::to_value(&event)?;
                if !self
                    .options
                    .conditions
                    .iter()
                    .all(|condition| condition.holds(&json))
                {
                    return Ok(false);
                }
                self.shown.event(record, &event, json)?;
            }
            Err(error) => {
                self.undecodable += 1;
                // It is unknown whether a condition holds.
                if !self.options.conditions.is_empty() {
                    return Ok(false);
                }
                self.shown.undecodable(record, &error)?;
            }
        }
        Ok(self.is_last())
    }

    /// Whether `--count` records were shown.
    fn is_last(&self) -> bool {
        let count = self.options.count;
        count.is_some_and(|count| self.shown.records >= count)
    }

    fn is_past_until(&self) -> bool {
        /// Records arrive a moment after their timestamp.
        const LATE_MS: i64 = 2000;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        self.until_ms
            .is_some_and(|until_ms| now_ms >= until_ms + LATE_MS)
    }

    fn report(&self, cli: &Cli) {
        if self.undecodable > 0 && !cli.output.json {
            let count = counted(
                self.undecodable,
                "record is undecodable",
                "records are undecodable",
            );
            output::note(styled(DIM, count));
        }
    }
}

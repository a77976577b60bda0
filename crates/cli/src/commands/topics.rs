//! `topics`: compares the platform's topics with a cluster's.

use std::time::Duration;

use carbon_events::admin::{Admin, Applied, ClusterDiff, Difference, TopicTable};
use carbon_events::config::ConnectionSettings;
use carbon_events::{Error, Topic};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{named_or_all, topic_parser};
use crate::args::Cli;
use crate::exit::Exit;
use crate::format;
use crate::output::{self, BAD, DIM, GOOD, NOTE, row, styled};
use crate::silence::Silence;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the platform's topic table, without a cluster
    List {
        /// Topics or events [default: all]
        #[arg(value_parser = topic_parser(), value_name = "TOPIC")]
        topics: Vec<Topic>,
    },
    /// Show how a cluster differs from the table
    Diff(TableOptions),
    /// Make the cluster match the table: create topics, add partitions, set configurations
    ///
    /// Deletes nothing, removes no partitions, moves no replicas, and keeps configurations that the
    /// table does not name. Running it again changes nothing.
    Apply {
        #[command(flatten)]
        table: TableOptions,
        /// Only create missing topics; do not change existing ones
        #[arg(long)]
        create_only: bool,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Check that a cluster matches the table; exit code 1 if it does not
    Verify(TableOptions),
}

#[derive(Debug, Args)]
pub(crate) struct TableOptions {
    /// Topics or events [default: all]
    #[arg(value_parser = topic_parser(), value_name = "TOPIC")]
    topics: Vec<Topic>,
    /// For development: as many replicas as the cluster has brokers, at most the table's three
    #[arg(long)]
    dev: bool,
    /// Replication factor instead of the table's three
    #[arg(long, value_name = "BROKERS", value_parser = clap::value_parser!(i32).range(1..))]
    replication_factor: Option<i32>,
    /// min.insync.replicas instead of the table's two
    #[arg(long, value_name = "REPLICAS", value_parser = clap::value_parser!(i32).range(1..))]
    min_isr: Option<i32>,
    /// How long to wait for the cluster
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = format::parse_duration)]
    timeout: Duration,
}

impl TableOptions {
    fn table(&self) -> TopicTable {
        let mut table = TopicTable::of(named_or_all(&self.topics));
        if self.dev {
            table = table.fit_cluster();
        }
        if let Some(brokers) = self.replication_factor {
            table = table.replication_factor(brokers);
        }
        if let Some(replicas) = self.min_isr {
            table = table.min_insync_replicas(replicas);
        }
        table
    }

    /// The cluster, and how it differs from the table.
    fn compare(&self, cli: &Cli) -> anyhow::Result<(Admin, ClusterDiff)> {
        let connection = cli.connection.settings()?.connection;
        compare(cli, connection, self.timeout, &self.table())
    }
}

/// A cluster and how it differs from a table; warns if the cluster does not answer.
pub(crate) fn compare(
    cli: &Cli,
    connection: ConnectionSettings,
    timeout: Duration,
    table: &TopicTable,
) -> anyhow::Result<(Admin, ClusterDiff)> {
    let silence = Silence::new(cli, &connection, timeout);
    let admin = Admin::builder()
        .connection(connection)
        .timeout(timeout)
        .build()?;
    let diff = silence.broken_by(|| admin.diff(table))?;
    Ok((admin, diff))
}

pub(crate) fn run(cli: &Cli, command: &Command) -> anyhow::Result<Exit> {
    let json = cli.output.json;
    let prefix = &*cli.connection.topic_prefix()?;
    match command {
        Command::List { topics } => list(&named_or_all(topics), prefix, json),
        Command::Diff(options) => {
            let (_, diff) = options.compare(cli)?;
            print_diff(&diff, prefix, json)?;
            Ok(Exit::Done)
        }
        Command::Verify(options) => {
            let (_, diff) = options.compare(cli)?;
            print_diff(&diff, prefix, json)?;
            Ok(if diff.is_empty() {
                Exit::Done
            } else {
                Exit::Failed
            })
        }
        Command::Apply {
            table: options,
            create_only,
            dry_run,
        } => {
            let (admin, diff) = options.compare(cli)?;
            if *dry_run {
                return would_apply(&diff, *create_only, prefix, json);
            }
            let table = options.table();
            let applied = if *create_only {
                admin.create_missing(&table)?
            } else {
                admin.apply(&table)?
            };
            print_applied(&applied, prefix, json)?;
            Ok(if applied.failed.is_empty() {
                Exit::Done
            } else {
                Exit::Failed
            })
        }
    }
}

fn list(topics: &[Topic], prefix: &str, json: bool) -> anyhow::Result<Exit> {
    if json {
        let topics: Vec<Value> = topics
            .iter()
            .map(|topic| {
                let spec = topic.spec();
                json!({
                    "topic": format!("{prefix}{}", spec.name),
                    "record": spec.record,
                    "partitions": spec.partitions,
                    "replicationFactor": spec.replication_factor,
                    "minInsyncReplicas": spec.min_insync_replicas,
                    "retentionMs": spec.retention.as_millis() as u64,
                    "cleanupPolicy": spec.cleanup_policy.as_str(),
                    "compression": spec.compression,
                    "key": spec.key,
                    "owner": spec.owner,
                    "group": spec.group.as_str(),
                })
            })
            .collect();
        output::json_line(&topics.into())?;
        return Ok(Exit::Done);
    }
    let headers = [
        "topic",
        "event",
        "partitions",
        "retention",
        "cleanup",
        "key",
        "owner",
    ];
    let mut table = output::table(&headers, &["partitions", "retention"]);
    for topic in topics {
        let spec = topic.spec();
        table.add_row(row([
            format!("{prefix}{}", spec.name),
            spec.record.to_owned(),
            spec.partitions.to_string(),
            format::days(spec.retention),
            spec.cleanup_policy.to_string(),
            spec.key.to_owned(),
            spec.owner.to_owned(),
        ]));
    }
    output::print_table(&table)?;
    Ok(Exit::Done)
}

fn print_diff(diff: &ClusterDiff, prefix: &str, json: bool) -> anyhow::Result<()> {
    if json {
        output::json_line(&diff_json(diff, prefix))?;
        return Ok(());
    }
    for (topic, difference) in diff.iter() {
        let style = if difference.can_apply() { BAD } else { NOTE };
        output::line(format!("{prefix}{topic}: {}", styled(style, difference)))?;
    }
    let differing = diff
        .topics
        .iter()
        .filter(|topic| !topic.differences.is_empty())
        .count() as u64;
    let all = diff.topics.len() as u64;
    let brokers = format::counted(diff.brokers as u64, "broker", "brokers");
    if differing == 0 {
        let all = format::counted(all, "topic is", "topics are");
        output::line(format!(
            "{} on {brokers}",
            styled(GOOD, format!("{all} as in the table"))
        ))?;
    } else {
        output::line(format!(
            "{} of {all} topics differ from the table on {brokers}",
            format::count(differing)
        ))?;
        if diff.iter().any(|(_, difference)| difference.can_apply()) {
            output::note(styled(
                DIM,
                "run `carbon-events topics apply` to make them match",
            ));
        }
    }
    Ok(())
}

/// What `apply` would change, and what it would leave.
fn would_apply(
    diff: &ClusterDiff,
    create_only: bool,
    prefix: &str,
    json: bool,
) -> anyhow::Result<Exit> {
    let missing = |difference: &Difference| matches!(difference, Difference::Missing { .. });
    let would = |difference: &Difference| {
        if create_only {
            missing(difference)
        } else {
            difference.can_apply()
        }
    };
    if json {
        let change = |applies: bool| -> Vec<Value> {
            let found = diff
                .iter()
                .filter(|(_, difference)| would(difference) == applies);
            found
                .map(|(topic, difference)| change_json(topic, difference, prefix))
                .collect()
        };
        output::json_line(&json!({ "would": change(true), "left": change(false) }))?;
        return Ok(Exit::Done);
    }
    let mut changes = 0;
    for (topic, difference) in diff.iter().filter(|(_, difference)| would(difference)) {
        output::line(format!("would change {prefix}{topic}: {difference}"))?;
        changes += 1;
    }
    for (topic, difference) in diff.iter().filter(|(_, difference)| !would(difference)) {
        output::line(format!(
            "would leave {prefix}{topic}: {}",
            styled(NOTE, difference)
        ))?;
    }
    if changes == 0 {
        output::line("nothing to change")?;
    }
    Ok(Exit::Done)
}

fn print_applied(applied: &Applied, prefix: &str, json: bool) -> anyhow::Result<()> {
    if json {
        let done = applied
            .done
            .iter()
            .map(|(topic, what)| change_json(*topic, what, prefix));
        let failed = applied.failed.iter().map(|(topic, what, error)| {
            let mut change = change_json(*topic, what, prefix);
            change["error"] = output::library_error_json(error);
            change
        });
        output::json_line(&json!({
            "done": done.collect::<Vec<_>>(),
            "failed": failed.collect::<Vec<_>>(),
            "left": diff_json(&applied.left, prefix),
        }))?;
        return Ok(());
    }
    for (topic, difference) in &applied.done {
        let done = match difference {
            Difference::Missing {
                partitions,
                replication_factor,
            } => {
                let partitions = format::counted(*partitions as u64, "partition", "partitions");
                format!("created with {partitions}, replication factor {replication_factor}")
            }
            Difference::Partitions { want, have } => format!("partitions: {have} -> {want}"),
            Difference::Config {
                name, want, have, ..
            } => {
                format!("{name}: {} -> {want}", have.as_deref().unwrap_or("unknown"))
            }
            other => other.to_string(),
        };
        output::line(format!("{prefix}{topic}: {}", styled(GOOD, done)))?;
    }
    for (topic, _, error) in &applied.failed {
        output::line(format!(
            "{prefix}{topic}: {}",
            styled(BAD, Error::message(error))
        ))?;
    }
    let refused: Vec<_> = applied
        .failed
        .iter()
        .map(|(topic, what, _)| (*topic, what))
        .collect();
    for (topic, difference) in applied.left.iter().filter(|left| !refused.contains(left)) {
        output::line(format!("{prefix}{topic}: {}", styled(NOTE, difference)))?;
    }
    if applied.done.is_empty() && applied.failed.is_empty() {
        output::line("nothing to change")?;
    }
    Ok(())
}

fn diff_json(diff: &ClusterDiff, prefix: &str) -> Value {
    let differences = diff
        .iter()
        .map(|(topic, difference)| change_json(topic, difference, prefix));
    json!({
        "brokers": diff.brokers,
        "topics": diff.topics.len(),
        "differences": differences.collect::<Vec<_>>(),
    })
}

fn change_json(topic: Topic, difference: &Difference, prefix: &str) -> Value {
    let mut change = match difference {
        Difference::Missing {
            partitions,
            replication_factor,
        } => json!({
            "difference": "missing",
            "partitions": partitions,
            "replicationFactor": replication_factor,
        }),
        Difference::Partitions { want, have } => {
            json!({ "difference": "partitions", "want": want, "have": have })
        }
        Difference::ReplicationFactor { want, have } => {
            json!({ "difference": "replicationFactor", "want": want, "have": have })
        }
        Difference::Config {
            name, want, have, ..
        } => {
            json!({ "difference": "config", "name": name, "want": want, "have": have })
        }
        other => json!({ "difference": other.to_string() }),
    };
    change["topic"] = format!("{prefix}{topic}").into();
    change["applicable"] = difference.can_apply().into();
    change
}

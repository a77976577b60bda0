//! `schemas`: the events' schemas, in this version and in the registry.

use anyhow::Context;
use carbon_events::Topic;
use carbon_events::registry::{SchemaRegistry, subject_name};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{named_or_all, topic_parser};
use crate::args::Cli;
use crate::exit::{Exit, Usage};
use crate::output::{self, BAD, GOOD, row, styled};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the schemas of this version, without a registry
    List(Named),
    /// Print a schema as Avro JSON, without a registry
    Show {
        /// The topic, or its event
        #[arg(value_parser = topic_parser(), value_name = "TOPIC")]
        topic: Topic,
    },
    /// Check the schemas' compatibility with the registry's; exit code 1 if one is incompatible
    Check(Named),
    /// Register missing schemas, and print all ids
    Register(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Topics or events [default: all]
    #[arg(value_parser = topic_parser(), value_name = "TOPIC")]
    topics: Vec<Topic>,
}

pub(crate) fn run(cli: &Cli, command: &Command) -> anyhow::Result<Exit> {
    let json = cli.output.json;
    let prefix = &*cli.connection.topic_prefix()?;
    let topics = |named: &Named| named_or_all(&named.topics);
    match command {
        Command::List(named) => list(&topics(named), prefix, json),
        Command::Show { topic } => show(*topic, json),
        Command::Check(named) => check(&registry(cli)?, &topics(named), prefix, json),
        Command::Register(named) => register(&registry(cli)?, &topics(named), prefix, json),
    }
}

fn registry(cli: &Cli) -> anyhow::Result<SchemaRegistry> {
    let settings = cli.connection.settings()?.registry;
    if settings.urls.is_empty() {
        let message = "no registry is set: use --schema-registry-url or KAFKA_SCHEMA_REGISTRY_URL";
        return Err(Usage(message.to_owned()).into());
    }
    Ok(SchemaRegistry::new(&settings)?)
}

/// The schema as JSON, its attributes in the order of the file.
fn schema_json(topic: Topic) -> anyhow::Result<Value> {
    serde_json::from_str(topic.spec().schema_json)
        .with_context(|| format!("the schema of {topic} is not JSON"))
}

fn list(topics: &[Topic], prefix: &str, json: bool) -> anyhow::Result<Exit> {
    let mut rows = Vec::new();
    for topic in topics {
        let spec = topic.spec();
        let schema = schema_json(*topic)?;
        let fields = schema["fields"].as_array().map_or(0, Vec::len);
        let name = format!(
            "{}.{}",
            schema["namespace"].as_str().unwrap_or_default(),
            spec.record
        );
        rows.push((
            name,
            subject_name(&format!("{prefix}{topic}")),
            fields,
            format!("{:016x}", spec.fingerprint),
        ));
    }
    if json {
        let schemas =
            rows.into_iter()
                .zip(topics)
                .map(|((name, subject, fields, print), topic)| {
                    json!({
                        "name": name,
                        "topic": format!("{prefix}{topic}"),
                        "subject": subject,
                        "fields": fields,
                        "fingerprint": print,
                    })
                });
        output::json_line(&schemas.collect::<Vec<_>>().into())?;
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["schema", "subject", "fields", "fingerprint"], &["fields"]);
    for (name, subject, fields, fingerprint) in rows {
        table.add_row(row([name, subject, fields.to_string(), fingerprint]));
    }
    output::print_table(&table)?;
    Ok(Exit::Done)
}

fn show(topic: Topic, json: bool) -> anyhow::Result<Exit> {
    let schema = schema_json(topic)?;
    if json {
        output::json_line(&schema)?;
    } else {
        output::line(serde_json::to_string_pretty(&schema)?)?;
    }
    Ok(Exit::Done)
}

fn check(
    registry: &SchemaRegistry,
    topics: &[Topic],
    prefix: &str,
    json: bool,
) -> anyhow::Result<Exit> {
    let mut found = Vec::new();
    for topic in topics {
        let schema = topic.spec().schema_json;
        let name = format!("{prefix}{topic}");
        let latest = registry.latest_blocking(&name)?;
        let compatibility = registry.check_compatibility_blocking(&name, schema)?;
        found.push((subject_name(&name), latest, compatibility));
    }
    let good = found
        .iter()
        .all(|(.., compatibility)| compatibility.compatible);
    if json {
        let subjects = found.iter().map(|(subject, latest, compatibility)| {
            json!({
                "subject": subject,
                "version": latest.as_ref().map(|latest| latest.version),
                "id": latest.as_ref().map(|latest| latest.id),
                "compatible": compatibility.compatible,
                "messages": compatibility.messages,
            })
        });
        output::json_line(&subjects.collect::<Vec<_>>().into())?;
    } else {
        for (subject, latest, compatibility) in &found {
            let beside = match latest {
                Some(latest) => format!("version {} (id {})", latest.version, latest.id),
                None => "nothing registered yet".to_owned(),
            };
            let verdict = if compatibility.compatible {
                styled(GOOD, "compatible")
            } else {
                styled(BAD, "incompatible")
            };
            output::line(format!("{subject}: {verdict} with {beside}"))?;
            for message in &compatibility.messages {
                output::line(format!("    {message}"))?;
            }
        }
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

fn register(
    registry: &SchemaRegistry,
    topics: &[Topic],
    prefix: &str,
    json: bool,
) -> anyhow::Result<Exit> {
    let mut ids = Vec::new();
    let mut refused = Vec::new();
    for topic in topics {
        let name = format!("{prefix}{topic}");
        let subject = subject_name(&name);
        match registry.register_blocking(&name, topic.spec().schema_json) {
            Ok(id) => ids.push((subject, id)),
            // The registry is unreachable: the others would fail, too.
            Err(error) if error.retryable() => return Err(error.into()),
            Err(error) => refused.push((subject, error)),
        }
    }
    if json {
        let registered = ids
            .iter()
            .map(|(subject, id)| json!({ "subject": subject, "id": id }));
        let refused = refused.iter().map(|(subject, error)| {
            let error = output::library_error_json(error);
            json!({ "subject": subject, "error": error })
        });
        output::json_line(&json!({
            "registered": registered.collect::<Vec<_>>(),
            "refused": refused.collect::<Vec<_>>(),
        }))?;
    } else {
        for (subject, id) in &ids {
            output::line(format!("{subject}: id {id}"))?;
        }
        for (subject, error) in &refused {
            output::line(format!("{subject}: {}", styled(BAD, error.message())))?;
        }
    }
    Ok(if refused.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

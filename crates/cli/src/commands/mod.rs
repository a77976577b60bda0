//! The subcommands, one module each.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod produce;
pub(crate) mod schemas;
pub(crate) mod tail;
pub(crate) mod topics;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use carbon_events::Topic;

use crate::args::{Cli, Command};
use crate::exit::Exit;

/// Runs the command.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Demo(options) => demo::run(cli, options),
        Command::Topics(command) => topics::run(cli, command),
        Command::Schemas(command) => schemas::run(cli, command),
        Command::Produce(options) => produce::run(cli, options),
        Command::Tail(options) => tail::run(cli, options),
        Command::Bench(options) => bench::run(cli, options),
        Command::Completions(options) => completions::run(options),
    }
}

/// Parses one of the twelve topics, by its name or its event's.
pub(crate) fn topic_parser() -> impl TypedValueParser<Value = Topic> {
    let values = Topic::ALL.into_iter().map(|topic| {
        let spec = topic.spec();
        PossibleValue::new(spec.name).alias(spec.record)
    });
    PossibleValuesParser::new(values).try_map(|name| topic_of(&name).ok_or("no such topic"))
}

/// Parses one of the twelve topics by its event's name.
pub(crate) fn event_parser() -> impl TypedValueParser<Value = Topic> {
    let values = Topic::ALL
        .into_iter()
        .map(|topic| PossibleValue::new(topic.spec().record));
    PossibleValuesParser::new(values).try_map(|name| topic_of(&name).ok_or("no such event"))
}

fn topic_of(name: &str) -> Option<Topic> {
    Topic::ALL
        .into_iter()
        .find(|topic| [topic.name(), topic.spec().record].contains(&name))
}

/// The named topics, or all.
pub(crate) fn named_or_all(named: &[Topic]) -> Vec<Topic> {
    if named.is_empty() {
        Topic::ALL.to_vec()
    } else {
        named.to_vec()
    }
}

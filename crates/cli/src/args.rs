//! The command line.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, ColorChoice, Parser, Subcommand};

use crate::commands::{bench, completions, demo, produce, schemas, tail, topics};
use crate::exit;
use crate::logs::Verbosity;
use crate::settings::ConnectionOptions;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Publish, read and inspect the platform's events on Kafka.
///
/// Every command uses the environment variables that services use, overridden by the options under
/// "Connection".
#[derive(Debug, Parser)]
#[command(name = "carbon-events", version, styles = STYLES, max_term_width = 100)]
#[command(after_help = exit::HELP, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Print results as JSON, and errors as JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours; `auto`: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    /// Show no progress bar
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log to stderr: -v warnings, -vv information, -vvv everything; RUST_LOG sets it in detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl OutputOptions {
    /// Sets the choice for all output.
    pub(crate) fn apply_color(&self) {
        match self.color {
            ColorChoice::Auto => {}
            ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
            ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a million events of all kinds through Kafka and verify every one
    Demo(demo::Options),
    /// Compare the platform's topics with a cluster's, and create or update them
    #[command(subcommand)]
    Topics(topics::Command),
    /// Show the events' schemas, check them against the registry, register them
    #[command(subcommand)]
    Schemas(schemas::Command),
    /// Publish events from lines of JSON
    Produce(produce::Options),
    /// Show the events of topics as they arrive
    Tail(tail::Options),
    /// Compare this library's speed on a cluster with rdkafka's own clients
    Bench(bench::Options),
    /// Print a shell completion script
    Completions(completions::Options),
}

impl Command {
    /// The log level without -v.
    pub(crate) fn default_verbosity(&self) -> Verbosity {
        match self {
            // These keep running while the cluster is unreachable, so log it.
            Command::Produce(_) | Command::Tail(_) => Verbosity::Warnings,
            // These end with an error that explains itself.
            _ => Verbosity::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

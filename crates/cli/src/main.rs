//! `carbon-events`: publish, read and inspect the platform's events from the command line.
//!
//! ```text
//! arguments --args--> options --settings--> the library's settings --commands--> exit code
//!                                                        |
//!                             stdout: results (tables, or JSON with --json)
//!                             stderr: errors, logs, progress bars on a terminal
//! ```
//!
//! One module for each subcommand, in [`commands`]. Retries, wire formats and limits are the library's.

mod args;
mod commands;
mod exit;
mod format;
mod interrupt;
mod logs;
mod output;
mod progress;
mod settings;
mod silence;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use exit::Exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.output.apply_color();
    logs::start(cli.output.verbose, cli.command.default_verbosity());
    let exit = commands::run(&cli).unwrap_or_else(|error| {
        if output::is_broken_pipe(&error) {
            // The reader of the output, such as `head`, has closed it.
            return Exit::Done;
        }
        output::print_error(&error, cli.output.json);
        Exit::of(&error)
    });
    exit.into()
}

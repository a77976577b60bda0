//! `completions`: prints a shell completion script.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  carbon-events completions bash > /etc/bash_completion.d/carbon-events
  carbon-events completions zsh > ~/.zfunc/_carbon-events
  carbon-events completions fish > ~/.config/fish/completions/carbon-events.fish")]
pub(crate) struct Options {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    // Into memory first: clap_complete panics if a write fails.
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Cli::command(),
        "carbon-events",
        &mut script,
    );
    io::Write::write_all(&mut io::stdout(), &script)?;
    Ok(Exit::Done)
}

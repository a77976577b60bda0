//! The library's logs, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Nothing,
    Warnings,
    Information,
    Everything,
}

/// Starts logging at the level of `RUST_LOG`, else of the `-v`s, else of the command's default.
pub(crate) fn start(verbose: u8, default: Verbosity) {
    let asked = match verbose {
        0 => default,
        1 => Verbosity::Warnings,
        2 => Verbosity::Information,
        _ => Verbosity::Everything,
    };
    let directives = match asked.max(default) {
        Verbosity::Nothing => "off",
        // librdkafka logs each failed connection; the library's own warning is enough.
        Verbosity::Warnings => "carbon_events=warn,carbon_events::librdkafka=off",
        Verbosity::Information => "carbon_events=info",
        Verbosity::Everything => "debug",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::new(directives),
        _ => EnvFilter::new(directives),
    };
    let colors = std::io::stderr().is_terminal()
        && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colors)
        .init();
}

//! Reports a cluster that does not answer, long before the command times out: the address may be
//! mistyped.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use carbon_events::config::ConnectionSettings;

use crate::args::Cli;
use crate::format;
use crate::output::{self, NOTE, styled};

/// How long a cluster may not answer before that is reported.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches for a first answer of a cluster.
pub(crate) struct Silence {
    text: String,
    /// Since when an answer is awaited.
    since: Option<Instant>,
    over: bool,
}

impl Silence {
    pub(crate) fn new(cli: &Cli, connection: &ConnectionSettings, tried_for: Duration) -> Self {
        let brokers = &connection.bootstrap_servers;
        let time = format::duration(tried_for);
        Silence {
            text: format!("no answer from {brokers} yet; trying for up to {time}"),
            since: None,
            // Not for programs that read JSON.
            over: cli.output.json,
        }
    }

    /// Whether the cluster answered, or its silence was reported.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Updates the state: whether the cluster answered, and whether no answer is awaited. Returns the
    /// warning to print, once.
    pub(crate) fn look(&mut self, heard: bool, none_waits: bool) -> Option<String> {
        self.over |= heard;
        if self.over || none_waits {
            return None;
        }
        self.over = self.since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        self.over.then(|| styled(NOTE, &self.text))
    }

    /// Calls `ask`, and reports the silence if that takes long.
    pub(crate) fn broken_by<T>(self, ask: impl FnOnce() -> T) -> T {
        let (answered, waiting) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watch = move || {
                let silent = waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
                if silent && !self.over {
                    output::note(styled(NOTE, &self.text));
                }
            };
            // Without the thread only the warning is missing.
            let _ = thread::Builder::new().spawn_scoped(scope, watch);
            let answer = ask();
            drop(answered);
            answer
        })
    }
}

//! Says it when a cluster answers nothing at all: a mistyped address shows long before the command
//! gives up.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use carbon_events::config::ConnectionSettings;

use crate::args::Cli;
use crate::format;
use crate::output::{self, NOTE, styled};

/// How long nothing may be heard before that is said.
const PATIENCE: Duration = Duration::from_secs(2);

/// That nothing has been heard of a cluster yet.
pub(crate) struct Silence {
    text: String,
    /// Since when something has been waited for.
    since: Option<Instant>,
    over: bool,
}

impl Silence {
    pub(crate) fn new(cli: &Cli, connection: &ConnectionSettings, tried_for: Duration) -> Self {
        let brokers = &connection.bootstrap_servers;
        let time = format::duration(tried_for);
        Silence {
            text: format!("nothing is heard yet of {brokers}; trying for up to {time}"),
            since: None,
            // A program that reads JSON has no use for it.
            over: cli.output.json,
        }
    }

    /// Whether something was heard, or the silence spoken of.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes note of whether anything was heard and whether nothing is waited for; gives what is to
    /// be said, once.
    pub(crate) fn look(&mut self, heard: bool, none_waits: bool) -> Option<String> {
        self.over |= heard;
        if self.over || none_waits {
            return None;
        }
        self.over = self.since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        self.over.then(|| styled(NOTE, &self.text))
    }

    /// Asks the cluster something, and speaks of the silence if that takes long.
    pub(crate) fn broken_by<T>(self, ask: impl FnOnce() -> T) -> T {
        let (answered, waiting) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watch = move || {
                let silent = waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
                if silent && !self.over {
                    output::note(styled(NOTE, &self.text));
                }
            };
            // Without the thread the answer comes all the same.
            let _ = thread::Builder::new().spawn_scoped(scope, watch);
            let answer = ask();
            drop(answered);
            answer
        })
    }
}

//! Ctrl-C: the first one ends the work in an orderly way, the second one at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Has SIGINT, SIGTERM and SIGHUP set [`requested`] instead of ending the process.
pub(crate) fn catch() -> anyhow::Result<()> {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).context("cannot handle Ctrl-C")
}

/// Whether somebody wants the work to end.
pub(crate) fn requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

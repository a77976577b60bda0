//! Ports of 127.0.0.1 that nobody else takes while a service is down between two starts.
//!
//! They come from below the kernel's ephemeral range, so that no outgoing connection lands on one,
//! and each is held by a lock file in the user's cache as long as its [`Port`] lives, so that
//! test runs side by side keep out of each other's way. The kernel drops the lock with the process.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, bail};

use crate::cache;

/// Linux gives outgoing connections ports from 32768 up, macOS from 49152.
const RANGE: Range<u16> = 21_000..31_000;

/// A port that is ours until this value is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// A port on which nothing listens now.
    pub(crate) fn take() -> Result<Port> {
        let dir = cache::directory().join("ports");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let count = RANGE.len() as u64;
        let first = RandomState::new().hash_one("first port") % count;
        for step in 0..count {
            let number = RANGE.start + ((first + step) % count) as u16;
            let lock = File::create(dir.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Port {
                    number,
                    _lock: lock,
                });
            }
        }
        bail!("no free port in {RANGE:?} on 127.0.0.1")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}

/// Calls `start`, which takes ports of its own, again where somebody else was quicker to listen on
/// one of them between our look and the service's.
pub(crate) fn with_free_ports<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    const ATTEMPTS: u32 = 3;
    // The end of the log of a service that did not start is part of its error.
    let is_taken = |error: &anyhow::Error| {
        let text = format!("{error:#}");
        text.contains("BindException") || text.contains("Address already in use")
    };
    for _ in 1..ATTEMPTS {
        match start() {
            Err(error) if is_taken(&error) => {}
            result => return result,
        }
    }
    start()
}

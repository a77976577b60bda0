//! Downloads and what is made from them, kept for a user's next run.
//!
//! An entry is a directory named for what it holds and for a hash of everything that went into it,
//! so that an entry is never changed: another version or another JDK gives another name. It is
//! built under a temporary name and renamed when complete. A lock file beside it makes a second
//! process wait for the first one's build and then use it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// `CARBON_EVENTS_CACHE`, else `carbon-events` under the XDG cache directory or `~/.cache`.
pub fn directory() -> PathBuf {
    let of = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    of("CARBON_EVENTS_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").map(|dir| dir.join("carbon-events")))
        .or_else(|| of("HOME").map(|dir| dir.join(".cache/carbon-events")))
        .unwrap_or_else(|| env::temp_dir().join("carbon-events-cache"))
}

/// The entry `name` made from `inputs`; `build` fills an empty directory if there is none yet.
pub(crate) fn entry(
    name: &str,
    inputs: &[&str],
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = directory();
    let entry = cache.join(format!("{name}-{}", fingerprint(inputs)));
    if entry.is_dir() {
        return Ok(entry);
    }
    fs::create_dir_all(&cache)
        .with_context(|| format!("cannot make the cache directory {}", cache.display()))?;
    let lock_path = entry.with_extension("lock");
    let lock = File::create(&lock_path)
        .with_context(|| format!("cannot make the lock file {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if entry.is_dir() {
        return Ok(entry);
    }
    eprintln!("preparing {name} (once, into {})", cache.display());
    let unfinished = entry.with_extension(format!("unfinished-{}", process::id()));
    fs::create_dir_all(&unfinished)?;
    let built = build(&unfinished)
        .with_context(|| format!("cannot prepare {name}"))
        .and_then(|()| Ok(fs::rename(&unfinished, &entry)?));
    if built.is_err() {
        // The cause is already in hand; what is left behind harms nobody.
        let _ = fs::remove_dir_all(&unfinished);
    }
    built.map(|()| entry)
}

fn fingerprint(inputs: &[&str]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update((input.len() as u64).to_le_bytes());
        hash.update(input.as_bytes());
    }
    hash.finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_named_for_all_of_its_inputs() {
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["ab"]));
        assert_ne!(fingerprint(&["a"]), fingerprint(&["b"]));
    }
}

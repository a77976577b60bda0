//! `cargo xtask wheel`: the Python wheel, and its tests as it is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{build_services, step, target_dir};

/// What builds the wheel and looks at it, all of it pinned.
const TOOLS: &str = "maturin==1.16.0 auditwheel==6.8.2 abi3audit==0.0.26";

/// Builds the wheel into `target/wheels`, checks it and gives its path.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let tools = environment(&target_dir(root).join("wheel-tools"), TOOLS)?;
    let out = target_dir(root).join("wheels");
    if out.exists() {
        fs::remove_dir_all(&out).context("cannot clear away earlier wheels")?;
    }
    let mut maturin = Command::new(tools.join("maturin"));
    maturin
        .current_dir(root.join("crates/py"))
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
    let services = build_services(root)?;
    let requirements = root.join("crates/py/tests/requirements.txt");
    let requirements = fs::read_to_string(requirements).context("the tests' requirements")?;
    let bin = environment(&target_dir(root).join("wheel-tests"), &requirements)?;
    let mut install = pip(&bin);
    step(install.args(["--force-reinstall", "--no-deps"]).arg(wheel))?;
    let mut pytest = Command::new(bin.join("python"));
    pytest
        .current_dir(root.join("crates/py"))
        .env("CARBON_EVENTS_SERVICES", services)
        .args(["-m", "pytest", "--timeout=300", "-q", "tests"]);
    step(&mut pytest)
}

/// The programs of a virtual environment with these packages, made anew when they are others.
fn environment(directory: &Path, packages: &str) -> Result<PathBuf> {
    let bin = directory.join("bin");
    let installed = directory.join("installed.txt");
    if fs::read_to_string(&installed).unwrap_or_default() != packages {
        let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        step(
            Command::new(python)
                .args(["-m", "venv", "--clear"])
                .arg(directory),
        )?;
        let words = packages.lines().map(|line| line.split('#').next());
        let words = words.flatten().flat_map(str::split_whitespace);
        step(pip(&bin).args(words))?;
        fs::write(installed, packages)?;
    }
    Ok(bin)
}

/// `pip install`, of the environment with these programs.
fn pip(bin: &Path) -> Command {
    let mut pip = Command::new(bin.join("python"));
    pip.args(["-m", "pip", "install", "--quiet"]);
    pip.arg("--disable-pip-version-check");
    pip
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

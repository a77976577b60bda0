//! `cargo xtask wheel`: the Python wheel, and its tests as it is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{build_services, step, target_dir};

mod interpreters;

/// What builds the wheel and looks at it, all of it pinned.
const TOOLS: &str = "maturin==1.16.0\nauditwheel==6.8.2\nabi3audit==0.0.26";
/// What links against a C library that is older than this machine's.
const ZIG: &str = "ziglang==0.17.1";
/// The type checker that comes from npm; mypy is among the tests' requirements.
const PYRIGHT: &str = "1.1.414";
/// The tests that need no services: what they are about depends on the interpreter most.
const QUICK: [&str; 2] = ["tests/test_events.py", "tests/test_testing.py"];

/// Builds the wheel into `target/wheels`, checks it and gives its path. `manylinux` names the oldest
/// C library that it is to run with, such as `2_17`; without one, it is this machine's.
pub(crate) fn build(root: &Path, manylinux: Option<&str>) -> Result<PathBuf> {
    let tools = match manylinux {
        None => environment("wheel-tools", root, &python(), TOOLS)?,
        Some(_) => environment("wheel-zig", root, &python(), &format!("{TOOLS}\n{ZIG}"))?,
    };
    let out = target_dir(root).join("wheels");
    if out.exists() {
        fs::remove_dir_all(&out).context("cannot clear away earlier wheels")?;
    }
    let mut maturin = Command::new(tools.join("maturin"));
    maturin
        .current_dir(root.join("crates/py"))
        .args(["build", "--release", "--locked", "--out"])
        .arg(&out);
    if let Some(version) = manylinux {
        // Everything in C is compiled anew, and apart from what was compiled for this machine.
        maturin
            .env("CARGO_TARGET_DIR", target_dir(root).join("manylinux"))
            .env("PATH", with_programs(&tools)?)
            .args(["--zig", "--compatibility", &format!("manylinux_{version}")])
            .args([
                "--target",
                &format!("{}-unknown-linux-gnu", env::consts::ARCH),
            ]);
    }
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

/// Runs the wheel's tests as it is installed in clean environments: all of them on `python3` (or
/// `PYTHON`), the quick ones on every other CPython of this machine; where `named` has interpreters,
/// all of them on these alone.
pub(crate) fn test(root: &Path, wheel: &Path, named: &[String]) -> Result<()> {
    let pyright = pyright(root)?;
    let services = build_services(root)?;
    let tests = root.join("crates/py/tests");
    let read = |file: &str| {
        let path = tests.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let quick = read("requirements-quick.txt")?;
    let all = format!("{quick}\n{}", read("requirements.txt")?);
    let run = |name: &str, python: &Path, packages: &str, tests: &[&str]| {
        eprintln!("\n# the wheel on {}", python.display());
        let bin = environment(name, root, python, packages)?;
        let mut install = pip(&bin);
        step(install.args(["--force-reinstall", "--no-deps"]).arg(wheel))?;
        let mut pytest = Command::new(bin.join("python"));
        pytest
            .current_dir(root.join("crates/py"))
            .env("CARBON_EVENTS_SERVICES", &services)
            .env("CARBON_EVENTS_PYRIGHT", &pyright)
            .args(["-m", "pytest", "--timeout=300", "-q"])
            .args(tests);
        step(&mut pytest)
    };
    if !named.is_empty() {
        for name in named {
            let python = interpreters::named(name)?;
            let version = interpreters::version(&python)
                .with_context(|| format!("{name} is no CPython that can be started"))?;
            run(&format!("wheel-tests-{version}"), &python, &all, &["tests"])?;
        }
        return Ok(());
    }
    let python = python();
    run("wheel-tests", &python, &all, &["tests"])?;
    for (version, other) in interpreters::others(&python) {
        run(&format!("wheel-quick-{version}"), &other, &quick, &QUICK)?;
    }
    Ok(())
}

fn python() -> PathBuf {
    env::var_os("PYTHON")
        .unwrap_or_else(|| "python3".into())
        .into()
}

/// The programs of a virtual environment with these packages, one a line; made anew when they are
/// others.
fn environment(name: &str, root: &Path, python: &Path, packages: &str) -> Result<PathBuf> {
    let directory = target_dir(root).join(name);
    let bin = directory.join("bin");
    let installed = directory.join("installed.txt");
    if fs::read_to_string(&installed).unwrap_or_default() != packages {
        step(
            Command::new(python)
                .args(["-m", "venv", "--clear"])
                .arg(&directory),
        )?;
        let lines = packages.lines().map(str::trim);
        let wanted = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        step(pip(&bin).args(wanted))?;
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

/// The search path with these programs before all others.
fn with_programs(bin: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(bin.to_owned()).chain(env::split_paths(&path));
    Ok(env::join_paths(all)?)
}

/// pyright's program, for Node.
fn pyright(root: &Path) -> Result<PathBuf> {
    let directory = target_dir(root).join("pyright").join(PYRIGHT);
    let program = directory.join("node_modules/pyright/index.js");
    if !program.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--prefix")
            .arg(&directory)
            .arg(format!("pyright@{PYRIGHT}"));
        step(&mut npm)?;
    }
    Ok(program)
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

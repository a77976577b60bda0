//! `cargo xtask wheel`: the Python wheel, and its tests as it is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::platforms::elf::Libc;
use crate::platforms::{Platform, Zig};
use crate::run::{build_services, output, step, target_dir};

mod interpreters;

/// What builds the wheel and looks at it, all of it pinned.
const TOOLS: &str = "maturin==1.16.0\nauditwheel==6.8.2\nabi3audit==0.0.26";
/// What compiles and links for other machines and older C libraries than this one's.
const ZIG: &str = "ziglang==0.17.1\ncargo-zigbuild==0.24.0";
/// The type checker that comes from npm; mypy is among the tests' requirements.
const PYRIGHT: &str = "1.1.414";
/// The tests that need no services: what they are about depends on the interpreter most.
const QUICK: [&str; 2] = ["tests/test_events.py", "tests/test_testing.py"];

/// Builds the wheel for this machine and its C library into `target/wheels`, checks it and gives its
/// path.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let tools = environment("wheel-tools", root, &python(), TOOLS)?;
    let out = target_dir(root).join("wheels");
    let wheel = maturin(root, &tools, &out, |_| {})?;
    step(
        Command::new(tools.join("auditwheel"))
            .arg("show")
            .arg(&wheel),
    )?;
    audit(&tools, &wheel)?;
    if let Some(host) = Platform::host() {
        // rustc's own linker asks for libgcc.
        let addon = addon(&tools, &wheel)?;
        host.on_any_libc().check(&addon, &["libgcc_s.so.1"])?;
    }
    Ok(wheel)
}

/// Builds the wheel for another platform or an older C library into `out`, checks it and gives its
/// path.
pub(crate) fn build_for(root: &Path, zig: &Zig, out: &Path) -> Result<PathBuf> {
    let tools = zig_tools(root)?;
    let compatibility = zig.platform.compatibility();
    let wheel = maturin(root, &tools, out, |maturin| {
        zig.apply(maturin);
        maturin
            .args(["--target", zig.platform.target])
            .args(["--compatibility", &compatibility]);
    })?;
    if let Libc::Glibc(..) = zig.platform.libc {
        let tag = format!("{compatibility}_{}", zig.platform.architecture);
        auditwheel(&tools, &wheel, &tag)?;
    }
    audit(&tools, &wheel)?;
    zig.platform.check(&addon(&tools, &wheel)?, &[])?;
    Ok(wheel)
}

/// The programs with which other platforms' wheels and addons are built.
pub(crate) fn zig_tools(root: &Path) -> Result<PathBuf> {
    environment("wheel-zig", root, &python(), &format!("{TOOLS}\n{ZIG}"))
}

/// Runs maturin and gives the one wheel that it wrote.
fn maturin(
    root: &Path,
    tools: &Path,
    out: &Path,
    prepare: impl FnOnce(&mut Command),
) -> Result<PathBuf> {
    if out.exists() {
        fs::remove_dir_all(out).context("cannot clear away earlier wheels")?;
    }
    let mut maturin = Command::new(tools.join("maturin"));
    maturin
        .current_dir(root.join("crates/py"))
        .args(["build", "--release", "--locked", "--out"])
        .arg(out);
    prepare(&mut maturin);
    step(&mut maturin)?;
    only_wheel(out)
}

/// Fails where auditwheel finds the wheel to need more than its tag says. Not for musl: it knows the
/// C library by the name that Alpine's linker gives it alone, and a loader takes others too.
fn auditwheel(tools: &Path, wheel: &Path, tag: &str) -> Result<()> {
    let mut show = Command::new(tools.join("auditwheel"));
    show.arg("show").arg(wheel);
    let shown = output(show)?;
    // The text is wrapped.
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        words.contains(&format!("platform tag: \"{tag}\"")),
        "auditwheel does not find the wheel to be {tag}:\n{shown}"
    );
    Ok(())
}

/// Fails where the wheel uses what the stable ABI lacks.
fn audit(tools: &Path, wheel: &Path) -> Result<()> {
    step(
        Command::new(tools.join("abi3audit"))
            .args(["--strict", "--assume-minimum-abi3", "3.10"])
            .arg(wheel),
    )
}

/// The folder with what is in the one wheel of a folder.
pub(crate) fn unpacked(directory: &Path) -> Result<PathBuf> {
    Ok(only_wheel(directory)?.with_extension("unpacked"))
}

/// A CPython of this machine, by its version.
pub(crate) fn interpreter(version: &str) -> Result<PathBuf> {
    interpreters::named(version)
}

/// The library in a wheel, unpacked beside it.
fn addon(tools: &Path, wheel: &Path) -> Result<PathBuf> {
    let folder = wheel.with_extension("unpacked");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut unzip = Command::new(tools.join("python"));
    unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder);
    step(&mut unzip)?;
    Ok(folder.join("carbon_events/_native.abi3.so"))
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

//! Python with the packages of `tests/python/requirements.txt`, in a virtual environment in the
//! cache.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cache;
use crate::process::output_of;

const REQUIREMENTS: &str = include_str!("../../../tests/python/requirements.txt");

/// The environment's interpreter.
pub(crate) fn interpreter() -> Result<PathBuf> {
    let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let about = "import sys; print(sys.version, sys.executable)";
    let version = output_of(
        "tell its version",
        Command::new(&python).args(["-c", about]),
    )?;
    let environment = cache::entry("python", &[REQUIREMENTS, &version], |dir| {
        let mut venv = Command::new(&python);
        output_of(
            "make a virtual environment",
            venv.args(["-m", "venv"]).arg(dir),
        )?;
        let requirements = dir.join("requirements.txt");
        std::fs::write(&requirements, REQUIREMENTS)?;
        let mut pip = Command::new(dir.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        pip.args(["--no-deps", "-r"]).arg(requirements);
        output_of("install the Python packages", &mut pip).map(drop)
    })?;
    Ok(environment.join("bin/python"))
}

/// Python with the pinned packages, ready for a script and its arguments.
pub fn python() -> Result<Command> {
    Ok(Command::new(interpreter()?))
}

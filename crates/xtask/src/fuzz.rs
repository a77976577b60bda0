//! `cargo xtask fuzz`: runs each target for a while, with the seeds of `schemas/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::prerequisites::{self, Needs};
use crate::run::{nightly_cargo, output, step};

/// The memory limit of any decoder.
const MEMORY: &str = "-rss_limit_mb=512";

/// Runs these targets, or all.
pub(crate) fn run(root: &Path, seconds: u32, only: &[String]) -> Result<()> {
    prerequisites::check(Needs::Fuzz)?;
    let fuzz = root.join("fuzz");
    let all = output(nightly_cargo(root, &["fuzz", "list"]))?;
    let all: Vec<&str> = all.lines().collect();
    for target in only {
        let known = all.contains(&target.as_str());
        ensure!(known, "no target {target}; there are {}", all.join(", "));
    }
    step(Command::new("bash").arg("seed").current_dir(&fuzz))?;
    let time = format!("-max_total_time={seconds}");
    let wanted = |target: &&str| only.is_empty() || only.iter().any(|only| only == target);
    for target in all.into_iter().filter(wanted) {
        let mut arguments = vec!["fuzz", "run", target, "--", MEMORY, &time];
        // Schemas are JSON with few words, which random bytes hardly ever form.
        let dictionary = (target == "resolve_schemas")
            .then(|| format!("-dict={}", fuzz.join("avro.dict").display()));
        arguments.extend(dictionary.as_deref());
        step(&mut nightly_cargo(root, &arguments))?;
    }
    Ok(())
}

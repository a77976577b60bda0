//! `cargo xtask test`: the cheapest checks first, `cargo test` last, so that its results end the run.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::generate_events;
use crate::npm;
use crate::prerequisites::{self, Needs};
use crate::run::{cargo, services, step};
use crate::wheel;

/// Packages whose tests start services.
const WITH_SERVICES: [&str; 3] = [
    "carbon-events-examples",
    "carbon-events-services",
    "carbon-events-tests",
];

/// All checks of a change; `arguments` go to `cargo test`.
pub(crate) fn run(root: &Path, quick: bool, arguments: &[String]) -> Result<()> {
    let start = Instant::now();
    prerequisites::check(if quick { Needs::QuickTest } else { Needs::Test })?;
    step(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    eprintln!("\n$ cargo xtask generate --check");
    // Options and error classes are checked by a test of carbon-events-codegen, which links the core.
    generate_events(root, true)?;
    let everything = [
        "--release",
        "--workspace",
        "--all-targets",
        "--all-features",
    ];
    step(
        cargo(root, &["clippy"])
            .args(everything)
            .args(["--", "-D", "warnings"]),
    )?;
    if !quick {
        let documents = [
            "doc",
            "--release",
            "--workspace",
            "--all-features",
            "--no-deps",
        ];
        // Docs that are read in the source may link to private items.
        let flags = "-D warnings -A rustdoc::private-intra-doc-links";
        step(cargo(root, &documents).env("RUSTDOCFLAGS", flags))?;
        // Before the tests, so that a failed download does not look like a failed test.
        step(services(root).arg("fetch"))?;
        step(services(root).args(["python", "schemas/golden/generate.py", "--check"]))
            .context("the golden bytes differ from those of another Avro library")?;
    }
    let mut tests = cargo(
        root,
        &["test", "--release", "--workspace", "--all-features"],
    );
    tests.arg("--no-fail-fast");
    if quick {
        tests.args(
            WITH_SERVICES
                .iter()
                .flat_map(|package| ["--exclude", package]),
        );
    }
    eprintln!("\nchecks passed after {} s", start.elapsed().as_secs());
    // One language's failures keep nobody from seeing another's.
    let mut bindings = Ok(());
    if !quick && arguments.is_empty() {
        let python = wheel::build(root).and_then(|wheel| wheel::test(root, &wheel, &[]));
        let node = npm::test(root, &[]);
        bindings = python
            .context("the tests in Python failed")
            .and(node.context("the tests in Node failed"));
    }
    step(tests.args(arguments))?;
    bindings
}

//! Rust's standard library for another platform: rustup's, or one built from Debian's source.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::{cargo, output, rustc, step, target_dir};

/// Debian's Rust for its browsers, which is newer than its `rustc`, with the source of the standard
/// library and the LLVM that it loads.
const DEBIAN: [&str; 5] = [
    "rustc-web",
    "libstd-rust-web-1.96",
    "libstd-rust-web-dev",
    "rust-web-src",
    "libllvm22",
];

/// Fails with the line that installs what is missing where cargo's own Rust lacks the standard
/// library for one of `targets`.
pub(super) fn check(targets: &[&str]) -> Result<()> {
    let mut missing = Vec::new();
    for target in targets {
        let mut libraries = rustc(&["--print", "target-libdir", "--target"]);
        libraries.arg(target);
        if !has_std(Path::new(output(libraries)?.trim())) {
            missing.push(*target);
        }
    }
    let missing = missing.join(" ");
    ensure!(
        missing.is_empty(),
        "this Rust has no standard library for {missing}\n\
         install it with\n  rustup target add {missing}\n\
         or, where rustup's server cannot be reached, compile with Debian's Rust:\n  \
         cargo xtask platforms --debian-rust"
    );
    Ok(())
}

/// Debian's compiler, unpacked below the target folder, with a standard library for `target` that
/// is built from Debian's source. Nothing is installed.
pub(super) fn debian(root: &Path, target: &str) -> Result<PathBuf> {
    let folder = target_dir(root).join("platforms/debian-rust");
    let compiler = folder.join("rustc");
    if !compiler.exists() {
        unpack(&folder, &compiler)?;
    }
    let libraries = folder.join("usr/lib/rustlib").join(target).join("lib");
    if !has_std(&libraries) {
        build_std(root, &folder, &compiler, target, &libraries)?;
    }
    Ok(compiler)
}

fn has_std(libraries: &Path) -> bool {
    fs::read_dir(libraries).is_ok_and(|mut files| {
        files.any(|file| {
            file.is_ok_and(|file| {
                let name = file.file_name();
                let name = name.to_string_lossy();
                name.starts_with("libstd-") && name.ends_with(".rlib")
            })
        })
    })
}

fn unpack(folder: &Path, compiler: &Path) -> Result<()> {
    let packages = folder.join("packages");
    fs::create_dir_all(&packages)?;
    step(
        Command::new("apt-get")
            .current_dir(&packages)
            .args(["--quiet=2", "download"])
            .args(DEBIAN),
    )
    .context("Debian's packages of Rust are in bookworm-security; `apt-get update` finds them")?;
    for package in fs::read_dir(&packages)? {
        let mut dpkg = Command::new("dpkg");
        step(dpkg.arg("-x").arg(package?.path()).arg(folder))?;
    }
    fs::remove_dir_all(packages)?;
    // Its libraries are not where the loader looks.
    let libraries = folder.join(format!("usr/lib/{}-linux-gnu", env::consts::ARCH));
    let program = folder.join("usr/bin/rustc");
    let script = format!(
        "#!/bin/sh\n\
         export LD_LIBRARY_PATH=\"{}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n\
         exec \"{}\" \"$@\"\n",
        libraries.display(),
        program.display()
    );
    super::write_program(compiler, &script)
}

/// As Rust's own build does it, but for the dynamic library, which nothing here links.
fn build_std(
    root: &Path,
    folder: &Path,
    compiler: &Path,
    target: &str,
    libraries: &Path,
) -> Result<()> {
    let mut sources = fs::read_dir(folder.join("usr/src"))?;
    let source = sources.next().context("no source of Rust")??.path();
    let source = source.join("library");
    let manifest = source.join("std/Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(
        &manifest,
        text.replace("crate-type = [\"dylib\", \"rlib\"]\n", ""),
    )?;
    let built = folder.join("std");
    let mut build = cargo(
        root,
        &["build", "--release", "--locked", "--target", target],
    );
    build
        .current_dir(&source)
        .args(["--manifest-path", "sysroot/Cargo.toml"])
        .args(["--features", "panic-unwind backtrace"])
        .env("RUSTC", compiler)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &built)
        .env("CARGO_INCREMENTAL", "0")
        .env(
            "RUSTFLAGS",
            "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes",
        );
    step(&mut build)?;
    // Complete or not there at all.
    let unfinished = libraries.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished)?;
    for file in fs::read_dir(built.join(target).join("release/deps"))? {
        let file = file?.path();
        if file
            .extension()
            .is_some_and(|it| it == "rlib" || it == "rmeta")
        {
            let name = file.file_name().context("a file without a name")?;
            fs::copy(&file, unfinished.join(name))?;
        }
    }
    ensure!(
        has_std(&unfinished),
        "no standard library was built for {target}"
    );
    fs::rename(unfinished, libraries)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_standard_library_is_named_with_the_line_that_installs_it() {
        let host = crate::platforms::Platform::host().expect("a platform");
        check(&[host.target]).expect("what builds this builds for it");
        let rare = [
            "sparc64-unknown-linux-gnu",
            "mips64-unknown-linux-muslabi64",
        ];
        let error = check(&[rare[0], host.target, rare[1]]).expect_err("neither is installed");
        let error = error.to_string();
        let line = format!("rustup target add {} {}\n", rare[0], rare[1]);
        assert!(error.contains(&line), "{error}");
        assert!(error.contains("--debian-rust"), "{error}");
    }
}

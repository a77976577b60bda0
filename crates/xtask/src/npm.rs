//! `cargo xtask npm`: the Node package and this platform's addon, built, packed and, for the tests,
//! installed from what was packed.
//!
//! ```text
//! target/npm/event-producer/             the package: JavaScript and types
//! target/npm/event-producer-<platform>/  the addon, an optional dependency of it
//! target/npm/*.tgz                       both, packed
//! target/npm/installed/                  a clean folder with both installed, and the tests
//! ```

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::platforms::{self, Zig};
use crate::run::{build_services, cargo, output, rustc, step, target_dir};

/// The package's name on the registry.
const PACKAGE: &str = "@254carbon/event-producer";
/// The addon's file in a platform's package.
const ADDON: &str = "carbon-events.node";

/// A platform with an addon.
struct Platform {
    /// The suffix of its package's name.
    suffix: &'static str,
    /// Rust's target name.
    target: &'static str,
    os: &'static str,
    cpu: &'static str,
    libc: Option<&'static str>,
}

const fn platform(
    suffix: &'static str,
    target: &'static str,
    os: &'static str,
    cpu: &'static str,
    libc: Option<&'static str>,
) -> Platform {
    Platform {
        suffix,
        target,
        os,
        cpu,
        libc,
    }
}

impl Platform {
    /// The platform of a Rust target.
    fn named(target: &str) -> Result<&'static Self> {
        PLATFORMS
            .iter()
            .find(|platform| platform.target == target)
            .with_context(|| format!("there is no package for {target}"))
    }
}

/// Those of the package's optional dependencies.
static PLATFORMS: [Platform; 8] = [
    platform(
        "darwin-arm64",
        "aarch64-apple-darwin",
        "darwin",
        "arm64",
        None,
    ),
    platform("darwin-x64", "x86_64-apple-darwin", "darwin", "x64", None),
    platform(
        "linux-arm64-gnu",
        "aarch64-unknown-linux-gnu",
        "linux",
        "arm64",
        Some("glibc"),
    ),
    platform(
        "linux-arm64-musl",
        "aarch64-unknown-linux-musl",
        "linux",
        "arm64",
        Some("musl"),
    ),
    platform(
        "linux-x64-gnu",
        "x86_64-unknown-linux-gnu",
        "linux",
        "x64",
        Some("glibc"),
    ),
    platform(
        "linux-x64-musl",
        "x86_64-unknown-linux-musl",
        "linux",
        "x64",
        Some("musl"),
    ),
    platform(
        "win32-arm64-msvc",
        "aarch64-pc-windows-msvc",
        "win32",
        "arm64",
        None,
    ),
    platform(
        "win32-x64-msvc",
        "x86_64-pc-windows-msvc",
        "win32",
        "x64",
        None,
    ),
];

/// Builds and packs both packages for `target`, or for this machine; returns their paths.
pub(crate) fn pack(root: &Path, target: Option<&str>) -> Result<Vec<PathBuf>> {
    let host = output(rustc(&["-vV"]))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let target = match target {
        Some(target) => target,
        None => host.context("rustc does not print its host")?,
    };
    let platform = Platform::named(target)?;
    let mut build = cargo(root, &["build", "--release", "-p", "carbon-events-node"]);
    if Some(target) != host {
        build.args(["--target", target]);
    }
    step(&mut build)?;
    let built = target_dir(root).join(if Some(target) == host { "" } else { target });
    let built = built.join("release").join(library(platform));
    let packages = target_dir(root).join("npm");
    for old in tarballs(&packages)? {
        fs::remove_file(old)?;
    }
    pack_main(root, &packages)?;
    let folder = pack_addon(root, &packages, platform, |addon| {
        write_addon(platform, &built, addon)
    })?;
    if let Some(linux) = platforms::Platform::named(target) {
        // rustc's own linker asks for libgcc.
        linux
            .on_any_libc()
            .check(&folder.join(ADDON), &["libgcc_s.so.1"])?;
    }
    tarballs(&packages)
}

/// Builds and packs the addons of other platforms and the package into `packages`, checks their
/// requirements, and returns their paths.
pub(crate) fn pack_for(root: &Path, zigs: &[Zig], packages: &Path) -> Result<Vec<PathBuf>> {
    pack_main(root, packages)?;
    for zig in zigs {
        let target = zig.platform.target;
        let mut build = cargo(root, &["rustc", "--release", "-p", "carbon-events-node"]);
        build.args(["--locked", "--target", target]);
        // Stripped by rustc: this machine's `strip` may not support the other's format.
        build.args(["--", "-Clink-arg=-s"]);
        zig.apply(&mut build);
        step(&mut build)?;
        let platform = Platform::named(target)?;
        let built = zig.built().join(library(platform));
        let folder = pack_addon(root, packages, platform, |addon| {
            fs::copy(&built, addon)?;
            Ok(())
        })?;
        zig.platform.check(&folder.join(ADDON), &[])?;
    }
    let targets: Vec<_> = zigs.iter().map(|zig| zig.platform.target).collect();
    tarballs_for(root, packages, &targets)
}

/// Packs the package itself.
fn pack_main(root: &Path, packages: &Path) -> Result<()> {
    let main = packages.join("event-producer");
    begin(root, &main)?;
    let source = root.join("crates/node/npm");
    copy(&source, &main)?;
    fs::copy(root.join("docs/node.md"), main.join("README.md"))
        .context("docs/node.md is the package's README")?;
    let manifest = fs::read_to_string(source.join("package.json"))?;
    let version = version(root)?;
    ensure!(
        manifest.matches(&format!("\"{version}\"")).count() == 1 + PLATFORMS.len(),
        "crates/node/npm/package.json must name version {version} throughout, for each platform"
    );
    npm_pack(&main, packages)
}

/// Packs a platform's package with the addon that `write` writes; returns its folder.
fn pack_addon(
    root: &Path,
    packages: &Path,
    platform: &Platform,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = packages.join(format!("event-producer-{}", platform.suffix));
    begin(root, &folder)?;
    fs::write(folder.join("package.json"), addon_manifest(root, platform)?)?;
    write(&folder.join(ADDON))?;
    npm_pack(&folder, packages)?;
    Ok(folder)
}

/// A clean folder for a package, with the licence in it.
fn begin(root: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    fs::copy(root.join("LICENSE"), folder.join("LICENSE"))?;
    Ok(())
}

fn npm_pack(folder: &Path, packages: &Path) -> Result<()> {
    let mut pack = npm(&["pack", "--silent", "--pack-destination"]);
    step(pack.arg(packages).current_dir(folder))
}

/// The package's version, which only its manifest has. It differs from the crates': it continues the
/// 1.0 of the package that it replaces.
fn version(root: &Path) -> Result<String> {
    let manifest = fs::read_to_string(root.join("crates/node/npm/package.json"))?;
    let version = manifest
        .split_once("\"version\": \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .context("crates/node/npm/package.json has no version")?;
    Ok(version.0.to_owned())
}

fn library(platform: &Platform) -> &'static str {
    match platform.os {
        "win32" => "carbon_events_node.dll",
        "darwin" => "libcarbon_events_node.dylib",
        _ => "libcarbon_events_node.so",
    }
}

/// The library without debug information.
fn write_addon(platform: &Platform, built: &Path, addon: &Path) -> Result<()> {
    if platform.os == "linux" {
        let mut strip = Command::new("strip");
        return step(strip.arg("--strip-all").arg("-o").arg(addon).arg(built));
    }
    fs::copy(built, addon)?;
    Ok(())
}

fn addon_manifest(root: &Path, platform: &Platform) -> Result<String> {
    let version = version(root)?;
    let Platform {
        suffix, os, cpu, ..
    } = platform;
    let libc = platform
        .libc
        .map_or_else(String::new, |libc| format!("\n  \"libc\": [\"{libc}\"],"));
    Ok(format!(
        r#"{{
  "name": "{PACKAGE}-{suffix}",
  "version": "{version}",
  "description": "The addon of {PACKAGE} for {suffix}",
  "license": "Apache-2.0",
  "main": "{ADDON}",
  "files": ["{ADDON}", "LICENSE"],
  "os": ["{os}"],
  "cpu": ["{cpu}"],{libc}
  "engines": {{ "node": ">=16" }}
}}
"#
    ))
}

/// Installs both packed packages and the tests' dependencies into a clean folder; returns the folder,
/// with the tests in it.
pub(crate) fn install(root: &Path, tarballs: &[PathBuf]) -> Result<PathBuf> {
    let folder = target_dir(root).join("npm/installed");
    let tests = root.join("crates/node/test");
    // Packages from the registry are kept while the lock file is unchanged.
    let lock = fs::read_to_string(tests.join("package-lock.json")).unwrap_or_default();
    let kept = folder.join("node_modules/.locked");
    if lock.is_empty() || fs::read_to_string(&kept).unwrap_or_default() != lock {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(tests.join(file), folder.join(file))?;
        }
        step(npm(&["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder))?;
        fs::write(&kept, &lock)?;
    }
    for old in ["test", "node_modules/@254carbon"] {
        let old = folder.join(old);
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    // As in a service: the package, which depends on its platform's addon.
    for tarball in tarballs {
        unpack(tarball, &folder)?;
    }
    copy(&tests, &folder.join("test"))?;
    Ok(folder)
}

/// Installs the packed package and a platform's addon into a clean folder.
pub(crate) fn unpack_for(root: &Path, packages: &Path, target: &str, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for tarball in tarballs_for(root, packages, &[target])? {
        unpack(&tarball, folder)?;
    }
    Ok(())
}

/// The packed package and addons of these platforms and of this version, ignoring older files.
fn tarballs_for(root: &Path, packages: &Path, targets: &[&str]) -> Result<Vec<PathBuf>> {
    let end = format!("-{}.tgz", version(root)?);
    let mut found = tarballs(packages)?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let platform = PLATFORMS.iter().find(|it| name.contains(it.suffix));
        name.ends_with(&end) && platform.is_none_or(|it| targets.contains(&it.target))
    });
    Ok(found)
}

/// Unpacks a tarball to where npm would.
fn unpack(tarball: &Path, folder: &Path) -> Result<()> {
    let scratch = folder.join("unpacked");
    fs::create_dir_all(&scratch)?;
    let mut tar = Command::new("tar");
    step(tar.arg("-xzf").arg(tarball).arg("-C").arg(&scratch))?;
    let manifest = fs::read_to_string(scratch.join("package/package.json"))?;
    let name = manifest
        .split_once("\"name\": \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(name, _)| name)
        .context("a package without a name")?;
    let to = folder.join("node_modules").join(name);
    fs::create_dir_all(to.parent().unwrap_or(folder))?;
    fs::rename(scratch.join("package"), &to)?;
    fs::remove_dir_all(scratch)?;
    Ok(())
}

/// Runs the tests of the installed packages.
pub(crate) fn test(root: &Path, arguments: &[String]) -> Result<()> {
    run(root, "test/run.mjs", arguments)
}

/// Compares the installed package's speed with others'.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Result<()> {
    run(root, "test/bench/bench.mjs", arguments)
}

/// Runs a program of the tests' folder with the packages installed and services at hand.
fn run(root: &Path, program: &str, arguments: &[String]) -> Result<()> {
    let packed = pack(root, None)?;
    let folder = install(root, &packed)?;
    let services = build_services(root)?;
    let program = folder.join(program);
    let mut node = Command::new("node");
    node.arg(&program)
        .args(arguments)
        .env("CARBON_EVENTS_SERVICES", services)
        .env("CARBON_EVENTS_ROOT", root)
        .env("CARBON_EVENTS_TARBALLS", env::join_paths(&packed)?)
        .env_remove("CARBON_EVENTS_ADDON")
        .current_dir(program.parent().unwrap_or(&folder));
    step(&mut node)
}

fn tarballs(packages: &Path) -> Result<Vec<PathBuf>> {
    if !packages.exists() {
        return Ok(Vec::new());
    }
    let mut found: Vec<_> = fs::read_dir(packages)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .collect();
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if name == "node_modules" {
            continue;
        }
        let to = to.join(name);
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

fn npm(arguments: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(arguments);
    npm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_addon_is_packed_in_the_version_that_the_package_asks_for() {
        let root = crate::root().expect("a repository");
        let package = root.join("crates/node/npm/package.json");
        let package = fs::read_to_string(package).expect("a package");
        for platform in &PLATFORMS {
            let manifest = addon_manifest(&root, platform).expect("a manifest");
            let field = |name: &str| {
                let start = format!("\"{name}\": \"");
                let (_, rest) = manifest.split_once(&start).expect("a field");
                rest.split_once('"').expect("its end").0.to_owned()
            };
            let asked = format!("\"{}\": \"{}\"", field("name"), field("version"));
            assert!(package.contains(&asked), "{asked}");
        }
        for linux in &platforms::ALL {
            assert!(Platform::named(linux.target).is_ok(), "{}", linux.target);
        }
    }
}

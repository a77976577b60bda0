//! `cargo xtask platforms`: the wheel and the addon for every Linux that services run on, linked by
//! Zig against the oldest C library that they support.
//!
//! ```text
//! target/platforms/build/    cargo's own folder: the C libraries are compiled once for both
//! target/platforms/zig/      a compiler and a linker for each platform
//! target/platforms/wheels/   the wheels, each with its tag
//! target/platforms/npm/      the package and its addons, packed
//! ```
//!
//! The results are checked: their machine, the libraries that they load, the newest symbols that they
//! need, the stack.

pub(crate) mod elf;
mod rust;
mod smoke;
mod zig;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::target_dir;
use crate::{npm, wheel};
use elf::{Libc, Library, Machine};
pub(crate) use zig::Zig;

/// A Linux that wheels and addons are built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Platform {
    /// Rust's target name.
    pub(crate) target: &'static str,
    /// Python's and Zig's name of the machine.
    pub(crate) architecture: &'static str,
    pub(crate) machine: Machine,
    /// The oldest C library.
    pub(crate) libc: Libc,
}

/// glibc 2.17 is what `manylinux_2_17` names: every distribution since 2014.
const OLDEST_GLIBC: Libc = Libc::Glibc(2, 17);

/// All of them.
pub(crate) static ALL: [Platform; 4] = [
    Platform {
        target: "x86_64-unknown-linux-gnu",
        architecture: "x86_64",
        machine: Machine::X86_64,
        libc: OLDEST_GLIBC,
    },
    Platform {
        target: "aarch64-unknown-linux-gnu",
        architecture: "aarch64",
        machine: Machine::Aarch64,
        libc: OLDEST_GLIBC,
    },
    Platform {
        target: "x86_64-unknown-linux-musl",
        architecture: "x86_64",
        machine: Machine::X86_64,
        libc: Libc::Musl,
    },
    Platform {
        target: "aarch64-unknown-linux-musl",
        architecture: "aarch64",
        machine: Machine::Aarch64,
        libc: Libc::Musl,
    },
];

impl Platform {
    /// The platform of a Rust target.
    pub(crate) fn named(target: &str) -> Option<Self> {
        ALL.iter().find(|it| it.target == target).copied()
    }

    /// The platform that this program runs on.
    pub(crate) fn host() -> Option<Self> {
        let libc = if cfg!(target_env = "musl") {
            "musl"
        } else {
            "gnu"
        };
        Self::named(&format!("{}-unknown-linux-{libc}", env::consts::ARCH))
    }

    /// This platform with a C library of any age, such as this machine's own.
    pub(crate) fn on_any_libc(self) -> Self {
        let libc = match self.libc {
            Libc::Glibc(..) => Libc::Glibc(u32::MAX, 0),
            Libc::Musl => Libc::Musl,
        };
        Self { libc, ..self }
    }

    /// The wheel's tag without the machine.
    pub(crate) fn compatibility(&self) -> String {
        match self.libc {
            Libc::Glibc(major, minor) => format!("manylinux_{major}_{minor}"),
            Libc::Musl => "musllinux_1_2".into(),
        }
    }

    /// Zig's target name.
    fn zig(&self) -> String {
        match self.libc {
            Libc::Glibc(major, minor) => {
                format!("{}-linux-gnu.{major}.{minor}", self.architecture)
            }
            Libc::Musl => format!("{}-linux-musl", self.architecture),
        }
    }

    /// Fails unless the library runs on this platform without installing anything. `also` are libraries
    /// that it may load besides the C library.
    pub(crate) fn check(&self, library: &Path, also: &[&str]) -> Result<()> {
        let read = Library::read(library)?;
        read.check(self.machine, self.libc, also)
            .with_context(|| format!("{} is not for {}", library.display(), self.target))?;
        let size = fs::metadata(library)?.len();
        eprintln!(
            "{}: {:.2} MB, {}",
            library.display(),
            size as f64 / 1e6,
            read.summary()
        );
        Ok(())
    }
}

/// The wheels and addons to build.
pub(crate) struct Chosen {
    platforms: Vec<Platform>,
    wheel: bool,
    npm: bool,
}

impl Chosen {
    /// `wheel` or `npm`, by default both; targets, by default all.
    pub(crate) fn from_words(words: &[String]) -> Self {
        let named = |word: &str| words.iter().any(|it| it == word);
        let platforms: Vec<_> = ALL.iter().filter(|it| named(it.target)).copied().collect();
        Self {
            platforms: if platforms.is_empty() {
                ALL.to_vec()
            } else {
                platforms
            },
            wheel: named("wheel") || !named("npm"),
            npm: named("npm") || !named("wheel"),
        }
    }
}

/// Builds and checks the chosen ones, and with `smoke` runs those that can run here; returns the packed
/// files.
pub(crate) fn build(
    root: &Path,
    chosen: &Chosen,
    debian_rust: bool,
    smoke: bool,
) -> Result<Vec<PathBuf>> {
    if !debian_rust {
        let targets: Vec<_> = chosen.platforms.iter().map(|it| it.target).collect();
        rust::check(&targets)?;
    }
    let zigs = chosen
        .platforms
        .iter()
        .map(|platform| Zig::prepare(root, *platform, debian_rust))
        .collect::<Result<Vec<_>>>()?;
    let mut packed = Vec::new();
    if chosen.wheel {
        let out = folder(root).join("wheels");
        for zig in &zigs {
            packed.push(wheel::build_for(root, zig, &out.join(zig.platform.target))?);
        }
    }
    if chosen.npm {
        packed.extend(npm::pack_for(root, &zigs, &folder(root).join("npm"))?);
    }
    if smoke {
        smoke::run(root, &chosen.platforms, chosen.wheel, chosen.npm)?;
    }
    Ok(packed)
}

/// The wheel for this machine with an older C library than its own, in `target/wheels`.
pub(crate) fn old_glibc_wheel(root: &Path, (major, minor): (u32, u32)) -> Result<PathBuf> {
    let gnu =
        |it: &&Platform| it.architecture == env::consts::ARCH && matches!(it.libc, Libc::Glibc(..));
    let platform = ALL
        .iter()
        .find(gnu)
        .context("no wheel is for this machine")?;
    let libc = Libc::Glibc(major, minor);
    let zig = Zig::prepare(root, Platform { libc, ..*platform }, false)?;
    wheel::build_for(root, &zig, &target_dir(root).join("wheels"))
}

/// The folder for other platforms.
pub(crate) fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("platforms")
}

/// A script that can be started; left alone where it is the same, for what was made with it is made
/// again when it changes.
fn write_program(path: &Path, script: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if fs::read_to_string(path).unwrap_or_default() != script {
        fs::write(path, script)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> (usize, bool, bool) {
        let words: Vec<_> = words.iter().copied().map(String::from).collect();
        let chosen = Chosen::from_words(&words);
        (chosen.platforms.len(), chosen.wheel, chosen.npm)
    }

    #[test]
    fn words_narrow_down_what_is_built() {
        assert_eq!(chosen(&[]), (4, true, true));
        assert_eq!(chosen(&["wheel"]), (4, true, false));
        assert_eq!(
            chosen(&["npm", "aarch64-unknown-linux-musl"]),
            (1, false, true)
        );
        assert_eq!(
            chosen(&["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"]),
            (2, true, true)
        );
    }

    #[test]
    fn each_platform_has_the_lowest_tag() {
        let tags: Vec<_> = ALL
            .iter()
            .map(|it| format!("{}_{}", it.compatibility(), it.architecture))
            .collect();
        assert_eq!(
            tags,
            [
                "manylinux_2_17_x86_64",
                "manylinux_2_17_aarch64",
                "musllinux_1_2_x86_64",
                "musllinux_1_2_aarch64"
            ]
        );
    }
}

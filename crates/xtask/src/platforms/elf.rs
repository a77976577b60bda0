//! What a shared library asks of the machine that loads it, read from the library itself: ELF for
//! 64-bit little-endian machines, as the System V ABI describes it (chapters 4 and 5).
//!
//! The host's tools are not asked: they need not know the machine that the library is for.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_TEXTREL: u64 = 22;
const DT_RUNPATH: u64 = 29;
const DT_FLAGS: u64 = 30;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_VERNEEDNUM: u64 = 0x6fff_ffff;
const DF_TEXTREL: u64 = 4;

/// The machines that libraries are built for, by `e_machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
    Other(u16),
}

/// A C library, and what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Libc {
    /// glibc, not newer than this version.
    Glibc(u32, u32),
    /// Any musl 1.2.
    Musl,
}

/// A shared library.
#[derive(Debug)]
pub(crate) struct Library {
    machine: Machine,
    /// The libraries that it loads.
    needed: Vec<String>,
    /// The versions of symbols that it needs, such as `GLIBC_2.17`.
    versions: Vec<String>,
    /// Folders that it looks for libraries in.
    run_paths: Vec<String>,
    executable_stack: bool,
    text_relocations: bool,
    /// The largest page that its segments can be loaded on.
    page: u64,
}

/// Where a segment is in the file and in memory.
struct Segment {
    offset: u64,
    address: u64,
    size: u64,
}

impl Library {
    /// Reads the headers and the dynamic section.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes)
            .with_context(|| format!("{} is not a library for Linux", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let file = Bytes(bytes);
        ensure!(
            bytes.starts_with(b"\x7fELF\x02\x01"),
            "not ELF for a 64-bit little-endian machine"
        );
        let machine = match file.u16(18)? {
            62 => Machine::X86_64,
            183 => Machine::Aarch64,
            other => Machine::Other(other),
        };
        let headers = file.u64(32)?;
        let (size, count) = (u64::from(file.u16(54)?), u64::from(file.u16(56)?));
        let mut segments = Vec::new();
        let mut dynamic = None;
        // Without the header, Linux makes the stack executable.
        let mut executable_stack = true;
        let mut page = u64::MAX;
        for index in 0..count {
            let header = headers.saturating_add(index * size);
            let segment = Segment {
                offset: file.u64(header + 8)?,
                address: file.u64(header + 16)?,
                size: file.u64(header + 32)?,
            };
            match file.u32(header)? {
                PT_LOAD => {
                    page = page.min(file.u64(header + 48)?);
                    segments.push(segment);
                }
                PT_DYNAMIC => dynamic = Some(segment),
                PT_GNU_STACK => executable_stack = file.u32(header + 4)? & PF_X != 0,
                _ => {}
            }
        }
        let dynamic = dynamic.context("no dynamic section")?;
        let mut entries = Vec::new();
        for index in 0..dynamic.size / 16 {
            let at = dynamic.offset.saturating_add(index * 16);
            match (file.u64(at)?, file.u64(at + 8)?) {
                (0, _) => break,
                entry => entries.push(entry),
            }
        }
        let value = |tag| entries.iter().find(|entry| entry.0 == tag).map(|it| it.1);
        let offset = |address: u64| {
            segments
                .iter()
                .find(|it| (it.address..it.address.saturating_add(it.size)).contains(&address))
                .map(|it| it.offset.saturating_add(address - it.address))
                .with_context(|| format!("address {address:#x} is in no segment"))
        };
        let names = offset(value(DT_STRTAB).context("no names")?)?;
        let texts = |tag| {
            entries
                .iter()
                .filter(|entry| entry.0 == tag)
                .map(|entry| file.text(names.saturating_add(entry.1)))
                .collect::<Result<Vec<_>>>()
        };
        let mut run_paths = texts(DT_RPATH)?;
        run_paths.extend(texts(DT_RUNPATH)?);
        let versions = match value(DT_VERNEED) {
            Some(address) => {
                let count = value(DT_VERNEEDNUM).unwrap_or(0);
                needed_versions(&file, offset(address)?, count, names)?
            }
            None => Vec::new(),
        };
        Ok(Self {
            machine,
            needed: texts(DT_NEEDED)?,
            versions,
            run_paths,
            executable_stack,
            page,
            text_relocations: value(DT_TEXTREL).is_some()
                || value(DT_FLAGS).unwrap_or(0) & DF_TEXTREL != 0,
        })
    }

    /// The newest glibc that it needs, if it needs one.
    pub(crate) fn glibc(&self) -> Option<(u32, u32)> {
        self.versions
            .iter()
            .filter_map(|it| glibc_version(it))
            .max()
    }

    /// One line on what it needs.
    pub(crate) fn summary(&self) -> String {
        let libc = self.glibc().map_or_else(String::new, |(major, minor)| {
            format!(", glibc {major}.{minor}")
        });
        format!("needs {}{libc}", self.needed.join(", "))
    }

    /// Fails with everything that keeps it from running on this machine with this C library and
    /// nothing else installed, or makes it unsafe there. `also` are libraries it may load besides.
    pub(crate) fn check(&self, machine: Machine, libc: Libc, also: &[&str]) -> Result<()> {
        let mut faults = Vec::new();
        if self.machine != machine {
            faults.push(format!("it is for {:?}, not for {machine:?}", self.machine));
        }
        let own = libraries(libc)[0];
        if !self.needed.iter().any(|name| name == own) {
            faults.push(format!(
                "it brings a C library of its own instead of loading {own}"
            ));
        }
        for name in &self.needed {
            if !libraries(libc).contains(&name.as_str()) && !also.contains(&name.as_str()) {
                faults.push(format!("it loads {name}, which may not be installed"));
            }
        }
        for version in &self.versions {
            match (glibc_version(version), libc) {
                (Some(needed), Libc::Glibc(major, minor)) if needed > (major, minor) => {
                    faults.push(format!("it needs {version}, newer than {major}.{minor}"));
                }
                (Some(_), Libc::Musl) => faults.push(format!("it needs {version}, not musl")),
                _ => {}
            }
        }
        for path in &self.run_paths {
            faults.push(format!("it looks for libraries in {path}"));
        }
        // Kernels for arm64 are built for pages of 4, 16 or 64 KiB.
        if machine == Machine::Aarch64 && self.page < 0x1_0000 {
            faults.push(format!("its segments are for pages of {} bytes", self.page));
        }
        if self.executable_stack {
            faults.push("it makes the stack executable".into());
        }
        if self.text_relocations {
            faults.push("it has relocations in code, which many systems refuse".into());
        }
        ensure!(faults.is_empty(), "{}", faults.join("; "));
        Ok(())
    }
}

/// The parts of a C library.
fn libraries(libc: Libc) -> &'static [&'static str] {
    match libc {
        Libc::Glibc(..) => &[
            "libc.so.6",
            "libdl.so.2",
            "libm.so.6",
            "libpthread.so.0",
            "librt.so.1",
            "ld-linux-x86-64.so.2",
            "ld-linux-aarch64.so.1",
        ],
        // Whatever the file is called, musl's loader takes this name for itself.
        Libc::Musl => &["libc.so"],
    }
}

/// `GLIBC_2.17` as numbers.
fn glibc_version(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.');
    let (major, minor) = (numbers.next()?, numbers.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The names of all versions in a list of `Elf64_Verneed`, each with a list of `Elf64_Vernaux`.
fn needed_versions(file: &Bytes<'_>, list: u64, count: u64, names: u64) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut library = list;
    for _ in 0..count {
        let mut version = library.saturating_add(u64::from(file.u32(library + 8)?));
        for _ in 0..file.u16(library + 2)? {
            let name = u64::from(file.u32(version + 8)?);
            found.push(file.text(names.saturating_add(name))?);
            version = version.saturating_add(u64::from(file.u32(version + 12)?));
        }
        library = library.saturating_add(u64::from(file.u32(library + 12)?));
    }
    Ok(found)
}

/// A file's bytes, read only where there are any.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&self, at: u64) -> Result<[u8; N]> {
        let start = usize::try_from(at)?;
        let bytes = start
            .checked_add(N)
            .and_then(|end| self.0.get(start..end))
            .with_context(|| format!("it ends before byte {at}"))?;
        Ok(bytes.try_into()?)
    }

    fn u16(&self, at: u64) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    fn u32(&self, at: u64) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    fn u64(&self, at: u64) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    /// The text up to the next zero byte.
    fn text(&self, at: u64) -> Result<String> {
        let rest = self.0.get(usize::try_from(at)?..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0);
        let end = end.with_context(|| format!("no text at byte {at}"))?;
        Ok(std::str::from_utf8(&rest[..end])?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;

    /// A library that this machine's compiler links.
    fn linked(flags: &[&str]) -> Library {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("f.c");
        let library = folder.path().join("f.so");
        fs::write(
            &source,
            "#include <stdio.h>\nint f(void) { return puts(\"\"); }\n",
        )
        .expect("a source file");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .args(flags)
            .status()
            .expect("cc starts");
        assert!(status.success());
        Library::read(&library).expect("a library")
    }

    fn host() -> Machine {
        match env::consts::ARCH {
            "x86_64" => Machine::X86_64,
            _ => Machine::Aarch64,
        }
    }

    fn refused(library: &Library, libc: Libc) -> String {
        let refused = library.check(host(), libc, &[]);
        format!("{:#}", refused.expect_err("refused"))
    }

    #[test]
    fn a_library_that_needs_the_c_library_alone_passes() {
        let library = linked(&[]);
        assert_eq!(library.needed, ["libc.so.6"]);
        assert!(library.glibc() >= Some((2, 2)), "{library:?}");
        library
            .check(host(), Libc::Glibc(2, 999), &[])
            .expect("it passes");
    }

    #[test]
    fn what_does_not_run_everywhere_is_refused_by_its_name() {
        let any = Libc::Glibc(2, 999);
        let library = linked(&[]);
        assert!(refused(&library, Libc::Glibc(2, 1)).contains("newer than 2.1"));
        assert!(refused(&library, Libc::Musl).contains("loads libc.so.6"));
        let other = match host() {
            Machine::X86_64 => Machine::Aarch64,
            _ => Machine::X86_64,
        };
        assert!(library.check(other, any, &[]).is_err());

        let library = linked(&["-Wl,-rpath,/opt/here", "-Wl,-z,execstack"]);
        let fault = refused(&library, any);
        assert!(fault.contains("/opt/here"), "{fault}");
        assert!(fault.contains("stack executable"), "{fault}");

        let library = linked(&["-Wl,--no-as-needed", "-lgcc_s"]);
        let fault = refused(&library, any);
        assert!(fault.contains("libgcc_s.so.1"), "{fault}");
        library
            .check(host(), any, &["libgcc_s.so.1"])
            .expect("it may load what is named");

        let machine = Machine::Aarch64;
        let arm64 = |page| Library {
            machine,
            page,
            ..linked(&[])
        };
        arm64(0x1_0000).check(machine, any, &[]).expect("any page");
        let fault = arm64(0x1000).check(machine, any, &[]);
        let fault = fault.expect_err("small pages only").to_string();
        assert!(fault.contains("pages of 4096 bytes"), "{fault}");

        let library = linked(&["-nostdlib", "-Wl,--unresolved-symbols=ignore-all"]);
        assert!(refused(&library, any).contains("a C library of its own"));
    }

    #[test]
    fn what_is_no_library_is_an_error_and_no_panic() {
        let own = env::current_exe().expect("a program");
        let bytes = fs::read(own).expect("its bytes");
        assert!(Library::parse(&bytes).is_ok());
        for length in (0..4096).chain([bytes.len() / 2]) {
            drop(Library::parse(&bytes[..length]));
        }
        assert!(Library::parse(b"#!/bin/sh\n").is_err());
        assert!(Library::parse(&bytes[..64]).is_err());
    }
}

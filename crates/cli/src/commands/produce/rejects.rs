//! Lines that were not published, in a file with their errors.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use carbon_events::Error;
use serde_json::json;

use super::input::Line;
use crate::output;

/// A file of lines `{"line": 3, "error": {…}, "input": "…"}`, created for the first of them.
pub(super) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Rejects {
    pub(super) fn new(path: PathBuf) -> Self {
        Rejects { path, file: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the file is the input: it would be truncated while it is read.
    pub(super) fn check_is_not(&self, input: &File) -> anyhow::Result<()> {
        anyhow::ensure!(
            !is_same(&self.path, input)?,
            "rejected lines cannot be set aside in {}, which is the input: use another file with \
             --rejected",
            self.path.display()
        );
        Ok(())
    }

    pub(super) fn add(&mut self, line: &Line, error: &Error) -> anyhow::Result<()> {
        let shown = self.path.display();
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = create(&self.path).with_context(|| format!("cannot create {shown}"))?;
                self.file.insert(BufWriter::new(file))
            }
        };
        let entry = json!({
            "line": line.number,
            "error": output::library_error_json(error),
            "input": String::from_utf8_lossy(&line.text),
        });
        writeln!(file, "{entry}").with_context(|| format!("cannot write {shown}"))
    }

    /// Flushes the file; returns its path if there is one.
    pub(super) fn finish(&mut self) -> anyhow::Result<Option<PathBuf>> {
        let Some(mut file) = self.file.take() else {
            return Ok(None);
        };
        file.flush()
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Some(self.path.clone()))
    }
}

/// Whether a path is the same regular file as `input`.
#[cfg(unix)]
fn is_same(path: &Path, input: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let input = input.metadata()?;
    Ok(std::fs::metadata(path).is_ok_and(|found| {
        input.is_file() && (found.dev(), found.ino()) == (input.dev(), input.ino())
    }))
}

#[cfg(not(unix))]
fn is_same(path: &Path, input: &File) -> std::io::Result<bool> {
    // There is no inode number: compare sizes and times.
    let (Ok(found), input) = (std::fs::metadata(path), input.metadata()?) else {
        return Ok(false);
    };
    Ok(found.is_file()
        && found.len() == input.len()
        && found.created().ok() == input.created().ok()
        && found.modified().ok() == input.modified().ok())
}

/// Creates the file, or truncates it, readable by the owner only: lines may hold values that a published
/// event would not.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // Not a pipe or a device, such as /dev/stderr.
    if file.metadata()?.is_file() {
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.set_len(0)?;
    }
    Ok(file)
}

//! Lines that were not published, set aside with their errors.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use carbon_events::Error;
use serde_json::json;

use super::input::Line;
use crate::output;

/// A file of lines `{"line": 3, "error": {…}, "input": "…"}`, made with the first of them.
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

    pub(super) fn add(&mut self, line: &Line, error: &Error) -> anyhow::Result<()> {
        let shown = self.path.display();
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = create(&self.path).with_context(|| format!("cannot make {shown}"))?;
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

    /// Writes what is left; gives the file's path if there is one.
    pub(super) fn finish(&mut self) -> anyhow::Result<Option<PathBuf>> {
        let Some(mut file) = self.file.take() else {
            return Ok(None);
        };
        file.flush()
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Some(self.path.clone()))
    }
}

/// For our eyes only: the lines may hold what a published event would not.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

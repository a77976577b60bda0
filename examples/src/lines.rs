//! The lines of a log: numbered, with a progress bar on a terminal, and with malformed ones shown.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

/// How many malformed lines are shown; all are counted.
const SHOWN: u64 = 20;
/// The longest line that can be a record; what is longer is malformed.
const MAX_LINE_BYTES: u64 = 512 << 10;

/// A log being read.
pub struct Log {
    /// What messages call it.
    name: String,
    reader: BufReader<Box<dyn Read>>,
    bar: ProgressBar,
    /// When the file was last written to; unknown of standard input.
    pub modified: Option<SystemTime>,
    /// Lines read so far.
    pub lines: u64,
    /// Lines among them that could not be made an event.
    pub malformed: u64,
}

/// One line of a log, without its line break. Bytes that are no UTF-8 are replaced.
pub struct Line {
    /// Counted from 1.
    pub number: u64,
    /// What it says.
    pub text: String,
}

impl Log {
    /// Opens a file, or standard input where the path is `-`.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut name = path.display().to_string();
        let (input, size, modified): (Box<dyn Read>, _, _) = if path == Path::new("-") {
            name = "stdin".to_owned();
            (Box::new(io::stdin()), None, None)
        } else {
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            let metadata = file.metadata()?;
            let regular = metadata.is_file();
            let size = regular.then_some(metadata.len());
            let modified = if regular {
                metadata.modified().ok()
            } else {
                None
            };
            (Box::new(file), size, modified)
        };
        Ok(Log {
            name,
            reader: BufReader::with_capacity(1 << 16, input),
            bar: bar(size, "publishing", "{bytes}/{total_bytes}, {eta} left"),
            modified,
            lines: 0,
            malformed: 0,
        })
    }

    /// The next line; an error names the file and the line.
    pub fn next_line(&mut self) -> anyhow::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let place = || format!("cannot read {} behind line {}", self.name, self.lines);
        let mut limited = (&mut self.reader).take(MAX_LINE_BYTES);
        let mut read = limited.read_until(b'\n', &mut bytes).with_context(place)?;
        if read == 0 {
            self.bar.finish_and_clear();
            return Ok(None);
        }
        if bytes.last() != Some(&b'\n') && bytes.len() as u64 == MAX_LINE_BYTES {
            // What was read of it is no whole line, so that it is malformed whatever it says.
            read += self.reader.skip_until(b'\n').with_context(place)?;
            bytes.clear();
        }
        self.lines += 1;
        self.bar.inc(read as u64);
        let text = String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
        Ok(Some(Line {
            number: self.lines,
            text,
        }))
    }

    /// Counts a line that could not be made an event and shows where it is, on standard error.
    pub fn malformed(&mut self, line: u64, why: &str) {
        self.malformed += 1;
        let place = &self.name;
        if self.malformed <= SHOWN {
            self.bar
                .suspend(|| eprintln!("{place}:{line}: malformed: {why}"));
        } else if self.malformed == SHOWN + 1 {
            self.bar
                .suspend(|| eprintln!("{place}: more malformed lines are counted, not shown"));
        }
    }
}

/// A bar on standard error, where that is a terminal. Without a `total` it only counts.
pub(crate) fn bar(total: Option<u64>, doing: &'static str, numbers: &str) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            format!("{{msg}} {{wide_bar}} {numbers}"),
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {msg} {bytes}".to_owned(),
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.set_message(doing);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_are_numbered_and_one_that_never_ends_is_empty() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(MAX_LINE_BYTES as usize * 2);
        file.write_all(format!("one\r\n{long}\n\n").as_bytes())
            .unwrap();
        file.write_all(b"f\xffur").unwrap();
        let mut log = Log::open(file.path()).unwrap();
        let mut found = Vec::new();
        while let Some(line) = log.next_line().unwrap() {
            found.push((line.number, line.text));
        }
        let expected = [(1, "one"), (2, ""), (3, ""), (4, "f\u{fffd}ur")];
        assert_eq!(
            found,
            expected.map(|(number, text)| (number, text.to_owned()))
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Log::open(Path::new("no/such.log")).err().unwrap();
        assert!(format!("{error:#}").contains("no/such.log"), "{error:#}");
    }
}

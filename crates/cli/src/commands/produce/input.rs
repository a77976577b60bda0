//! Lines of a file or of standard input, read ahead on a thread of their own, so that a blocking read
//! delays neither Ctrl-C nor acknowledgements.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;

/// The longest line: far above any record that a broker accepts.
const MAX_LINE_BYTES: usize = 16 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How many lines form a batch, and how many batches may be queued.
const BATCH: usize = 256;
const BATCHES: usize = 16;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1, blank lines included.
    pub(super) number: u64,
    /// Where it ends in the input, in bytes.
    pub(super) end: u64,
    /// Its text without the line break; truncated if it is too long.
    pub(super) text: Vec<u8>,
    /// Why it cannot be an event.
    pub(super) fault: Option<String>,
}

/// The result of [`Lines::next`].
pub(super) enum Next {
    Lines(Vec<Line>),
    /// No line in time.
    Nothing,
    End,
    Failed(io::Error),
}

/// The lines of an input.
pub(super) struct Lines(Receiver<io::Result<Vec<Line>>>);

impl Lines {
    pub(super) fn next(&self, timeout: Duration) -> Next {
        match self.0.recv_timeout(timeout) {
            Ok(Ok(lines)) => Next::Lines(lines),
            Ok(Err(error)) => Next::Failed(error),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}

/// Starts reading.
pub(super) fn lines(input: impl Read + Send + 'static) -> anyhow::Result<Lines> {
    let (sender, receiver) = sync_channel(BATCHES);
    thread::Builder::new()
        .name("lines".to_owned())
        .spawn(move || {
            if let Err(error) = read(input, &sender) {
                // The receiver is gone if the run has ended.
                let _ = sender.send(Err(error));
            }
        })
        .context("cannot spawn a thread")?;
    Ok(Lines(receiver))
}

fn read(input: impl Read, sender: &SyncSender<io::Result<Vec<Line>>>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, input);
    refuse_other_formats(&mut reader)?;
    let (mut number, mut end) = (0, 0);
    let mut batch = Vec::new();
    loop {
        let mut text = Vec::new();
        let (read, fault) = read_line(&mut reader, &mut text)?;
        if read == 0 {
            break;
        }
        number += 1;
        end += read;
        let fault = fault.or_else(|| {
            let marked = text.starts_with(BYTE_ORDER_MARK);
            if marked && number == 1 {
                text.drain(..BYTE_ORDER_MARK.len());
            }
            let why = "the line begins with a byte order mark, as in concatenated files: remove it";
            (marked && number > 1).then(|| why.to_owned())
        });
        if fault.is_some() || !text.trim_ascii().is_empty() {
            batch.push(Line {
                number,
                end,
                text,
                fault,
            });
        }
        // Typed or piped lines are sent at once.
        if (batch.len() >= BATCH || reader.buffer().is_empty())
            && !batch.is_empty()
            && sender.send(Ok(std::mem::take(&mut batch))).is_err()
        {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        let _ = sender.send(Ok(batch));
    }
    Ok(())
}

/// Fails if the input starts like compressed or UTF-16 text.
fn refuse_other_formats(reader: &mut impl BufRead) -> io::Result<()> {
    let start = loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            start => break start?,
        }
    };
    let why = match start {
        [0x1f, 0x8b, ..] => "it is gzip: pipe `gunzip -c FILE` into `carbon-events produce`",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "it is zstd: pipe `zstd -dc FILE` into `carbon-events produce`"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => {
            "it is UTF-16: pipe `iconv -f UTF-16 -t UTF-8 FILE` into `carbon-events produce`"
        }
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Reads a line without its line break and leading NULs; returns how many bytes it took, and why it is
/// unusable.
fn read_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<(u64, Option<String>)> {
    let mut taken = 0;
    let mut nuls = 0;
    let mut fault = None;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let line_break = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..line_break.unwrap_or(available.len())];
        let used = part.len() + usize::from(line_break.is_some());
        let leading = match text.is_empty() {
            true => part.iter().take_while(|byte| **byte == 0).count(),
            false => 0,
        };
        nuls += leading;
        let part = &part[leading..];
        let room = MAX_LINE_BYTES - text.len();
        if part.len() > room {
            fault = Some("the line is longer than 16 MiB".to_owned());
        }
        text.extend_from_slice(&part[..part.len().min(room)]);
        reader.consume(used);
        taken += used as u64;
        if used == 0 || line_break.is_some() {
            break;
        }
    }
    if text.last() == Some(&b'\r') {
        text.pop();
    }
    if nuls > 0 {
        fault = Some(format!(
            "the line begins with {nuls} NUL bytes, as in a log file that was truncated while open: \
             remove them"
        ));
    }
    Ok((taken, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &'static [u8]) -> Vec<(u64, u64, String)> {
        let lines = lines(input).unwrap();
        let mut found = Vec::new();
        loop {
            match lines.next(Duration::from_secs(20)) {
                Next::Lines(lines) => found.extend(
                    lines
                        .into_iter()
                        .map(|line| (line.number, line.end, String::from_utf8(line.text).unwrap())),
                ),
                Next::End => return found,
                Next::Nothing | Next::Failed(_) => panic!("the input is in memory"),
            }
        }
    }

    #[test]
    fn lines_keep_their_numbers_and_lose_their_breaks() {
        let text = |line: &str| line.to_owned();
        assert_eq!(
            all(b"\xef\xbb\xbfone\r\n\n  \nfour\nfive"),
            [
                (1, 8, text("one")),
                (4, 17, text("four")),
                (5, 21, text("five"))
            ]
        );
        assert_eq!(all(b""), []);
    }

    /// The faults of an input's lines, with the text that is left of each.
    fn faults(input: impl Read + Send + 'static) -> Vec<(u64, String, Option<String>)> {
        let lines = lines(input).unwrap();
        let mut found = Vec::new();
        while let Next::Lines(lines) = lines.next(Duration::from_secs(20)) {
            let parts = |line: Line| {
                (
                    line.number,
                    String::from_utf8(line.text).unwrap(),
                    line.fault,
                )
            };
            found.extend(lines.into_iter().map(parts));
        }
        found
    }

    #[test]
    fn nuls_before_a_line_are_counted_and_not_kept() {
        let nuls = 64 << 20;
        let input = io::repeat(0).take(nuls).chain(&b"{}\n{}\n\0\0\n"[..]);
        let found = faults(input);
        let shown: Vec<_> = found
            .iter()
            .map(|(n, text, _)| (*n, text.as_str()))
            .collect();
        assert_eq!(shown, [(1, "{}"), (2, "{}"), (3, "")]);
        let why = |index: usize| found[index].2.clone().unwrap_or_default();
        assert!(why(0).contains("67108864 NUL bytes"), "{}", why(0));
        assert_eq!(why(1), "");
        assert!(why(2).contains("2 NUL bytes"), "{}", why(2));
    }

    #[test]
    fn a_byte_order_mark_in_the_middle_is_named() {
        let found = faults(&b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n"[..]);
        assert_eq!((found[0].1.as_str(), &found[0].2), ("{}", &None));
        let why = found[1].2.as_deref().unwrap_or_default();
        assert!(why.contains("byte order mark"), "{why}");
    }

    #[test]
    fn compressed_and_utf_16_input_is_named_and_not_read() {
        for (input, name) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\0", "zstd"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"\xfe\xff\0{\0}", "UTF-16"),
            (b"{\0}\0", "UTF-16"),
        ] {
            let lines = lines(input).unwrap();
            let Next::Failed(error) = lines.next(Duration::from_secs(20)) else {
                panic!("{name} is read");
            };
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_refused_and_the_next_one_read() {
        let long = io::repeat(b'x')
            .take(MAX_LINE_BYTES as u64 + 1)
            .chain(&b"\nnext\n"[..]);
        let lines = lines(long).unwrap();
        let mut found = Vec::new();
        while let Next::Lines(lines) = lines.next(Duration::from_secs(20)) {
            found.extend(lines);
        }
        assert_eq!(found[0].text.len(), MAX_LINE_BYTES);
        assert!(found[0].fault.is_some());
        assert_eq!(
            (found[1].number, &found[1].text[..], &found[1].fault),
            (2, &b"next"[..], &None)
        );
    }
}

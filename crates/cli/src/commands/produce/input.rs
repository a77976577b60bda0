//! Lines of a file or of standard input, read ahead on a thread of their own: a read that blocks
//! then keeps neither Ctrl-C nor acknowledgements waiting.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;

/// The longest line: far above any record that a broker takes.
const MAX_LINE_BYTES: usize = 16 << 20;
/// How many lines travel together, and how many such batches may wait.
const BATCH: usize = 256;
const BATCHES: usize = 16;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1, blank lines included.
    pub(super) number: u64,
    /// Where it ends in the input, in bytes.
    pub(super) end: u64,
    /// Its text without the line break; cut where it is too long.
    pub(super) text: Vec<u8>,
    /// Why it cannot be an event.
    pub(super) fault: Option<&'static str>,
}

/// What [`Lines::next`] gives.
pub(super) enum Next {
    Lines(Vec<Line>),
    /// None in time.
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
                // Nobody waits for it where the run has ended.
                let _ = sender.send(Err(error));
            }
        })
        .context("cannot start a thread")?;
    Ok(Lines(receiver))
}

fn read(input: impl Read, sender: &SyncSender<io::Result<Vec<Line>>>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, input);
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
        if number == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        if !text.trim_ascii().is_empty() {
            batch.push(Line {
                number,
                end,
                text,
                fault,
            });
        }
        // Whoever types or pipes lines wants each of them sent at once.
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

/// Reads a line without its line break; gives the bytes that it took, and why it cannot be used.
fn read_line(
    reader: &mut impl BufRead,
    text: &mut Vec<u8>,
) -> io::Result<(u64, Option<&'static str>)> {
    let mut taken = 0;
    let mut fault = None;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let line_break = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..line_break.unwrap_or(available.len())];
        let room = MAX_LINE_BYTES - text.len();
        if part.len() > room {
            fault = Some("the line is longer than 16 MiB");
        }
        text.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(line_break.is_some());
        reader.consume(used);
        taken += used as u64;
        if used == 0 || line_break.is_some() {
            break;
        }
    }
    if text.last() == Some(&b'\r') {
        text.pop();
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
            (found[1].number, &found[1].text[..], found[1].fault),
            (2, &b"next"[..], None)
        );
    }
}

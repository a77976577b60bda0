//! Results on stdout, errors on stderr.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use carbon_events::Error;
use comfy_table::{Cell, CellAlignment, Row, Table, presets};
use serde_json::{Value, json};

/// For failures.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// For success.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// For warnings.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
/// For details.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Stdout for results, without colours if they are turned off.
pub(crate) fn stdout() -> io::BufWriter<anstream::AutoStream<io::Stdout>> {
    io::BufWriter::new(anstream::AutoStream::auto(io::stdout()))
}

/// Prints a line to stdout.
pub(crate) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints one JSON value as a line.
pub(crate) fn json_line(value: &Value) -> io::Result<()> {
    line(json_text(value))
}

/// Text in a style.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Characters by which a record could control the terminal or break a line: control characters (C0,
/// DEL, C1), direction marks (Unicode UAX 9), line and paragraph separators.
pub(crate) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text without characters that [steer](steers) a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// A value as JSON on one line, with characters that [steer](steers) a terminal escaped; they occur in
/// strings only, so the JSON is equal.
pub(crate) fn json_text(value: &Value) -> String {
    let text = value.to_string();
    if !text.chars().any(steers) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A table without lines, its headers in capitals; columns in `numbers` are right-aligned.
pub(crate) fn table(headers: &[&str], numbers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(
        headers
            .iter()
            .map(|header| Cell::new(header.to_uppercase())),
    );
    for (index, header) in headers.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if numbers.contains(header) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

/// Prints a table without trailing blanks.
pub(crate) fn print_table(table: &Table) -> io::Result<()> {
    let mut out = stdout();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    out.flush()
}

/// A row of a table.
pub(crate) fn row<T: ToString>(cells: impl IntoIterator<Item = T>) -> Row {
    cells
        .into_iter()
        .map(|cell| Cell::new(cell.to_string()))
        .collect::<Vec<_>>()
        .into()
}

/// Prints an error on stderr, as JSON with `--json`.
pub(crate) fn print_error(error: &anyhow::Error, json: bool) {
    let mut stderr = anstream::stderr();
    let written = if json {
        writeln!(
            stderr,
            "{}",
            json_text(&json!({ "error": error_json(error) }))
        )
    } else {
        match error.downcast_ref::<Error>() {
            Some(error) => writeln!(stderr, "{} {error}", styled(BAD, "error:")),
            None => writeln!(stderr, "{} {error:#}", styled(BAD, "error:")),
        }
    };
    // If stderr is closed, the exit code still reports the failure.
    let _ = written;
}

/// Prints a line on stderr.
pub(crate) fn note(text: impl std::fmt::Display) {
    // As above.
    let _ = writeln!(anstream::stderr(), "{text}");
}

fn error_json(error: &anyhow::Error) -> Value {
    match error.downcast_ref::<Error>() {
        Some(error) => library_error_json(error),
        None => json!({ "message": format!("{error:#}") }),
    }
}

/// An error of the library as JSON.
pub(crate) fn library_error_json(error: &Error) -> Value {
    let context: serde_json::Map<String, Value> = error
        .context()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "kind": error.kind().as_str(),
        "message": error.message(),
        "retryable": error.retryable(),
        "context": context,
    })
}

/// Whether the reader of stdout closed it.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

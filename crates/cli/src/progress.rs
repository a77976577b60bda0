//! Progress bars, on stderr if it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar up to `total`, in units of `what`.
pub(crate) fn bar(total: u64, what: &'static str, quiet: bool) -> ProgressBar {
    let style = format!(
        "{{msg:12}} {{wide_bar}} {{human_pos}}/{{human_len}} {what}, {{per_sec}}, {{eta}} left"
    );
    shown(ProgressBar::new(total), &style, quiet)
}

/// A bar over bytes of input.
pub(crate) fn bytes(total: u64, quiet: bool) -> ProgressBar {
    let style = "{msg:12} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    shown(ProgressBar::new(total), style, quiet)
}

/// A count without a known end.
pub(crate) fn counter(what: &'static str, quiet: bool) -> ProgressBar {
    let style = format!("{{spinner}} {{msg}} {{human_pos}} {what}, {{per_sec}}");
    shown(ProgressBar::new_spinner(), &style, quiet)
}

fn shown(bar: ProgressBar, style: &str, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    // indicatif draws on stderr, and nothing if it is not a terminal.
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

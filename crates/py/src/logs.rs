//! The core's log lines for Python's `logging`. Any thread queues them; [`crate::dispatch`] writes them.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::dispatch;

/// One line.
pub(crate) struct Line {
    /// As in Python's `logging`: 10 for debug to 40 for error.
    pub(crate) level: u8,
    pub(crate) target: String,
    pub(crate) text: String,
}

/// The level of Python's logger. Warnings until it was read.
static WANTED: AtomicU8 = AtomicU8::new(30);

struct ToPython;

fn level_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        _ => 10,
    }
}

impl Subscriber for ToPython {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && level_of(*metadata.level()) >= WANTED.load(Ordering::Relaxed)
            && metadata.target().starts_with("carbon_events")
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // The level may change.
        tracing::subscriber::Interest::sometimes()
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        dispatch::log(Line {
            level: level_of(*metadata.level()),
            target: metadata.target().replace("::", "."),
            text: text.message + &text.fields,
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a `String` does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

/// Installs the subscriber. There is no other, because this library has its own copy of `tracing`.
pub(crate) fn install() {
    let _ = tracing::subscriber::set_global_default(ToPython);
}

/// Reads the current level of Python's logger.
pub(crate) fn follow_level(py: Python<'_>) {
    let level = py
        .import("logging")
        .and_then(|logging| logging.call_method1("getLogger", ("carbon_events",)))
        .and_then(|logger| logger.call_method0("getEffectiveLevel")?.extract::<u32>());
    if let Ok(level) = level {
        WANTED.store(u8::try_from(level).unwrap_or(u8::MAX), Ordering::Relaxed);
    }
}

//! Reading another writer's body: Avro's schema resolution, decided once and then run.
//!
//! ```text
//! writer's schema --+
//!                   +--> Plan::new: which field goes where, what is converted, skipped, filled in
//! reader's schema --+      |
//!                          v
//! writer's body -------> transcode -------> the same event as a body of the reader's schema
//! ```
//!
//! The generated decoder then borrows from that output, so one decoder reads every writer's events.
//! Fields that are alike in both schemas are copied unchanged, neighbours in one piece; the decoder
//! checks their text.
//!
//! Rules: Avro 1.12, "Schema Resolution" and "Aliases", with one addition: a timestamp is converted
//! to the reader's unit, where the rules would read microseconds as milliseconds.
//!
//! Any client that can write to a topic chooses the bytes, and any that can register a schema
//! chooses the plan. So depth, output and the steps without input are bounded (see [`Run`]).

mod build;
mod run;

use self::build::Builder;
use self::run::{Op, Skip};
use crate::avro::schema::{Node, Schema};
use crate::{Error, ErrorKind, Result};

/// How to turn bodies of one writer's schema into bodies of the reader's.
#[derive(Debug)]
pub struct Plan {
    /// The reader's record, for errors.
    event: String,
    ops: Vec<Op>,
    root: usize,
    /// How to skip each type of the writer's schema, by its place there.
    skips: Vec<Skip>,
}

impl Plan {
    /// Resolves a writer's schema against the reader's.
    ///
    /// If no event of that writer can be read, the error is [`ErrorKind::IncompatibleSchema`] and
    /// names both records or the field. What affects only some events, such as an unknown symbol,
    /// is an error of [`Plan::transcode`].
    pub fn new(writer: &Schema, reader: &Schema) -> Result<Plan> {
        let event = match reader.node(reader.root()) {
            Node::Record { name, .. } => name.short(),
            other => other.type_name(),
        };
        let mut builder = Builder::new(writer, reader);
        let root = builder
            .resolve(writer.root(), reader.root(), 0)
            .map_err(|mismatch| {
                let error = Error::new(ErrorKind::IncompatibleSchema, mismatch.message(event));
                let error = error.with("event", event).with("writer", writer.name());
                if mismatch.field.is_empty() {
                    error
                } else {
                    error.with("field", mismatch.field)
                }
            })?;
        let (ops, skips) = builder.finish();
        Ok(Plan {
            event: event.to_owned(),
            ops,
            root,
            skips,
        })
    }

    /// Whether the writer's bodies are bodies of the reader's schema without a change.
    #[doc(hidden)]
    pub fn changes_nothing(&self) -> bool {
        matches!(self.ops[self.root], Op::Copy(_))
    }

    /// Appends to `out` what the writer wrote, as a body of the reader's schema.
    ///
    /// Returns [`ErrorKind::Undecodable`] for input that is not a body of the writer's schema, has
    /// bytes left over, or has values that the reader cannot hold; `out` is then as before.
    pub fn transcode(&self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let result = run::transcode(self, input, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

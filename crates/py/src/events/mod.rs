//! The event classes.
//!
//! ```text
//!   AuditAPICallEvent(service=…, …)   keywords ─▶ slots ─▶ core's event ─▶ EncodedEvent
//!   event.service                     EncodedEvent ─▶ core's event, borrowing, once ─▶ str
//! ```
//!
//! An object holds the encoded event. A send copies the bytes; a consumed event is decoded when an
//! attribute is read first.

mod arguments;
mod from_arrow;
mod from_python;
mod functions;
mod meta;
mod names;
mod object;
mod records;
mod spec;
mod to_python;

pub(crate) use arguments::{Arguments, Columns, MAX_FIELDS, Refused, Slots, Source};
pub(crate) use from_arrow::Column;
pub(crate) use functions::register;
pub(crate) use object::{Class, class_of, encoded_of, event_object};

//! What every generated event uses.

pub(super) use std::borrow::Cow;

pub(super) use super::builder::{OptionalText, envelope_setters};
pub(super) use super::enums::*;
pub(super) use super::envelope::{Envelope, EnvelopeBuilder};
pub(super) use super::event_id::EventId;
pub(super) use super::items::Element;
pub(super) use super::list::List;
pub(super) use super::record::{Fields, TypedEvent, Visitor, show_by_fields};
pub(super) use super::sensitive::HashedText;
pub(super) use super::string_map::StringMap;
pub(super) use super::topic::Topic;
pub(super) use super::{check, sensitive, symbol, text};
pub(super) use crate::avro::{MAX_VARINT_LEN, Reader, Writer, append_with};
pub(super) use crate::error::Result;

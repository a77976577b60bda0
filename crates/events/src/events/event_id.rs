//! The identity of an event.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use super::uuid::{self, TEXT_LEN};
use crate::avro::{MAX_VARINT_LEN, Writer};

/// An event's `eventId`: the 36 characters of a UUID.
///
/// [`generate`](EventId::generate) gives a UUIDv7, so that ids sort by the time of their
/// creation. Ids of decoded events stay as their producers wrote them, UUID or not.
#[derive(Clone)]
pub struct EventId<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    /// The text of a UUID, held without an allocation.
    Uuid([u8; TEXT_LEN]),
    Text(Cow<'a, str>),
}

impl<'a> EventId<'a> {
    /// A new UUIDv7. It is greater than every earlier id of the thread.
    #[inline]
    pub fn generate() -> Self {
        Self::at(uuid::now_ms())
    }

    /// A new UUIDv7 made at `now_ms`, in milliseconds since 1970.
    #[inline]
    pub(super) fn at(now_ms: i64) -> Self {
        EventId(Repr::Uuid(uuid::format(uuid::next_v7(now_ms))))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Digits and hyphens: always UTF-8.
            Repr::Uuid(bytes) => str::from_utf8(bytes).unwrap_or_default(),
            Repr::Text(text) => text,
        }
    }

    /// Whether it reads as a UUID: 32 hex digits in five groups.
    pub fn is_uuid(&self) -> bool {
        match &self.0 {
            Repr::Uuid(_) => true,
            Repr::Text(text) => uuid::is_uuid(text.as_bytes()),
        }
    }

    /// The same id without what it borrows; a UUID needs no allocation for that.
    pub fn into_owned(self) -> EventId<'static> {
        match self.0 {
            Repr::Uuid(bytes) => EventId(Repr::Uuid(bytes)),
            Repr::Text(text) => match <[u8; TEXT_LEN]>::try_from(text.as_bytes()) {
                Ok(bytes) if uuid::is_uuid(&bytes) => EventId(Repr::Uuid(bytes)),
                _ => EventId(Repr::Text(Cow::Owned(text.into_owned()))),
            },
        }
    }

    #[inline(always)]
    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Uuid(bytes) => bytes,
            Repr::Text(text) => text.as_bytes(),
        }
    }

    #[inline(always)]
    pub(super) fn bound(&self) -> usize {
        MAX_VARINT_LEN + self.as_bytes().len()
    }

    #[inline(always)]
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match &self.0 {
            Repr::Uuid(bytes) => {
                writer.length(TEXT_LEN);
                writer.raw(bytes);
            }
            Repr::Text(text) => writer.string(text),
        }
    }
}

impl<'a> From<&'a str> for EventId<'a> {
    #[inline(always)]
    fn from(text: &'a str) -> Self {
        EventId(Repr::Text(Cow::Borrowed(text)))
    }
}

impl<'a> From<&'a String> for EventId<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for EventId<'_> {
    fn from(text: String) -> Self {
        EventId(Repr::Text(Cow::Owned(text)))
    }
}

impl<'a> From<Cow<'a, str>> for EventId<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        EventId(Repr::Text(text))
    }
}

impl AsRef<str> for EventId<'_> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for EventId<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for EventId<'_> {}

impl PartialOrd for EventId<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EventId<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for EventId<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for EventId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for EventId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for EventId<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_however_it_is_held() {
        let made = EventId::generate();
        let text = made.to_string();
        assert!(made.is_uuid());
        assert_eq!(EventId::from(text.as_str()), made);
        assert_eq!(EventId::from(text.as_str()).into_owned(), made);
        assert_eq!(
            EventId::from("of a kind of its own").into_owned().as_str(),
            "of a kind of its own"
        );
        assert!(!EventId::from("of a kind of its own").is_uuid());
    }
}

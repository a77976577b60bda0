//! Small things that the generated events do with their text.

use std::borrow::Cow;

/// The text without what it borrows.
pub(super) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// The same text, borrowed from where it is.
#[inline(always)]
pub(super) fn borrowed<'s>(text: &'s Cow<'_, str>) -> Cow<'s, str> {
    Cow::Borrowed(text)
}

/// The bytes of a text that may be absent.
#[inline(always)]
pub(super) fn optional_len(text: &Option<Cow<'_, str>>) -> usize {
    text.as_ref().map_or(0, |text| text.len())
}

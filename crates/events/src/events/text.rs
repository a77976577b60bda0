//! Small things that the generated events do with their text.

use std::borrow::Cow;
use std::ops::Deref;

/// The text without what it borrows.
pub(super) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// [`owned`] for a text that may be absent.
pub(super) fn optional_owned(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(owned)
}

/// The same text, borrowed from where it is.
#[inline(always)]
pub(super) fn borrowed(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// [`borrowed`] for a text that may be absent.
#[inline(always)]
pub(super) fn optional_borrowed<'s>(text: &'s Option<Cow<'_, str>>) -> Option<Cow<'s, str>> {
    text.as_deref().map(Cow::Borrowed)
}

/// The bytes of a text that may be absent.
#[inline(always)]
pub(super) fn optional_len(text: &Option<impl Deref<Target = str>>) -> usize {
    text.as_ref().map_or(0, |text| text.len())
}

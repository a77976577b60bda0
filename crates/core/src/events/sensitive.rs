//! What becomes of a value that a schema marks as sensitive, before it leaves the process.
//!
//! Encoding, JSON and `Debug` all pass through here, so that there is no way round it. Each function
//! takes the value and whether this event's value is sensitive.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

const HASH_PREFIX: &str = "sha256:";
const HASH_DIGITS: usize = 16;
const MASK: &str = "***";

/// The most bytes that a treated value has more than the value itself.
pub(super) const MAX_GROWTH: usize = HASH_PREFIX.len() + HASH_DIGITS;

/// `sha256:` and the first 16 hex digits of the value's SHA-256.
///
/// A value of that very form is left as it is: an event that was read can be sent on.
pub(super) fn hash(value: Option<&str>, sensitive: bool) -> Option<Cow<'_, str>> {
    value.map(|value| hash_text(value, sensitive))
}

/// [`hash`] for a field that is never null.
pub(crate) fn hash_text(value: &str, sensitive: bool) -> Cow<'_, str> {
    if !sensitive || is_hashed(value) {
        return Cow::Borrowed(value);
    }
    let digest = Sha256::digest(value.as_bytes());
    let mut text = String::with_capacity(MAX_GROWTH);
    text.push_str(HASH_PREFIX);
    for byte in &digest[..HASH_DIGITS / 2] {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    Cow::Owned(text)
}

fn is_hashed(value: &str) -> bool {
    value.strip_prefix(HASH_PREFIX).is_some_and(|digits| {
        digits.len() == HASH_DIGITS
            && digits
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// `***` for any value.
#[inline(always)]
pub(super) fn mask(value: Option<&str>, sensitive: bool) -> Option<&str> {
    value.map(|value| mask_text(value, sensitive))
}

/// [`mask`] for a field that is never null.
#[inline(always)]
pub(crate) fn mask_text(value: &str, sensitive: bool) -> &str {
    if sensitive { MASK } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_start_of_the_values_sha256() {
        // Of `printf '' | sha256sum` and `printf abc | sha256sum`.
        assert_eq!(hash(Some(""), true).unwrap(), "sha256:e3b0c44298fc1c14");
        assert_eq!(hash(Some("abc"), true).unwrap(), "sha256:ba7816bf8f01cfea");
        assert_eq!(hash(None, true), None);
        assert_eq!(hash(Some("abc"), false).unwrap(), "abc");
    }

    #[test]
    fn only_the_very_form_of_a_hash_is_left_alone() {
        let hashed = "sha256:ba7816bf8f01cfea";
        assert_eq!(hash(Some(hashed), true).unwrap(), hashed);
        for other in [
            "sha256:BA7816BF8F01CFEA",
            "sha256:ba7816bf8f01cfea0",
            "sha256:secret",
        ] {
            assert_ne!(hash(Some(other), true).unwrap(), other);
        }
    }
}

//! Hashes or masks the values that a schema marks as sensitive, before they leave the process.
//!
//! Encoding, JSON and `Debug` all call these functions. Each takes the value and whether it is
//! sensitive in this event.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

const HASH_PREFIX: &str = "sha256:";
const HASH_DIGITS: usize = 16;
const MASK: &str = "***";
/// The key of the hashes. Without a key, a hash can be guessed by hashing every likely value.
const KEY_VARIABLE: &str = "KAFKA_EVENT_HASH_KEY";

/// The most bytes by which a hash or a mask is longer than the value.
pub(super) const MAX_GROWTH: usize = HASH_PREFIX.len() + HASH_DIGITS;

/// A text that leaves the process only as a hash: `sha256:` and the first 16 hex digits of its
/// SHA-256, or of its HMAC-SHA-256 with the key in the environment's `KAFKA_EVENT_HASH_KEY`.
///
/// Create it from any text; it derefs to that text. A hash in an event that was read is not hashed
/// again, so that the event can be forwarded.
#[derive(Clone)]
pub struct HashedText<'a> {
    text: Cow<'a, str>,
    /// Whether it comes from an event that was read.
    was_read: bool,
}

impl<'a> HashedText<'a> {
    /// The hash of an event that was read, as a binding passes it back.
    ///
    /// Call it only with the text of a [`HashedText`] in an event that was read.
    #[doc(hidden)]
    pub fn from_read_event(text: impl Into<Cow<'a, str>>) -> Self {
        read(text.into())
    }

    /// Whether it is a hash already: that of an event that was read.
    pub fn is_hash(&self) -> bool {
        self.was_read && is_hash(&self.text)
    }

    /// The text without what it borrows.
    pub fn into_owned(self) -> HashedText<'static> {
        owned(self)
    }
}

/// The text in an event that is read.
#[inline(always)]
pub(super) fn read(text: Cow<'_, str>) -> HashedText<'_> {
    HashedText {
        text,
        was_read: true,
    }
}

/// [`read`] for a text that may be absent.
#[inline(always)]
pub(super) fn optional_read(text: Option<Cow<'_, str>>) -> Option<HashedText<'_>> {
    text.map(read)
}

/// The same text, to be hashed.
pub(super) fn given(text: HashedText<'_>) -> HashedText<'_> {
    HashedText {
        was_read: false,
        ..text
    }
}

/// [`given`] for a text that may be absent.
pub(super) fn optional_given(text: Option<HashedText<'_>>) -> Option<HashedText<'_>> {
    text.map(given)
}

/// The text without what it borrows.
pub(super) fn owned(text: HashedText<'_>) -> HashedText<'static> {
    HashedText {
        text: Cow::Owned(text.text.into_owned()),
        was_read: text.was_read,
    }
}

/// [`owned`] for a text that may be absent.
pub(super) fn optional_owned(text: Option<HashedText<'_>>) -> Option<HashedText<'static>> {
    text.map(owned)
}

impl Deref for HashedText<'_> {
    type Target = str;

    #[inline(always)]
    fn deref(&self) -> &str {
        &self.text
    }
}

macro_rules! from_text {
    ($($text:ty),*) => {$(
        impl<'a> From<$text> for HashedText<'a> {
            #[inline(always)]
            fn from(text: $text) -> Self {
                HashedText {
                    text: text.into(),
                    was_read: false,
                }
            }
        }
    )*};
}
from_text!(&'a str, &'a String, String, Cow<'a, str>);

/// By the texts, wherever they came from.
impl PartialEq for HashedText<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for HashedText<'_> {}

impl PartialEq<&str> for HashedText<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

/// Shows the hash.
impl fmt::Debug for HashedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*hash_text(self, true), f)
    }
}

/// The hash of the value; of one that was read, the hash that it is.
pub(super) fn hash<'v>(value: Option<&'v HashedText<'_>>, sensitive: bool) -> Option<Cow<'v, str>> {
    value.map(|value| hash_text(value, sensitive))
}

/// [`hash`] for a field that is never null.
pub(super) fn hash_text<'v>(value: &'v HashedText<'_>, sensitive: bool) -> Cow<'v, str> {
    if !sensitive {
        return Cow::Borrowed(value);
    }
    let hash = match value.is_hash() {
        true => Cow::Borrowed(&**value),
        false => Cow::Owned(hash_of(value)),
    };
    NOTED.with_borrow_mut(|noted| {
        if let Some(noted) = noted {
            noted.push(hash.clone().into_owned());
        }
    });
    hash
}

thread_local! {
    static NOTED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Does `work`, and returns its result with the hashes that events wrote meanwhile.
pub fn noting<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    struct Noting;

    impl Drop for Noting {
        fn drop(&mut self) {
            NOTED.set(None);
        }
    }

    NOTED.set(Some(Vec::new()));
    let _noting = Noting;
    let done = work();
    (done, NOTED.take().unwrap_or_default())
}

/// The hash of a text, even if it looks like a hash.
pub fn hash_of(text: &str) -> String {
    static KEYED: LazyLock<Option<Hmac<Sha256>>> = LazyLock::new(|| {
        let key = std::env::var_os(KEY_VARIABLE).filter(|key| !key.is_empty())?;
        keyed(key.as_encoded_bytes())
    });
    hash_with(KEYED.as_ref(), text)
}

fn keyed(key: &[u8]) -> Option<Hmac<Sha256>> {
    // A key may have any length.
    Hmac::new_from_slice(key).ok()
}

fn hash_with(key: Option<&Hmac<Sha256>>, text: &str) -> String {
    let digest = match key {
        Some(keyed) => keyed
            .clone()
            .chain_update(text.as_bytes())
            .finalize()
            .into_bytes(),
        None => Sha256::digest(text.as_bytes()),
    };
    let mut hash = String::with_capacity(MAX_GROWTH);
    hash.push_str(HASH_PREFIX);
    for byte in &digest[..HASH_DIGITS / 2] {
        for digit in [byte >> 4, byte & 15] {
            hash.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    hash
}

fn is_hash(text: &str) -> bool {
    text.strip_prefix(HASH_PREFIX).is_some_and(|digits| {
        digits.len() == HASH_DIGITS
            && digits
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether a value that must be hashed is not a hash yet.
#[inline(always)]
pub(super) fn is_clear(value: Option<&HashedText<'_>>, sensitive: bool) -> bool {
    sensitive && value.is_some_and(|value| !value.is_hash())
}

/// Whether a value that must be masked is not masked yet.
#[inline(always)]
pub(super) fn is_unmasked(value: Option<&str>, sensitive: bool) -> bool {
    sensitive && value.is_some_and(|value| value != MASK)
}

/// `***` for any value.
#[inline(always)]
pub(super) fn mask(value: Option<&str>, sensitive: bool) -> Option<&str> {
    value.map(|value| mask_text(value, sensitive))
}

/// [`mask`] for a field that is never null.
#[inline(always)]
pub fn mask_text(value: &str, sensitive: bool) -> &str {
    if sensitive { MASK } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(text: &str) -> String {
        hash_of(text)
    }

    #[test]
    fn a_hash_is_the_start_of_the_values_sha256() {
        // Of `printf '' | sha256sum` and `printf abc | sha256sum`.
        assert_eq!(hashed(""), "sha256:e3b0c44298fc1c14");
        assert_eq!(hashed("abc"), "sha256:ba7816bf8f01cfea");
        assert_eq!(hash(None, true), None);
        assert_eq!(hash(Some(&"abc".into()), false).unwrap(), "abc");
    }

    #[test]
    fn a_keyed_hash_is_the_start_of_the_values_hmac_sha256() {
        // Of `printf abc | openssl dgst -sha256 -hmac secret`, and test case 2 of RFC 4231.
        let with = |key: &str, text: &str| hash_with(keyed(key.as_bytes()).as_ref(), text);
        assert_eq!(with("secret", "abc"), "sha256:9946dad4e00e913f");
        assert_eq!(
            with("Jefe", "what do ya want for nothing?"),
            "sha256:5bdcc146bf60754e"
        );
        assert_ne!(with(&"k".repeat(100), "abc"), with(&"k".repeat(101), "abc"));
    }

    #[test]
    fn only_a_hash_that_was_read_is_left_alone() {
        const HASH: &str = "sha256:ba7816bf8f01cfea";
        let stays = read(HASH.into());
        assert_eq!(hash_text(&stays, true), HASH);
        assert_eq!(hash_text(&owned(stays.clone()), true), HASH);
        assert_eq!(hash_text(&given(stays), true), hashed(HASH));
        assert_eq!(hash_text(&HASH.into(), true), hashed(HASH));
        for other in [
            "sha256:BA7816BF8F01CFEA",
            "sha256:ba7816bf8f01cfea0",
            "sha256:secret",
        ] {
            let read = read(other.into());
            assert_eq!(hash_text(&read, true), hashed(other));
        }
        assert_eq!(
            format!("{:?}", HashedText::from("abc")),
            format!("{HASH:?}")
        );
    }
}

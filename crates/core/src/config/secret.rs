//! Values that are never shown: passwords, keys, tokens and the user part of a URL.
//!
//! Each type keeps its value in clear for the code that needs it; `Debug`, `Display` and `Serialize`
//! show `[redacted]`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What is shown instead of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// A password, a private key or a token.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value in clear, for librdkafka or the HTTP client.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(value: T) -> Self {
        Secret(value.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// librdkafka properties by name; the value of a secret one is not shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Sets one property.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// One property's value in clear.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The properties, ordered by name, with values in clear.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn shown(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.iter().map(|(name, value)| {
            let value = if is_secret(name) {
                REDACTED.into()
            } else if value.contains("://") {
                value
                    .split(',')
                    .map(without_credentials)
                    .collect::<Vec<_>>()
                    .join(",")
                    .into()
            } else {
                value.into()
            };
            (name, value)
        })
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(properties: I) -> Self {
        Properties(
            properties
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl<K: Into<String> + Ord, V: Into<String>> From<BTreeMap<K, V>> for Properties {
    fn from(properties: BTreeMap<K, V>) -> Self {
        properties.into_iter().collect()
    }
}

impl super::setting::SettingValue for Properties {
    const KIND: super::SettingKind = super::SettingKind::Map;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let parsed = entries.map(|entry| entry.split_once('='));
        let properties: Option<Vec<(&str, &str)>> = parsed.collect();
        properties
            .map(|properties| properties.into_iter().collect())
            .ok_or_else(|| "must be `name=value,…`".to_owned())
    }

    fn show(&self) -> Option<String> {
        let entries: Vec<String> = self
            .shown()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

/// Whether a librdkafka property may hold a secret. Wider than librdkafka's own list, which lacks a
/// key's PEM text and a JAAS line.
pub(crate) fn is_secret(property: &str) -> bool {
    [
        "password",
        "passphrase",
        "secret",
        "key.pem",
        "jaas",
        "sasl.oauthbearer.config",
        "token",
    ]
    .iter()
    .any(|part| property.contains(part))
        && !property.ends_with(".url")
}

/// A URL without the `user:password@` part and without a query, for messages and logs. If an `@`
/// follows the host, the text before it may be a password with an unescaped `/`, `?` or `#`: such an
/// address is not shown at all.
pub(crate) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url
        .split_once("://")
        .map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    if has_unescaped_login(url) {
        return format!("{scheme}{separator}{REDACTED}");
    }
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest[..end].split_at(authority_end(&rest[..end]));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}{separator}{host}{path}")
}

/// Whether an `@` follows the host: in a password that is not percent-encoded, or in a path.
pub(crate) fn has_unescaped_login(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest[authority_end(rest)..].contains('@')
}

/// A backslash ends it, too: URL parsers read it as a slash.
fn authority_end(rest: &str) -> usize {
    rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())
}

/// Registry addresses; the part before an `@` is not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Urls(Vec<String>);

impl Urls {
    /// The addresses in clear, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses without credentials.
    pub fn shown(&self) -> Vec<String> {
        self.iter().map(without_credentials).collect()
    }
}

/// Comma-separated addresses.
impl From<&str> for Urls {
    fn from(urls: &str) -> Self {
        let mut found: Vec<String> = Vec::new();
        for part in urls.split(',') {
            let in_a_password = part.contains('@') && !part.contains("://");
            let first = found.iter().rposition(|url| url.contains("://"));
            match first {
                // The comma is in the password of the address before.
                Some(first) if in_a_password => {
                    let cut: Vec<String> = found.drain(first..).collect();
                    found.push(format!("{},{}", cut.join(","), part.trim()));
                }
                _ => found.push(part.trim().to_owned()),
            }
        }
        found.retain(|url| !url.is_empty());
        Urls(found)
    }
}

/// Comma-separated addresses.
impl From<String> for Urls {
    fn from(urls: String) -> Self {
        urls.as_str().into()
    }
}

impl<T: AsRef<str>> From<Vec<T>> for Urls {
    fn from(urls: Vec<T>) -> Self {
        urls.into_iter().collect()
    }
}

impl<T: AsRef<str>, const N: usize> From<[T; N]> for Urls {
    fn from(urls: [T; N]) -> Self {
        urls.into_iter().collect()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Urls {
    fn from_iter<I: IntoIterator<Item = T>>(urls: I) -> Self {
        Urls(
            urls.into_iter()
                .flat_map(|url| Urls::from(url.as_ref()).0)
                .collect(),
        )
    }
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}

impl Serialize for Urls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.shown())
    }
}

/// A comma-separated string or a list of strings.
impl<'de> Deserialize<'de> for Urls {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(urls) => urls.into(),
            OneOrMany::Many(urls) => urls.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn secret_properties_show_their_names_only() {
        let properties: Properties = [
            ("sasl.password", "hunter2"),
            ("ssl.key.pem", "-----BEGIN"),
            ("linger.ms", "5"),
        ]
        .into_iter()
        .collect();
        let shown = format!(
            "{properties:?} {}",
            serde_json::to_string(&properties).unwrap()
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("BEGIN"),
            "{shown}"
        );
        assert!(
            shown.contains("sasl.password") && shown.contains("\"linger.ms\": \"5\""),
            "{shown}"
        );
        assert_eq!(properties.get("sasl.password"), Some("hunter2"));
    }

    #[test]
    fn a_url_loses_its_credentials_and_nothing_else() {
        for (url, shown) in [
            ("http://registry:8081", "http://registry:8081"),
            (
                "https://user:p@ss@registry:8081/apis/v7?token=x",
                "https://registry:8081/apis/v7",
            ),
            ("registry:8081", "registry:8081"),
            ("http://h/a%40b", "http://h/a%40b"),
            ("http://h/a@b", "http://[redacted]"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn a_password_with_unescaped_signs_is_not_shown() {
        for password in [
            "s3/cret", "s3?cret", "s3#cret", "s3@cret", "s3\\cret", "1/s3cret",
        ] {
            for url in [
                format!("http://me:{password}@registry:8081/apis"),
                format!("me:{password}@registry:8081"),
            ] {
                let properties: Properties = [("some.endpoint.url", &url)].into_iter().collect();
                let shown = format!(
                    "{:?} {}",
                    Urls::from(url.as_str()),
                    without_credentials(&url)
                );
                assert!(!shown.contains("s3") && !shown.contains("cret"), "{shown}");
                if url.contains("://") {
                    let shown = format!("{properties:?}");
                    assert!(!shown.contains("s3") && !shown.contains("cret"), "{shown}");
                }
            }
        }
    }

    #[test]
    fn a_comma_in_a_password_does_not_cut_the_address() {
        let urls = Urls::from("http://me:s3,cr,et@a:1,http://b:2");
        assert_eq!(
            urls.iter().collect::<Vec<_>>(),
            ["http://me:s3,cr,et@a:1", "http://b:2"]
        );
        assert_eq!(urls.shown(), ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn urls_come_as_one_text_or_as_a_list() {
        let expected = vec!["http://a", "http://b"];
        for urls in [
            Urls::from("http://a, http://b,"),
            Urls::from(["http://a", "http://b"]),
        ] {
            assert_eq!(urls.iter().collect::<Vec<_>>(), expected);
        }
        let parsed: Urls = serde_json::from_str("\"http://u:p@a\"").unwrap();
        assert_eq!(format!("{parsed:?}"), "[\"http://a\"]");
    }
}

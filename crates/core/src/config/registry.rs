//! Where the schema registry is, and how requests to it are sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::setting::{SettingKind, SettingValue, settings};
use super::{Secret, Urls};

settings! {
    /// Where the schema registry is, with which credentials, and how long to wait for it.
    pub struct RegistrySettings in "registry" {
        /// The registry's addresses, tried in order. `user:password@` before the host is used for
        /// basic authentication unless `username` is set. Without an address there is no registry.
        urls: Urls as Urls = Urls::default(), env "KAFKA_SCHEMA_REGISTRY_URL";
        /// The user name for basic authentication.
        username: Option<String> as String = None;
        /// The password for basic authentication.
        password: Option<Secret> as Secret = None;
        /// The token for bearer authentication; it takes precedence over user name and password.
        bearer_token: Option<Secret> as Secret = None;
        /// PEM file with CA certificates to trust besides those of the system.
        ssl_ca_location: Option<String> as String = None, clears [ssl_ca_pem];
        /// The CA certificates as PEM text.
        ssl_ca_pem: Option<String> as String = None, clears [ssl_ca_location];
        /// PEM file with the client certificate, for a registry that requires one.
        ssl_certificate_location: Option<String> as String = None, clears [ssl_certificate_pem];
        /// The client certificate as PEM text.
        ssl_certificate_pem: Option<String> as String = None, clears [ssl_certificate_location];
        /// PEM file with the private key of the client certificate (PKCS#8).
        ssl_key_location: Option<String> as String = None, clears [ssl_key_pem];
        /// The private key as PEM text (PKCS#8).
        ssl_key_pem: Option<Secret> as Secret = None, clears [ssl_key_location];
        /// Whether the registry's certificate is verified.
        reject_unauthorized: bool = true;
        /// Time limit of an HTTP request, connecting included.
        timeout: Duration = Duration::from_secs(5), key "timeout_ms";
        /// How often a request is retried after every address failed: unreachable, status 429 or
        /// 5xx, or no registry's answer. Other answers are final.
        retries: u32 = 3;
        /// The wait before the first retry. It doubles up to 20 times itself; up to half of it is
        /// random.
        backoff: Duration = Duration::from_millis(100), key "backoff_ms";
        /// How long a failure, or the answer that a schema does not exist, is cached before the
        /// registry is asked again.
        failure_ttl: Duration = Duration::from_secs(5), key "failure_ttl_ms";
        /// Whether a schema that the registry does not have is registered. `false` only looks it up.
        auto_register: bool = true;
        /// Whether compatibility is checked before a schema is registered, for an error that lists
        /// the differences.
        check_compatibility: bool = false;
        /// Schema ids by topic, used without asking the registry, so that a service can start while
        /// the registry is unreachable.
        schema_ids: SchemaIds as SchemaIds = SchemaIds::default(), env "KAFKA_SCHEMA_IDS";
    }
}

impl RegistrySettings {
    /// Settings for a registry at these addresses, with defaults for the rest.
    pub fn new(urls: impl Into<Urls>) -> Self {
        Self::default().urls(urls)
    }

    /// Whether an address is set.
    pub fn is_configured(&self) -> bool {
        !self.urls.is_empty()
    }

    /// Sets the schema id of one topic's values.
    #[must_use]
    pub fn schema_id(mut self, topic: impl Into<String>, id: u32) -> Self {
        self.schema_ids.0.insert(topic.into(), id);
        self
    }
}

/// Schema ids by topic; in the environment `topic=id,topic=id`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaIds(BTreeMap<String, u32>);

impl SchemaIds {
    /// The id of a topic.
    pub fn get(&self, topic: &str) -> Option<u32> {
        self.0.get(topic).copied()
    }

    /// Topics and their ids, by topic.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(topic, id)| (topic.as_str(), *id))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<String>> FromIterator<(T, u32)> for SchemaIds {
    fn from_iter<I: IntoIterator<Item = (T, u32)>>(ids: I) -> Self {
        SchemaIds(
            ids.into_iter()
                .map(|(topic, id)| (topic.into(), id))
                .collect(),
        )
    }
}

impl From<BTreeMap<String, u32>> for SchemaIds {
    fn from(ids: BTreeMap<String, u32>) -> Self {
        SchemaIds(ids)
    }
}

impl SettingValue for SchemaIds {
    const KIND: SettingKind = SettingKind::Map;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let parsed = entries.map(|entry| {
            let (topic, id) = entry.split_once('=')?;
            Some((
                topic.trim().to_owned(),
                id.trim().parse::<u32>().ok().filter(|id| *id > 0)?,
            ))
        });
        let ids: Option<BTreeMap<String, u32>> = parsed.collect();
        ids.map(SchemaIds)
            .ok_or_else(|| "must be `topic=id,…` with ids from 1".to_owned())
    }

    fn show(&self) -> Option<String> {
        let entries: Vec<String> = self
            .iter()
            .map(|(topic, id)| format!("{topic}={id}"))
            .collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn urls_and_given_ids_come_from_the_environment() {
        let settings = RegistrySettings::from_lookup(|name| match name {
            "KAFKA_SCHEMA_REGISTRY_URL" => Some("http://a:8081, http://b:8081".to_owned()),
            "KAFKA_SCHEMA_IDS" => Some("audit-api-calls=7, data-quality=9".to_owned()),
            _ => None,
        })
        .unwrap();
        assert_eq!(
            settings.urls.iter().collect::<Vec<_>>(),
            ["http://a:8081", "http://b:8081"]
        );
        assert_eq!(settings.schema_ids.get("data-quality"), Some(9));
        assert!(settings.is_configured());
        assert!(!RegistrySettings::default().is_configured());
    }

    #[test]
    fn wrong_ids_name_their_variable() {
        for wrong in ["audit-api-calls", "audit-api-calls=x", "audit-api-calls=0"] {
            let given = |name: &str| (name == "KAFKA_SCHEMA_IDS").then(|| wrong.to_owned());
            let error = RegistrySettings::from_lookup(given).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert_eq!(error.get("setting"), Some("KAFKA_SCHEMA_IDS"), "{wrong}");
        }
    }

    #[test]
    fn passwords_in_urls_are_not_shown() {
        let settings = RegistrySettings::new("http://me:s3cret@a:8081").bearer_token("s3cret");
        let shown = format!("{settings:?}{}", serde_json::to_string(&settings).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

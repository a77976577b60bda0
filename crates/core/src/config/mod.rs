//! Every setting of the crate, one struct for each concern. A setting's default, environment variable,
//! librdkafka property and documentation are declared in one place.
//!
//! ```text
//! explicit setter  >  environment variable  >  default        KAFKA_EVENT_FORMAT overrides all three
//!                 \          |             /
//!        ConnectionSettings + ProducerSettings | ConsumerSettings | RegistrySettings
//!                            |  client_config()       the user's librdkafka properties override
//!                            v                        the settings; each name and value is checked
//!                   rdkafka::ClientConfig
//! ```
//!
//! A builder starts from `default()` or `from_env()`; its chained setters replace those values.
//! Reading settings opens no file and connects to nothing; [`ConnectionSettings::check_files`] opens
//! the files on request. `Debug` and `Serialize` never show a password, a key or a token.
//! [`settings`] lists every setting, for documentation and bindings.

mod connection;
mod consumer;
mod librdkafka;
mod mapping;
mod material;
mod producer;
mod properties;
mod registry;
mod sasl;
mod secret;
mod setting;
mod tls;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use connection::topic_behind;
pub use connection::{ConnectionSettings, SecurityProtocol};
pub use consumer::{ConsumerSettings, GroupProtocol, IsolationLevel, StartPosition};
pub use producer::{Acks, Compression, EventFormat, ProducerSettings};
pub use registry::{RegistrySettings, SchemaIds};
pub use sasl::{OAuthToken, SaslMechanism, TokenProvider};
pub use secret::{Properties, Secret, Urls};
pub use setting::{Setting, SettingKind};

pub(crate) use mapping::{Mapped, PropertyMap};
pub(crate) use material::{LINE_BREAKS, explain_refusal};
pub(crate) use secret::{has_unescaped_login, without_credentials};
use setting::SettingValue;

use crate::{Error, ErrorKind, Result};

/// The purpose of a librdkafka client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Consumer,
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Producer => "producer",
            Role::Consumer => "consumer",
            Role::Admin => "admin",
        })
    }
}

/// All settings together, for a configuration file or a program with both producer and consumer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How to reach the brokers.
    pub connection: ConnectionSettings,
    /// Where the schema registry is.
    pub registry: RegistrySettings,
    /// How records are queued, batched and written.
    pub producer: ProducerSettings,
    /// Which topics are read, and how.
    pub consumer: ConsumerSettings,
}

impl Settings {
    /// The defaults, overridden by the environment.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(process_env)
    }

    /// Like [`Self::from_env`], with the variables from `lookup`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Ok(Settings {
            connection: ConnectionSettings::from_lookup(&lookup)?,
            registry: RegistrySettings::from_lookup(&lookup)?,
            producer: ProducerSettings::from_lookup(&lookup)?,
            consumer: ConsumerSettings::from_lookup(&lookup)?,
        })
    }

    /// Sets one setting of a group (`connection`, `registry`, `producer` or `consumer`) by its
    /// serialised name, such as `delivery_timeout_ms`, and replaces what its setter replaces. Text is
    /// accepted for any value, as in the environment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming `setting`: the name is unknown (the message suggests the
    /// closest known one), or the value is invalid.
    pub fn set(&mut self, group: &str, name: &str, value: &serde_json::Value) -> Result<()> {
        self.set_shown(group, name, name, value).unwrap_or_else(|| {
            let names = settings().filter(|setting| setting.group == group);
            Err(unknown(group, name, names.map(|it| it.name.into())))
        })
    }

    /// Sets an option of a `client` (`producer` or `consumer`): one of its own settings, of its
    /// connection's or of its registry's, by [`Setting::option`].
    ///
    /// # Errors
    ///
    /// As [`Self::set`].
    pub fn set_option(
        &mut self,
        client: &str,
        name: &str,
        value: &serde_json::Value,
    ) -> Result<()> {
        options(client)
            .find(|setting| setting.option() == name)
            .and_then(|setting| self.set_shown(setting.group, setting.name, name, value))
            .unwrap_or_else(|| Err(unknown(client, name, options(client).map(Setting::option))))
    }

    fn set_shown(
        &mut self,
        group: &str,
        name: &str,
        shown: &str,
        value: &serde_json::Value,
    ) -> Option<Result<()>> {
        match group {
            "connection" => self.connection.set(name, shown, value),
            "registry" => self.registry.set(name, shown, value),
            "producer" => self.producer.set(name, shown, value),
            "consumer" => self.consumer.set(name, shown, value),
            _ => None,
        }
    }
}

/// The settings that [`Settings::set_option`] can set for a `client` (`producer` or `consumer`).
pub fn options(client: &str) -> impl Iterator<Item = &'static Setting> {
    settings().filter(move |it| [client, "connection", "registry"].contains(&it.group))
}

/// The error of an unknown setting, with the closest known name.
fn unknown(
    whose: &str,
    name: &str,
    names: impl Iterator<Item = std::borrow::Cow<'static, str>>,
) -> Error {
    let nearest = names
        .map(|known| (strsim::jaro_winkler(&known, name), known))
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    let message = format!("the {whose} has no setting `{name}`");
    let error = match nearest {
        None => Error::new(ErrorKind::InvalidConfig, message),
        Some((_, nearest)) => {
            let message = format!("{message}: did you mean `{nearest}`?");
            Error::new(ErrorKind::InvalidConfig, message).with("nearest", nearest)
        }
    };
    error.with("setting", name)
}

/// The error of a value of a wrong type.
fn refused<T: SettingValue>(name: &str, error: &serde_json::Error) -> Error {
    let message = if T::SECRET {
        // serde's message quotes the value.
        format!("{name} must be text")
    } else {
        format!("{name} is invalid: {error}")
    };
    invalid(name, message)
}

/// The error of a setting or property.
pub(crate) fn invalid(setting: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with("setting", setting)
}

/// Whether this librdkafka property holds a password, a key or a token, which must not be shown.
pub fn holds_secret(property: &str) -> bool {
    secret::is_secret(property)
}

/// Every setting, group by group.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    [
        ConnectionSettings::SETTINGS,
        RegistrySettings::SETTINGS,
        ProducerSettings::SETTINGS,
        ConsumerSettings::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

/// Every setting and every kind of error, from which the generator writes the options and the error
/// classes of the other languages.
#[doc(hidden)]
pub fn declarations() -> serde_json::Value {
    let settings = settings().map(|setting| {
        let (kind, choices): (_, &[_]) = match setting.kind {
            SettingKind::Text => ("text", &[]),
            SettingKind::Boolean => ("boolean", &[]),
            SettingKind::Integer => ("integer", &[]),
            SettingKind::Milliseconds => ("milliseconds", &[]),
            SettingKind::Choice(choices) => ("choice", choices),
            SettingKind::List => ("list", &[]),
            SettingKind::Map => ("map", &[]),
        };
        json!({
            "group": setting.group,
            "name": setting.name,
            "option": setting.option(),
            "env": setting.env,
            "property": setting.property,
            "kind": kind,
            "choices": choices,
            "default": (setting.default)(),
            "secret": setting.secret,
            "doc": setting.doc(),
        })
    });
    let errors = ErrorKind::ALL.iter().map(|kind| {
        json!({
            "kind": kind.as_str(),
            "retryable": kind.retryable(),
            "meaning": kind.meaning(),
        })
    });
    json!({ "settings": Vec::from_iter(settings), "errors": Vec::from_iter(errors) })
}

fn process_env(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The value of a variable, unless it is unset or blank.
fn env_value<T: SettingValue>(
    lookup: &impl Fn(&str) -> Option<String>,
    variable: &str,
) -> Result<Option<T>> {
    let Some(text) = lookup(variable).filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    parse_value(variable, text.trim()).map(Some)
}

/// Reads a value from text; the error names the setting or variable.
fn parse_value<T: SettingValue>(name: &str, text: &str) -> Result<T> {
    T::parse(text).map_err(|expected| {
        let shown = if T::SECRET { secret::REDACTED } else { text };
        invalid(name, format!("{name}={shown}: {expected}"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CONTRACT: [&str; 13] = [
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_SSL_CA_LOCATION",
        "KAFKA_SSL_CERTIFICATE_LOCATION",
        "KAFKA_SSL_KEY_LOCATION",
        "KAFKA_SSL_KEY_PASSWORD",
        "KAFKA_SSL_KEYSTORE_LOCATION",
        "KAFKA_SSL_KEYSTORE_PASSWORD",
        "KAFKA_SSL_REJECT_UNAUTHORIZED",
        "KAFKA_SCHEMA_REGISTRY_URL",
        "KAFKA_EVENT_FORMAT",
        "SERVICE_NAME",
        "SERVICE_NAMESPACE",
    ];

    #[test]
    fn the_environment_is_the_documented_one() {
        let variables: BTreeSet<_> = settings().filter_map(|setting| setting.env).collect();
        let expected: BTreeSet<_> = CONTRACT.into_iter().chain(["KAFKA_SCHEMA_IDS"]).collect();
        assert_eq!(variables, expected);
        let read = std::cell::RefCell::new(BTreeSet::new());
        Settings::from_lookup(|name| {
            read.borrow_mut().insert(name.to_owned());
            None
        })
        .unwrap();
        assert!(read.borrow().iter().map(String::as_str).eq(expected));
    }

    #[test]
    fn the_table_agrees_with_the_structs() {
        let json = serde_json::to_value(Settings::default()).unwrap();
        for (group, values) in json.as_object().unwrap() {
            let in_struct: Vec<_> = values.as_object().unwrap().keys().collect();
            let in_table: Vec<_> = settings()
                .filter(|setting| setting.group == group)
                .map(|s| s.name)
                .collect();
            assert_eq!(in_struct, in_table, "{group}");
        }
        for setting in settings() {
            let value = &json[setting.group][setting.name];
            let shown = match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Array(list) if list.is_empty() => None,
                serde_json::Value::Object(map) if map.is_empty() => None,
                other => Some(other.to_string()),
            };
            assert_eq!(
                (setting.default)(),
                shown,
                "{}.{}",
                setting.group,
                setting.name
            );
            assert!(setting.doc().len() > 10, "{} is explained", setting.name);
        }
    }

    #[test]
    fn an_option_is_set_by_its_name_beside_others() {
        let mut settings = Settings::default();
        settings.connection.ssl_ca_pem = Some("pem".to_owned());
        let mut set = |client: &str, name: &str, text: &str| {
            settings.set_option(client, name, &text.into()).map(drop)
        };
        set("producer", "ssl_ca_location", "ca.pem").unwrap();
        set("producer", "close_timeout_ms", "7").unwrap();
        set("consumer", "topics", "a,b").unwrap();
        set("consumer", "registry_schema_ids", "a=3").unwrap();
        set("consumer", "schema_registry_url", "http://r").unwrap();
        let message = |error: Error| {
            (
                error.message().to_owned(),
                error.get("setting").map(str::to_owned),
            )
        };
        let (text, setting) = message(set("producer", "registry_timeout_ms", "soon").unwrap_err());
        assert_eq!(text, "registry_timeout_ms=soon: must be whole milliseconds");
        assert_eq!(setting.as_deref(), Some("registry_timeout_ms"));
        let (text, _) = message(set("producer", "lingr_ms", "5").unwrap_err());
        assert_eq!(
            text,
            "the producer has no setting `lingr_ms`: did you mean `linger_ms`?"
        );
        let (text, _) = message(set("producer", "registry_timout_ms", "5").unwrap_err());
        assert!(
            text.ends_with("did you mean `registry_timeout_ms`?"),
            "{text}"
        );
        let (text, _) = message(set("producer", "group_id", "g").unwrap_err());
        assert_eq!(text, "the producer has no setting `group_id`");
        assert_eq!(
            settings.connection.ssl_ca_location.as_deref(),
            Some("ca.pem")
        );
        assert_eq!(settings.connection.ssl_ca_pem, None, "replaced");
        assert_eq!(settings.producer.close_timeout.as_millis(), 7);
        assert_eq!(settings.consumer.topics, ["a", "b"]);
        assert_eq!(settings.registry.schema_ids.get("a"), Some(3));
        assert!(settings.registry.is_configured());
    }

    #[test]
    fn secrets_are_marked() {
        let secret: Vec<_> = settings()
            .filter(|setting| setting.secret)
            .map(|s| s.name)
            .collect();
        assert_eq!(
            secret,
            [
                "ssl_key_pem",
                "ssl_key_password",
                "ssl_keystore_password",
                "sasl_password",
                "password",
                "bearer_token",
                "ssl_key_pem",
            ]
        );
    }

    #[test]
    fn a_setting_is_set_by_its_name_above_what_was_there() {
        let mut settings = Settings::default();
        settings.connection.ssl_ca_location = Some("/ca".to_owned());
        for (group, name, value) in [
            ("connection", "ssl_ca_pem", serde_json::json!("CA")),
            ("producer", "linger_ms", serde_json::json!(7)),
            ("producer", "compression", serde_json::json!("ZSTD")),
        ] {
            settings.set(group, name, &value).unwrap();
        }
        assert_eq!(settings.connection.ssl_ca_pem.as_deref(), Some("CA"));
        assert_eq!(settings.connection.ssl_ca_location, None);
        assert_eq!(settings.producer.linger.as_millis(), 7);
        assert_eq!(settings.producer.compression, Compression::Zstd);
        let refused = |settings: &mut Settings, name: &str, value: serde_json::Value| {
            let error = settings.set("connection", name, &value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert_eq!(error.get("setting"), Some(name));
            error.message().to_owned()
        };
        assert_eq!(
            refused(&mut settings, "bootstrap_server", "a:1".into()),
            "the connection has no setting `bootstrap_server`: did you mean `bootstrap_servers`?"
        );
        let message = refused(&mut settings, "reject_unauthorized", "maybe".into());
        assert_eq!(message, "reject_unauthorized=maybe: must be true or false");
        let message = refused(&mut settings, "reject_unauthorized", 7.into());
        assert!(
            message.starts_with("reject_unauthorized is invalid"),
            "{message}"
        );
        let message = refused(
            &mut settings,
            "sasl_password",
            serde_json::json!({"p": "s3cret"}),
        );
        assert_eq!(message, "sasl_password must be text");
    }

    #[test]
    fn a_whole_configuration_is_read_from_json() {
        let settings: Settings = serde_json::from_str(
            r#"{"connection": {"bootstrap_servers": "a:1", "security_protocol": "plaintext",
                               "properties": {"debug": "broker"}},
                "registry": {"urls": ["http://r"], "timeout_ms": 100, "schema_ids": {"t": 3}},
                "consumer": {"topics": ["t"], "start": "offset:5"}}"#,
        )
        .unwrap();
        assert_eq!(
            settings.connection.security_protocol,
            SecurityProtocol::Plaintext
        );
        assert_eq!(settings.registry.schema_ids.get("t"), Some(3));
        assert_eq!(settings.consumer.start, StartPosition::Offset(5));
    }
}

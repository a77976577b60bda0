//! Every setting of the crate: one struct a concern, each default, environment variable and
//! explanation written once.
//!
//! ```text
//! explicit setter  >  environment variable  >  default        KAFKA_EVENT_FORMAT stands above all
//!                 \          |             /
//!        ConnectionSettings + ProducerSettings | ConsumerSettings | RegistrySettings
//!                            |  client_config()       librdkafka properties of the user win,
//!                            v                        each name and value checked
//!                   rdkafka::ClientConfig
//! ```
//!
//! A builder starts from `default()` or `from_env()` and its chained setters replace what is there.
//! Reading settings opens no file and connects to nothing; [`ConnectionSettings::check_files`] does
//! the first on request. `Debug` and `Serialize` never show a password, a key or a token.
//! [`settings`] lists everything that can be set, for documentation and bindings.

mod connection;
mod consumer;
mod librdkafka;
mod material;
mod producer;
mod properties;
mod registry;
mod secret;
mod setting;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use connection::{
    ConnectionSettings, OAuthToken, SaslMechanism, SecurityProtocol, TokenProvider,
};
pub use consumer::{ConsumerSettings, GroupProtocol, IsolationLevel, StartPosition};
pub use producer::{Acks, Compression, EventFormat, ProducerSettings};
pub use registry::{RegistrySettings, SchemaIds};
pub use secret::{Properties, Secret, Urls};
pub use setting::{Setting, SettingKind};

pub(crate) use material::{LINE_BREAKS, explain_refusal};
pub(crate) use secret::{has_unescaped_login, without_credentials};
use setting::SettingValue;

use crate::{Error, ErrorKind, Result};

/// What a client of librdkafka is for.
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

/// All settings together, as a file or a program that does everything has them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How to reach the brokers.
    pub connection: ConnectionSettings,
    /// Where the schema registry is.
    pub registry: RegistrySettings,
    /// How records are produced.
    pub producer: ProducerSettings,
    /// How records are consumed.
    pub consumer: ConsumerSettings,
}

impl Settings {
    /// The defaults, overridden by the environment variables that are set.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(process_env)
    }

    /// Like [`Self::from_env`] with the variables taken from `lookup`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Ok(Settings {
            connection: ConnectionSettings::from_lookup(&lookup)?,
            registry: RegistrySettings::from_lookup(&lookup)?,
            producer: ProducerSettings::from_lookup(&lookup)?,
            consumer: ConsumerSettings::from_lookup(&lookup)?,
        })
    }

    /// Sets one setting of a group (`connection`, `registry`, `producer` or `consumer`) by its name
    /// in every serialised form, such as `delivery_timeout_ms`: how bindings pass on the options
    /// that they are given. It stands above what was there, as with the setter of that name.
    /// A text may stand for any value, as it does in the environment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming `setting`: there is none of that name (with the nearest
    /// that there is), or the value is refused.
    pub fn set(&mut self, group: &str, name: &str, value: &serde_json::Value) -> Result<()> {
        self.set_shown(group, name, name, value).unwrap_or_else(|| {
            let names = settings().filter(|setting| setting.group == group);
            Err(unknown(group, name, names.map(|it| it.name.into())))
        })
    }

    /// Sets an option of a `client`, `producer` or `consumer`: a setting of it, of its connection or
    /// of its registry, by its name beside those of others ([`Setting::option`]).
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
        let options =
            || settings().filter(|it| [client, "connection", "registry"].contains(&it.group));
        options()
            .find(|setting| setting.option() == name)
            .and_then(|setting| self.set_shown(setting.group, setting.name, name, value))
            .unwrap_or_else(|| Err(unknown(client, name, options().map(Setting::option))))
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

/// That there is no such setting, with the nearest of those that there are.
fn unknown(
    whose: &str,
    name: &str,
    names: impl Iterator<Item = std::borrow::Cow<'static, str>>,
) -> Error {
    let nearest = names
        .map(|known| (strsim::jaro_winkler(&known, name), known))
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    let message = format!("`{name}` is no setting of the {whose}");
    let error = match nearest {
        None => Error::new(ErrorKind::InvalidConfig, message),
        Some((_, nearest)) => {
            let message = format!("{message}: did you mean `{nearest}`?");
            Error::new(ErrorKind::InvalidConfig, message).with("nearest", nearest)
        }
    };
    error.with("setting", name)
}

/// That a value is of a wrong type.
fn refused<T: SettingValue>(name: &str, error: &serde_json::Error) -> Error {
    let message = if T::SECRET {
        // What serde says quotes the value.
        format!("{name} must be text")
    } else {
        format!("{name} is refused: {error}")
    };
    Error::new(ErrorKind::InvalidConfig, message).with("setting", name)
}

/// Whether the value of this librdkafka property is never to be shown: a password, a key, a token.
pub fn holds_secret(property: &str) -> bool {
    secret::is_secret(property)
}

/// Every setting there is, group by group.
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

/// The value of a variable that is set to more than blanks.
fn env_value<T: SettingValue>(
    lookup: &impl Fn(&str) -> Option<String>,
    variable: &str,
) -> Result<Option<T>> {
    let Some(text) = lookup(variable).filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    parse_value(variable, text.trim()).map(Some)
}

/// A value as text; the error names the setting or variable.
fn parse_value<T: SettingValue>(name: &str, text: &str) -> Result<T> {
    T::parse(text).map_err(|expected| {
        let shown = if T::SECRET { secret::REDACTED } else { text };
        Error::new(
            ErrorKind::InvalidConfig,
            format!("{name}={shown}: {expected}"),
        )
        .with("setting", name)
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
            "`lingr_ms` is no setting of the producer: did you mean `linger_ms`?"
        );
        let (text, _) = message(set("producer", "registry_timout_ms", "5").unwrap_err());
        assert!(
            text.ends_with("did you mean `registry_timeout_ms`?"),
            "{text}"
        );
        let (text, _) = message(set("producer", "group_id", "g").unwrap_err());
        assert_eq!(text, "`group_id` is no setting of the producer");
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
            "`bootstrap_server` is no setting of the connection: did you mean `bootstrap_servers`?"
        );
        let message = refused(&mut settings, "reject_unauthorized", "maybe".into());
        assert_eq!(message, "reject_unauthorized=maybe: must be true or false");
        let message = refused(&mut settings, "reject_unauthorized", 7.into());
        assert!(
            message.starts_with("reject_unauthorized is refused"),
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

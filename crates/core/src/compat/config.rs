//! The configuration of the producers before this crate: the wire format depends on the registry, and
//! Python's producer takes a dict of librdkafka properties.

use crate::config::{
    ConnectionSettings, EventFormat, Mapped, PropertyMap, SecurityProtocol, Settings, settings,
};
use crate::{Error, Result};

/// What the earlier Python producer set besides names and addresses. Services' tests look for it;
/// unless the caller sets another value, the library's own settings apply.
const TUNING: [(&str, i64); 3] = [("linger.ms", 10), ("batch.size", 16_384), ("retries", 3)];

/// The TLS properties that the environment can set.
const TLS: [&str; 6] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
];

/// The value of a property, by its type in Python.
#[derive(Debug, Clone, PartialEq)]
pub enum PropertyValue {
    /// `str`.
    Text(String),
    /// `int`.
    Number(i64),
    /// `bool`.
    Flag(bool),
}

impl From<&str> for PropertyValue {
    fn from(text: &str) -> Self {
        PropertyValue::Text(text.to_owned())
    }
}

/// Writes Avro if there is a registry, else JSON, unless `format` is set.
pub fn choose_format(settings: &mut Settings) {
    let format = if settings.registry.is_configured() {
        EventFormat::Avro
    } else {
        EventFormat::Json
    };
    settings.producer.format.get_or_insert(format);
}

/// Writes Avro with the registry at `url`.
pub fn use_registry(settings: &mut Settings, url: &str) {
    settings.registry.urls = url.into();
    settings.producer.format = Some(EventFormat::Avro);
}

/// [`ConnectionSettings::check_files`], whose message also names the environment variable and the
/// path.
///
/// # Errors
///
/// As [`ConnectionSettings::check_files`].
pub fn check_files(connection: &ConnectionSettings) -> Result<()> {
    connection.check_files().map_err(|error| {
        let of = |name: &str| settings().find(|setting| setting.name == name);
        let variable = error.get("setting").and_then(of).and_then(|one| one.env);
        let (Some(variable), Some(path)) = (variable, error.get("path")) else {
            return error;
        };
        let message = format!("{} ({variable}, {path})", error.message());
        error
            .context()
            .fold(Error::new(error.kind(), message), |error, (name, value)| {
                error.with(name, value)
            })
    })
}

/// The properties with which the earlier Python producer was created, for these settings.
pub fn default_properties(
    connection: &ConnectionSettings,
    client_id: &str,
) -> Vec<(&'static str, PropertyValue)> {
    use PropertyValue::{Flag, Number};
    let mut properties = vec![
        (
            "bootstrap.servers",
            connection.bootstrap_servers.as_str().into(),
        ),
        ("client.id", client_id.into()),
        ("compression.type", "lz4".into()),
    ];
    properties.extend(TUNING.map(|(name, value)| (name, Number(value))));
    properties.extend([
        ("acks", "all".into()),
        ("max.in.flight.requests.per.connection", Number(5)),
        ("enable.idempotence", Flag(true)),
        (
            "security.protocol",
            connection.security_protocol.as_str().into(),
        ),
    ]);
    if connection.security_protocol.uses_tls() {
        let mut given = PropertyMap::default();
        connection.write(&mut given);
        let tls = TLS
            .iter()
            .filter_map(|name| Some((*name, given.get(name)?.into())));
        properties.extend(tls);
        if !connection.reject_unauthorized {
            properties.push(("enable.ssl.certificate.verification", Flag(false)));
        }
    }
    properties
}

/// The settings of a dict of properties before any of them is set: plaintext and JSON.
pub fn plain_settings(environment: Settings) -> Settings {
    Settings {
        connection: ConnectionSettings::default()
            .security_protocol(SecurityProtocol::Plaintext)
            .service_name(environment.connection.service_name),
        producer: environment.producer.format(EventFormat::Json),
        ..environment
    }
}

/// Sets a property. One of [`default_properties`] becomes the setting that it stands for, and is
/// ignored if it has none; the caller's own override every setting.
pub fn set_property(connection: &mut ConnectionSettings, name: &str, text: &str, is_default: bool) {
    let is_read =
        (is_default || name == "security.protocol") && connection.read(name, text).is_ok();
    if !is_read && (!is_default || name == "security.protocol") {
        connection.properties.set(name, text);
    }
}

/// Removes a SASL mechanism without a SASL protocol: librdkafka ignores it, this crate rejects it.
pub fn remove_unused_sasl(connection: &mut ConnectionSettings) {
    if !connection.security_protocol.uses_sasl() {
        let kept = connection.properties.iter();
        connection.properties = kept
            .filter(|(name, _)| !matches!(*name, "sasl.mechanism" | "sasl.mechanisms"))
            .collect();
    }
}

//! Converts JavaScript options to settings.

use std::collections::HashMap;

use carbon_events::config::{self, ConnectionSettings, EventFormat, SettingKind, Settings};
use carbon_events::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The client that the options are for.
#[derive(Clone, Copy)]
pub(crate) enum Client {
    Producer,
    Consumer,
}

impl Client {
    fn group(self) -> &'static str {
        match self {
            Client::Producer => "producer",
            Client::Consumer => "consumer",
        }
    }
}

/// The JavaScript environment variables, which in a worker and in Jest differ from the process', and
/// settings in camel case, with those of the registry in an object of their own.
#[derive(Deserialize)]
struct Given {
    environment: HashMap<String, String>,
    settings: Map<String, Value>,
}

/// Reads the environment's settings and overrides them with the options.
pub(crate) fn read(options: &str, client: Client) -> Result<Settings> {
    let given: Given = serde_json::from_str(options).map_err(|error| {
        Error::new(
            ErrorKind::InvalidConfig,
            format!("the options are not valid JSON: {error}"),
        )
    })?;
    let mut settings = Settings::from_lookup(|name| given.environment.get(name).cloned())?;
    for (name, value) in &given.settings {
        match (name.as_str(), value) {
            ("registry", Value::Object(registry)) => {
                for (name, value) in registry {
                    settings.set("registry", &snake(name), value)?;
                }
            }
            _ => settings.set_option(client.group(), &snake(name), value)?,
        }
    }
    Ok(settings)
}

/// Sets the default format of the drop-in's methods: Avro with a registry, otherwise JSON.
pub(crate) fn set_drop_in_format(settings: &mut Settings) {
    let format = if settings.registry.is_configured() {
        EventFormat::Avro
    } else {
        EventFormat::Json
    };
    settings.producer.format = Some(settings.producer.format.unwrap_or(format));
}

/// Rejects a certificate file that cannot be read. The error names its environment variable. The
/// drop-in checks this in the constructor, as the kafkajs-based package did.
pub(crate) fn check_files(connection: &ConnectionSettings) -> Result<()> {
    connection.check_files().map_err(|error| {
        let of = |name: &str| config::settings().find(|setting| setting.name == name);
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

/// `deliveryTimeoutMs` to `delivery_timeout_ms`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The environment variables that settings are read from.
pub(crate) fn variables() -> Vec<&'static str> {
    config::settings()
        .filter_map(|setting| setting.env)
        .collect()
}

/// Every setting of the library.
pub(crate) fn table() -> String {
    let rows: Vec<_> = config::settings()
        .map(|setting| {
            let (kind, choices) = match setting.kind {
                SettingKind::Text => ("text", None),
                SettingKind::Boolean => ("boolean", None),
                SettingKind::Integer => ("integer", None),
                SettingKind::Milliseconds => ("milliseconds", None),
                SettingKind::List => ("list", None),
                SettingKind::Map => ("map", None),
                SettingKind::Choice(choices) => ("choice", Some(choices)),
                _ => ("text", None),
            };
            json!({
                "group": setting.group,
                "name": setting.name,
                "env": setting.env,
                "kind": kind,
                "choices": choices,
                "default": (setting.default)(),
                "secret": setting.secret,
                "doc": setting.doc(),
            })
        })
        .collect();
    Value::from(rows).to_string()
}

//! Converts JavaScript options to settings.

use std::collections::HashMap;

use carbon_events::config::{self, Settings};
use carbon_events::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

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

    fn has(self, option: &str) -> bool {
        config::options(self.group()).any(|setting| setting.option() == option)
    }
}

/// The JavaScript environment variables, which in a worker and in Jest differ from the process', and
/// settings in camel case, with those of the registry in an object of their own.
#[derive(Deserialize)]
struct Given {
    environment: HashMap<String, String>,
    settings: Map<String, Value>,
}

/// The environment's settings, overridden by the options. With `unknown`, unknown options are
/// ignored, and the message of each one's error is added to it.
pub(crate) fn read(
    options: &str,
    client: Client,
    mut unknown: Option<&mut Vec<String>>,
) -> Result<Settings> {
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
            _ => {
                let name = snake(name);
                let outcome = settings.set_option(client.group(), &name, value);
                match (outcome, &mut unknown) {
                    (Err(error), Some(unknown)) if !client.has(&name) => {
                        unknown.push(error.message().to_owned());
                    }
                    (outcome, _) => outcome?,
                }
            }
        }
    }
    Ok(settings)
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

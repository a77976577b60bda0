//! The library's settings from options, the environment, or a file.

use std::path::PathBuf;

use anyhow::Context;
use carbon_events::config::{
    ConnectionSettings, EventFormat, RegistrySettings, SaslMechanism, SecurityProtocol, Settings,
};
use clap::Args;

use crate::exit::Usage;

/// Options that override the environment variable in brackets.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionOptions {
    /// Addresses of brokers, from which the client finds the others [KAFKA_BOOTSTRAP_SERVERS]
    #[arg(short, long, global = true, value_name = "HOST:PORT,...")]
    bootstrap_servers: Option<String>,
    /// PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL [KAFKA_SECURITY_PROTOCOL; default: SSL]
    #[arg(long, global = true, value_name = "PROTOCOL")]
    security_protocol: Option<SecurityProtocol>,
    /// PEM file with the CA certificates that brokers' certificates are checked against
    /// [KAFKA_SSL_CA_LOCATION]
    #[arg(long, global = true, value_name = "FILE")]
    ssl_ca_location: Option<String>,
    /// PEM file with the client certificate [KAFKA_SSL_CERTIFICATE_LOCATION]
    #[arg(long, global = true, value_name = "FILE")]
    ssl_certificate_location: Option<String>,
    /// PEM file with the private key of the client certificate [KAFKA_SSL_KEY_LOCATION]
    #[arg(long, global = true, value_name = "FILE")]
    ssl_key_location: Option<String>,
    /// The password of the private key; prefer the variable [KAFKA_SSL_KEY_PASSWORD]
    #[arg(long, global = true, value_name = "PASSWORD")]
    ssl_key_password: Option<String>,
    /// PKCS#12 file with the client certificate and its private key
    /// [KAFKA_SSL_KEYSTORE_LOCATION]
    #[arg(long, global = true, value_name = "FILE")]
    ssl_keystore_location: Option<String>,
    /// The password of that file; prefer the variable [KAFKA_SSL_KEYSTORE_PASSWORD]
    #[arg(long, global = true, value_name = "PASSWORD")]
    ssl_keystore_password: Option<String>,
    /// Whether brokers' certificates are verified
    /// [KAFKA_SSL_REJECT_UNAUTHORIZED]
    #[arg(long, global = true, value_name = "BOOL")]
    ssl_reject_unauthorized: Option<bool>,
    /// PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, with a SASL protocol
    #[arg(long, global = true, value_name = "MECHANISM")]
    sasl_mechanism: Option<SaslMechanism>,
    /// The user name for PLAIN and SCRAM
    #[arg(long, global = true, value_name = "NAME")]
    sasl_username: Option<String>,
    /// The password for PLAIN and SCRAM; prefer a --config file
    #[arg(long, global = true, value_name = "PASSWORD")]
    sasl_password: Option<String>,
    /// Addresses of the schema registry [KAFKA_SCHEMA_REGISTRY_URL]
    #[arg(long, global = true, value_name = "URL,...")]
    schema_registry_url: Option<String>,
    /// Schema ids to use without asking the registry [KAFKA_SCHEMA_IDS]
    #[arg(long, global = true, value_name = "TOPIC=ID,...")]
    schema_ids: Option<String>,
    /// The source of events that have none [SERVICE_NAME]
    #[arg(long, global = true, value_name = "NAME")]
    service_name: Option<String>,
    /// The namespace of the service [SERVICE_NAMESPACE]
    #[arg(long, global = true, value_name = "NAME")]
    service_namespace: Option<String>,
    /// Prefix of the twelve topics' names on this cluster
    #[arg(long, global = true, value_name = "TEXT")]
    topic_prefix: Option<String>,
    /// Wire format of events, avro or json [KAFKA_EVENT_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT")]
    event_format: Option<EventFormat>,
    /// A librdkafka property; repeatable
    #[arg(
        short = 'X',
        long = "property",
        global = true,
        value_name = "NAME=VALUE"
    )]
    properties: Vec<String>,
    /// Read all settings from this JSON file instead of the environment
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConnectionOptions {
    /// Whether a cluster is named on the command line itself.
    pub(crate) fn names_a_cluster(&self) -> bool {
        self.bootstrap_servers.is_some() || self.config.is_some()
    }

    /// The prefix of the twelve topics' names, without reading the environment.
    pub(crate) fn topic_prefix(&self) -> anyhow::Result<String> {
        match (&self.topic_prefix, &self.config) {
            (Some(prefix), _) => Ok(prefix.clone()),
            (None, Some(_)) => Ok(self.settings()?.connection.topic_prefix),
            (None, None) => Ok(String::new()),
        }
    }

    /// The settings of the environment or the file, overridden by these options.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = match &self.config {
            Some(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {shown}"))?;
                serde_json::from_str(&text).map_err(|error| Usage(format!("{shown}: {error}")))?
            }
            None => Settings::from_env()?,
        };
        settings.connection = self.connection(settings.connection)?;
        if let Some(urls) = &self.schema_registry_url {
            settings.registry = settings.registry.urls(urls.as_str());
        }
        if let Some(ids) = &self.schema_ids {
            let variable = |name: &str| (name == "KAFKA_SCHEMA_IDS").then(|| ids.clone());
            settings.registry.schema_ids = RegistrySettings::from_lookup(variable)?.schema_ids;
        }
        if let Some(format) = self.event_format {
            settings.producer = settings.producer.format_override(format);
        }
        Ok(settings)
    }

    fn connection(&self, base: ConnectionSettings) -> anyhow::Result<ConnectionSettings> {
        let mut connection = base;
        macro_rules! set {
            ($($option:ident => $setter:ident),* $(,)?) => {$(
                if let Some(value) = self.$option.clone() {
                    connection = connection.$setter(value);
                }
            )*};
        }
        set! {
            bootstrap_servers => bootstrap_servers,
            security_protocol => security_protocol,
            ssl_ca_location => ssl_ca_location,
            ssl_certificate_location => ssl_certificate_location,
            ssl_key_location => ssl_key_location,
            ssl_key_password => ssl_key_password,
            ssl_keystore_location => ssl_keystore_location,
            ssl_keystore_password => ssl_keystore_password,
            ssl_reject_unauthorized => reject_unauthorized,
            sasl_mechanism => sasl_mechanism,
            sasl_username => sasl_username,
            sasl_password => sasl_password,
            service_name => service_name,
            service_namespace => service_namespace,
            topic_prefix => topic_prefix,
        }
        for property in &self.properties {
            let (name, value) = property
                .split_once('=')
                .ok_or_else(|| Usage(format!("-X {property}: must be NAME=VALUE")))?;
            connection = connection.property(name.trim(), value);
        }
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Cli;

    fn settings(arguments: &[&str]) -> anyhow::Result<Settings> {
        let arguments = ["carbon-events", "topics", "list"].iter().chain(arguments);
        Cli::try_parse_from(arguments)
            .unwrap()
            .connection
            .settings()
    }

    #[test]
    fn every_setting_with_a_variable_has_an_option_that_names_it() {
        let command = Cli::command();
        let helps: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| argument.get_help().map(ToString::to_string))
            .collect();
        for variable in carbon_events::config::settings().filter_map(|setting| setting.env) {
            let named = |help: &String| help.contains(&format!("[{variable}"));
            assert!(helps.iter().any(named), "{variable} has no option");
        }
    }

    #[test]
    fn options_override_the_defaults() {
        let settings = settings(&[
            "-b",
            "a:1",
            "--security-protocol",
            "plaintext",
            "--schema-registry-url",
            "http://r",
            "--schema-ids",
            "data-quality=7",
            "-X",
            "linger.ms=2",
        ])
        .unwrap();
        assert_eq!(settings.connection.bootstrap_servers, "a:1");
        assert_eq!(
            settings.connection.security_protocol,
            SecurityProtocol::Plaintext
        );
        assert_eq!(
            settings.registry.urls.iter().collect::<Vec<_>>(),
            ["http://r"]
        );
        assert_eq!(settings.registry.schema_ids.get("data-quality"), Some(7));
        assert_eq!(settings.connection.properties.get("linger.ms"), Some("2"));
    }

    #[test]
    fn a_property_without_a_value_is_rejected() {
        assert!(settings(&["-X", "linger.ms"]).unwrap_err().is::<Usage>());
    }
}

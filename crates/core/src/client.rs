//! What the builders of producers and consumers have in common: how to reach the brokers and the
//! registry, what counts, and who gives tokens.

use rdkafka::ClientConfig;

use crate::config::{RegistrySettings, TokenProvider};
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;
use crate::{Error, ErrorKind, Result};

/// The setters of a builder with the fields `connection`, `registry`, `shared_registry`, `metrics`
/// and `tokens`.
macro_rules! client_setters {
    () => {
        /// How to reach the brokers.
        pub fn connection(mut self, connection: $crate::config::ConnectionSettings) -> Self {
            self.connection = connection;
            self
        }

        /// Where the schema registry is.
        pub fn registry(mut self, registry: $crate::config::RegistrySettings) -> Self {
            self.registry = registry;
            self
        }

        /// A registry client that others use too.
        pub fn shared_registry(mut self, registry: $crate::registry::SchemaRegistry) -> Self {
            self.shared_registry = Some(registry);
            self
        }

        /// Comma-separated `host:port` addresses of some of the cluster's brokers.
        pub fn bootstrap_servers(mut self, servers: impl Into<String>) -> Self {
            self.connection = self.connection.bootstrap_servers(servers);
            self
        }

        /// The registry's URL, or several separated by commas.
        pub fn schema_registry_url(mut self, urls: impl Into<$crate::config::Urls>) -> Self {
            self.registry = self.registry.urls(urls);
            self
        }

        /// A librdkafka property, which wins over every other setting.
        pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.connection = self.connection.property(name, value);
            self
        }

        /// Counts into these metrics, together with others that have a clone of them.
        pub fn metrics(mut self, metrics: $crate::metrics::Metrics) -> Self {
            self.metrics = metrics;
            self
        }

        /// Gives the tokens for `OAUTHBEARER`.
        pub fn token_provider(mut self, tokens: $crate::config::TokenProvider) -> Self {
            self.tokens = Some(tokens);
            self
        }
    };
}
pub(crate) use client_setters;

/// What a client tells besides the fates of its records, for those who listen to librdkafka
/// themselves. Called on the client's event thread, which goes on only when the call returns.
pub trait ClientObserver: Send + Sync {
    /// An error of the whole client, such as a broker that cannot be reached; with its
    /// [`code`](Error::code).
    fn error(&self, _error: &Error) {}

    /// librdkafka's statistics as JSON, every `statistics.interval.ms`.
    fn statistics(&self, _json: &str) {}

    /// A line of librdkafka's log, with its level as syslog counts them (0 to 7).
    fn log(&self, _level: i32, _facility: &str, _text: &str) {}
}

/// A [`ClientObserver`] that settings can hold.
#[derive(Clone)]
pub(crate) struct Observer(std::sync::Arc<dyn ClientObserver>);

impl Observer {
    pub(crate) fn new(observer: impl ClientObserver + 'static) -> Self {
        Observer(std::sync::Arc::new(observer))
    }
}

impl std::ops::Deref for Observer {
    type Target = dyn ClientObserver;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for Observer {
    fn eq(&self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientObserver")
    }
}

/// Refuses `OAUTHBEARER` where nobody would ever give a token: librdkafka waits for one in silence.
pub(crate) fn check_token_source(
    config: &ClientConfig,
    tokens: Option<&TokenProvider>,
) -> Result<()> {
    let is = |name: &str, value: &str| {
        let given = config.get(name);
        given.is_some_and(|given| given.eq_ignore_ascii_case(value))
    };
    let over_sasl =
        is("security.protocol", "sasl_ssl") || is("security.protocol", "sasl_plaintext");
    if !over_sasl
        || !is("sasl.mechanism", "OAUTHBEARER")
        || tokens.is_some()
        || is("sasl.oauthbearer.method", "oidc")
        || is("enable.sasl.oauthbearer.unsecure.jwt", "true")
    {
        return Ok(());
    }
    let message = "OAUTHBEARER needs a token_provider, or a server to ask for tokens \
                   (the properties sasl.oauthbearer.method=oidc and sasl.oauthbearer.*)";
    Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", "sasl_mechanism"))
}

/// The registry client of a builder: the shared one, else one of its own where it has a registry.
pub(crate) fn registry_client(
    shared: Option<SchemaRegistry>,
    settings: &RegistrySettings,
    metrics: &Metrics,
) -> Result<Option<SchemaRegistry>> {
    match shared {
        Some(registry) => Ok(Some(registry)),
        None if settings.is_configured() => {
            SchemaRegistry::with_metrics(settings, metrics.clone()).map(Some)
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use crate::admin::Admin;
    use crate::config::{ConnectionSettings, SaslMechanism, SecurityProtocol};
    use crate::{Error, ErrorKind, EventConsumer, EventProducer};

    #[test]
    fn a_login_by_token_without_a_source_of_tokens_is_refused_at_once() {
        let connection = ConnectionSettings::new("127.0.0.1:1")
            .security_protocol(SecurityProtocol::SaslPlaintext)
            .sasl_mechanism(SaslMechanism::OAuthBearer);
        let refused = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
            assert_eq!(error.get("setting"), Some("sasl_mechanism"));
        };
        let producer = EventProducer::builder().connection(connection.clone());
        refused(producer.build().unwrap_err());
        let consumer = EventConsumer::builder().connection(connection.clone());
        refused(consumer.group_id("g").topic("t").build().unwrap_err());
        refused(Admin::new(connection.clone()).unwrap_err());

        for (name, value) in [
            ("sasl.oauthbearer.method", "oidc"),
            ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ] {
            let connection = connection.clone().property(name, value);
            let producer = EventProducer::builder().connection(connection);
            if let Err(error) = producer.build() {
                // librdkafka may miss other properties of the method.
                assert_ne!(error.get("setting"), Some("sasl_mechanism"), "{error}");
            }
        }
    }
}

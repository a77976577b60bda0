//! What the builders of producers and consumers have in common: how to reach the brokers and the
//! registry, what counts, and who gives tokens.

use crate::Result;
use crate::config::RegistrySettings;
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;

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

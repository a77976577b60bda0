//! Building a producer: from settings, from the environment, or from both.

use super::event_producer::EventProducer;
use super::headers::{TraceContext, TraceHook};
use super::partitioner::Partitioner;
use super::settings::{ProducerConfig, librdkafka, max_record_bytes};
use crate::client::{
    ClientObserver, Observer, check_token_source, client_setters, registry_client,
};
use crate::config::{
    Compression, ConnectionSettings, EventFormat, ProducerSettings, RegistrySettings, Settings,
    TokenProvider,
};
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;
use crate::{Error, Result};

/// Builds an [`EventProducer`]. What is set here overrides the environment, except for
/// `KAFKA_EVENT_FORMAT`, which overrides everything.
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct EventProducerBuilder {
    connection: ConnectionSettings,
    registry: RegistrySettings,
    producer: ProducerSettings,
    shared_registry: Option<SchemaRegistry>,
    metrics: Metrics,
    tokens: Option<TokenProvider>,
    trace: Option<TraceHook>,
    observer: Option<Observer>,
    partitioner: Partitioner,
    deferred_error: Option<Error>,
}

impl EventProducerBuilder {
    client_setters!();

    fn from_env() -> Self {
        match Settings::from_env() {
            Ok(settings) => Self::default().settings(settings),
            Err(error) => EventProducerBuilder {
                deferred_error: Some(error),
                ..Self::default()
            },
        }
    }

    /// Replaces all settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.connection = settings.connection;
        self.registry = settings.registry;
        self.producer = settings.producer;
        self
    }

    /// How records are gathered, bounded, written and given up.
    pub fn producer(mut self, producer: ProducerSettings) -> Self {
        self.producer = producer;
        self
    }

    /// The service that sends: the `source` of events without one.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.connection = self.connection.service_name(name);
        self
    }

    /// How typed events are written.
    pub fn format(mut self, format: EventFormat) -> Self {
        self.producer = self.producer.format(format);
        self
    }

    /// How batches are compressed.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.producer = self.producer.compression(compression);
        self
    }

    /// Adds `traceparent` and `tracestate` headers of the span that `provide` finds active on the
    /// sending thread. It must not send events itself.
    pub fn trace_context(
        mut self,
        provide: impl Fn() -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.trace = Some(TraceHook::new(provide));
        self
    }

    /// Reports to `observer` what concerns the whole client.
    pub fn observer(self, observer: impl ClientObserver + 'static) -> Self {
        self.shared_observer(Observer::new(observer))
    }

    pub(super) fn shared_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// How a record's key becomes its partition. With another one than the default, a key goes to
    /// another partition than from every other producer of the platform.
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = partitioner;
        self
    }

    /// Checks the settings and builds the producer. It neither connects nor starts a thread before
    /// the first record.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming `setting`: a variable
    /// or property that does not exist (with the nearest that does) or a value that is refused.
    pub fn build(self) -> Result<EventProducer> {
        if let Some(error) = self.deferred_error {
            return Err(error);
        }
        let producer = self.producer.with_properties(&self.connection.properties)?;
        // Also reports now what librdkafka would refuse at the first record.
        let config = librdkafka(&producer, &self.connection)?;
        check_token_source(&config, self.tokens.as_ref())?;
        let registry = registry_client(self.shared_registry, &self.registry, &self.metrics)?;
        Ok(EventProducer::new(ProducerConfig {
            max_record_bytes: max_record_bytes(&self.connection),
            connection: self.connection,
            settings: producer,
            registry,
            metrics: self.metrics,
            tokens: self.tokens,
            trace: self.trace,
            observer: self.observer,
            partitioner: self.partitioner,
        }))
    }
}

impl EventProducer {
    /// A builder with every setting at its default; it does not read the environment.
    pub fn builder() -> EventProducerBuilder {
        EventProducerBuilder::default()
    }

    /// A builder with the environment's settings.
    pub fn from_env() -> EventProducerBuilder {
        EventProducerBuilder::from_env()
    }
}

//! Building a consumer: from settings, from the environment, or from both.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::ClientConfig;

use super::assignment::{Assignment, AssignmentChange, Listener};
use super::event_consumer::EventConsumer;
use super::poll::PollLoop;
use super::position::Offsets;
use super::shared::Shared;
use crate::client::{check_token_source, client_setters, registry_client};
use crate::config::{
    ConnectionSettings, ConsumerSettings, GroupProtocol, RegistrySettings, Settings, StartPosition,
    TokenProvider,
};
use crate::kafka::Handle;
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;
use crate::{Error, ErrorKind, Result};

/// Builds an [`EventConsumer`]. What is set here overrides the environment.
#[derive(Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct EventConsumerBuilder {
    connection: ConnectionSettings,
    registry: RegistrySettings,
    consumer: ConsumerSettings,
    shared_registry: Option<SchemaRegistry>,
    metrics: Metrics,
    tokens: Option<TokenProvider>,
    listener: Option<Listener>,
    start_at: Offsets,
    deferred_error: Option<Error>,
}

impl EventConsumer {
    /// A builder with every setting at its default; ignores the environment.
    pub fn builder() -> EventConsumerBuilder {
        EventConsumerBuilder::default()
    }

    /// A builder with the environment's settings.
    pub fn from_env() -> EventConsumerBuilder {
        EventConsumerBuilder::from_env()
    }
}

impl EventConsumerBuilder {
    client_setters!();

    fn from_env() -> Self {
        match Settings::from_env() {
            Ok(settings) => Self::default().settings(settings),
            Err(error) => Self {
                deferred_error: Some(error),
                ..Self::default()
            },
        }
    }

    /// Replaces all settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.connection = settings.connection;
        self.registry = settings.registry;
        self.consumer = settings.consumer;
        self
    }

    /// What is read, by which group, from where and with how much memory.
    pub fn consumer(mut self, consumer: ConsumerSettings) -> Self {
        self.consumer = consumer;
        self
    }

    /// The consumer group.
    pub fn group_id(mut self, group: impl Into<String>) -> Self {
        self.consumer = self.consumer.group_id(group);
        self
    }

    /// Adds a topic to read: a name, or a [`Topic`](crate::Topic) of the topic table. The twelve may
    /// be given without their [`topic_prefix`](ConnectionSettings::topic_prefix).
    pub fn topic(mut self, topic: impl ToString) -> Self {
        self.consumer = self.consumer.topic(topic.to_string());
        self
    }

    /// Adds topics to read.
    pub fn topics<T: ToString>(self, topics: impl IntoIterator<Item = T>) -> Self {
        topics
            .into_iter()
            .fold(self, |builder, topic| builder.topic(topic))
    }

    /// Where reading starts in a partition for which the group has no committed offset.
    pub fn start(mut self, start: StartPosition) -> Self {
        self.consumer = self.consumer.start(start);
        self
    }

    /// Where reading starts in these partitions, before [`start`](Self::start) and before what the
    /// group has committed: once each, when the partition is first assigned to this consumer. For
    /// services that keep offsets beside their results. An offset that does not exist means the nearest
    /// one that does.
    pub fn start_at(mut self, offsets: impl Into<Offsets>) -> Self {
        self.start_at = offsets.into();
        self
    }

    /// Whether the offsets of acknowledged records are committed from time to time.
    pub fn auto_commit(mut self, auto_commit: bool) -> Self {
        self.consumer = self.consumer.auto_commit(auto_commit);
        self
    }

    /// Whether the group's members or the broker assign the partitions.
    pub fn group_protocol(mut self, protocol: GroupProtocol) -> Self {
        self.consumer = self.consumer.group_protocol(protocol);
        self
    }

    /// Reads every partition of the topics without joining a group; nothing is committed. Partitions
    /// that are added later are read from their beginning, within
    /// `topic.metadata.refresh.interval.ms` (five minutes) as in a group.
    pub fn standalone(mut self) -> Self {
        self.consumer = self.consumer.standalone(true);
        self
    }

    /// Has reads report when the end of every assigned partition is reached.
    pub fn detect_end(mut self) -> Self {
        self.consumer = self.consumer.detect_end(true);
        self
    }

    /// Calls `listener` with each change of the assigned partitions, on the consumer's own thread.
    ///
    /// The group waits while it runs. Of partitions that are revoked, offsets can still be
    /// committed in it.
    pub fn on_assignment(
        mut self,
        listener: impl Fn(&AssignmentChange<'_>) + Send + 'static,
    ) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Checks the settings, starts the consumer and returns without waiting for the brokers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`], naming `setting`: a variable or property that does not exist
    /// (with the nearest that does), a value that is refused, no group, or no topic.
    pub fn build(self) -> Result<EventConsumer> {
        if let Some(error) = self.deferred_error {
            return Err(error);
        }
        let mut settings = self.consumer.with_properties(&self.connection.properties)?;
        if settings.topics.is_empty() {
            let error = Error::new(ErrorKind::InvalidConfig, "a consumer needs topics to read");
            return Err(error.with("setting", "topics"));
        }
        for topic in &mut settings.topics {
            *topic = self.connection.full_name(topic);
        }
        let mut start_at = self.start_at;
        for position in &mut start_at.positions {
            let topic = &mut position.partition.topic;
            *topic = self.connection.full_name(topic).into();
        }
        let config = settings.client_config(&self.connection)?;
        check_token_source(&config, self.tokens.as_ref())?;
        let registry = registry_client(self.shared_registry, &self.registry, &self.metrics)?;
        let handle = Handle::consumer(&config)?;
        handle.poll_one_queue()?;
        let events = handle.consumer_queue();
        let shared = Arc::new(Shared::new(
            Arc::clone(&handle),
            settings,
            self.connection,
            registry,
            self.metrics,
            self.tokens,
            metadata_refresh(&config),
        ));
        if !shared.settings.standalone {
            handle.subscribe(&shared.topics)?;
        }
        let (left, outcome) = mpsc::sync_channel(1);
        let assignment = Assignment::new(
            Arc::clone(&shared),
            Arc::clone(&handle),
            self.listener,
            start_at,
        );
        let poll_loop = PollLoop::new(Arc::clone(&shared), handle, events, assignment);
        let thread = std::thread::Builder::new()
            .name("carbon-events-consumer".to_owned())
            .spawn(move || poll_loop.run(left))
            .map_err(|error| {
                let message = format!("cannot spawn the consumer's thread: {error}");
                Error::new(ErrorKind::Internal, message).because(error)
            })?;
        Ok(EventConsumer::new(shared, outcome, thread))
    }
}

/// How often librdkafka asks for the topics' partitions; `None` where it never does.
fn metadata_refresh(config: &ClientConfig) -> Option<Duration> {
    const DEFAULT: Duration = Duration::from_secs(300);
    match config.get("topic.metadata.refresh.interval.ms") {
        // Below zero means never.
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => Some(DEFAULT),
    }
}

impl fmt::Debug for EventConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventConsumerBuilder")
            .field("connection", &self.connection)
            .field("registry", &self.registry)
            .field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}

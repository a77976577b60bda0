//! Broker and registry together, with settings for a service that uses them.

use std::time::Duration;

use super::{Broker, MockRegistry};
use crate::Result;
use crate::config::{ConsumerSettings, Settings};
use crate::consumer::{EventConsumer, EventConsumerBuilder, OwnedRecord};
use crate::events::Topic;
use crate::producer::{EventProducer, EventProducerBuilder};

/// How long reading a topic's records may take.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The platform in this process: a [`Broker`] with all topics and a [`MockRegistry`]. Stops on drop.
///
/// A test passes the platform's settings to the service, runs it and checks what it published; or
/// publishes events and checks how the service processes them.
///
/// ```
/// use carbon_events::events::{DeploymentAction, DeploymentEvent};
/// use carbon_events::testkit::Platform;
/// use carbon_events::{Event, Topic};
///
/// # fn main() -> carbon_events::Result<()> {
/// let platform = Platform::start()?;
/// let producer = platform.producer("deployer").build()?;
/// let event = DeploymentEvent::builder()
///     .deployment_name("checkout")
///     .namespace("shop")
///     .action(DeploymentAction::Deploy)
///     .deployed_version("1.4.2")
///     .replicas(3)
///     .deployed_by("ci")
///     .build()?;
/// producer.send(&event)?.wait()?;
///
/// let published = platform.records(Topic::DeploymentEvents)?;
/// let Ok(Event::Deployment(found)) = &published[0].event else { panic!("{published:?}") };
/// assert_eq!(found.deployed_version, "1.4.2");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Platform {
    broker: Broker,
    registry: MockRegistry,
    topic_prefix: String,
}

impl Platform {
    /// One broker and a registry.
    pub fn start() -> Result<Platform> {
        Self::start_cluster(1)
    }

    /// This many brokers and a registry.
    pub fn start_cluster(nodes: u8) -> Result<Platform> {
        Ok(Platform {
            broker: Broker::start_cluster(nodes)?,
            registry: MockRegistry::start()?,
            topic_prefix: String::new(),
        })
    }

    /// Adds the platform's topics with a prefix, which [`settings`](Self::settings) has, too, but not
    /// [`environment`](Self::environment): there is no variable for it.
    ///
    /// # Errors
    ///
    /// Those of [`Broker::create_topic`].
    pub fn with_topic_prefix(mut self, prefix: impl Into<String>) -> Result<Platform> {
        self.topic_prefix = prefix.into();
        let connection = self.settings().connection;
        for topic in Topic::ALL {
            let name = connection.topic_name(topic);
            self.broker.create_topic(&name, topic.spec().partitions)?;
        }
        Ok(self)
    }

    /// The broker, to make it fail.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The registry, to make it fail.
    pub fn registry(&self) -> &MockRegistry {
        &self.registry
    }

    /// Settings that connect to both.
    pub fn settings(&self) -> Settings {
        Settings {
            connection: self.broker.connection().topic_prefix(&*self.topic_prefix),
            registry: self.registry.settings(),
            consumer: Broker::quick(ConsumerSettings::default()),
            ..Settings::default()
        }
    }

    /// The environment variables that connect a service to both, for one that reads them itself or
    /// runs as a process of its own.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            (
                "KAFKA_BOOTSTRAP_SERVERS",
                self.broker.bootstrap_servers().to_owned(),
            ),
            ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT".to_owned()),
            ("KAFKA_SCHEMA_REGISTRY_URL", self.registry.url()),
        ]
    }

    /// A producer of this service.
    pub fn producer(&self, service: &str) -> EventProducerBuilder {
        EventProducer::builder()
            .settings(self.settings())
            .service_name(service)
    }

    /// A consumer of this group, which reads its topics from the beginning.
    pub fn consumer(&self, group: &str) -> EventConsumerBuilder {
        EventConsumer::builder()
            .settings(self.settings())
            .group_id(group)
    }

    /// All records that are on a topic now, those of one key in the order in which they were sent.
    ///
    /// # Errors
    ///
    /// Those of [`EventConsumer::next_batch`].
    pub fn records(&self, topic: Topic) -> Result<Vec<OwnedRecord>> {
        let consumer = EventConsumer::builder()
            .settings(self.settings())
            .topic(topic)
            .standalone()
            .detect_end()
            .build()?;
        let mut records = Vec::new();
        while let Some(batch) = consumer.next_batch(READ_WITHIN)? {
            records.extend(batch.iter().map(|record| record.to_owned()));
        }
        consumer.close(READ_WITHIN)?;
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{HealthStatus, ServiceHealthEvent};
    use crate::testkit::BrokerError;
    use crate::testkit::{Api, RegistryFault};

    fn event() -> ServiceHealthEvent<'static> {
        ServiceHealthEvent::builder()
            .service_name("checkout")
            .namespace("shop")
            .health_status(HealthStatus::Healthy)
            .latency_ms(3)
            .error_rate(0.0)
            .build()
            .unwrap()
    }

    #[test]
    fn what_a_service_publishes_can_be_looked_at() {
        let platform = Platform::start().unwrap();
        assert!(platform.records(Topic::SystemHealth).unwrap().is_empty());
        let producer = platform.producer("checkout").build().unwrap();
        let event = event();
        producer.send(&event).unwrap().wait().unwrap();
        let records = platform.records(Topic::SystemHealth).unwrap();
        assert_eq!(records.len(), 1);
        let found = records[0].event.as_ref().unwrap();
        assert_eq!(found.envelope().source, "checkout");
        assert_eq!(found.envelope().event_id, event.envelope.event_id);
        assert_eq!(platform.registry().versions("system-health-value").len(), 1);
    }

    #[test]
    fn topics_behind_a_prefix_are_one_environments_own() {
        let platform = Platform::start().unwrap();
        let platform = platform.with_topic_prefix("staging.").unwrap();
        let producer = platform.producer("checkout").build().unwrap();
        let report = producer.send(&event()).unwrap().wait().unwrap();
        assert_eq!(&*report.topic, "staging.system-health");
        assert_eq!(
            platform
                .registry()
                .versions("staging.system-health-value")
                .len(),
            1
        );
        let [record] = &platform.records(Topic::SystemHealth).unwrap()[..] else {
            panic!("another number of records");
        };
        assert_eq!(record.topic(), "staging.system-health");
        assert!(record.event.is_ok());
        // Nothing is on the topic without it.
        let settings = platform.settings();
        let connection = settings.connection.clone().topic_prefix("");
        let consumer = EventConsumer::builder()
            .settings(settings)
            .connection(connection)
            .topic(Topic::SystemHealth)
            .standalone()
            .detect_end();
        let consumer = consumer.build().unwrap();
        assert!(consumer.next_batch(READ_WITHIN).unwrap().is_none());
    }

    #[test]
    fn a_service_survives_what_the_platform_does_to_it() {
        let platform = Platform::start().unwrap();
        platform.registry().fail_next(1, RegistryFault::Status(503));
        platform
            .broker()
            .fail_next(Api::Produce, 2, BrokerError::NotLeader);
        let producer = platform.producer("checkout").build().unwrap();
        producer.send(&event()).unwrap().wait().unwrap();
        assert_eq!(platform.records(Topic::SystemHealth).unwrap().len(), 1);
    }

    #[test]
    fn the_environment_is_enough_to_connect() {
        let platform = Platform::start().unwrap();
        let environment = platform.environment();
        let lookup = |name: &str| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| value.clone())
        };
        let settings = Settings::from_lookup(lookup).unwrap();
        let producer = EventProducer::builder().settings(settings).build().unwrap();
        producer.send(&event()).unwrap().wait().unwrap();
    }
}

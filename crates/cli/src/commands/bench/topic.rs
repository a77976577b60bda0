//! The topic of one run: made for it, deleted after it.

use std::time::Duration;

use anyhow::Context;
use carbon_events::Topic;
use carbon_events::admin::TopicTable;
use carbon_events::config::Settings;
use carbon_events::testkit::Broker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::args::Cli;
use crate::commands::topics;

/// See the module.
pub(super) struct BenchTopic {
    prefix: String,
    /// How to delete it; nothing for an embedded broker's.
    config: Option<ClientConfig>,
}

const TIMEOUT: Duration = Duration::from_secs(30);

impl BenchTopic {
    pub(super) fn create(cli: &Cli, settings: &Settings, partitions: i32) -> anyhow::Result<Self> {
        let no_topics = TopicTable::of([]);
        let (_, cluster) = topics::compare(cli, settings.connection.clone(), TIMEOUT, &no_topics)?;
        let config = settings.connection.client_config()?;
        let topic = BenchTopic {
            prefix: format!("bench-{}.", std::process::id()),
            config: Some(config.clone()),
        };
        let admin: AdminClient<DefaultClientContext> = config.create()?;
        let replicas = i32::try_from(cluster.brokers.clamp(1, 3))?;
        let name = topic.name();
        let in_sync = (replicas - 1).max(1).to_string();
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(replicas))
            .set("min.insync.replicas", &in_sync)
            .set("compression.type", Topic::AuditApiCalls.spec().compression);
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let created = futures::executor::block_on(admin.create_topics([&new], &options))?;
        for outcome in created {
            outcome
                .map_err(|(name, code)| anyhow::anyhow!("{code}").context(name))
                .context("cannot make the bench's topic")?;
        }
        Ok(topic)
    }

    pub(super) fn embedded(broker: &Broker, partitions: i32) -> anyhow::Result<Self> {
        let topic = BenchTopic {
            prefix: "bench.".to_owned(),
            config: None,
        };
        broker.create_topic(&topic.name(), partitions)?;
        Ok(topic)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn name(&self) -> String {
        format!("{}{}", self.prefix, Topic::AuditApiCalls.name())
    }
}

impl Drop for BenchTopic {
    fn drop(&mut self) {
        let Some(config) = &self.config else { return };
        let Ok(admin) = config.create::<AdminClient<DefaultClientContext>>() else {
            return;
        };
        let name = self.name();
        let deleted = futures::executor::block_on(admin.delete_topics(
            &[&name],
            &AdminOptions::new().operation_timeout(Some(TIMEOUT)),
        ));
        if !matches!(deleted.as_deref(), Ok([Ok(_)])) {
            crate::output::note(format!("the bench's topic {name} could not be deleted"));
        }
    }
}

//! The topics of a session, by name: each is created with its first record.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::batch_limit::BatchLimit;
use super::topic::{Framing, TopicState};
use super::topic_queues::TopicQueues;
use crate::config::{ConnectionSettings, EventFormat};
use crate::events::Topic;
use crate::metrics::Metrics;
use crate::registry::SchemaRegistry;

/// See the module.
pub(super) struct Topics {
    connection: ConnectionSettings,
    format: EventFormat,
    registry: Option<SchemaRegistry>,
    metrics: Metrics,
    /// The largest batch that librdkafka makes.
    largest_batch: usize,
    by_name: ArcSwap<HashMap<Arc<str>, Arc<TopicQueues>>>,
    /// The twelve, by their number, without hashing a name.
    of_events: Box<[OnceLock<Arc<TopicQueues>>]>,
}

impl Topics {
    pub(super) fn new(
        connection: ConnectionSettings,
        format: EventFormat,
        registry: Option<SchemaRegistry>,
        metrics: Metrics,
        largest_batch: usize,
    ) -> Self {
        Topics {
            connection,
            format,
            registry,
            metrics,
            largest_batch,
            by_name: ArcSwap::default(),
            of_events: Topic::ALL.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// The `source` of events that name none.
    #[inline]
    pub(super) fn source(&self) -> &str {
        &self.connection.service_name
    }

    /// Whether typed events are written as JSON.
    #[inline]
    pub(super) fn writes_json(&self) -> bool {
        self.format == EventFormat::Json
    }

    /// The topic of one of the twelve events.
    #[inline]
    pub(super) fn of_event(&self, event: Topic) -> &Arc<TopicQueues> {
        self.of_events[event as usize].get_or_init(|| self.get(&self.connection.topic_name(event)))
    }

    /// A topic by its name.
    pub(super) fn get(&self, name: &str) -> Arc<TopicQueues> {
        if let Some(topic) = self.by_name.load().get(name) {
            return Arc::clone(topic);
        }
        let name: Arc<str> = name.into();
        let event = self.connection.topic_of(&name);
        let added = Arc::new(TopicQueues::new(TopicState::new(
            Arc::clone(&name),
            self.framing(&name, event),
            BatchLimit::new(self.largest_batch),
            self.metrics.topic(&name),
            event.map(|topic| self.metrics.event_type(topic.spec().record)),
        )));
        self.by_name.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            topics
                .entry(Arc::clone(&name))
                .or_insert_with(|| Arc::clone(&added));
            topics
        });
        self.by_name.load().get(&name).map_or(added, Arc::clone)
    }

    pub(super) fn all(&self) -> Vec<Arc<TopicQueues>> {
        self.by_name.load().values().cloned().collect()
    }

    fn framing(&self, name: &str, event: Option<Topic>) -> Framing {
        match (self.format, &self.registry, event) {
            (EventFormat::Json, ..) => Framing::Json,
            (EventFormat::Avro, Some(registry), Some(event)) => {
                Framing::Confluent(registry.subject(name, event.spec().schema_json))
            }
            // Topics of other records take raw values only, which are not framed.
            (EventFormat::Avro, ..) => Framing::SingleObject,
        }
    }
}

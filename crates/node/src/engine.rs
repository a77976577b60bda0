//! The producer that a JavaScript producer sends through: its own, or for the drop-in class one that all
//! producers with equal settings share, because services create a producer for every request.

use std::time::Duration;

use carbon_events::config::Settings;
use carbon_events::producer::{ProducerStats, SharedProducer};
use carbon_events::{EventProducer, Result};

pub(crate) enum Engine {
    Own(EventProducer),
    Shared(SharedProducer),
}

impl Engine {
    pub(crate) fn new(settings: Settings, shared: bool) -> Result<Self> {
        Ok(if shared {
            Engine::Shared(SharedProducer::new(settings, None)?)
        } else {
            Engine::Own(EventProducer::builder().settings(settings).build()?)
        })
    }

    /// The running producer. Acquires a share of a shared engine until `close`, which must not be
    /// called before the records are sent.
    pub(crate) fn producer(&self) -> Result<EventProducer> {
        match self {
            Engine::Own(producer) => Ok(producer.clone()),
            Engine::Shared(shared) => shared.with(|producer| Ok(producer.clone())),
        }
    }

    /// Whether records can be sent without starting the producer, which may take time.
    pub(crate) fn is_running(&self) -> bool {
        self.producer().is_ok_and(|producer| producer.is_running())
    }

    pub(crate) fn flush(&self, timeout: Duration) -> Result<()> {
        match self {
            Engine::Own(producer) => producer.flush(timeout),
            Engine::Shared(shared) => shared.flush(timeout),
        }
    }

    pub(crate) fn close(&self, timeout: Duration) -> Result<()> {
        match self {
            Engine::Own(producer) => producer.close(timeout),
            Engine::Shared(shared) => shared.close(timeout),
        }
    }

    /// Whether it must be closed for its records to complete. A shared engine continues by itself.
    pub(crate) fn ends_with_its_owner(&self) -> bool {
        matches!(self, Engine::Own(_))
    }

    pub(crate) fn stats(&self) -> ProducerStats {
        match self {
            Engine::Own(producer) => producer.stats(),
            Engine::Shared(shared) => shared.stats(),
        }
    }

    /// The metrics of all producers that share the engine, in the Prometheus text format.
    pub(crate) fn metrics(&self) -> String {
        let running = match self {
            Engine::Own(_) => true,
            Engine::Shared(shared) => shared.is_running(),
        };
        let producer = running.then(|| self.producer().ok()).flatten();
        producer.map_or_else(String::new, |producer| producer.metrics().to_prometheus())
    }
}

//! The in-process broker and registry, for `carbon_events.testing`.

use std::time::Duration;

use carbon_events::sync::Mutex;
use carbon_events::testkit::{Api, Broker, BrokerError, MockRegistry, Platform, RegistryFault};
use carbon_events::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::Raise;

/// See `carbon_events.testing`.
#[pyclass(frozen, subclass, module = "carbon_events._native")]
pub(crate) struct PlatformBase {
    running: Mutex<Option<Platform>>,
}

impl PlatformBase {
    fn with<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Broker, &MockRegistry) -> carbon_events::Result<T>,
    ) -> PyResult<T> {
        self.with_platform(py, |platform| work(platform.broker(), platform.registry()))
    }

    fn with_platform<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Platform) -> carbon_events::Result<T>,
    ) -> PyResult<T> {
        let running = self.running.lock();
        let result = match &*running {
            Some(platform) => work(platform),
            None => Err(Error::new(ErrorKind::Closed, "the platform was stopped")),
        };
        drop(running);
        result.or_raise(py)
    }
}

/// The variant with this name, in any case and with or without underscores.
fn named<T: Copy + std::fmt::Debug>(all: &[T], name: &str, what: &str) -> carbon_events::Result<T> {
    let plain = name.replace('_', "").to_ascii_lowercase();
    let found = all
        .iter()
        .find(|one| format!("{one:?}").to_ascii_lowercase() == plain);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|one| format!("{one:?}")).collect();
        let message = format!("unknown {what} {name}: use one of {}", known.join(", "));
        Error::new(ErrorKind::InvalidConfig, message)
    })
}

const APIS: [Api; 15] = [
    Api::Produce,
    Api::Fetch,
    Api::ListOffsets,
    Api::Metadata,
    Api::OffsetCommit,
    Api::OffsetFetch,
    Api::FindCoordinator,
    Api::JoinGroup,
    Api::Heartbeat,
    Api::LeaveGroup,
    Api::SyncGroup,
    Api::ApiVersions,
    Api::InitProducerId,
    Api::AddPartitionsToTxn,
    Api::EndTxn,
];

const ERRORS: [BrokerError; 18] = [
    BrokerError::Disconnect,
    BrokerError::UnknownTopic,
    BrokerError::NotLeader,
    BrokerError::LeaderNotAvailable,
    BrokerError::RequestTimedOut,
    BrokerError::NotEnoughReplicas,
    BrokerError::MessageTooLarge,
    BrokerError::CorruptMessage,
    BrokerError::TopicAuthorizationFailed,
    BrokerError::GroupAuthorizationFailed,
    BrokerError::ClusterAuthorizationFailed,
    BrokerError::CoordinatorNotAvailable,
    BrokerError::NotCoordinator,
    BrokerError::RebalanceInProgress,
    BrokerError::UnknownMember,
    BrokerError::OffsetOutOfRange,
    BrokerError::StorageError,
    BrokerError::UnknownServerError,
];

#[pymethods]
impl PlatformBase {
    #[new]
    #[pyo3(signature = (nodes=1, topic_prefix=String::new()))]
    fn new(py: Python<'_>, nodes: u8, topic_prefix: String) -> PyResult<Self> {
        let started = py.detach(|| {
            let platform = Platform::start_cluster(nodes)?;
            match topic_prefix.is_empty() {
                true => Ok(platform),
                false => platform.with_topic_prefix(topic_prefix),
            }
        });
        Ok(PlatformBase {
            running: Mutex::new(Some(started.or_raise(py)?)),
        })
    }

    /// The prefix of the platform's topic names.
    #[getter]
    fn topic_prefix(&self, py: Python<'_>) -> PyResult<String> {
        self.with_platform(py, |platform| {
            Ok(platform.settings().connection.topic_prefix)
        })
    }

    /// The broker's addresses.
    #[getter]
    fn bootstrap_servers(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |broker, _| Ok(broker.bootstrap_servers().to_owned()))
    }

    /// The registry's address.
    #[getter]
    fn schema_registry_url(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |_, registry| Ok(registry.url()))
    }

    fn create_topic(&self, py: Python<'_>, name: &str, partitions: i32) -> PyResult<()> {
        self.with(py, |broker, _| broker.create_topic(name, partitions))
    }

    fn broker_down(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |broker, _| broker.take_down())
    }

    fn broker_up(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |broker, _| broker.bring_up())
    }

    fn broker_delay(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let delay = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.with(py, |broker, _| broker.delay(delay))
    }

    fn broker_fail(&self, py: Python<'_>, api: &str, error: &str, count: usize) -> PyResult<()> {
        self.with(py, |broker, _| {
            let api = named(&APIS, api, "request")?;
            let error = named(&ERRORS, error, "broker error")?;
            broker.fail_next(api, count, error);
            Ok(())
        })
    }

    fn topic_fail(&self, py: Python<'_>, topic: &str, error: Option<&str>) -> PyResult<()> {
        self.with(py, |broker, _| {
            let error = error
                .map(|error| named(&ERRORS, error, "broker error"))
                .transpose()?;
            broker.fail_topic(topic, error)
        })
    }

    fn registry_down(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |_, registry| {
            registry.down();
            Ok(())
        })
    }

    fn registry_up(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |_, registry| {
            registry.up();
            registry.recover();
            Ok(())
        })
    }

    /// Answers the registry's next calls with an HTTP status.
    fn registry_fail(&self, py: Python<'_>, calls: usize, status: u16) -> PyResult<()> {
        self.with(py, |_, registry| {
            registry.fail_next(calls, RegistryFault::Status(status));
            Ok(())
        })
    }

    /// The environment variables that connect a service to this platform.
    fn environment<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let variables = PyDict::new(py);
        variables.set_item("KAFKA_BOOTSTRAP_SERVERS", self.bootstrap_servers(py)?)?;
        variables.set_item("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")?;
        variables.set_item("KAFKA_SCHEMA_REGISTRY_URL", self.schema_registry_url(py)?)?;
        Ok(variables)
    }

    /// Stops broker and registry.
    fn stop(&self, py: Python<'_>) {
        let running = self.running.lock().take();
        py.detach(move || drop(running));
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PlatformBase>()
}

//! The in-process broker and registry, with faults on demand, for the tests of a service.

use carbon_events::testkit::{Api, BrokerError, Platform, RegistryFault};
use carbon_events::{Error, ErrorKind, Result};
use napi_derive::napi;
use serde_json::Value;

use crate::errors::thrown;
use crate::sender::duration;

/// A broker and a registry in this process.
#[napi]
pub struct TestPlatform {
    /// `None` once it is stopped.
    platform: Option<Platform>,
}

/// The enum variant with this name.
macro_rules! by_name {
    ($of:ident, $name:expr, [$($variant:ident),* $(,)?]) => {
        match $name {
            $(stringify!($variant) => Ok($of::$variant),)*
            other => Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("unknown {} `{other}`: use one of {}", stringify!($of), [$(stringify!($variant)),*].join(", ")),
            )),
        }
    };
}

fn api(name: &str) -> Result<Api> {
    by_name!(
        Api,
        name,
        [
            Produce,
            Fetch,
            ListOffsets,
            Metadata,
            OffsetCommit,
            OffsetFetch,
            FindCoordinator,
            JoinGroup,
            Heartbeat,
            LeaveGroup,
            SyncGroup,
            ApiVersions,
            InitProducerId
        ]
    )
}

fn broker_error(name: &str) -> Result<BrokerError> {
    by_name!(
        BrokerError,
        name,
        [
            Disconnect,
            UnknownTopic,
            NotLeader,
            LeaderNotAvailable,
            RequestTimedOut,
            NotEnoughReplicas,
            MessageTooLarge,
            CorruptMessage,
            TopicAuthorizationFailed,
            GroupAuthorizationFailed,
            ClusterAuthorizationFailed,
            CoordinatorNotAvailable,
            NotCoordinator,
            RebalanceInProgress,
            UnknownMember,
            OffsetOutOfRange,
            StorageError,
            UnknownServerError
        ]
    )
}

#[napi]
impl TestPlatform {
    /// Starts brokers with the platform's topics, and a registry.
    #[napi(constructor, catch_unwind)]
    pub fn new(nodes: u8, topic_prefix: String) -> napi::Result<Self> {
        let platform = Platform::start_cluster(nodes.max(1))
            .and_then(|platform| match topic_prefix.is_empty() {
                true => Ok(platform),
                false => platform.with_topic_prefix(topic_prefix),
            })
            .map_err(|error| thrown(&error))?;
        Ok(TestPlatform {
            platform: Some(platform),
        })
    }

    /// Stops brokers and registry.
    #[napi(catch_unwind)]
    pub fn stop(&mut self) {
        self.platform = None;
    }

    fn platform(&self) -> napi::Result<&Platform> {
        let stopped = || thrown(&Error::new(ErrorKind::Closed, "the platform is stopped"));
        self.platform.as_ref().ok_or_else(stopped)
    }

    /// The brokers' addresses.
    #[napi(getter, catch_unwind)]
    pub fn bootstrap_servers(&self) -> napi::Result<String> {
        Ok(self.platform()?.broker().bootstrap_servers().to_owned())
    }

    /// The registry's URL.
    #[napi(getter, catch_unwind)]
    pub fn registry_url(&self) -> napi::Result<String> {
        Ok(self.platform()?.registry().url())
    }

    /// Creates a topic.
    #[napi(catch_unwind)]
    pub fn create_topic(&self, name: String, partitions: i32) -> napi::Result<()> {
        or_thrown(self.platform()?.broker().create_topic(&name, partitions))
    }

    /// Makes the brokers accept or refuse connections.
    #[napi(catch_unwind)]
    pub fn brokers_up(&self, up: bool) -> napi::Result<()> {
        let broker = self.platform()?.broker();
        or_thrown(if up {
            broker.bring_up()
        } else {
            broker.take_down()
        })
    }

    /// Delays each answer of the brokers.
    #[napi(catch_unwind)]
    pub fn delay(&self, ms: f64) -> napi::Result<()> {
        or_thrown(self.platform()?.broker().delay(duration(ms)))
    }

    /// Answers the next `count` requests of a type with an error.
    #[napi(catch_unwind)]
    pub fn fail_next(&self, request: String, count: u32, error: String) -> napi::Result<()> {
        let broker = self.platform()?.broker();
        let fail = || -> Result<()> {
            broker.fail_next(api(&request)?, count as usize, broker_error(&error)?);
            Ok(())
        };
        or_thrown(fail())
    }

    /// Answers metadata requests for a topic with an error; `null` ends it.
    #[napi(catch_unwind)]
    pub fn fail_topic(&self, topic: String, error: Option<String>) -> napi::Result<()> {
        let error = error.as_deref().map(broker_error).transpose();
        let broker = self.platform()?.broker();
        or_thrown(error.and_then(|error| broker.fail_topic(&topic, error)))
    }

    /// Makes the registry accept or refuse connections.
    #[napi(catch_unwind)]
    pub fn registry_up(&self, up: bool) -> napi::Result<()> {
        let registry = self.platform()?.registry();
        if up {
            registry.up();
        } else {
            registry.down();
        }
        Ok(())
    }

    /// Answers the registry's next `calls` with an HTTP status or after a delay; otherwise disconnects.
    #[napi(catch_unwind)]
    pub fn fail_registry(
        &self,
        calls: u32,
        status: Option<u16>,
        delay_ms: Option<f64>,
    ) -> napi::Result<()> {
        let fault = match (status, delay_ms) {
            (Some(status), _) => RegistryFault::Status(status),
            (None, Some(ms)) => RegistryFault::Slow(duration(ms)),
            (None, None) => RegistryFault::Disconnect,
        };
        self.platform()?.registry().fail_next(calls as usize, fault);
        Ok(())
    }

    /// The schemas of a subject, oldest first, as JSON.
    #[napi(catch_unwind)]
    pub fn versions(&self, subject: String) -> napi::Result<String> {
        Ok(Value::from(self.platform()?.registry().versions(&subject)).to_string())
    }

    /// The number of calls to the registry so far.
    #[napi(getter, catch_unwind)]
    pub fn registry_calls(&self) -> napi::Result<f64> {
        Ok(self.platform()?.registry().calls().total as f64)
    }
}

fn or_thrown(outcome: Result<()>) -> napi::Result<()> {
    outcome.map_err(|error| thrown(&error))
}

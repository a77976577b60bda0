//! A service with tests of its own, on a broker and a registry inside the test's process.
//!
//! ```sh
//! cargo test --release -p carbon-events-examples --example service_test
//! ```
//!
//! In a package of your own the tests need one line:
//!
//! ```toml
//! [dev-dependencies]
//! carbon-events = { version = "0.1", features = ["testkit"] }
//! ```

use std::time::Duration;

use carbon_events::EventProducer;
use carbon_events::events::{DeploymentAction, DeploymentEvent};

/// The service: it deploys, and every deployment is told before it counts as done.
struct Deployer {
    events: EventProducer,
}

impl Deployer {
    async fn deploy(&self, name: &str, version: &str) -> carbon_events::Result<()> {
        let event = DeploymentEvent::builder()
            .deployment_name(name)
            .namespace("shop")
            .action(DeploymentAction::Deploy)
            .deployed_version(version)
            .replicas(3)
            .deployed_by("ci")
            .build()?;
        self.events.send_async(&event).await?.await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> carbon_events::Result<()> {
    let events = EventProducer::from_env().service_name("deployer").build()?;
    let deployer = Deployer { events };
    deployer.deploy("checkout", "1.4.2").await?;
    println!("deployed and told");
    deployer.events.close(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use carbon_events::config::ProducerSettings;
    use carbon_events::testkit::{Api, BrokerError, Platform, RegistryFault};
    use carbon_events::{Event, Topic};

    use super::*;

    fn deployer(platform: &Platform) -> Deployer {
        let impatient = ProducerSettings::default().delivery_timeout(Duration::from_secs(2));
        let events = platform.producer("deployer").producer(impatient);
        Deployer {
            events: events.build().unwrap(),
        }
    }

    #[tokio::test]
    async fn a_deployment_is_published() {
        let platform = Platform::start().unwrap();
        deployer(&platform)
            .deploy("checkout", "1.4.2")
            .await
            .unwrap();

        let published = platform.records(Topic::DeploymentEvents).unwrap();
        assert_eq!(published.len(), 1);
        assert_eq!(published[0].key.as_deref(), Some(&b"checkout"[..]));
        let Ok(Event::Deployment(event)) = &published[0].event else {
            panic!("{published:?}");
        };
        assert_eq!(event.deployed_version, "1.4.2");
        assert_eq!(event.envelope.source, "deployer");
    }

    #[tokio::test]
    async fn a_registry_that_stumbles_and_a_new_leader_cost_no_event() {
        let platform = Platform::start().unwrap();
        platform.registry().fail_next(1, RegistryFault::Status(503));
        platform
            .broker()
            .fail_next(Api::Produce, 1, BrokerError::NotLeader);
        deployer(&platform)
            .deploy("checkout", "1.4.2")
            .await
            .unwrap();
        assert_eq!(platform.records(Topic::DeploymentEvents).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_deployment_that_cannot_be_told_is_an_error() {
        let platform = Platform::start().unwrap();
        platform.broker().take_down().unwrap();
        let error = deployer(&platform)
            .deploy("checkout", "1.4.2")
            .await
            .unwrap_err();
        assert!(error.retryable(), "{error}");
        platform.broker().bring_up().unwrap();
        assert!(
            platform
                .records(Topic::DeploymentEvents)
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_deployment_without_a_name_is_refused_by_the_fields_name() {
        let platform = Platform::start().unwrap();
        let error = deployer(&platform).deploy("", "1.4.2").await.unwrap_err();
        assert_eq!(error.get("field"), Some("deploymentName"), "{error}");
    }
}

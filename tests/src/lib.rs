//! What the tests on real services share: settings for the fixtures and events of every kind.

use std::time::Duration;

use carbon_events::config::{ConnectionSettings, SecurityProtocol};

/// Longer than anything takes here, shorter than a person waits.
pub const SOON: Duration = Duration::from_secs(60);

/// Settings for a plaintext listener.
pub fn plain(bootstrap_servers: &str) -> ConnectionSettings {
    ConnectionSettings::new(bootstrap_servers)
        .security_protocol(SecurityProtocol::Plaintext)
        .service_name("tests")
}

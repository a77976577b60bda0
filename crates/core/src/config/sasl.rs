//! SASL: mechanisms, OAuth tokens, and the check that a login is complete.

use std::fmt;
use std::sync::Arc;

use super::mapping::PropertyMap;
use super::setting::choices;
use super::{Secret, invalid};
use crate::Result;

choices! {
    /// The SASL mechanism of `SASL_SSL` and `SASL_PLAINTEXT`.
    pub enum SaslMechanism {
        /// User name and password.
        Plain = "PLAIN",
        /// User name and password, salted and hashed with SHA-256 (RFC 7677).
        ScramSha256 = "SCRAM-SHA-256",
        /// User name and password, salted and hashed with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
        /// A bearer token (RFC 7628) from a [`TokenProvider`].
        OAuthBearer = "OAUTHBEARER",
    }
}

/// A bearer token for `OAUTHBEARER`.
#[derive(Debug, Clone)]
pub struct OAuthToken {
    /// The token.
    pub token: Secret,
    /// The Kafka principal.
    pub principal: String,
    /// When it expires, in milliseconds UTC. It is renewed after four fifths of its lifetime.
    pub expires_at_ms: i64,
    /// SASL extensions (RFC 7628, section 3.1) that are sent to the broker with it, by name.
    pub extensions: Vec<(String, String)>,
}

type TokenFn = dyn Fn() -> Result<OAuthToken> + Send + Sync;

/// Returns a new [`OAuthToken`] whenever librdkafka needs one; called on a background thread.
#[derive(Clone)]
pub struct TokenProvider {
    provide: Arc<TokenFn>,
    /// Shared by the provider's clones, except for those that a client uses itself.
    holders: Option<Arc<()>>,
}

impl TokenProvider {
    /// A provider that calls `provide`.
    pub fn new(provide: impl Fn() -> Result<OAuthToken> + Send + Sync + 'static) -> Self {
        TokenProvider {
            provide: Arc::new(provide),
            holders: Some(Arc::default()),
        }
    }

    /// The same provider, not counted as a holder.
    pub(crate) fn for_client(&self) -> Self {
        TokenProvider {
            provide: Arc::clone(&self.provide),
            holders: None,
        }
    }

    /// Whether no other clone is left for another client.
    pub(crate) fn is_last_holder(&self) -> bool {
        let holders = self.holders.as_ref();
        holders.is_none_or(|holders| Arc::strong_count(holders) == 1)
    }

    /// Calls the provider.
    pub fn token(&self) -> Result<OAuthToken> {
        (self.provide)()
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider")
    }
}

impl PartialEq for TokenProvider {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.provide, &other.provide)
    }
}

/// Rejects credentials that librdkafka would ignore or fail on later without a reason.
pub(super) fn check_login(properties: &PropertyMap) -> Result<()> {
    let refused = |setting, message: &str| Err(invalid(setting, message));
    let protocol = properties
        .get("security.protocol")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let mechanism = properties
        .get("sasl.mechanism")
        .map(str::to_ascii_uppercase);
    if !protocol.starts_with("sasl_") {
        return match mechanism {
            Some(_) => refused(
                "security_protocol",
                "a SASL mechanism is set, so security_protocol must be SASL_SSL \
                 (or SASL_PLAINTEXT)",
            ),
            None => Ok(()),
        };
    }
    match mechanism.as_deref() {
        None => refused(
            "sasl_mechanism",
            "SASL needs sasl_mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        ),
        Some("PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512") => {
            let missing = |name: &str| properties.get(name).is_none_or(str::is_empty);
            if missing("sasl.username") {
                refused("sasl_username", "the SASL mechanism needs a user name")
            } else if missing("sasl.password") {
                refused("sasl_password", "the SASL mechanism needs a password")
            } else {
                Ok(())
            }
        }
        Some(_) => Ok(()),
    }
}

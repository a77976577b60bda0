//! How to reach the brokers: addresses, TLS, SASL and the names we go by.

use std::fmt;
use std::sync::Arc;

use super::material::{check_text, unreadable};
use super::properties::{PropertyMap, apply_user_properties};
use super::setting::{choices, settings};
use super::{Properties, Role, Secret, without_credentials};
use crate::events::Topic;
use crate::{Error, ErrorKind, Result};

choices! {
    /// How the connection to a broker is protected.
    pub enum SecurityProtocol {
        /// No protection.
        Plaintext = "PLAINTEXT",
        /// TLS, with a client certificate where one is given.
        Ssl = "SSL",
        /// A password or token in clear.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// A password or token inside TLS.
        SaslSsl = "SASL_SSL",
    }
}

choices! {
    /// How a client proves who it is under `SASL_SSL` and `SASL_PLAINTEXT`.
    pub enum SaslMechanism {
        /// Name and password.
        Plain = "PLAIN",
        /// Name and password, salted and hashed (RFC 7677).
        ScramSha256 = "SCRAM-SHA-256",
        /// Name and password, salted and hashed with SHA-512.
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
    /// The Kafka principal it speaks for.
    pub principal: String,
    /// When it expires, in milliseconds UTC. A new one is asked for at four fifths of its life.
    pub expires_at_ms: i64,
    /// SASL extensions (RFC 7628, section 3.1) that go to the broker with it, by name.
    pub extensions: Vec<(String, String)>,
}

type TokenFn = dyn Fn() -> Result<OAuthToken> + Send + Sync;

/// Gives a fresh [`OAuthToken`] whenever librdkafka asks; called on a background thread.
#[derive(Clone)]
pub struct TokenProvider {
    provide: Arc<TokenFn>,
    /// Shared by the provider's clones, but for those that are for a client's own use.
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

    /// The same provider, which does not count as a holder.
    pub(crate) fn for_client(&self) -> Self {
        TokenProvider {
            provide: Arc::clone(&self.provide),
            holders: None,
        }
    }

    /// Whether this is the last clone that could be given to another client.
    pub(crate) fn is_last_holder(&self) -> bool {
        let holders = self.holders.as_ref();
        holders.is_none_or(|holders| Arc::strong_count(holders) == 1)
    }

    /// Asks for a token.
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

settings! {
    /// How to reach the brokers and who we are to them.
    ///
    /// PEM text wins over a file of the same kind, and certificate and key win over a keystore.
    pub struct ConnectionSettings in "connection" {
        /// Comma-separated `host:port` addresses of some of the cluster's brokers.
        bootstrap_servers: String as String =
            "kafka-service.data-platform.svc.cluster.local:9093".to_owned(),
            env "KAFKA_BOOTSTRAP_SERVERS";
        /// How the connection is protected.
        security_protocol: SecurityProtocol = SecurityProtocol::Ssl, env "KAFKA_SECURITY_PROTOCOL";
        /// A PEM file (or a directory) of the authorities that sign the brokers' certificates.
        /// Without one, those of the system. A file that is replaced holds for new connections.
        ssl_ca_location: Option<String> as String = None,
            env "KAFKA_SSL_CA_LOCATION", clears [ssl_ca_pem];
        /// The authorities' certificates as PEM text.
        ssl_ca_pem: Option<String> as String = None, clears [ssl_ca_location];
        /// A PEM file with our certificate, for clusters that ask for one. One that is replaced,
        /// with its key, holds for new connections.
        ssl_certificate_location: Option<String> as String = None,
            env "KAFKA_SSL_CERTIFICATE_LOCATION",
            clears [ssl_certificate_pem, ssl_keystore_location];
        /// Our certificate as PEM text.
        ssl_certificate_pem: Option<String> as String = None,
            clears [ssl_certificate_location, ssl_keystore_location];
        /// A PEM file with the private key of our certificate.
        ssl_key_location: Option<String> as String = None,
            env "KAFKA_SSL_KEY_LOCATION", clears [ssl_key_pem, ssl_keystore_location];
        /// The private key as PEM text.
        ssl_key_pem: Option<Secret> as Secret = None,
            clears [ssl_key_location, ssl_keystore_location];
        /// The password of the private key.
        ssl_key_password: Option<Secret> as Secret = None, env "KAFKA_SSL_KEY_PASSWORD";
        /// A PKCS#12 file with our certificate and its key, instead of the two PEM files. One that is
        /// replaced holds for new connections.
        ssl_keystore_location: Option<String> as String = None,
            env "KAFKA_SSL_KEYSTORE_LOCATION",
            clears [ssl_certificate_location, ssl_certificate_pem, ssl_key_location, ssl_key_pem];
        /// The password of the PKCS#12 file.
        ssl_keystore_password: Option<Secret> as Secret = None, env "KAFKA_SSL_KEYSTORE_PASSWORD";
        /// Whether a broker whose certificate does not check out is refused. `false` is for
        /// development only: anyone can then stand in for the broker.
        reject_unauthorized: bool = true, env "KAFKA_SSL_REJECT_UNAUTHORIZED";
        /// How we log in under `SASL_SSL` and `SASL_PLAINTEXT`.
        sasl_mechanism: Option<SaslMechanism> as SaslMechanism = None;
        /// The name for `PLAIN` and `SCRAM`.
        sasl_username: Option<String> as String = None;
        /// The password for `PLAIN` and `SCRAM`.
        sasl_password: Option<Secret> as Secret = None;
        /// The name the brokers log for this client; `<service_name>-producer` (or `-consumer`,
        /// `-admin`) unless given.
        client_id: Option<String> as String = None;
        /// The service that runs this client: the `source` of its events.
        service_name: String as String = ConnectionSettings::UNKNOWN_SERVICE.to_owned(),
            env "SERVICE_NAME";
        /// The namespace that the service runs in.
        service_namespace: Option<String> as String = None, env "SERVICE_NAMESPACE";
        /// What stands before the names of the twelve topics on this cluster, for one that several
        /// environments share. Typed events, consumers and the topic table go by it; raw records
        /// and topics of other names are named in full.
        topic_prefix: String as String = String::new();
        /// librdkafka properties by name. They win over every other setting; a name that librdkafka
        /// does not know is refused with the nearest one that it does.
        properties: Properties as Properties = Properties::default();
    }
}

impl ConnectionSettings {
    /// The name of a service that gave none.
    pub const UNKNOWN_SERVICE: &'static str = "unknown-service";

    /// Settings for these brokers, everything else by default.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self::default().bootstrap_servers(bootstrap_servers)
    }

    /// Sets one librdkafka property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.set(name, value);
        self
    }

    /// The name that one of the twelve topics has on this cluster: behind
    /// [`topic_prefix`](Self::topic_prefix).
    pub fn topic_name(&self, topic: Topic) -> String {
        format!("{}{topic}", self.topic_prefix)
    }

    /// Which of the twelve topics has that name on this cluster.
    pub fn topic_of(&self, name: &str) -> Option<Topic> {
        topic_behind(&self.topic_prefix, name)
    }

    /// A topic as it is named on this cluster: one of the twelve may be given by its own name.
    pub(crate) fn full_name(&self, name: &str) -> String {
        Topic::from_name(name).map_or_else(|| name.to_owned(), |topic| self.topic_name(topic))
    }

    /// librdkafka's configuration of a client that neither produces nor consumes.
    ///
    /// Fails with [`ErrorKind::InvalidConfig`], naming the `setting`, where a property is unknown or a
    /// value is refused. It reads no file and connects to nothing.
    pub fn client_config(&self) -> Result<rdkafka::ClientConfig> {
        self.build_config(Role::Admin, PropertyMap::default())
    }

    /// The connection's properties, `own` of the producer or consumer, and above them the user's.
    pub(super) fn build_config(
        &self,
        role: Role,
        own: PropertyMap,
    ) -> Result<rdkafka::ClientConfig> {
        self.check_topic_prefix()?;
        let mut properties = own;
        self.common_properties(role, &mut properties);
        self.tls_properties(&mut properties);
        self.sasl_properties(&mut properties);
        apply_user_properties(&mut properties, &self.properties)?;
        self.check_sasl(&properties)?;
        check_brokers(properties.get("bootstrap.servers").unwrap_or_default())?;
        let config = properties.into_config()?;
        check_text(&config)?;
        Ok(config)
    }

    fn check_topic_prefix(&self) -> Result<()> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.topic_prefix.bytes().all(is_legal) {
            return Ok(());
        }
        let message = "the topic prefix may hold letters, digits, `.`, `_` and `-` only";
        Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", "topic_prefix"))
    }

    fn common_properties(&self, role: Role, properties: &mut PropertyMap) {
        let client_id = self.client_id.clone();
        let client_id = client_id.unwrap_or_else(|| format!("{}-{role}", self.service_name));
        properties.set("bootstrap.servers", &self.bootstrap_servers);
        properties.set("client.id", client_id);
        properties.set(
            "security.protocol",
            self.security_protocol.as_str().to_ascii_lowercase(),
        );
        // Kubernetes and cloud load balancers drop idle connections silently.
        properties.set("socket.keepalive.enable", true);
        // A cluster that answers again should be used again soon: the default waits up to 10 s.
        properties.set("reconnect.backoff.ms", 50);
        properties.set("reconnect.backoff.max.ms", 1000);
    }

    fn tls_properties(&self, properties: &mut PropertyMap) {
        if !matches!(
            self.security_protocol,
            SecurityProtocol::Ssl | SecurityProtocol::SaslSsl
        ) {
            return;
        }
        match (&self.ssl_ca_pem, &self.ssl_ca_location) {
            (Some(pem), _) => properties.set("ssl.ca.pem", pem),
            (None, Some(file)) => properties.set("ssl.ca.location", file),
            // OpenSSL is linked in and does not know where this system keeps its authorities.
            (None, None) => properties.set("ssl.ca.location", "probe"),
        }
        match (&self.ssl_certificate_pem, &self.ssl_certificate_location) {
            (Some(pem), _) => properties.set("ssl.certificate.pem", pem),
            (None, Some(file)) => properties.set("ssl.certificate.location", file),
            (None, None) => {}
        }
        match (&self.ssl_key_pem, &self.ssl_key_location) {
            (Some(pem), _) => properties.set("ssl.key.pem", pem.expose()),
            (None, Some(file)) => properties.set("ssl.key.location", file),
            (None, None) => {}
        }
        if let Some(password) = &self.ssl_key_password {
            properties.set("ssl.key.password", password.expose());
        }
        if let (false, Some(keystore)) = (self.has_certificate(), &self.ssl_keystore_location) {
            properties.set("ssl.keystore.location", keystore);
            // librdkafka refuses a keystore without a password; PKCS#12 files may have an empty one.
            let password = self
                .ssl_keystore_password
                .as_ref()
                .map_or("", Secret::expose);
            properties.set("ssl.keystore.password", password);
        }
        properties.set(
            "enable.ssl.certificate.verification",
            self.reject_unauthorized,
        );
    }

    fn has_certificate(&self) -> bool {
        self.ssl_certificate_pem.is_some()
            || self.ssl_certificate_location.is_some()
            || self.ssl_key_pem.is_some()
            || self.ssl_key_location.is_some()
    }

    fn sasl_properties(&self, properties: &mut PropertyMap) {
        if let Some(mechanism) = self.sasl_mechanism {
            properties.set("sasl.mechanism", mechanism.as_str());
        }
        if let Some(username) = &self.sasl_username {
            properties.set("sasl.username", username);
        }
        if let Some(password) = &self.sasl_password {
            properties.set("sasl.password", password.expose());
        }
    }

    /// Refuses a login that librdkafka would leave out or fail on later without saying why.
    fn check_sasl(&self, properties: &PropertyMap) -> Result<()> {
        let invalid = |setting: &'static str, message: &str| {
            Err(Error::new(ErrorKind::InvalidConfig, message).with("setting", setting))
        };
        let protocol = properties
            .get("security.protocol")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let mechanism = properties
            .get("sasl.mechanism")
            .map(str::to_ascii_uppercase);
        if !protocol.starts_with("sasl_") {
            return match mechanism {
                Some(_) => invalid(
                    "security_protocol",
                    "a SASL mechanism is given, so security_protocol must be SASL_SSL \
                     (or SASL_PLAINTEXT)",
                ),
                None => Ok(()),
            };
        }
        match mechanism.as_deref() {
            None => invalid(
                "sasl_mechanism",
                "SASL needs sasl_mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
            ),
            Some("PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512") => {
                let missing = |name: &str| properties.get(name).is_none_or(str::is_empty);
                if missing("sasl.username") {
                    invalid("sasl_username", "the SASL mechanism needs a user name")
                } else if missing("sasl.password") {
                    invalid("sasl_password", "the SASL mechanism needs a password")
                } else {
                    Ok(())
                }
            }
            Some(_) => Ok(()),
        }
    }

    /// Looks whether the files that are named can be read: librdkafka's own message for one that
    /// cannot be read is OpenSSL's. For the first use of a client and for the command line;
    /// [`ErrorKind::InvalidConfig`] names the `setting` and the `path`.
    pub fn check_files(&self) -> Result<()> {
        if !matches!(
            self.security_protocol,
            SecurityProtocol::Ssl | SecurityProtocol::SaslSsl
        ) {
            return Ok(());
        }
        let keystore = if self.has_certificate() {
            &None
        } else {
            &self.ssl_keystore_location
        };
        let files = [
            ("ssl_ca_location", &self.ssl_ca_location),
            ("ssl_certificate_location", &self.ssl_certificate_location),
            ("ssl_key_location", &self.ssl_key_location),
            ("ssl_keystore_location", keystore),
        ];
        for (setting, path) in files {
            let Some(path) = path else { continue };
            let readable = match std::fs::metadata(path) {
                // librdkafka takes a directory of certificates for the authorities alone.
                Ok(found) if found.is_dir() && setting == "ssl_ca_location" => Ok(()),
                Ok(_) | Err(_) => std::fs::File::open(path).map(drop),
            };
            if let Err(error) = readable {
                return Err(unreadable(setting, path, error));
            }
        }
        Ok(())
    }
}

/// Which of the twelve topics has that name behind `prefix`.
pub(crate) fn topic_behind(prefix: &str, name: &str) -> Option<Topic> {
    Topic::from_name(name.strip_prefix(prefix)?)
}

/// librdkafka takes a broker's address with one of its protocols before it, and nothing else.
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// Refuses URLs: librdkafka would look for a host that is named like one.
fn check_brokers(servers: &str) -> Result<()> {
    for server in servers.split(',').map(str::trim) {
        let Some((scheme, rest)) = server.split_once("://") else {
            continue;
        };
        if PROTOCOLS.contains(&scheme.to_ascii_lowercase().as_str()) {
            continue;
        }
        let shown = without_credentials(server);
        let host = without_credentials(rest);
        let message = format!(
            "bootstrap_servers holds {shown}, and brokers have no URLs: give {} instead",
            host.split('/').next().unwrap_or_default()
        );
        return Err(
            Error::new(ErrorKind::InvalidConfig, message).with("setting", "bootstrap_servers")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &ConnectionSettings) -> rdkafka::ClientConfig {
        settings.client_config().expect("a valid configuration")
    }

    fn lookup(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn a_url_is_no_brokers_address() {
        for (url, instead) in [
            ("http://kafka:9092", "give kafka:9092 instead"),
            (
                "a:1,https://me:s3cret@kafka:9093/x",
                "give kafka:9093 instead",
            ),
            ("kafka://kafka", "give kafka instead"),
        ] {
            let connection = ConnectionSettings::new(url);
            let error = connection.client_config().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert_eq!(error.get("setting"), Some("bootstrap_servers"));
            assert!(error.message().contains(instead), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let named = ConnectionSettings::new("PLAINTEXT://kafka:9092,b:2");
        assert!(named.client_config().is_ok());
    }

    #[test]
    fn every_variable_of_the_contract_is_read() {
        let settings = ConnectionSettings::from_lookup(lookup(&[
            ("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2"),
            ("KAFKA_SECURITY_PROTOCOL", "ssl"),
            ("KAFKA_SSL_CA_LOCATION", "/ca"),
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "/cert"),
            ("KAFKA_SSL_KEY_LOCATION", "/key"),
            ("KAFKA_SSL_KEY_PASSWORD", "kp"),
            ("KAFKA_SSL_KEYSTORE_LOCATION", "/keystore"),
            ("KAFKA_SSL_KEYSTORE_PASSWORD", "sp"),
            ("KAFKA_SSL_REJECT_UNAUTHORIZED", "false"),
            ("SERVICE_NAME", "billing"),
            ("SERVICE_NAMESPACE", "prod"),
        ]))
        .unwrap();
        assert_eq!(settings.service_namespace.as_deref(), Some("prod"));
        assert_eq!(settings.ssl_keystore_location.as_deref(), Some("/keystore"));
        let config = config(&settings);
        for (name, value) in [
            ("bootstrap.servers", "a:1,b:2"),
            ("security.protocol", "ssl"),
            ("ssl.ca.location", "/ca"),
            ("ssl.certificate.location", "/cert"),
            ("ssl.key.location", "/key"),
            ("ssl.key.password", "kp"),
            ("enable.ssl.certificate.verification", "false"),
            ("client.id", "billing-admin"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        assert_eq!(
            config.get("ssl.keystore.location"),
            None,
            "certificate and key win"
        );
    }

    #[test]
    fn a_wrong_variable_is_named_and_an_empty_one_is_not_set() {
        let wrong = lookup(&[("KAFKA_SECURITY_PROTOCOL", "TLS")]);
        let error = ConnectionSettings::from_lookup(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.get("setting"), Some("KAFKA_SECURITY_PROTOCOL"));
        assert_eq!(
            error.message(),
            "KAFKA_SECURITY_PROTOCOL=TLS: must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
        );
        let empty = lookup(&[("KAFKA_SECURITY_PROTOCOL", ""), ("SERVICE_NAME", " ")]);
        let settings = ConnectionSettings::from_lookup(empty).unwrap();
        assert_eq!(settings, ConnectionSettings::default());
    }

    #[test]
    fn an_explicit_identity_replaces_the_one_of_the_environment() {
        let environment = || {
            ConnectionSettings::from_lookup(lookup(&[
                ("KAFKA_SSL_CA_LOCATION", "/ca"),
                ("KAFKA_SSL_CERTIFICATE_LOCATION", "/cert"),
                ("KAFKA_SSL_KEY_LOCATION", "/key"),
            ]))
            .unwrap()
        };
        let keystore = config(&environment().ssl_keystore_location("/store"));
        assert_eq!(keystore.get("ssl.keystore.location"), Some("/store"));
        assert_eq!(keystore.get("ssl.key.location"), None);
        let pem = environment()
            .ssl_ca_pem("CA")
            .ssl_certificate_pem("CERT")
            .ssl_key_pem("KEY");
        let pem = config(&pem);
        assert_eq!(pem.get("ssl.key.pem"), Some("KEY"));
        for name in [
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.key.location",
        ] {
            assert_eq!(pem.get(name), None, "{name}");
        }
    }

    #[test]
    fn nothing_given_uses_the_authorities_of_the_system() {
        let config = config(&ConnectionSettings::new("localhost:9092"));
        assert_eq!(config.get("security.protocol"), Some("ssl"));
        assert_eq!(config.get("ssl.ca.location"), Some("probe"));
        assert_eq!(config.get("client.id"), Some("unknown-service-admin"));
    }

    #[test]
    fn properties_win_by_whatever_name_they_are_given() {
        let settings = ConnectionSettings::new("a:1")
            .property("metadata.broker.list", "b:2")
            .property("client.id", "mine");
        let config = config(&settings);
        assert_eq!(config.get("bootstrap.servers"), Some("b:2"));
        assert_eq!(config.get("metadata.broker.list"), None);
        assert_eq!(config.get("client.id"), Some("mine"));
    }

    #[test]
    fn an_incomplete_login_is_refused_naming_what_is_missing() {
        let settings = || ConnectionSettings::new("a:1").sasl_mechanism(SaslMechanism::ScramSha512);
        let missing = |settings: ConnectionSettings| {
            let error = settings.client_config().unwrap_err();
            error.get("setting").map(str::to_owned)
        };
        assert_eq!(missing(settings()).as_deref(), Some("security_protocol"));
        let settings = settings().security_protocol(SecurityProtocol::SaslSsl);
        assert_eq!(missing(settings.clone()).as_deref(), Some("sasl_username"));
        let settings = settings.sasl_username("u");
        assert_eq!(missing(settings.clone()).as_deref(), Some("sasl_password"));
        let config = config(&settings.sasl_password("p"));
        assert_eq!(config.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
    }

    #[test]
    fn a_missing_file_is_reported_on_request_only() {
        let settings = ConnectionSettings::new("a:1").ssl_ca_location("/nowhere/ca.pem");
        assert!(settings.client_config().is_ok());
        let error = settings.check_files().unwrap_err();
        assert_eq!(error.get("setting"), Some("ssl_ca_location"));
        assert_eq!(error.get("path"), Some("/nowhere/ca.pem"));
        assert!(
            settings
                .security_protocol(SecurityProtocol::Plaintext)
                .check_files()
                .is_ok()
        );
    }

    #[test]
    fn nothing_secret_is_shown() {
        let settings = ConnectionSettings::default()
            .ssl_key_pem("s3cret")
            .ssl_key_password("s3cret")
            .ssl_keystore_password("s3cret")
            .sasl_password("s3cret")
            .property("sasl.password", "s3cret");
        let shown = format!("{settings:?}{}", serde_json::to_string(&settings).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

//! How to reach the brokers: addresses, protection, credentials and names.

use super::mapping::{Lowercase, Mapped, PropertyMap, apply_user_properties};
use super::material::check_text;
use super::sasl::check_login;
use super::setting::{choices, settings};
use super::{Properties, Role, SaslMechanism, Secret, invalid, without_credentials};
use crate::Result;
use crate::events::Topic;

choices! {
    /// How connections to the brokers are protected.
    pub enum SecurityProtocol {
        /// Not at all.
        Plaintext = "PLAINTEXT",
        /// TLS, with a client certificate if one is set.
        Ssl = "SSL",
        /// SASL without encryption: the password or token is sent in clear.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// SASL inside TLS.
        SaslSsl = "SASL_SSL",
    }
}

impl SecurityProtocol {
    /// Whether connections are encrypted.
    pub const fn uses_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    /// Whether clients log in by SASL.
    pub const fn uses_sasl(self) -> bool {
        matches!(
            self,
            SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
        )
    }
}

settings! {
    /// How to reach the brokers, and with which credentials.
    ///
    /// PEM text takes precedence over a file, and certificate and key over a key store.
    pub struct ConnectionSettings in "connection" {
        /// Comma-separated `host:port` addresses of brokers. The client finds the other brokers
        /// through any of them.
        bootstrap_servers: String as String =
            "kafka-service.data-platform.svc.cluster.local:9093".to_owned(),
            env "KAFKA_BOOTSTRAP_SERVERS", property "bootstrap.servers";
        /// How connections to the brokers are protected.
        security_protocol: SecurityProtocol = SecurityProtocol::Ssl,
            env "KAFKA_SECURITY_PROTOCOL", property "security.protocol" by Lowercase;
        /// PEM file (or directory) with the CA certificates that brokers' certificates are checked
        /// against; unless set, those of the system. New connections use a changed file.
        ssl_ca_location: Option<String> as String = None,
            env "KAFKA_SSL_CA_LOCATION", property "ssl.ca.location", clears [ssl_ca_pem];
        /// The CA certificates as PEM text.
        ssl_ca_pem: Option<String> as String = None,
            property "ssl.ca.pem", clears [ssl_ca_location];
        /// PEM file with the client certificate, for clusters that require one. New connections use a
        /// changed file, together with its key.
        ssl_certificate_location: Option<String> as String = None,
            env "KAFKA_SSL_CERTIFICATE_LOCATION", property "ssl.certificate.location",
            clears [ssl_certificate_pem, ssl_keystore_location];
        /// The client certificate as PEM text.
        ssl_certificate_pem: Option<String> as String = None, property "ssl.certificate.pem",
            clears [ssl_certificate_location, ssl_keystore_location];
        /// PEM file with the private key of the client certificate.
        ssl_key_location: Option<String> as String = None,
            env "KAFKA_SSL_KEY_LOCATION", property "ssl.key.location",
            clears [ssl_key_pem, ssl_keystore_location];
        /// The private key as PEM text.
        ssl_key_pem: Option<Secret> as Secret = None, property "ssl.key.pem",
            clears [ssl_key_location, ssl_keystore_location];
        /// The password of the private key.
        ssl_key_password: Option<Secret> as Secret = None,
            env "KAFKA_SSL_KEY_PASSWORD", property "ssl.key.password";
        /// PKCS#12 file with the client certificate and its private key, instead of two PEM files.
        /// New connections use a changed file.
        ssl_keystore_location: Option<String> as String = None,
            env "KAFKA_SSL_KEYSTORE_LOCATION", property "ssl.keystore.location",
            clears [ssl_certificate_location, ssl_certificate_pem, ssl_key_location, ssl_key_pem];
        /// The password of the PKCS#12 file.
        ssl_keystore_password: Option<Secret> as Secret = None,
            env "KAFKA_SSL_KEYSTORE_PASSWORD", property "ssl.keystore.password";
        /// Whether brokers' certificates are verified. Use `false` in development only: anyone can
        /// then pose as the broker.
        reject_unauthorized: bool = true, env "KAFKA_SSL_REJECT_UNAUTHORIZED",
            property "enable.ssl.certificate.verification";
        /// The SASL mechanism for `SASL_SSL` and `SASL_PLAINTEXT`.
        sasl_mechanism: Option<SaslMechanism> as SaslMechanism = None, property "sasl.mechanism";
        /// The user name for `PLAIN` and `SCRAM`.
        sasl_username: Option<String> as String = None, property "sasl.username";
        /// The password for `PLAIN` and `SCRAM`.
        sasl_password: Option<Secret> as Secret = None, property "sasl.password";
        /// The name of this client in the brokers' logs and quotas; unless set,
        /// `<service_name>-producer` (or `-consumer`, `-admin`).
        client_id: Option<String> as String = None, property "client.id";
        /// The service that runs this client: the `source` of its events.
        service_name: String as String = ConnectionSettings::UNKNOWN_SERVICE.to_owned(),
            env "SERVICE_NAME";
        /// The namespace of the service.
        service_namespace: Option<String> as String = None, env "SERVICE_NAMESPACE";
        /// Prefix of the twelve topics' names on this cluster, for one that several environments
        /// share. Typed events, consumers and the topic table add it; raw records and other topics
        /// need their full names.
        topic_prefix: String as String = String::new();
        /// librdkafka properties by name. They override every other setting. An unknown name is an
        /// error that suggests the closest known one.
        properties: Properties as Properties = Properties::default();
    }
}

impl ConnectionSettings {
    /// The name of a service that has none.
    pub const UNKNOWN_SERVICE: &'static str = "unknown-service";

    /// Settings for these brokers, with defaults for the rest.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self::default().bootstrap_servers(bootstrap_servers)
    }

    /// Sets one librdkafka property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.set(name, value);
        self
    }

    /// The name of one of the twelve topics on this cluster, with
    /// [`topic_prefix`](Self::topic_prefix).
    pub fn topic_name(&self, topic: Topic) -> String {
        format!("{}{topic}", self.topic_prefix)
    }

    /// The one of the twelve topics that has this name on this cluster.
    pub fn topic_of(&self, name: &str) -> Option<Topic> {
        topic_behind(&self.topic_prefix, name)
    }

    /// A topic's name on this cluster; one of the twelve may be given without the prefix.
    pub(crate) fn full_name(&self, name: &str) -> String {
        Topic::from_name(name).map_or_else(|| name.to_owned(), |topic| self.topic_name(topic))
    }

    /// librdkafka's configuration of a client that neither produces nor consumes. It reads no file
    /// and connects to nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the `setting`: a property
    /// is unknown, or a value is wrong.
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
        self.write(&mut properties);
        if self.client_id.is_none() {
            properties.set("client.id", format!("{}-{role}", self.service_name));
        }
        // Kubernetes and cloud load balancers drop idle connections silently.
        properties.set("socket.keepalive.enable", true);
        // Use a recovered cluster again soon: librdkafka's default waits up to 10 s.
        properties.set("reconnect.backoff.ms", 50);
        properties.set("reconnect.backoff.max.ms", 1000);
        self.choose_tls_properties(&mut properties);
        apply_user_properties(&mut properties, &self.properties)?;
        check_login(&properties)?;
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
        Err(invalid("topic_prefix", message))
    }
}

/// The one of the twelve topics that has this name behind `prefix`.
pub(crate) fn topic_behind(prefix: &str, name: &str) -> Option<Topic> {
    Topic::from_name(name.strip_prefix(prefix)?)
}

/// The protocols that librdkafka accepts before a broker's address.
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// Rejects URLs: librdkafka would look up a host with that name.
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
            "bootstrap_servers contains the URL {shown}: use {} instead",
            host.split('/').next().unwrap_or_default()
        );
        return Err(invalid("bootstrap_servers", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

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
            ("http://kafka:9092", "use kafka:9092 instead"),
            (
                "a:1,https://me:s3cret@kafka:9093/x",
                "use kafka:9093 instead",
            ),
            ("kafka://kafka", "use kafka instead"),
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

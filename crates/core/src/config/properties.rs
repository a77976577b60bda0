//! librdkafka's properties: whose name is known, what a mistyped one meant, and who wins.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::Properties;
use super::secret::is_secret;
use crate::{Error, ErrorKind, Result};

/// Properties with two names, as (librdkafka's own, the one that Java users know). Only the second
/// is ever handed over: with both set, the order of a hash map would decide which one holds.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanisms", "sasl.mechanism"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("request.required.acks", "acks"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

/// What users of other clients write, and what it is called here.
const HINTS: &[(&str, &str)] = &[
    (
        "ssl.truststore.location",
        "use `ssl.ca.location` with a PEM file",
    ),
    (
        "ssl.truststore.password",
        "use `ssl.ca.location` with a PEM file, which has no password",
    ),
    (
        "ssl.truststore.type",
        "use `ssl.ca.location` with a PEM file",
    ),
    ("ssl.truststore.certificates", "use `ssl.ca.pem`"),
    (
        "ssl.keystore.type",
        "leave it out: `ssl.keystore.location` is always a PKCS#12 file",
    ),
    ("ssl.keystore.key", "use `ssl.key.pem`"),
    (
        "ssl.keystore.certificate.chain",
        "use `ssl.certificate.pem`",
    ),
    ("ssl.cafile", "use `ssl.ca.location`"),
    ("ssl.certfile", "use `ssl.certificate.location`"),
    ("ssl.keyfile", "use `ssl.key.location`"),
    (
        "sasl.jaas.config",
        "use `sasl.username` and `sasl.password`",
    ),
    ("buffer.memory", "use the setting `queue_max_bytes`"),
    ("max.block.ms", "use the setting `block_timeout`"),
    ("max.request.size", "use `message.max.bytes`"),
    (
        "max.poll.records",
        "leave it out: the consumer takes what is there, up to its memory bound",
    ),
    (
        "partitioner.class",
        "leave it out: keys are partitioned by murmur2, as Java does",
    ),
    ("key.serializer", "leave it out: a key is UTF-8 text"),
    (
        "value.serializer",
        "leave it out: events are written as Avro, or as `KAFKA_EVENT_FORMAT` says",
    ),
    ("key.deserializer", "leave it out: a key is UTF-8 text"),
    (
        "value.deserializer",
        "leave it out: every wire format is told apart by its first bytes",
    ),
    (
        "schema.registry.url",
        "use the registry's setting `urls` or KAFKA_SCHEMA_REGISTRY_URL",
    ),
    (
        "auto.register.schemas",
        "use the registry's setting `auto_register`",
    ),
    (
        "interceptor.classes",
        "leave it out: there are no interceptors",
    ),
    ("metric.reporters", "leave it out: metrics are always kept"),
    ("default.api.timeout.ms", "use `socket.timeout.ms`"),
];

/// Properties by their one name; a later value replaces an earlier one.
#[derive(Default)]
pub(super) struct PropertyMap(BTreeMap<String, String>);

impl PropertyMap {
    pub(super) fn set(&mut self, name: &str, value: impl ToString) {
        self.0
            .insert(preferred_name(name).to_owned(), value.to_string());
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(preferred_name(name)).map(String::as_str)
    }

    /// The configuration, once librdkafka has accepted every value: a setting of ours may be out of
    /// its range.
    pub(super) fn into_config(self) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        for (name, value) in &self.0 {
            config.set(name, value);
        }
        match config.create_native_config() {
            Ok(_) => Ok(config),
            Err(KafkaError::ClientConfig(_, reason, name, _)) => {
                let setting = SETTINGS.iter().find(|(property, _)| *property == name);
                Err(invalid(
                    setting.map_or(name.as_str(), |(_, setting)| setting),
                    reason,
                ))
            }
            Err(_) => Err(invalid("connection", "a setting holds a NUL byte")),
        }
    }
}

/// Settings of ours whose value librdkafka may refuse, by the property that they become.
const SETTINGS: &[(&str, &str)] = &[
    ("delivery.timeout.ms", "delivery_timeout_ms"),
    ("linger.ms", "linger_ms"),
    ("batch.size", "batch_max_bytes"),
    ("batch.num.messages", "batch_max_records"),
    ("auto.commit.interval.ms", "commit_interval_ms"),
    ("session.timeout.ms", "session_timeout_ms"),
    ("fetch.min.bytes", "fetch_min_bytes"),
    ("fetch.wait.max.ms", "fetch_max_wait_ms"),
    ("fetch.queue.backoff.ms", "fetch_queue_backoff_ms"),
];

/// Checks the user's properties against librdkafka and lets them win over ours.
pub(super) fn apply_user_properties(ours: &mut PropertyMap, user: &Properties) -> Result<()> {
    let mut by_name: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in user.iter() {
        check(name, value)?;
        if let Some(other) = by_name.insert(preferred_name(name), name) {
            let message = format!("`{other}` and `{name}` are the same property: give one");
            return Err(invalid(name, message));
        }
        // A file or PEM text given as a property replaces the other form that a setting gave.
        for other in SAME_MATERIAL
            .iter()
            .filter(|group| group.contains(&name))
            .copied()
            .flatten()
        {
            ours.0.remove(*other);
        }
        ours.set(name, value);
    }
    // librdkafka refuses idempotence without acks=all. Who asks for fewer acknowledgements and says
    // nothing of idempotence gives it up, as in the Java client.
    let all_acks = ours
        .get("acks")
        .is_none_or(|acks| acks == "all" || acks == "-1");
    if !all_acks && !by_name.contains_key("enable.idempotence") {
        ours.set("enable.idempotence", false);
    }
    Ok(())
}

/// Properties of which one alone says where a certificate or key comes from.
const SAME_MATERIAL: &[&[&str]] = &[
    &["ssl.ca.location", "ssl.ca.pem"],
    &["ssl.certificate.location", "ssl.certificate.pem"],
    &["ssl.key.location", "ssl.key.pem"],
];

fn preferred_name(name: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, preferred)| preferred)
}

/// Whether librdkafka takes `name` with `value`; if not, an error that names the right one.
pub(crate) fn check(name: &str, value: &str) -> Result<()> {
    if name == "partitioner" && !value.starts_with("murmur2") {
        return Err(invalid(
            name,
            "keys are partitioned by murmur2_random in every language",
        ));
    }
    if name == "delivery.report.only.error" && value != "false" {
        let message = "must stay false: every record's delivery is accounted for by its report";
        return Err(invalid(name, message));
    }
    // NativeClientConfig checks one name and value as `rd_kafka_conf_set` does.
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err(unknown(name))
        }
        Err(KafkaError::ClientConfig(_, reason, ..)) => Err(match hint(name) {
            Some(hint) => invalid(name, format!("`{name}` is not supported: {hint}")),
            None if is_secret(name) => {
                invalid(name, format!("`{name}` has a value that is refused"))
            }
            None => invalid(name, reason),
        }),
        Err(_) => Err(invalid(
            name,
            format!("`{}` holds a NUL byte", name.replace('\0', "\\0")),
        )),
    }
}

fn hint(name: &str) -> Option<&'static str> {
    HINTS
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, hint)| *hint)
}

fn invalid(name: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with("setting", name)
}

fn unknown(name: &str) -> Error {
    let advice = match (hint(name), nearest(name)) {
        (Some(hint), _) => hint.to_owned(),
        (None, Some(nearest)) => {
            let message = format!("`{name}` is no librdkafka property: did you mean `{nearest}`?");
            return invalid(name, message).with("nearest", nearest);
        }
        (None, None) => "see librdkafka's CONFIGURATION.md for those there are".to_owned(),
    };
    invalid(
        name,
        format!("`{name}` is no librdkafka property: {advice}"),
    )
}

/// The known property that `name` is most likely meant to be.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    // `bootstrap_servers`, `Bootstrap.Servers` and `bootstrapServers` all mean `bootstrap.servers`.
    let mut meant = String::with_capacity(name.len() + 4);
    for (index, letter) in name.chars().enumerate() {
        match letter {
            '_' | '-' => meant.push('.'),
            upper if upper.is_ascii_uppercase() => {
                if index > 0 && !meant.ends_with('.') && name.contains(char::is_lowercase) {
                    meant.push('.');
                }
                meant.push(upper.to_ascii_lowercase());
            }
            other => meant.push(other),
        }
    }
    let names = || known_properties().iter().map(String::as_str);
    let by_edits = names()
        .map(|known| (strsim::damerau_levenshtein(&meant, known), known))
        .min()
        .filter(|(edits, known)| *edits <= 3.min(known.len() / 3));
    let by_start = || {
        names()
            .map(|known| (strsim::jaro_winkler(&meant, known), known))
            .max_by(|left, right| left.0.total_cmp(&right.0))
            .filter(|(likeness, _)| *likeness >= 0.88)
            .map(|(_, known)| known)
    };
    by_edits.map(|(_, known)| known).or_else(by_start)
}

/// The properties that the linked librdkafka knows and that can be set as text.
pub(crate) fn known_properties() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let reference = super::librdkafka::properties_reference();
        let rows = reference.lines().filter(|row| row.contains(" | "));
        let mut names: Vec<String> = rows
            // Callbacks and pointers (`dr_cb`, `ssl_key`, `opaque`) are set by functions.
            .filter(|row| !row.contains("see dedicated API") && !row.starts_with("Property "))
            .filter_map(|row| row.split(" | ").next())
            .map(|name| name.trim_end().to_owned())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    });
    &NAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_is_one_of_librdkafkas() {
        for (alias, preferred) in ALIASES {
            let value = match *preferred {
                "compression.type" => "lz4",
                "acks" => "1",
                _ => "3000",
            };
            for (given, read) in [(alias, preferred), (preferred, alias)] {
                let mut config = ClientConfig::new();
                config.set(*given, value);
                let native = config.create_native_config().expect("a known property");
                assert_eq!(
                    native.get(read).expect("its other name"),
                    value,
                    "{given} -> {read}"
                );
            }
        }
    }

    #[test]
    fn no_alias_of_librdkafkas_is_missing() {
        let reference = crate::config::librdkafka::properties_reference();
        let aliases = reference.lines().filter_map(|row| {
            let (_, target) = row.split_once("Alias for `")?;
            Some((
                row.split(" | ").next()?.trim_end(),
                target.split('`').next()?,
            ))
        });
        let missing: Vec<_> = aliases
            .filter(|(alias, target)| {
                !ALIASES.contains(&(alias, target)) && !ALIASES.contains(&(target, alias))
            })
            // The legacy consumer's, hidden by the global property of the same name.
            .filter(|alias| *alias != ("enable.auto.commit", "auto.commit.enable"))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn librdkafka_tells_all_its_properties() {
        for name in [
            "bootstrap.servers",
            "linger.ms",
            "acks",
            "ssl.key.pem",
            "fetch.queue.backoff.ms",
        ] {
            assert!(
                known_properties().iter().any(|known| known == name),
                "{name}"
            );
        }
        assert!(
            known_properties().len() > 120,
            "{}",
            known_properties().len()
        );
    }

    #[test]
    fn a_mistyped_property_is_refused_with_the_right_name() {
        for (given, meant) in [
            ("bootstrap.server", "bootstrap.servers"),
            ("bootstrap_servers", "bootstrap.servers"),
            ("bootstrapServers", "bootstrap.servers"),
            ("linger_ms", "linger.ms"),
            ("ssl.ca.locaton", "ssl.ca.location"),
            ("compresion.type", "compression.type"),
            (
                "queue.buffering.max.message",
                "queue.buffering.max.messages",
            ),
            ("enable.idempotance", "enable.idempotence"),
            ("Acks", "acks"),
        ] {
            let error = check(given, "1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{given}");
            assert_eq!(error.get("setting"), Some(given));
            assert_eq!(error.get("nearest"), Some(meant), "{given}: {error}");
        }
        assert!(
            check("quite.something.else.entirely", "1")
                .unwrap_err()
                .get("nearest")
                .is_none()
        );
    }

    #[test]
    fn names_of_the_java_client_are_explained() {
        for (name, advice) in [
            ("ssl.truststore.location", "`ssl.ca.location`"),
            ("sasl.jaas.config", "`sasl.username`"),
            ("buffer.memory", "`queue_max_bytes`"),
            ("schema.registry.url", "KAFKA_SCHEMA_REGISTRY_URL"),
        ] {
            let error = check(name, "secret-value").unwrap_err();
            assert!(error.message().contains(advice), "{error}");
            assert!(!error.to_string().contains("secret-value"), "{error}");
        }
        for (name, _) in HINTS {
            assert!(
                check(name, "x").is_err(),
                "{name} is a property, so it needs no hint"
            );
        }
    }

    #[test]
    fn a_refused_value_is_told_apart_from_an_unknown_name() {
        let error = check("linger.ms", "soon").unwrap_err();
        assert_eq!(error.get("setting"), Some("linger.ms"));
        assert!(error.get("nearest").is_none());
        assert!(check("partitioner", "random").is_err());
        assert!(check("partitioner", "murmur2_random").is_ok());
        assert!(check("delivery.report.only.error", "true").is_err());
        assert!(check("a\0b", "x").is_err());
    }

    #[test]
    fn fewer_acknowledgements_give_up_idempotence_unless_it_is_asked_for() {
        let applied = |user: &[(&str, &str)]| {
            let mut ours = PropertyMap::default();
            ours.set("enable.idempotence", true);
            ours.set("acks", "all");
            apply_user_properties(&mut ours, &user.iter().copied().collect()).unwrap();
            ours.get("enable.idempotence").map(str::to_owned)
        };
        assert_eq!(applied(&[("acks", "1")]).as_deref(), Some("false"));
        assert_eq!(applied(&[("acks", "-1")]).as_deref(), Some("true"));
        assert_eq!(
            applied(&[("acks", "1"), ("enable.idempotence", "true")]).as_deref(),
            Some("true")
        );
    }

    #[test]
    fn one_property_under_two_names_is_refused() {
        let user: Properties = [("linger.ms", "1"), ("queue.buffering.max.ms", "2")]
            .into_iter()
            .collect();
        let error = apply_user_properties(&mut PropertyMap::default(), &user).unwrap_err();
        assert!(error.message().contains("the same property"), "{error}");
    }
}

//! The names of librdkafka's properties: which are known, and what a mistyped one was meant to be.

use std::sync::LazyLock;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::invalid;
use super::secret::is_secret;
use crate::{Error, Result};

/// Properties with two names, as (librdkafka's own, the one that Java users know). Only the second
/// is ever set: with both, the order of a hash map would decide which one applies.
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

/// Properties of other clients, and what to use instead.
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
        "remove it: `ssl.keystore.location` is always a PKCS#12 file",
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
        "remove it: a read returns the buffered records, up to `max_batch_records`",
    ),
    (
        "partitioner.class",
        "remove it: keys are partitioned by murmur2, as in Java",
    ),
    ("key.serializer", "remove it: a key is UTF-8 text"),
    (
        "value.serializer",
        "remove it: events are written in the wire format that `KAFKA_EVENT_FORMAT` or `format` sets",
    ),
    ("key.deserializer", "remove it: a key is UTF-8 text"),
    (
        "value.deserializer",
        "remove it: the first bytes of a value identify its wire format",
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
        "remove it: interceptors are not supported",
    ),
    (
        "metric.reporters",
        "remove it: metrics are always collected",
    ),
    ("default.api.timeout.ms", "use `socket.timeout.ms`"),
];

/// The one name under which a property is set.
pub(super) fn preferred_name(name: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, preferred)| preferred)
}

/// Checks that librdkafka accepts `value` for `name`; the error suggests a name or what to do.
pub(crate) fn check(name: &str, value: &str) -> Result<()> {
    if name == "partitioner" && !value.starts_with("murmur2") {
        return Err(invalid(
            name,
            "must stay murmur2_random: every language partitions keys that way",
        ));
    }
    if name == "delivery.report.only.error" && value != "false" {
        let message = "must stay false: the producer needs the report of every delivery";
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
            None if is_secret(name) => invalid(name, format!("`{name}` has an invalid value")),
            None => invalid(name, reason),
        }),
        Err(_) => Err(invalid(
            name,
            format!("`{}` contains a NUL byte", name.replace('\0', "\\0")),
        )),
    }
}

fn hint(name: &str) -> Option<&'static str> {
    HINTS
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, hint)| *hint)
}

fn unknown(name: &str) -> Error {
    let advice = match (hint(name), nearest(name)) {
        (Some(hint), _) => hint.to_owned(),
        (None, Some(nearest)) => {
            let message =
                format!("`{name}` is not a librdkafka property: did you mean `{nearest}`?");
            return invalid(name, message).with("nearest", nearest);
        }
        (None, None) => "see librdkafka's CONFIGURATION.md".to_owned(),
    };
    invalid(
        name,
        format!("`{name}` is not a librdkafka property: {advice}"),
    )
}

/// The known property that is closest to `name`.
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

/// The properties of the linked librdkafka that can be set as text.
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
    use crate::ErrorKind;

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
}

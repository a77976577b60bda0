//! What a producer holds back, how long it waits and what it writes.

use std::time::Duration;

use super::properties::PropertyMap;
use super::setting::{SettingValue, choices, settings};
use super::{ConnectionSettings, Properties, Role};
use crate::{Error, ErrorKind, Result};

choices! {
    /// How typed events are written.
    pub enum EventFormat {
        /// Avro: in the registry's framing where there is a registry, as single objects without one.
        Avro = "avro",
        /// The flat JSON object of the producers that came before.
        Json = "json",
    }
}

choices! {
    /// How batches are compressed on the wire and on the brokers' disks.
    pub enum Compression {
        /// Not at all.
        None = "none",
        /// RFC 1952.
        Gzip = "gzip",
        /// Snappy.
        Snappy = "snappy",
        /// LZ4: what the platform's topics are set to.
        Lz4 = "lz4",
        /// Zstandard: the smallest, at more CPU.
        Zstd = "zstd",
    }
}

choices! {
    /// Which brokers must have a record before it counts as delivered.
    pub enum Acks {
        /// All replicas that are in sync.
        All = "all",
        /// The partition's leader: a record is lost if it fails before the others have it.
        Leader = "1",
        /// None: a record counts as delivered when it is sent.
        None = "0",
    }
}

settings! {
    /// How records are gathered, bounded, written and given up.
    pub struct ProducerSettings in "producer" {
        /// How typed events are written; Avro unless given.
        format: Option<EventFormat> as EventFormat = None;
        /// The format of the environment, which stands above `format` and every other choice.
        format_override: Option<EventFormat> as EventFormat = None, env "KAFKA_EVENT_FORMAT";
        /// How long a record may take from being accepted to its acknowledgement, its time in the
        /// queue and retries included, before it fails with `Timeout`, at most a second later.
        delivery_timeout: Duration = Duration::from_secs(120), key "delivery_timeout_ms";
        /// How long a send waits for room in a full queue before it fails with `QueueFull`.
        block_timeout: Duration = Duration::from_secs(60), key "block_timeout_ms";
        /// How long closing waits for records in flight before it gives up and counts the rest.
        close_timeout: Duration = Duration::from_secs(30), key "close_timeout_ms";
        /// How many records may wait for their acknowledgement; 0 is no bound of their number.
        queue_max_records: u64 = 500_000;
        /// How many bytes of records may wait for their acknowledgement.
        queue_max_bytes: u64 = 128 << 20;
        /// How batches are compressed.
        compression: Compression = Compression::Lz4;
        /// Which brokers must have a record before it counts as delivered. Less than `all` gives up
        /// idempotence.
        acks: Acks = Acks::All;
        /// Whether a retry never writes a record twice nor out of order.
        idempotence: bool = true;
        /// The largest batch of one partition, in bytes before compression. Batches of a topic with a
        /// lower `max.message.bytes` are no larger than that.
        batch_max_bytes: u64 = 1_000_000;
        /// The most records in one batch of one partition.
        batch_max_records: u32 = 10_000;
        /// How long a batch gathers while others are on their way. A lone record never waits.
        linger: Duration = Duration::from_millis(5), key "linger_ms";
    }
}

impl ProducerSettings {
    /// How typed events are written: the environment's word, else the one given, else `default`.
    pub fn event_format(&self, default: EventFormat) -> EventFormat {
        self.format_override.or(self.format).unwrap_or(default)
    }

    /// librdkafka's configuration of a producer. Errors are those of
    /// [`ConnectionSettings::client_config`].
    pub fn client_config(&self, connection: &ConnectionSettings) -> Result<rdkafka::ClientConfig> {
        let mut own = PropertyMap::default();
        // librdkafka counts in 32 bits and knows 0 as "no limit".
        let limit = i32::try_from(self.delivery_timeout.as_millis()).unwrap_or(0);
        own.set("delivery.timeout.ms", limit);
        own.set(
            "queue.buffering.max.messages",
            self.queue_max_records.min(i32::MAX as u64),
        );
        own.set(
            "queue.buffering.max.kbytes",
            kilobytes(self.queue_max_bytes, i32::MAX as u64),
        );
        own.set("compression.type", self.compression);
        own.set("acks", self.acks);
        own.set(
            "enable.idempotence",
            self.idempotence && self.acks == Acks::All,
        );
        own.set("batch.size", self.batch_max_bytes.clamp(1, i32::MAX as u64));
        own.set(
            "batch.num.messages",
            self.batch_max_records.clamp(1, 1_000_000),
        );
        own.set("linger.ms", self.linger.as_secs_f64() * 1000.0);
        own.set("partitioner", "murmur2_random");
        connection.build_config(Role::Producer, own)
    }

    /// These settings as they hold beside the user's librdkafka properties, which win: a property
    /// that has a setting of its own here replaces it, so that both agree on the queue's bounds and
    /// on time.
    pub fn with_properties(mut self, properties: &Properties) -> Result<Self> {
        for (name, value) in properties.iter() {
            let outcome = match name {
                "delivery.timeout.ms" | "message.timeout.ms" => {
                    // librdkafka's 0 is "no limit".
                    read(value, &mut self.delivery_timeout).inspect(|()| {
                        if self.delivery_timeout.is_zero() {
                            self.delivery_timeout = Duration::MAX;
                        }
                    })
                }
                "queue.buffering.max.messages" => read(value, &mut self.queue_max_records),
                "queue.buffering.max.kbytes" => read(value, &mut self.queue_max_bytes)
                    .inspect(|()| self.queue_max_bytes = self.queue_max_bytes.saturating_mul(1024)),
                "compression.type" | "compression.codec" => read(value, &mut self.compression),
                "acks" | "request.required.acks" => {
                    read(if value == "-1" { "all" } else { value }, &mut self.acks)
                }
                "enable.idempotence" => read(value, &mut self.idempotence),
                "batch.size" => read(value, &mut self.batch_max_bytes),
                "batch.num.messages" => read(value, &mut self.batch_max_records),
                "linger.ms" | "queue.buffering.max.ms" => value
                    .parse::<f64>()
                    .ok()
                    .and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok())
                    .map(|linger| self.linger = linger)
                    .ok_or_else(|| "must be milliseconds".to_owned()),
                _ => Ok(()),
            };
            outcome.map_err(|expected| {
                let message = format!("{name}={value}: {expected}");
                Error::new(ErrorKind::InvalidConfig, message).with("setting", name)
            })?;
        }
        Ok(self)
    }
}

pub(super) fn read<T: SettingValue>(text: &str, setting: &mut T) -> Result<(), String> {
    T::parse(text).map(|value| *setting = value)
}

/// Bytes as librdkafka's kilobytes, rounded up, within what it takes.
pub(super) fn kilobytes(bytes: u64, most: u64) -> u64 {
    bytes.div_ceil(1024).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_safe_and_become_librdkafkas_properties() {
        let config = ProducerSettings::default()
            .client_config(&ConnectionSettings::default())
            .unwrap();
        for (name, value) in [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.type", "lz4"),
            ("delivery.timeout.ms", "120000"),
            ("queue.buffering.max.kbytes", "131072"),
            ("partitioner", "murmur2_random"),
            ("client.id", "unknown-service-producer"),
            ("linger.ms", "5"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        assert!(config.create_native_config().is_ok());
    }

    #[test]
    fn the_environments_format_stands_above_everything() {
        let environment = |name: &str| (name == "KAFKA_EVENT_FORMAT").then(|| "JSON".to_owned());
        let settings = ProducerSettings::from_lookup(environment)
            .unwrap()
            .format(EventFormat::Avro);
        assert_eq!(settings.event_format(EventFormat::Avro), EventFormat::Json);
        let settings = ProducerSettings::default();
        assert_eq!(settings.event_format(EventFormat::Json), EventFormat::Json);
        let settings = settings.format(EventFormat::Avro);
        assert_eq!(settings.event_format(EventFormat::Json), EventFormat::Avro);
    }

    #[test]
    fn settings_follow_the_properties_that_win_over_them() {
        let properties: Properties = [
            ("queue.buffering.max.ms", "0.5"),
            ("message.timeout.ms", "0"),
            ("queue.buffering.max.kbytes", "2"),
            ("acks", "-1"),
            ("socket.timeout.ms", "1000"),
        ]
        .into_iter()
        .collect();
        let settings = ProducerSettings::default()
            .with_properties(&properties)
            .unwrap();
        assert_eq!(settings.linger, Duration::from_micros(500));
        assert_eq!(settings.delivery_timeout, Duration::MAX);
        assert_eq!(settings.queue_max_bytes, 2048);
        assert_eq!(settings.acks, Acks::All);
    }

    #[test]
    fn fewer_acknowledgements_give_up_idempotence() {
        let settings = ProducerSettings::default().acks(Acks::Leader);
        let config = settings
            .client_config(&ConnectionSettings::default())
            .unwrap();
        assert_eq!(config.get("enable.idempotence"), Some("false"));
    }

    #[test]
    fn a_value_out_of_librdkafkas_range_names_our_setting() {
        let settings = ProducerSettings::default().linger(Duration::from_secs(3600));
        let error = settings
            .client_config(&ConnectionSettings::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.get("setting"), Some("linger_ms"), "{error}");
        let endless = ProducerSettings::default().delivery_timeout(Duration::MAX);
        let config = endless
            .client_config(&ConnectionSettings::default())
            .unwrap();
        assert_eq!(config.get("delivery.timeout.ms"), Some("0"));
    }

    #[test]
    fn durations_are_milliseconds_when_serialised() {
        let settings = ProducerSettings::default();
        let json = serde_json::to_value(&settings).unwrap();
        assert_eq!(json["delivery_timeout_ms"], 120_000);
        assert_eq!(
            serde_json::from_value::<ProducerSettings>(json).unwrap(),
            settings
        );
        let mistyped = serde_json::from_str::<ProducerSettings>("{\"lingr_ms\": 1}");
        assert!(mistyped.unwrap_err().to_string().contains("linger_ms"));
    }
}

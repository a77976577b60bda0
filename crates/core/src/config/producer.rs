//! How a producer queues, batches, writes and times out records.

use std::time::Duration;

use super::mapping::{AcksOrCount, FractionalMs, Kilobytes, LimitMs, Mapped, PropertyMap, Within};
use super::setting::{choices, settings};
use super::{ConnectionSettings, Properties, Role};
use crate::Result;

choices! {
    /// The wire format of typed events.
    pub enum EventFormat {
        /// Avro: in Confluent's framing with a registry, as single objects without one.
        Avro = "avro",
        /// The flat JSON object of earlier producers.
        Json = "json",
    }
}

choices! {
    /// Compression of batches, on the wire and on the brokers' disks.
    pub enum Compression {
        /// Not at all.
        None = "none",
        /// RFC 1952.
        Gzip = "gzip",
        /// Snappy.
        Snappy = "snappy",
        /// LZ4: the setting of the platform's topics.
        Lz4 = "lz4",
        /// Zstandard: the smallest batches, for more CPU time.
        Zstd = "zstd",
    }
}

choices! {
    /// Which replicas must have a record before it counts as delivered.
    pub enum Acks {
        /// All in-sync replicas.
        All = "all",
        /// The partition's leader: a record is lost if the leader fails before it is replicated.
        Leader = "1",
        /// None: a record counts as delivered once it is sent.
        None = "0",
    }
}

settings! {
    /// How records are queued, batched, written and timed out.
    pub struct ProducerSettings in "producer" {
        /// Wire format of typed events: Avro unless set.
        format: Option<EventFormat> as EventFormat = None;
        /// Wire format that the environment sets; it overrides `format` and every other choice.
        format_override: Option<EventFormat> as EventFormat = None, env "KAFKA_EVENT_FORMAT";
        /// Time limit of a delivery, from the send to the acknowledgement, time in the queue and
        /// retries included. A record that exceeds it fails with `Timeout`, at most a second later.
        delivery_timeout: Duration = Duration::from_secs(120), key "delivery_timeout_ms",
            property "delivery.timeout.ms" by LimitMs;
        /// How long a send waits for capacity in a full queue before it fails with `QueueFull`.
        block_timeout: Duration = Duration::from_secs(60), key "block_timeout_ms";
        /// How long closing waits for records in flight before it aborts and counts the rest.
        close_timeout: Duration = Duration::from_secs(30), key "close_timeout_ms";
        /// Buffer limit in records: how many may be unacknowledged. 0 is no limit.
        queue_max_records: u64 = 500_000,
            property "queue.buffering.max.messages" by Within<0, 2_147_483_647>;
        /// Buffer limit in bytes of unacknowledged records.
        queue_max_bytes: u64 = 128 << 20,
            property "queue.buffering.max.kbytes" by Kilobytes<2_147_483_647>;
        /// Compression of batches.
        compression: Compression = Compression::Lz4, property "compression.type";
        /// Which replicas must have a record before it counts as delivered. Less than `all` turns
        /// idempotence off.
        acks: Acks = Acks::All, property "acks" by AcksOrCount;
        /// Whether retries neither duplicate nor reorder records.
        idempotence: bool = true, property "enable.idempotence";
        /// Size limit of a partition's batch, in bytes before compression. A lower
        /// `max.message.bytes` of the topic applies instead.
        batch_max_bytes: u64 = 1_000_000, property "batch.size" by Within<1, 2_147_483_647>;
        /// The most records in a partition's batch.
        batch_max_records: u32 = 10_000, property "batch.num.messages" by Within<1, 1_000_000>;
        /// How long a batch waits for more records while others are in flight. A lone record is sent
        /// at once.
        linger: Duration = Duration::from_millis(5), key "linger_ms",
            property "linger.ms" by FractionalMs;
    }
}

impl ProducerSettings {
    /// The wire format of typed events: that of the environment, else `format`, else `default`.
    pub fn event_format(&self, default: EventFormat) -> EventFormat {
        self.format_override.or(self.format).unwrap_or(default)
    }

    /// librdkafka's configuration of a producer.
    ///
    /// # Errors
    ///
    /// As [`ConnectionSettings::client_config`].
    pub fn client_config(&self, connection: &ConnectionSettings) -> Result<rdkafka::ClientConfig> {
        let mut own = PropertyMap::default();
        self.write(&mut own);
        own.set(
            "enable.idempotence",
            self.idempotence && self.acks == Acks::All,
        );
        own.set("partitioner", "murmur2_random");
        connection.build_config(Role::Producer, own)
    }

    /// These settings with the user's librdkafka properties applied, so that the producer's own
    /// limits and timeouts agree with librdkafka's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the property as
    /// `setting`: its value is wrong.
    pub fn with_properties(self, properties: &Properties) -> Result<Self> {
        self.overridden_by(properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

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

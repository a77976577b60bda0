//! Which topics a consumer reads, in which group, from where and with how much memory.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::mapping::{Kilobytes, Mapped, OldestOrNewest, PropertyMap, Within};
use super::setting::{SettingKind, SettingValue, choices, settings};
use super::{ConnectionSettings, Properties, Role, invalid};
use crate::Result;

choices! {
    /// The protocol by which a consumer group assigns partitions.
    pub enum GroupProtocol {
        /// A member assigns them: every broker supports it.
        Classic = "classic",
        /// The broker assigns them (KIP-848): a rebalance pauses no member. Kafka 4 and later.
        Consumer = "consumer",
    }
}

choices! {
    /// Which records of transactional producers are returned.
    pub enum IsolationLevel {
        /// Those of committed transactions.
        ReadCommitted = "read_committed",
        /// All, including those of aborted transactions.
        ReadUncommitted = "read_uncommitted",
    }
}

/// Where reading starts in a partition without a committed offset of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// At this offset of every partition.
    Offset(i64),
    /// At the first record whose timestamp, in milliseconds UTC, is this or later.
    TimestampMs(i64),
}

/// `earliest`, `latest`, `offset:1234` or `timestamp_ms:1735689600000`.
impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartPosition::Earliest => f.write_str("earliest"),
            StartPosition::Latest => f.write_str("latest"),
            StartPosition::Offset(offset) => write!(f, "offset:{offset}"),
            StartPosition::TimestampMs(timestamp_ms) => write!(f, "timestamp_ms:{timestamp_ms}"),
        }
    }
}

impl FromStr for StartPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        let position = match text.trim().to_ascii_lowercase().split_once(':') {
            None if text.trim().eq_ignore_ascii_case("earliest") => Some(StartPosition::Earliest),
            None if text.trim().eq_ignore_ascii_case("latest") => Some(StartPosition::Latest),
            Some(("offset", offset)) => number(offset).map(StartPosition::Offset),
            Some(("timestamp_ms", time)) => number(time).map(StartPosition::TimestampMs),
            _ => None,
        };
        position.ok_or_else(|| {
            "must be earliest, latest, offset:<n> or timestamp_ms:<milliseconds UTC>".to_owned()
        })
    }
}

impl Serialize for StartPosition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StartPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl SettingValue for StartPosition {
    const KIND: SettingKind = SettingKind::Text;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl SettingValue for Vec<String> {
    const KIND: SettingKind = SettingKind::List;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    fn show(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.join(","))
    }
}

settings! {
    /// Which topics are read, by which group, from where and with how much memory.
    pub struct ConsumerSettings in "consumer" {
        /// The consumer group; unless set, the service's name.
        group_id: Option<String> as String = None, property "group.id";
        /// The topics to read.
        topics: Vec<String> = Vec::new();
        /// Where reading starts in a partition without a committed offset of the group: `earliest`,
        /// `latest`, `offset:<n>` or `timestamp_ms:<milliseconds UTC>`.
        start: StartPosition = StartPosition::Earliest,
            property "auto.offset.reset" by OldestOrNewest;
        /// Whether reading starts at `start` even if the group has committed offsets: once a
        /// partition for each consumer that is created.
        ignore_committed: bool = false;
        /// Whether to read every partition of the topics without joining a group. No offset is
        /// committed then.
        standalone: bool = false;
        /// Whether to detect that the end of every assigned partition was reached.
        detect_end: bool = false, property "enable.partition.eof";
        /// Whether the offsets of processed records are committed periodically. `false` leaves every
        /// commit to the caller.
        auto_commit: bool = true, property "enable.auto.commit";
        /// How often the offsets of processed records are committed.
        commit_interval: Duration = Duration::from_secs(5), key "commit_interval_ms",
            property "auto.commit.interval.ms";
        /// The protocol by which a group assigns partitions to its members.
        group_protocol: GroupProtocol = GroupProtocol::Classic, property "group.protocol";
        /// How long a member may send no heartbeat before its partitions are assigned to others. With
        /// `group_protocol` `consumer` the broker decides.
        session_timeout: Duration = Duration::from_secs(45), key "session_timeout_ms",
            property "session.timeout.ms";
        /// Which records of transactional producers are returned.
        isolation_level: IsolationLevel = IsolationLevel::ReadCommitted,
            property "isolation.level";
        /// Buffer limit in bytes of fetched records. A full buffer pauses fetching; fetches in flight
        /// may exceed it by a quarter or by a megabyte, compressed. Decompressed text can be a hundred
        /// times larger; `partition_fetch_max_bytes` limits it more tightly.
        max_buffered_bytes: u64 = 64 << 20,
            property "queued.max.messages.kbytes" by Kilobytes<2_097_151>;
        /// How many compressed bytes of a partition a fetch returns. A larger batch is returned alone.
        /// Lower it if producers are not trusted: a fetch is decompressed whole, each of its batches
        /// to at most librdkafka's `receive.message.max.bytes` (100 MB). With 1 it is one batch.
        partition_fetch_max_bytes: u32 = 1 << 20,
            property "max.partition.fetch.bytes" by Within<1, 4_294_967_295>;
        /// The most records in a batch that the caller reads.
        max_batch_records: u32 = 4096;
        /// The fewest bytes that a broker collects before it answers a fetch.
        fetch_min_bytes: u32 = 1, property "fetch.min.bytes" by Within<1, 4_294_967_295>;
        /// How long a broker waits for `fetch_min_bytes`.
        fetch_max_wait: Duration = Duration::from_millis(500), key "fetch_max_wait_ms",
            property "fetch.wait.max.ms";
        /// How long fetching pauses when the buffer is full. librdkafka's default of a second starves
        /// a consumer that does any work with its records.
        fetch_queue_backoff: Duration = Duration::from_millis(10), key "fetch_queue_backoff_ms",
            property "fetch.queue.backoff.ms";
        /// How long every broker may be unreachable, or the registry unable to return the schemas of
        /// fetched records, before a read fails. The client retries meanwhile and keeps the records:
        /// the next read returns them. A failure that no retry can fix, such as a rejected login,
        /// fails sooner.
        unreachable_after: Duration = Duration::from_secs(60), key "unreachable_after_ms";
        /// How long a rebalance waits for batches being processed of partitions that it revokes, so
        /// that their next owner does not read those records again.
        revoke_timeout: Duration = Duration::from_secs(5), key "revoke_timeout_ms";
        /// How long closing may take to commit the offsets of processed records and to leave the
        /// group.
        close_timeout: Duration = Duration::from_secs(10), key "close_timeout_ms";
    }
}

/// librdkafka's default interval between heartbeats.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3);

impl ConsumerSettings {
    /// Settings for a group that reads these topics, with defaults for the rest.
    pub fn new<T: Into<String>>(
        group: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        Self::default()
            .group_id(group)
            .topics(topics.into_iter().map(Into::into).collect())
    }

    /// Adds one topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// The consumer group: the one that is set, or the service's name.
    pub fn group<'a>(&'a self, connection: &'a ConnectionSettings) -> Result<&'a str> {
        let service = Some(connection.service_name.as_str());
        let named = service.filter(|name| *name != ConnectionSettings::UNKNOWN_SERVICE);
        let property = connection.properties.get("group.id");
        property
            .or(self.group_id.as_deref())
            .or(named)
            .filter(|group| !group.is_empty())
            .ok_or_else(|| {
                let message =
                    "a consumer needs group_id, or a service_name (SERVICE_NAME) to name it";
                invalid("group_id", message)
            })
    }

    /// librdkafka's configuration of a consumer.
    ///
    /// # Errors
    ///
    /// As [`ConnectionSettings::client_config`], and if no group is set.
    pub fn client_config(&self, connection: &ConnectionSettings) -> Result<rdkafka::ClientConfig> {
        let mut own = PropertyMap::default();
        self.write(&mut own);
        // librdkafka requires a group even if none is joined.
        let group = match self.group(connection) {
            Err(_) if self.standalone => "standalone",
            group => group?,
        };
        own.set("group.id", group);
        if self.standalone {
            own.set("enable.auto.commit", false);
        }
        // At least once: an offset is stored once its record is processed, not when it is returned.
        own.set("enable.auto.offset.store", false);
        let protocol = connection.properties.get("group.protocol");
        let protocol = protocol.unwrap_or(self.group_protocol.as_str());
        if protocol.eq_ignore_ascii_case(GroupProtocol::Classic.as_str()) {
            let heartbeat = (self.session_timeout / 10).min(LONGEST_HEARTBEAT);
            own.set("heartbeat.interval.ms", heartbeat.as_millis().max(1));
        } else {
            own.remove("session.timeout.ms");
        }
        // One fetch must not exceed the buffer limit by far, the less so as it arrives compressed.
        let fetch_max_bytes = (self.max_buffered_bytes / 4).clamp(1 << 20, 50 << 20);
        own.set("fetch.max.bytes", fetch_max_bytes);
        connection.build_config(Role::Consumer, own)
    }

    /// These settings with the user's librdkafka properties applied.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the property as
    /// `setting`: its value is wrong, or it would commit records that are not processed.
    pub fn with_properties(self, properties: &Properties) -> Result<Self> {
        const STORE: &str = "enable.auto.offset.store";
        if properties.get(STORE).is_some_and(|value| value != "false") {
            let message = "must stay false: offsets are stored once their records are processed";
            return Err(invalid(STORE, format!("{STORE} {message}")));
        }
        self.overridden_by(properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_read_at_least_once_and_do_not_starve() {
        let settings = ConsumerSettings::new("billing", ["data-quality"]);
        let config = settings
            .client_config(&ConnectionSettings::default())
            .unwrap();
        for (name, value) in [
            ("group.id", "billing"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.offset.store", "false"),
            ("fetch.queue.backoff.ms", "10"),
            ("queued.max.messages.kbytes", "65536"),
            ("client.id", "unknown-service-consumer"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        assert!(config.create_native_config().is_ok());
    }

    #[test]
    fn what_one_answer_holds_of_a_partition_can_be_bounded() {
        let settings = ConsumerSettings::new("billing", ["data-quality"]);
        let connection = ConnectionSettings::default();
        let given = |settings: &ConsumerSettings| {
            let config = settings.client_config(&connection).unwrap();
            config.get("max.partition.fetch.bytes").map(str::to_owned)
        };
        assert_eq!(given(&settings).as_deref(), Some("1048576"));
        let bounded = settings.partition_fetch_max_bytes(16 << 10);
        assert_eq!(given(&bounded).as_deref(), Some("16384"));
        let properties = [("max.partition.fetch.bytes", "4096")]
            .into_iter()
            .collect();
        let held = bounded.with_properties(&properties).unwrap();
        assert_eq!(held.partition_fetch_max_bytes, 4096);
    }

    #[test]
    fn the_group_is_the_services_unless_given_and_never_unknown() {
        let settings = ConsumerSettings::default();
        let error = settings
            .client_config(&ConnectionSettings::default())
            .unwrap_err();
        assert_eq!(error.get("setting"), Some("group_id"));
        let service = ConnectionSettings::default().service_name("billing");
        assert_eq!(settings.group(&service).unwrap(), "billing");
        let property = service.property("group.id", "mine");
        assert_eq!(settings.group(&property).unwrap(), "mine");
    }

    #[test]
    fn only_members_of_a_classic_group_say_how_long_they_may_be_silent() {
        let settings = ConsumerSettings::new("g", ["t"]).session_timeout(Duration::from_secs(1));
        let get = |settings: &ConsumerSettings, connection: ConnectionSettings| {
            let config = settings.client_config(&connection).unwrap();
            ["session.timeout.ms", "heartbeat.interval.ms"]
                .map(|name| config.get(name).map(str::to_owned))
        };
        let classic = get(&settings, ConnectionSettings::default());
        assert_eq!(
            classic,
            ["1000", "100"].map(|millis| Some(millis.to_owned()))
        );
        let by_property = ConnectionSettings::default().property("group.protocol", "consumer");
        assert_eq!(get(&settings, by_property), [None, None]);
        let by_broker = settings.group_protocol(GroupProtocol::Consumer);
        assert_eq!(get(&by_broker, ConnectionSettings::default()), [None, None]);
    }

    #[test]
    fn a_start_position_reads_as_it_is_written() {
        for text in [
            "earliest",
            "latest",
            "offset:42",
            "timestamp_ms:1735689600000",
        ] {
            let position: StartPosition = text.parse().unwrap();
            assert_eq!(position.to_string(), text);
        }
        for wrong in ["", "newest", "offset:", "offset:-1", "timestamp_ms:x"] {
            assert!(wrong.parse::<StartPosition>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_follow_the_properties_that_win_over_them() {
        let properties: Properties = [
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "latest"),
            ("group.id", "g"),
        ]
        .into_iter()
        .collect();
        let settings = ConsumerSettings::default()
            .with_properties(&properties)
            .unwrap();
        assert!(!settings.auto_commit);
        assert_eq!(settings.start, StartPosition::Latest);
        assert_eq!(settings.group_id.as_deref(), Some("g"));
        let refused: Properties = [("enable.auto.offset.store", "true")].into_iter().collect();
        assert!(
            ConsumerSettings::default()
                .with_properties(&refused)
                .is_err()
        );
    }
}

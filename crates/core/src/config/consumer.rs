//! What a consumer reads, from where, in which group and with how much memory.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::producer::{kilobytes, read};
use super::properties::PropertyMap;
use super::setting::{SettingKind, SettingValue, choices, settings};
use super::{ConnectionSettings, Properties, Role};
use crate::{Error, ErrorKind, Result};

choices! {
    /// Who shares out the partitions of a consumer group.
    pub enum GroupProtocol {
        /// The group's own members: every broker has it.
        Classic = "classic",
        /// The broker (KIP-848): a rebalance stops no member. Kafka 4 and later.
        Consumer = "consumer",
    }
}

choices! {
    /// Which records of transactional producers are seen.
    pub enum IsolationLevel {
        /// Those of committed transactions.
        ReadCommitted = "read_committed",
        /// All, those of aborted transactions too.
        ReadUncommitted = "read_uncommitted",
    }
}

/// Where reading starts in a partition for which the group has no committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
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
    /// What is read, by which group, from where and with how much memory.
    pub struct ConsumerSettings in "consumer" {
        /// The consumer group; the service's name unless given.
        group_id: Option<String> as String = None;
        /// The topics to read.
        topics: Vec<String> = Vec::new();
        /// Where reading starts in a partition for which the group has no committed offset.
        start: StartPosition = StartPosition::Earliest;
        /// Whether reading starts at `start` even where the group has committed offsets: once a
        /// partition for each consumer that is made.
        ignore_committed: bool = false;
        /// Whether every partition of the topics is read without joining a group. Nothing is
        /// committed then.
        standalone: bool = false;
        /// Whether to notice that everything has been read that there is.
        detect_end: bool = false;
        /// Whether the offsets of handled records are committed from time to time. `false` leaves
        /// every commit to the caller.
        auto_commit: bool = true;
        /// How often handled offsets are committed.
        commit_interval: Duration = Duration::from_secs(5), key "commit_interval_ms";
        /// Who shares out the partitions.
        group_protocol: GroupProtocol = GroupProtocol::Classic;
        /// How long the group hears nothing of a member before its partitions go to others. With
        /// `group_protocol` `consumer` the broker says how long.
        session_timeout: Duration = Duration::from_secs(45), key "session_timeout_ms";
        /// Which records of transactional producers are seen.
        isolation_level: IsolationLevel = IsolationLevel::ReadCommitted;
        /// How many bytes of records may wait to be handled before fetching pauses. What was asked for
        /// by then still comes: a quarter of this, or a megabyte, as it is compressed. Text may take a
        /// hundred times that once it is not; `partition_fetch_max_bytes` bounds it more tightly.
        max_buffered_bytes: u64 = 64 << 20;
        /// How many bytes, as they are compressed, one answer of a broker holds of a partition. A larger
        /// batch of records still comes, alone. Lower it where writers are not trusted: an answer
        /// is decompressed whole, each of its batches to at most librdkafka's
        /// `receive.message.max.bytes` (100 MB). With 1 an answer is one batch.
        partition_fetch_max_bytes: u32 = 1 << 20;
        /// The most records that one batch holds.
        max_batch_records: u32 = 4096;
        /// The fewest bytes a broker gathers before it answers a fetch.
        fetch_min_bytes: u32 = 1;
        /// How long a broker waits for `fetch_min_bytes`.
        fetch_max_wait: Duration = Duration::from_millis(500), key "fetch_max_wait_ms";
        /// How long fetching waits once the buffer is full. librdkafka's own default of a second
        /// starves a consumer that does any work with its records.
        fetch_queue_backoff: Duration = Duration::from_millis(10), key "fetch_queue_backoff_ms";
        /// How long no broker may answer, or the schema registry not give the schemas of fetched records,
        /// before reading fails. Both are tried again all the while, and the records stay: the next read
        /// gives them. What only a person can mend, such as a refused login, fails sooner.
        unreachable_after: Duration = Duration::from_secs(60), key "unreachable_after_ms";
        /// How long a rebalance waits for the batches in hand of partitions that are to be given up,
        /// so that their next owner does not read those records again.
        revoke_timeout: Duration = Duration::from_secs(5), key "revoke_timeout_ms";
        /// How long closing may take to commit what was handled and to leave the group.
        close_timeout: Duration = Duration::from_secs(10), key "close_timeout_ms";
    }
}

/// librdkafka's own interval between a member's signs of life.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3);

impl ConsumerSettings {
    /// Settings for a group that reads these topics, everything else by default.
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

    /// The consumer group, where one is given or the service has a name.
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
                Error::new(ErrorKind::InvalidConfig, message).with("setting", "group_id")
            })
    }

    /// librdkafka's configuration of a consumer. Errors are those of
    /// [`ConnectionSettings::client_config`], and a missing group.
    pub fn client_config(&self, connection: &ConnectionSettings) -> Result<rdkafka::ClientConfig> {
        let mut own = PropertyMap::default();
        // librdkafka wants a group even where none is joined.
        let group = match self.group(connection) {
            Err(_) if self.standalone => "standalone",
            group => group?,
        };
        own.set("group.id", group);
        own.set("group.protocol", self.group_protocol);
        own.set(
            "auto.offset.reset",
            match self.start {
                StartPosition::Latest => "latest",
                _ => "earliest",
            },
        );
        own.set("enable.auto.commit", self.auto_commit && !self.standalone);
        own.set("auto.commit.interval.ms", self.commit_interval.as_millis());
        // At least once: an offset is stored when its record was handled, not when it was handed out.
        own.set("enable.auto.offset.store", false);
        let protocol = connection.properties.get("group.protocol");
        let protocol = protocol.unwrap_or(self.group_protocol.as_str());
        if protocol.eq_ignore_ascii_case(GroupProtocol::Classic.as_str()) {
            own.set("session.timeout.ms", self.session_timeout.as_millis());
            let heartbeat = (self.session_timeout / 10).min(LONGEST_HEARTBEAT);
            own.set("heartbeat.interval.ms", heartbeat.as_millis().max(1));
        }
        own.set("isolation.level", self.isolation_level);
        own.set("enable.partition.eof", self.detect_end);
        own.set(
            "queued.max.messages.kbytes",
            kilobytes(self.max_buffered_bytes, 2_097_151),
        );
        // One answer must not overshoot the bound by far, all the more as it comes compressed.
        let fetch_max_bytes = (self.max_buffered_bytes / 4).clamp(1 << 20, 50 << 20);
        own.set("fetch.max.bytes", fetch_max_bytes);
        own.set(
            "max.partition.fetch.bytes",
            self.partition_fetch_max_bytes.max(1),
        );
        own.set("fetch.min.bytes", self.fetch_min_bytes.max(1));
        own.set("fetch.wait.max.ms", self.fetch_max_wait.as_millis());
        own.set(
            "fetch.queue.backoff.ms",
            self.fetch_queue_backoff.as_millis(),
        );
        connection.build_config(Role::Consumer, own)
    }

    /// These settings as they hold beside the user's librdkafka properties, which win.
    pub fn with_properties(mut self, properties: &Properties) -> Result<Self> {
        for (name, value) in properties.iter() {
            let outcome = match name {
                "group.id" => read(value, &mut self.group_id),
                "group.protocol" => read(value, &mut self.group_protocol),
                "enable.auto.commit" => read(value, &mut self.auto_commit),
                "auto.commit.interval.ms" => read(value, &mut self.commit_interval),
                "isolation.level" => read(value, &mut self.isolation_level),
                "enable.partition.eof" => read(value, &mut self.detect_end),
                "queued.max.messages.kbytes" => {
                    read(value, &mut self.max_buffered_bytes).inspect(|()| {
                        self.max_buffered_bytes = self.max_buffered_bytes.saturating_mul(1024);
                    })
                }
                "max.partition.fetch.bytes" | "fetch.message.max.bytes" => {
                    read(value, &mut self.partition_fetch_max_bytes)
                }
                "auto.offset.reset" => {
                    match value {
                        "earliest" | "smallest" | "beginning" => {
                            self.start = StartPosition::Earliest
                        }
                        "latest" | "largest" | "end" => self.start = StartPosition::Latest,
                        _ => {}
                    }
                    Ok(())
                }
                "enable.auto.offset.store" if value != "false" => Err(
                    "must stay false: offsets are stored when their records were handled"
                        .to_owned(),
                ),
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

//! A Kafka broker inside the process.
//!
//! It speaks Kafka's protocol on ports of 127.0.0.1 with any client: producers (also idempotent and
//! transactional ones), consumers and their groups, headers, compression. It starts with the platform's
//! topics, keeps its records in memory, and fails on demand.
//!
//! It is librdkafka's mock cluster, which lacks:
//!
//! - the admin API: [`Admin`](crate::admin::Admin) does not work; use
//!   [`Broker::create_topic`];
//! - `LogAppendTime`: records keep the producer's timestamp;
//! - `read_committed`: records of aborted transactions are returned;
//! - offsets by time: a start at a timestamp starts at the end;
//! - waiting fetches: an empty fetch is answered after `fetch.wait.max.ms` even if a record arrives
//!   meanwhile, so [`Broker::consumer_settings`] keeps that short;
//! - quick rebalances: one takes the members' session timeout, so those settings set it to a second;
//! - retention and compaction: a partition keeps its newest 5 MB or 100,000 batches;
//! - the `consumer` group protocol (KIP-848), and access rules, TLS and SASL.
//!
//! A topic that it does not have is created on first use with 4 partitions, as on brokers with
//! `auto.create.topics.enable`; [`Broker::fail_topic`] with [`BrokerError::UnknownTopic`] is
//! what a broker without says.

use std::fmt;
use std::time::Duration;

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::mock::Mock;
use crate::config::{ConnectionSettings, ConsumerSettings, SecurityProtocol};
use crate::events::Topic;
use crate::{Error, ErrorKind, Result};

/// Kafka brokers inside the process. They stop on drop.
pub struct Broker {
    mock: Mock,
    bootstrap_servers: String,
    nodes: i32,
}

impl Broker {
    /// How long an empty fetch waits with [`consumer_settings`](Self::consumer_settings).
    const FETCH_MAX_WAIT: Duration = Duration::from_millis(5);
    /// It answers a rebalance when the members' session timeout has passed, whoever has joined by
    /// then.
    const SESSION_TIMEOUT: Duration = Duration::from_secs(1);

    /// One broker with the platform's topics.
    pub fn start() -> Result<Broker> {
        Self::start_cluster(1)
    }

    /// A cluster of nodes 1 to `nodes` with the platform's topics, each partition on up to three.
    pub fn start_cluster(nodes: u8) -> Result<Broker> {
        let nodes = i32::from(nodes.max(1));
        let mock = Mock::start(nodes)?;
        let bootstrap_servers = mock.bootstrap_servers();
        let broker = Broker {
            mock,
            bootstrap_servers,
            nodes,
        };
        for topic in Topic::ALL {
            broker.create_topic(topic.name(), topic.spec().partitions)?;
        }
        Ok(broker)
    }

    /// The addresses, for `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Settings that connect a client to it.
    pub fn connection(&self) -> ConnectionSettings {
        ConnectionSettings::new(&self.bootstrap_servers)
            .security_protocol(SecurityProtocol::Plaintext)
    }

    /// Settings for a group that reads these topics from their beginning, hears of new records
    /// within milliseconds, and of members that come and go within a second.
    pub fn consumer_settings<T: Into<String>>(
        &self,
        group: &str,
        topics: impl IntoIterator<Item = T>,
    ) -> ConsumerSettings {
        Self::quick(ConsumerSettings::new(group, topics))
    }

    /// These settings with this broker's short timeouts.
    pub(super) fn quick(settings: ConsumerSettings) -> ConsumerSettings {
        settings
            .fetch_max_wait(Self::FETCH_MAX_WAIT)
            .session_timeout(Self::SESSION_TIMEOUT)
    }

    /// The number of nodes, numbered from 1.
    pub fn nodes(&self) -> u8 {
        u8::try_from(self.nodes).unwrap_or(u8::MAX)
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        if partitions < 1 {
            let message = "a topic has at least one partition";
            return Err(Error::new(ErrorKind::InvalidConfig, message).with("topic", name));
        }
        self.mock.create_topic(name, partitions, self.nodes.min(3))
    }

    /// Closes every connection to all nodes and refuses new ones until [`bring_up`](Self::bring_up).
    pub fn take_down(&self) -> Result<()> {
        self.mock.set_down(-1, true)
    }

    /// Accepts connections to all nodes again. Records and group offsets are kept.
    pub fn bring_up(&self) -> Result<()> {
        self.mock.set_down(-1, false)
    }

    /// As [`take_down`](Self::take_down), for one node. It stays the leader of its partitions until
    /// [`move_partition`](Self::move_partition).
    pub fn take_node_down(&self, node: u8) -> Result<()> {
        self.mock.set_down(node.into(), true)
    }

    /// As [`bring_up`](Self::bring_up), for one node.
    pub fn bring_node_up(&self, node: u8) -> Result<()> {
        self.mock.set_down(node.into(), false)
    }

    /// Makes a node the leader of a partition, or leaves it without one.
    pub fn move_partition(&self, topic: &str, partition: i32, node: Option<u8>) -> Result<()> {
        self.mock
            .set_leader(topic, partition, node.map_or(-1, i32::from))
    }

    /// Delays every answer of all nodes by this much; zero ends that.
    pub fn delay(&self, round_trip: Duration) -> Result<()> {
        self.mock.set_round_trip(-1, round_trip)
    }

    /// As [`delay`](Self::delay), for one node.
    pub fn delay_node(&self, node: u8, round_trip: Duration) -> Result<()> {
        self.mock.set_round_trip(node.into(), round_trip)
    }

    /// Answers the next `count` requests of this kind with an error, after the errors of earlier calls.
    pub fn fail_next(&self, api: Api, count: usize, error: BrokerError) {
        self.mock.push_errors(api.key(), &vec![error.code(); count]);
    }

    /// Answers the next requests of this kind with these errors, one each.
    pub fn fail_with(&self, api: Api, errors: &[BrokerError]) {
        let codes: Vec<_> = errors.iter().map(|error| error.code()).collect();
        self.mock.push_errors(api.key(), &codes);
    }

    /// Answers the next request of this kind with any error code.
    #[cfg(test)]
    pub(crate) fn fail_next_with_code(&self, api: Api, code: RDKafkaRespErr) {
        self.mock.push_errors(api.key(), &[code]);
    }

    /// Answers requests of this kind as usual again.
    pub fn stop_failing(&self, api: Api) {
        self.mock.clear_errors(api.key());
    }

    /// Answers metadata requests for a topic with an error, or as usual again.
    ///
    /// A client that knows the topic already keeps using it: set the error before the first use.
    pub fn fail_topic(&self, topic: &str, error: Option<BrokerError>) -> Result<()> {
        let none = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        self.mock
            .topic_error(topic, error.map_or(none, BrokerError::code))
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

/// A kind of request that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// Records from a producer.
    Produce,
    /// Records for a consumer.
    Fetch,
    /// First and last offsets of partitions.
    ListOffsets,
    /// The cluster's brokers, topics and leaders.
    Metadata,
    /// A group's offsets, to be kept.
    OffsetCommit,
    /// A group's offsets, asked for.
    OffsetFetch,
    /// Who looks after a group or a transaction.
    FindCoordinator,
    /// A consumer that joins a group.
    JoinGroup,
    /// A consumer that says it is alive.
    Heartbeat,
    /// A consumer that leaves a group.
    LeaveGroup,
    /// The partitions that each member of a group gets.
    SyncGroup,
    /// What a broker can do: the first request of each connection.
    ApiVersions,
    /// The id of an idempotent or transactional producer.
    InitProducerId,
    /// The partitions that a transaction writes to.
    AddPartitionsToTxn,
    /// The end of a transaction.
    EndTxn,
}

impl Api {
    /// The request's number in Kafka's protocol.
    fn key(self) -> i16 {
        match self {
            Api::Produce => 0,
            Api::Fetch => 1,
            Api::ListOffsets => 2,
            Api::Metadata => 3,
            Api::OffsetCommit => 8,
            Api::OffsetFetch => 9,
            Api::FindCoordinator => 10,
            Api::JoinGroup => 11,
            Api::Heartbeat => 12,
            Api::LeaveGroup => 13,
            Api::SyncGroup => 14,
            Api::ApiVersions => 18,
            Api::InitProducerId => 22,
            Api::AddPartitionsToTxn => 24,
            Api::EndTxn => 26,
        }
    }
}

/// What a failing request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BrokerError {
    /// No answer: the connection is closed.
    Disconnect,
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    UnknownTopic,
    /// `NOT_LEADER_OR_FOLLOWER`: the partition has moved.
    NotLeader,
    /// `LEADER_NOT_AVAILABLE`: the partition has no leader now.
    LeaderNotAvailable,
    /// `REQUEST_TIMED_OUT`: the replicas did not answer the leader in time.
    RequestTimedOut,
    /// `NOT_ENOUGH_REPLICAS`: fewer are in sync than `min.insync.replicas`.
    NotEnoughReplicas,
    /// `MESSAGE_TOO_LARGE`.
    MessageTooLarge,
    /// `CORRUPT_MESSAGE`: the checksum of a batch is wrong.
    CorruptMessage,
    /// `TOPIC_AUTHORIZATION_FAILED`.
    TopicAuthorizationFailed,
    /// `GROUP_AUTHORIZATION_FAILED`.
    GroupAuthorizationFailed,
    /// `CLUSTER_AUTHORIZATION_FAILED`.
    ClusterAuthorizationFailed,
    /// `COORDINATOR_NOT_AVAILABLE`: the group has no coordinator.
    CoordinatorNotAvailable,
    /// `NOT_COORDINATOR`: somebody else looks after the group.
    NotCoordinator,
    /// `REBALANCE_IN_PROGRESS`: the group's partitions are being shared out anew.
    RebalanceInProgress,
    /// `UNKNOWN_MEMBER_ID`: the group has given the consumer up.
    UnknownMember,
    /// `OFFSET_OUT_OF_RANGE`: the records at that offset are gone.
    OffsetOutOfRange,
    /// `KAFKA_STORAGE_ERROR`: the broker's disk fails.
    StorageError,
    /// `UNKNOWN_SERVER_ERROR`.
    UnknownServerError,
}

impl BrokerError {
    fn code(self) -> RDKafkaRespErr {
        use RDKafkaRespErr as Code;
        match self {
            BrokerError::Disconnect => Code::RD_KAFKA_RESP_ERR__TRANSPORT,
            BrokerError::UnknownTopic => Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            BrokerError::NotLeader => Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            BrokerError::LeaderNotAvailable => Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
            BrokerError::RequestTimedOut => Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            BrokerError::NotEnoughReplicas => Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            BrokerError::MessageTooLarge => Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            BrokerError::CorruptMessage => Code::RD_KAFKA_RESP_ERR_INVALID_MSG,
            BrokerError::TopicAuthorizationFailed => {
                Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            }
            BrokerError::GroupAuthorizationFailed => {
                Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            }
            BrokerError::ClusterAuthorizationFailed => {
                Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
            }
            BrokerError::CoordinatorNotAvailable => {
                Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
            }
            BrokerError::NotCoordinator => Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            BrokerError::RebalanceInProgress => Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
            BrokerError::UnknownMember => Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            BrokerError::OffsetOutOfRange => Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
            BrokerError::StorageError => Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            BrokerError::UnknownServerError => Code::RD_KAFKA_RESP_ERR_UNKNOWN,
        }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", RDKafkaErrorCode::from(self.code()))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Message;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn producer(broker: &Broker) -> BaseProducer {
        let config = broker.connection().client_config().unwrap();
        config.create().unwrap()
    }

    #[test]
    fn it_begins_with_the_platforms_topics() {
        let broker = Broker::start_cluster(3).unwrap();
        let producer = producer(&broker);
        let metadata = producer.client().fetch_metadata(None, SOON).unwrap();
        assert_eq!(metadata.brokers().len(), 3);
        for topic in Topic::ALL {
            let found = metadata
                .topics()
                .iter()
                .find(|found| found.name() == topic.name());
            let found = found.expect("the topic is there");
            assert_eq!(found.partitions().len(), topic.spec().partitions as usize);
            assert!(
                found
                    .partitions()
                    .iter()
                    .all(|partition| partition.replicas().len() == 3)
            );
        }
    }

    #[test]
    fn what_is_produced_can_be_consumed_by_a_group_at_once() {
        let broker = Broker::start().unwrap();
        let producer = producer(&broker);
        let record = BaseRecord::to("data-quality").key("k").payload("v");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(SOON).unwrap();
        let settings = broker.consumer_settings("group", ["data-quality"]);
        let consumer: BaseConsumer = settings
            .client_config(&broker.connection())
            .unwrap()
            .create()
            .unwrap();
        consumer.subscribe(&["data-quality"]).unwrap();
        // A poll that serves one of the client's own events gives nothing.
        let deadline = std::time::Instant::now() + SOON;
        let record = loop {
            if let Some(record) = consumer.poll(Duration::from_millis(100)) {
                break record.unwrap();
            }
            assert!(std::time::Instant::now() < deadline, "no record came");
        };
        assert_eq!(
            (record.key(), record.payload()),
            (Some(&b"k"[..]), Some(&b"v"[..]))
        );
    }

    #[test]
    fn a_broker_that_is_down_answers_again_when_it_is_up() {
        let broker = Broker::start().unwrap();
        let producer = producer(&broker);
        producer.client().fetch_metadata(None, SOON).unwrap();
        broker.take_down().unwrap();
        let short = Duration::from_millis(200);
        assert!(producer.client().fetch_metadata(None, short).is_err());
        broker.bring_up().unwrap();
        producer.client().fetch_metadata(None, SOON).unwrap();
    }

    #[test]
    fn a_topic_can_be_refused() {
        let broker = Broker::start().unwrap();
        broker
            .fail_topic("data-quality", Some(BrokerError::TopicAuthorizationFailed))
            .unwrap();
        let producer = producer(&broker);
        let metadata = producer
            .client()
            .fetch_metadata(Some("data-quality"), SOON)
            .unwrap();
        assert_eq!(
            metadata.topics()[0].error(),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        );
        broker.fail_topic("data-quality", None).unwrap();
    }

    #[tokio::test]
    async fn requests_fail_as_often_as_they_are_told_to() {
        let broker = Broker::start().unwrap();
        let config = broker.connection().client_config().unwrap();
        let producer: FutureProducer = config.create().unwrap();
        broker.fail_next(Api::Produce, 1, BrokerError::MessageTooLarge);
        let send = || producer.send(FutureRecord::to("data-quality").key("k").payload("v"), SOON);
        let (error, _) = send().await.unwrap_err();
        assert_eq!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::MessageSizeTooLarge)
        );
        send().await.unwrap();
    }

    #[test]
    fn the_admin_api_is_not_there_and_says_so() {
        let broker = Broker::start().unwrap();
        let admin = crate::admin::Admin::new(broker.connection()).unwrap();
        let error = admin.diff(&crate::admin::TopicTable::all()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("has no controller"), "{error}");
    }

    #[test]
    fn a_delay_is_on_every_answer() {
        let broker = Broker::start().unwrap();
        let producer = producer(&broker);
        producer.client().fetch_metadata(None, SOON).unwrap();
        broker.delay(Duration::from_millis(300)).unwrap();
        let started = std::time::Instant::now();
        producer.client().fetch_metadata(None, SOON).unwrap();
        assert!(
            started.elapsed() >= Duration::from_millis(300),
            "{:?}",
            started.elapsed()
        );
    }
}

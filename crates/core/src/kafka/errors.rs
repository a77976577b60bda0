//! librdkafka's and the brokers' error codes as kinds of [`Error`].

use std::time::Duration;

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka_sys as sys;

use crate::{Error, ErrorKind};

/// How long a broker may reject a login before that counts as an error: one that is just starting
/// rejects for a moment what it accepts later.
pub(crate) const REFUSED_LOGIN_GRACE: Duration = Duration::from_secs(2);

/// The kind of a librdkafka or broker error code.
pub(crate) fn kind_of(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::WaitCache => ErrorKind::Timeout,
        Code::QueueFull => ErrorKind::QueueFull,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            ErrorKind::RecordTooLarge
        }
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic => ErrorKind::UnknownTopic,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed => ErrorKind::Authorization,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::SSL
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => ErrorKind::Authentication,
        Code::PurgeQueue | Code::PurgeInflight => ErrorKind::Aborted,
        Code::InvalidArgument
        | Code::InvalidConfig
        | Code::PolicyViolation
        | Code::InconsistentGroupProtocol
        | Code::InvalidGroupId
        | Code::InvalidSessionTimeout
        | Code::FencedInstanceId
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature => ErrorKind::InvalidConfig,
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError
        | Code::DuplicateSequenceNumber
        | Code::WaitingForCoordinator
        | Code::RebalanceInProgress
        | Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::AssignmentLost => ErrorKind::Unavailable,
        Code::BrokerDestroy => ErrorKind::Closed,
        _ => ErrorKind::Internal,
    }
}

/// The error of `code`; `doing` is the operation, such as "deliver a record".
pub(crate) fn broker_error(code: RDKafkaRespErr, doing: &str) -> Error {
    let known = RDKafkaErrorCode::from(code);
    let kind = kind_of(known);
    Error::new(
        kind,
        format!("cannot {doing}: {}{}", describe(code), advice(known)),
    )
    .with_code(Some(named(code)))
}

/// A code's number and librdkafka's name for it.
pub(crate) fn named(code: RDKafkaRespErr) -> (i32, &'static str) {
    // SAFETY: rd_kafka_err2name gives a static, NUL-terminated string for every code.
    let name = unsafe { std::ffi::CStr::from_ptr(sys::rd_kafka_err2name(code)) };
    (code as i32, name.to_str().unwrap_or("_UNKNOWN"))
}

/// The error of a code about the whole client, with librdkafka's message.
///
/// In TLS 1.3 a broker verifies our certificate after our side of the handshake, so librdkafka reports
/// a rejection as a broken connection: only the alert in its message tells (RFC 8446, section 6.2; 80,
/// `internal_error`, is about the broker itself).
pub(crate) fn client_error(code: RDKafkaErrorCode, reason: &str) -> Error {
    let refused = reason.contains("SSL alert number") && !reason.contains("SSL alert number 80");
    let kind = match kind_of(code) {
        ErrorKind::Unavailable if refused => ErrorKind::Authentication,
        kind => kind,
    };
    Error::new(kind, format!("{reason}{}", advice(code)))
}

/// librdkafka's message for a code.
fn describe(code: RDKafkaRespErr) -> String {
    // SAFETY: rd_kafka_err2str gives a static, NUL-terminated string for every code.
    let text = unsafe { std::ffi::CStr::from_ptr(sys::rd_kafka_err2str(code)) };
    text.to_string_lossy().into_owned()
}

/// What to do, if librdkafka's message does not say.
fn advice(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as Code;
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            "; create the topic (`carbon-events topics apply`) or correct its name"
        }
        Code::MessageSizeTooLarge => {
            "; make the record smaller or raise the topic's max.message.bytes"
        }
        Code::TopicAuthorizationFailed => "; grant access to the topic",
        Code::GroupAuthorizationFailed => "; grant access to the consumer group",
        Code::SSL => "; check the CA, the client certificate and its key",
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "; fewer replicas are in sync than min.insync.replicas requires"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_rejected_after_the_handshake_is_an_authentication_error() {
        let kind = |reason| client_error(RDKafkaErrorCode::BrokerTransportFailure, reason).kind();
        let alert = "Receive failed: SSL routines::tlsv13 alert certificate required: SSL alert \
                     number 116 (after 1ms in state APIVERSION_QUERY)";
        assert_eq!(kind(alert), ErrorKind::Authentication);
        assert_eq!(kind("Connect failed: refused"), ErrorKind::Unavailable);
        let fault = "tlsv1 alert internal error: SSL alert number 80";
        assert_eq!(kind(fault), ErrorKind::Unavailable);
    }

    #[test]
    fn an_error_code_becomes_a_kind_and_a_message_that_says_what_to_do() {
        let error = broker_error(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            "deliver a record",
        );
        assert_eq!(error.kind(), ErrorKind::UnknownTopic);
        assert!(
            error
                .message()
                .starts_with("cannot deliver a record: Broker: Unknown topic")
        );
        assert!(error.message().contains("topics apply"));
        assert_eq!(
            broker_error(RDKafkaRespErr::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, "x").kind(),
            ErrorKind::Timeout
        );
    }
}

//! Brokers' answers to admin requests as errors.

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::kafka::{Health, broker_error};
use crate::{Error, ErrorKind};

/// The error of a request that was answered with `code`. `why` is the broker's own message, which is
/// more specific than the code; `doing` is the request. The context names the `code`.
pub(super) fn operation_error(code: RDKafkaRespErr, why: Option<&str>, doing: &str) -> Error {
    use RDKafkaErrorCode as Code;
    let known = Code::from(code);
    let general = broker_error(code, doing);
    let kind = match known {
        Code::InvalidReplicationFactor
        | Code::InvalidPartitions
        | Code::InvalidReplicaAssignment
        | Code::InvalidRequest
        | Code::TopicAlreadyExists
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature => ErrorKind::InvalidConfig,
        Code::NotController | Code::ReassignmentInProgress | Code::ThrottlingQuotaExceeded => {
            ErrorKind::Unavailable
        }
        _ => general.kind(),
    };
    let advice = match known {
        Code::InvalidReplicationFactor => {
            "; use a lower one on a development cluster with fewer brokers (`--dev`)"
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature => {
            "; the brokers do not support this request"
        }
        _ => "",
    };
    let message = match why.map(str::trim).filter(|why| !why.is_empty()) {
        Some(why) => format!("cannot {doing}: {}{advice}", why.trim_end_matches('.')),
        None => format!("{}{advice}", general.message()),
    };
    Error::new(kind, message).with("code", format!("{known:?}"))
}

/// `error`, or its cause if no broker answered in time: a rejected certificate is an authentication
/// error, an unreachable broker is unavailable.
pub(super) fn why_late(error: Error, health: &Health) -> Error {
    if !matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) {
        return error;
    }
    let Some(trouble) = health.trouble() else {
        return error;
    };
    let kind = match trouble.kind() {
        kind @ (ErrorKind::Authentication | ErrorKind::Authorization | ErrorKind::Unavailable) => {
            kind
        }
        _ => error.kind(),
    };
    let message = format!("{}; {}", error.message(), trouble.message());
    let context = error
        .context()
        .map(|(name, value)| (name, value.to_owned()));
    context.fold(Error::new(kind, message), |error, (name, value)| {
        error.with(name, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_message_is_kept_and_completed() {
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR;
        let error = operation_error(
            code,
            Some("Only 1 broker(s) are registered."),
            "create the topic",
        );
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(
            error.message(),
            "cannot create the topic: Only 1 broker(s) are registered; use a lower one on a \
             development cluster with fewer brokers (`--dev`)"
        );
        assert_eq!(error.get("code"), Some("InvalidReplicationFactor"));
    }

    #[test]
    fn a_timeout_names_its_cause_if_it_is_known() {
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT;
        let error = operation_error(code, None, "list the cluster's topics");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(why_late(error.clone(), &Health::default()), error);
    }
}

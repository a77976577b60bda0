//! What the brokers answer to admin requests, as our errors.

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::kafka::{Health, broker_error};
use crate::{Error, ErrorKind};

/// The error of a request that was answered with `code`; `why` is the broker's own sentence, which
/// says more than the code, and `doing` what was asked for. The context names the `code`.
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
            "; a development cluster with fewer brokers takes a lower one (`--dev`)"
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature => {
            "; the brokers do not know this request"
        }
        _ => "",
    };
    let message = match why.map(str::trim).filter(|why| !why.is_empty()) {
        Some(why) => format!("cannot {doing}: {}{advice}", why.trim_end_matches('.')),
        None => format!("{}{advice}", general.message()),
    };
    Error::new(kind, message).with("code", format!("{known:?}"))
}

/// `error` with its real cause where it is that nobody answered in time: nothing was changed that
/// we know of, so a refused certificate is an authentication error and a broker that cannot be
/// reached is unavailable.
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
    fn the_brokers_own_sentence_is_kept_and_completed() {
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR;
        let error = operation_error(
            code,
            Some("Only 1 broker(s) are registered."),
            "create the topic",
        );
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(
            error.message(),
            "cannot create the topic: Only 1 broker(s) are registered; a development cluster with \
             fewer brokers takes a lower one (`--dev`)"
        );
        assert_eq!(error.get("code"), Some("InvalidReplicationFactor"));
    }

    #[test]
    fn an_answer_that_never_came_says_why_where_that_is_known() {
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT;
        let error = operation_error(code, None, "ask the cluster for its topics");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(why_late(error.clone(), &Health::default()), error);
    }
}

//! The typed calls of `event_producer.EventProducer`: the parameters, JSON members and event of each.

use std::borrow::Cow;

use carbon_events::events::{
    AuditAPICallEvent, DataIngestionEvent, DataQualityEvent, EncodedEvent, Envelope,
    ServiceHealthEvent,
};
use carbon_events::{Delivery, EventProducer, Result, Topic};
use pyo3::prelude::*;

use crate::events::{Arguments, Refused, Source};

/// Creates an event from a call's arguments and passes it to a function that sends it.
pub(super) type Send = for<'p> fn(
    &mut Arguments<'p>,
    &'p str,
    &mut dyn FnMut(&dyn Sending) -> PyResult<()>,
) -> std::result::Result<PyResult<()>, Refused>;

/// An event that borrows from Python objects.
pub(super) trait Sending {
    fn try_send(&self, producer: &EventProducer) -> Result<Delivery>;
    /// A copy that borrows nothing.
    fn encoded(&self) -> Result<EncodedEvent>;
}

impl<E: carbon_events::TypedEvent> Sending for E {
    #[inline]
    fn try_send(&self, producer: &EventProducer) -> Result<Delivery> {
        producer.try_send(self)
    }

    fn encoded(&self) -> Result<EncodedEvent> {
        EncodedEvent::new(self)
    }
}

/// A typed call. The first of its parameters is the record's key.
pub(super) struct Call {
    /// The name of its function in `carbon_events._native`.
    pub(super) name: &'static std::ffi::CStr,
    pub(super) topic: Topic,
    /// The number of parameters without `self`.
    pub(super) parameters: usize,
    /// The members of its JSON after the envelope, in order: the name and the parameter's index.
    pub(super) members: &'static [(&'static str, usize)],
    pub(super) send: Send,
}

impl Call {
    /// The name of the record, which is the event's type.
    pub(super) fn record(&self) -> &'static str {
        self.topic.spec().record
    }
}

fn envelope<'p>(event: &'static str, source: &'p str) -> Envelope<'p> {
    let mut envelope = Envelope::new(event);
    envelope.source = Cow::Borrowed(source);
    envelope
}

pub(super) static CALLS: [Call; 4] = [
    Call {
        name: c"try_api_call",
        topic: Topic::AuditApiCalls,
        parameters: 10,
        members: &[
            ("service", 0),
            ("endpoint", 1),
            ("method", 2),
            ("statusCode", 3),
            ("latencyMs", 4),
            ("requestSizeBytes", 5),
            ("responseSizeBytes", 6),
            ("userId", 7),
            ("ipAddress", 8),
            ("errorMessage", 9),
        ],
        send: |call, source, send| {
            let event = AuditAPICallEvent {
                envelope: envelope("AuditAPICallEvent", source),
                service: call.required()?,
                endpoint: call.required()?,
                method: call.required()?,
                status_code: call.required()?,
                latency_ms: call.required()?,
                request_size_bytes: call.required()?,
                response_size_bytes: call.required()?,
                user_id: call.required()?,
                api_key: None,
                ip_address: call.required()?,
                error_message: call.required()?,
            };
            Ok(send(&event))
        },
    },
    Call {
        name: c"try_data_ingestion",
        topic: Topic::DataIngestion,
        parameters: 7,
        members: &[
            ("datasetName", 0),
            ("recordCount", 1),
            ("sizeBytes", 2),
            ("format", 5),
            ("location", 3),
            ("status", 4),
            ("metadata", 6),
        ],
        send: |call, source, send| {
            // In the order of the parameters, which differs from that of the fields.
            let event = DataIngestionEvent {
                envelope: envelope("DataIngestionEvent", source),
                dataset_name: call.required()?,
                record_count: call.required()?,
                size_bytes: call.required()?,
                location: call.required()?,
                status: call.required()?,
                format: call.required()?,
                metadata: call.required::<Option<_>>()?.unwrap_or_default(),
            };
            Ok(send(&event))
        },
    },
    Call {
        name: c"try_data_quality",
        topic: Topic::DataQuality,
        parameters: 8,
        members: &[
            ("datasetName", 0),
            ("checkType", 1),
            ("checkName", 2),
            ("result", 3),
            ("score", 4),
            ("failedRecords", 5),
            ("totalRecords", 6),
            ("message", 7),
        ],
        send: |call, source, send| {
            let event = DataQualityEvent {
                envelope: envelope("DataQualityEvent", source),
                dataset_name: call.required()?,
                check_type: call.required()?,
                check_name: call.required()?,
                result: call.required()?,
                score: call.required()?,
                failed_records: call.required()?,
                total_records: call.required()?,
                message: call.required()?,
            };
            Ok(send(&event))
        },
    },
    Call {
        name: c"try_service_health",
        topic: Topic::SystemHealth,
        parameters: 6,
        members: &[
            ("serviceName", 0),
            ("namespace", 1),
            ("healthStatus", 2),
            ("latencyMs", 3),
            ("errorRate", 4),
            ("message", 5),
        ],
        send: |call, source, send| {
            let event = ServiceHealthEvent {
                envelope: envelope("ServiceHealthEvent", source),
                service_name: call.required()?,
                namespace: call.required()?,
                health_status: call.required()?,
                latency_ms: call.required()?,
                error_rate: call.required()?,
                message: call.required()?,
            };
            Ok(send(&event))
        },
    },
];

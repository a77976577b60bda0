//! The typed calls of `event_producer.EventProducer`: their signatures, and the event of each.

use std::borrow::Cow;

use carbon_events::EventProducer;
use carbon_events::events::{
    AuditAPICallEvent, DataIngestionEvent, DataQualityEvent, Envelope, ServiceHealthEvent,
};
use pyo3::prelude::*;

use crate::events::{Arguments, Refused, Source};

/// Makes an event of a call's arguments and sends it.
pub(super) type Send = for<'p> fn(
    &mut Arguments<'p>,
    &'p str,
    &mut dyn FnMut(&dyn Sending) -> PyResult<carbon_events::Result<()>>,
) -> Result<PyResult<carbon_events::Result<()>>, Refused>;

/// An event that a producer can be handed.
pub(super) trait Sending {
    fn send(&self, producer: &EventProducer) -> carbon_events::Result<carbon_events::Delivery>;
}

impl<E: carbon_events::TypedEvent> Sending for E {
    #[inline]
    fn send(&self, producer: &EventProducer) -> carbon_events::Result<carbon_events::Delivery> {
        producer.try_send(self)
    }
}

pub(super) struct Call {
    pub(super) name: &'static str,
    /// The signature for `help()`, and the parameters' names in their order.
    pub(super) signature: &'static str,
    pub(super) names: &'static [&'static str],
    pub(super) send: Send,
}

fn envelope<'p>(event: &'static str, source: &'p str) -> Envelope<'p> {
    let mut envelope = Envelope::new(event);
    envelope.source = Cow::Borrowed(source);
    envelope
}

pub(super) static CALLS: [Call; 4] = [
    Call {
        name: "produce_api_call_event",
        signature: "($self, service, endpoint, method, status_code, latency_ms, request_size, \
                    response_size, user_id=None, ip_address='unknown', error_message=None)",
        names: &[
            "service",
            "endpoint",
            "method",
            "status_code",
            "latency_ms",
            "request_size",
            "response_size",
            "user_id",
            "ip_address",
            "error_message",
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
                user_id: call.or(|| None)?,
                api_key: None,
                ip_address: call.or(|| Cow::Borrowed("unknown"))?,
                error_message: call.or(|| None)?,
            };
            Ok(send(&event))
        },
    },
    Call {
        name: "produce_data_ingestion_event",
        signature: "($self, dataset_name, record_count, size_bytes, location, status='SUCCESS', \
                    format='parquet', metadata=None)",
        names: &[
            "dataset_name",
            "record_count",
            "size_bytes",
            "location",
            "status",
            "format",
            "metadata",
        ],
        send: |call, source, send| {
            let (dataset_name, record_count, size_bytes, location) = (
                call.required()?,
                call.required()?,
                call.required()?,
                call.required()?,
            );
            let event = DataIngestionEvent {
                envelope: envelope("DataIngestionEvent", source),
                dataset_name,
                record_count,
                size_bytes,
                location,
                status: call.or(|| carbon_events::events::IngestionStatus::Success)?,
                format: call.or(|| Cow::Borrowed("parquet"))?,
                metadata: call.or(|| None)?.unwrap_or_default(),
            };
            Ok(send(&event))
        },
    },
    Call {
        name: "produce_data_quality_event",
        signature: "($self, dataset_name, check_type, check_name, result, score, failed_records, \
                    total_records, message=None)",
        names: &[
            "dataset_name",
            "check_type",
            "check_name",
            "result",
            "score",
            "failed_records",
            "total_records",
            "message",
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
                message: call.or(|| None)?,
            };
            Ok(send(&event))
        },
    },
    Call {
        name: "produce_service_health_event",
        signature: "($self, service_name, namespace, health_status, latency_ms, error_rate, \
                    message=None)",
        names: &[
            "service_name",
            "namespace",
            "health_status",
            "latency_ms",
            "error_rate",
            "message",
        ],
        send: |call, source, send| {
            let event = ServiceHealthEvent {
                envelope: envelope("ServiceHealthEvent", source),
                service_name: call.required()?,
                namespace: call.required()?,
                health_status: call.required()?,
                latency_ms: call.required()?,
                error_rate: call.required()?,
                message: call.or(|| None)?,
            };
            Ok(send(&event))
        },
    },
];

//! Four shapes of event: small, with long text, with a large map, with a large array of records.

use std::collections::HashMap;
use std::hash::Hash;

use carbon_events_types::events::{
    ActionResult, AuditAPICallEvent, AuditDataAccessEvent, ColumnLineage, DataAccessType,
    DataIngestionEvent, DataLineageEvent, IngestionStatus, TransformationType,
};
use carbon_events_types::{EventId, TypedEvent};
use serde::{Deserialize, Serialize};

use crate::Peer;

/// One event in every form.
pub struct Sample<E, T> {
    /// Ours.
    pub event: E,
    /// With serde's derives.
    pub peer: T,
    /// Its Avro body.
    pub body: Vec<u8>,
    /// Its JSON.
    pub json: Vec<u8>,
    /// The other libraries' codecs for it.
    pub codec: Peer,
}

impl<E: TypedEvent, T: Serialize> Sample<E, T> {
    fn new(event: E, peer: T) -> Self {
        let mut body = Vec::new();
        event.encode("", &mut body);
        let codec = Peer::new(E::SCHEMA_JSON);
        let mut theirs = Vec::new();
        codec.fast_encoder()(&peer, &mut theirs);
        // A `HashMap` has an order of its own, so that where there is one only the length agrees.
        assert_eq!(theirs.len(), body.len(), "{} is encoded otherwise", E::NAME);
        let json = serde_json::to_vec(&peer).expect("it is encodable");
        Sample {
            event,
            peer,
            body,
            json,
            codec,
        }
    }
}

/// All of them.
pub struct Samples {
    /// 18 short fields, about 200 bytes.
    pub small: Sample<AuditAPICallEvent<'static>, Call<&'static str>>,
    /// A query of four thousand bytes and a purpose of one thousand.
    pub long_text: Sample<AuditDataAccessEvent<'static>, Access<&'static str>>,
    /// A map of 300 entries.
    pub map: Sample<DataIngestionEvent<'static>, Ingestion<&'static str>>,
    /// An array of 100 records.
    pub array: Sample<DataLineageEvent<'static>, Lineage<&'static str>>,
}

impl Default for Samples {
    fn default() -> Self {
        Samples {
            small: small(),
            long_text: long_text(),
            map: map(),
            array: array(),
        }
    }
}

/// A struct of the envelope's fields and an event's, its text either `&str` or `String`.
macro_rules! peer {
    ($name:ident { $($field:ident: $type:ty,)* }) => {
        #[doc = concat!("The fields of an event, as serde sees them: ", stringify!($name), ".")]
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(
            rename_all = "camelCase",
            bound(serialize = "S: Serialize", deserialize = "S: Deserialize<'de> + Eq + Hash")
        )]
        pub struct $name<S> {
            event_id: S,
            event_type: S,
            timestamp: i64,
            source: S,
            version: S,
            correlation_id: Option<S>,
            causation_id: Option<S>,
            $($field: $type,)*
        }
    };
}

peer!(Call {
    service: S,
    endpoint: S,
    method: S,
    status_code: i32,
    latency_ms: i64,
    request_size_bytes: i64,
    response_size_bytes: i64,
    user_id: Option<S>,
    api_key: Option<S>,
    ip_address: S,
    error_message: Option<S>,
});

peer!(Access {
    user_id: S,
    dataset_name: S,
    access_type: AccessType,
    tool: S,
    columns: Vec<S>,
    row_count: i64,
    size_bytes: i64,
    query: Option<S>,
    purpose: Option<S>,
    result: Outcome,
    ip_address: S,
});

peer!(Ingestion {
    dataset_name: S,
    record_count: i64,
    size_bytes: i64,
    format: S,
    location: S,
    status: Status,
    metadata: HashMap<S, S>,
});

peer!(Lineage {
    source_dataset: S,
    target_dataset: S,
    transformation_type: Transformation,
    transformation_name: S,
    query: Option<S>,
    columns: Vec<Column<S>>,
});

/// An item of [`Lineage`]'s array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column<S> {
    source_column: S,
    target_column: S,
    transformation: Option<S>,
}

/// The symbols of an enum that occur in a sample, at their places.
macro_rules! symbols {
    ($name:ident { $($symbol:ident),* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        enum $name {
            $($symbol,)*
        }
    };
}

symbols!(AccessType { Read });
symbols!(Outcome { Success });
symbols!(Status { Success });
symbols!(Transformation { Copy, Transform });

const ID: &str = "018f3c2a-7b1e-7c44-9a55-2f6d0e9b1c77";
const NOW_MS: i64 = 1_762_000_000_000;
const SOURCE: &str = "api-gateway";

/// Text that lives as long as the process, like a literal.
fn leak(text: String) -> &'static str {
    text.leak()
}

fn small() -> Sample<AuditAPICallEvent<'static>, Call<&'static str>> {
    let event = AuditAPICallEvent::builder()
        .event_id(EventId::from(ID).into_owned())
        .timestamp_ms(NOW_MS)
        .source(SOURCE)
        .correlation_id(ID)
        .service("market-data-service")
        .endpoint("/api/v1/markets/power/prices")
        .method("GET")
        .status_code(200)
        .latency_ms(37)
        .request_size_bytes(512)
        .response_size_bytes(20_480)
        .user_id("user-12345")
        .ip_address("10.42.17.203")
        .build();
    let peer = Call {
        event_id: ID,
        event_type: AuditAPICallEvent::NAME,
        timestamp: NOW_MS,
        source: SOURCE,
        version: "1.0.0",
        correlation_id: Some(ID),
        causation_id: None,
        service: "market-data-service",
        endpoint: "/api/v1/markets/power/prices",
        method: "GET",
        status_code: 200,
        latency_ms: 37,
        request_size_bytes: 512,
        response_size_bytes: 20_480,
        user_id: Some("user-12345"),
        api_key: None,
        ip_address: "10.42.17.203",
        error_message: None,
    };
    Sample::new(event.expect("it is valid"), peer)
}

fn long_text() -> Sample<AuditDataAccessEvent<'static>, Access<&'static str>> {
    let query = leak("SELECT hub, avg(price) FROM curated.power_prices WHERE day = ".repeat(66));
    let purpose = leak("Month-end settlement of the power desk. ".repeat(25));
    let columns = ["hub", "day", "price", "volume"];
    let event = AuditDataAccessEvent::builder()
        .event_id(EventId::from(ID).into_owned())
        .timestamp_ms(NOW_MS)
        .source(SOURCE)
        .user_id("user-12345")
        .dataset_name("curated.power_prices")
        .access_type(DataAccessType::Read)
        .tool("trino")
        .columns(columns)
        .row_count(1_250_000)
        .size_bytes(88_000_000)
        .query(query)
        .purpose(purpose)
        .result(ActionResult::Success)
        .ip_address("10.42.17.203")
        .build();
    let peer = Access {
        event_id: ID,
        event_type: AuditDataAccessEvent::NAME,
        timestamp: NOW_MS,
        source: SOURCE,
        version: "1.0.0",
        correlation_id: None,
        causation_id: None,
        user_id: "user-12345",
        dataset_name: "curated.power_prices",
        access_type: AccessType::Read,
        tool: "trino",
        columns: columns.to_vec(),
        row_count: 1_250_000,
        size_bytes: 88_000_000,
        query: Some(query),
        purpose: Some(purpose),
        result: Outcome::Success,
        ip_address: "10.42.17.203",
    };
    Sample::new(event.expect("it is valid"), peer)
}

fn map() -> Sample<DataIngestionEvent<'static>, Ingestion<&'static str>> {
    let entries: Vec<(&str, &str)> = (0..300)
        .map(|n| {
            (
                leak(format!("partition-{n}")),
                leak(format!("s3://raw/power/{n}.parquet")),
            )
        })
        .collect();
    let event = DataIngestionEvent::builder()
        .event_id(EventId::from(ID).into_owned())
        .timestamp_ms(NOW_MS)
        .source(SOURCE)
        .dataset_name("raw.power_prices")
        .record_count(1_250_000)
        .size_bytes(88_000_000)
        .format("parquet")
        .location("s3://raw/power")
        .status(IngestionStatus::Success)
        .metadata(entries.clone())
        .build();
    let peer = Ingestion {
        event_id: ID,
        event_type: DataIngestionEvent::NAME,
        timestamp: NOW_MS,
        source: SOURCE,
        version: "1.0.0",
        correlation_id: None,
        causation_id: None,
        dataset_name: "raw.power_prices",
        record_count: 1_250_000,
        size_bytes: 88_000_000,
        format: "parquet",
        location: "s3://raw/power",
        status: Status::Success,
        metadata: entries.into_iter().collect(),
    };
    Sample::new(event.expect("it is valid"), peer)
}

fn array() -> Sample<DataLineageEvent<'static>, Lineage<&'static str>> {
    let columns: Vec<[&str; 2]> = (0..100)
        .map(|n| {
            [
                leak(format!("raw_column_{n}")),
                leak(format!("curated_column_{n}")),
            ]
        })
        .collect();
    let expression = "cast(value as double)";
    let ours = columns
        .iter()
        .map(|[source, target]| ColumnLineage::new(*source, *target).transformation(expression));
    let event = DataLineageEvent::builder()
        .event_id(EventId::from(ID).into_owned())
        .timestamp_ms(NOW_MS)
        .source(SOURCE)
        .source_dataset("raw.power_prices")
        .target_dataset("curated.power_prices")
        .transformation_type(TransformationType::Transform)
        .transformation_name("curate-power-prices")
        .columns(ours.collect::<Vec<_>>())
        .build();
    let theirs = columns.iter().map(|[source, target]| Column {
        source_column: *source,
        target_column: *target,
        transformation: Some(expression),
    });
    let peer = Lineage {
        event_id: ID,
        event_type: DataLineageEvent::NAME,
        timestamp: NOW_MS,
        source: SOURCE,
        version: "1.0.0",
        correlation_id: None,
        causation_id: None,
        source_dataset: "raw.power_prices",
        target_dataset: "curated.power_prices",
        transformation_type: Transformation::Transform,
        transformation_name: "curate-power-prices",
        query: None,
        columns: theirs.collect(),
    };
    Sample::new(event.expect("it is valid"), peer)
}

//! Our ids and frames beside those of schema_registry_converter, on the same registry.

use apache_avro::types::Value;
use schema_registry_converter::async_impl::avro::{AvroDecoder, AvroEncoder};
use schema_registry_converter::async_impl::schema_registry::SrSettings;
use schema_registry_converter::avro_common::get_supplied_schema;
use schema_registry_converter::schema_registry_common::SubjectNameStrategy;

use super::*;

fn converter_settings(mock: &MockRegistry) -> SrSettings {
    SrSettings::new_builder(mock.url())
        .no_proxy()
        .build()
        .unwrap()
}

#[tokio::test]
async fn another_client_reads_a_frame_with_our_id() {
    let (mock, client) = started();
    let id = client.subject("orders", ORDER).resolve().await.unwrap();
    // 0x00, the id as four bytes big-endian, then the zigzag of 21.
    let mut frame = vec![0];
    frame.extend_from_slice(&id.to_be_bytes());
    frame.push(42);
    let decoder = AvroDecoder::new(converter_settings(&mock));
    let decoded = decoder.decode(Some(&frame)).await.unwrap();
    assert_eq!(
        decoded.value,
        Value::Record(vec![("number".to_owned(), Value::Long(21))])
    );
}

#[tokio::test]
async fn we_find_the_schema_that_another_client_registered() {
    let (mock, client) = started();
    let schema = apache_avro::Schema::parse_str(ORDER).unwrap();
    let strategy = SubjectNameStrategy::TopicNameStrategyWithSchema(
        "orders".to_owned(),
        false,
        get_supplied_schema(&schema),
    );
    let encoder = AvroEncoder::new(converter_settings(&mock));
    let frame = encoder
        .encode(vec![("number", Value::Long(21))], strategy)
        .await
        .unwrap();
    let id = u32::from_be_bytes(frame[1..5].try_into().unwrap());
    let found = client.schema(id).await.unwrap();
    assert_eq!(
        apache_avro::Schema::parse_str(&found.schema).unwrap(),
        schema
    );
    let ours = client
        .subject("orders", &found.schema)
        .resolve()
        .await
        .unwrap();
    assert_eq!(ours, id);
    assert_eq!(mock.calls().registers, 1);
}

//! The client against a registry in this process, with every fault that it can be made to have.

use std::time::{Duration, Instant};

use super::*;
use crate::testkit::{MockRegistry, RegistryFault};

#[cfg(unix)]
mod fork;
mod given;
mod http;
mod oracle;
mod outage;
mod source;
mod tls;

const LONG: Duration = Duration::from_secs(3600);
const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "number", "type": "long"}]}"#;
/// Can read `ORDER`; the field has a default.
const ORDER_WITH_NOTE: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "number", "type": "long"},
    {"name": "note", "type": "string", "default": ""}]}"#;
/// Cannot read `ORDER`; the field has no default.
const ORDER_WITH_PRICE: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "number", "type": "long"}, {"name": "price", "type": "double"}]}"#;

fn started() -> (MockRegistry, SchemaRegistry) {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings()).unwrap();
    (mock, client)
}

/// An address where nothing listens: the port of a mock that is down.
fn nowhere() -> (MockRegistry, String) {
    let mock = MockRegistry::start().unwrap();
    mock.down();
    let url = mock.url();
    (mock, url)
}

/// Waits until a condition holds that another thread brings about.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_schema_is_registered_once_and_its_id_kept() {
    let (mock, client) = started();
    let id = client.subject("orders", ORDER);
    assert_eq!(id.get(), None);
    assert_eq!(id.resolve_blocking().unwrap(), 1);
    assert_eq!(
        (id.get(), client.subject("orders", ORDER).get()),
        (Some(1), Some(1))
    );
    assert_eq!(
        client.subject("orders", ORDER).resolve_blocking().unwrap(),
        1
    );
    let calls = mock.calls();
    assert_eq!((calls.total, calls.look_ups, calls.registers), (2, 1, 1));
    assert_eq!(mock.versions("orders-value"), [ORDER]);
}

#[test]
fn a_schema_that_is_there_is_looked_up_and_not_registered() {
    let (mock, client) = started();
    mock.register("orders-value", ORDER).unwrap();
    mock.register("orders-value", ORDER_WITH_NOTE).unwrap();
    // The older one, too, whatever the newest is.
    assert_eq!(
        client.subject("orders", ORDER).resolve_blocking().unwrap(),
        1
    );
    assert_eq!(mock.calls().registers, 0);
}

#[test]
fn many_threads_cause_one_look_up() {
    let (mock, client) = started();
    mock.register("orders-value", ORDER).unwrap();
    let id = client.subject("orders", ORDER);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(id.resolve_blocking().unwrap(), 1));
        }
    });
    assert_eq!(mock.calls().total, 1);
}

#[tokio::test]
async fn both_kinds_of_calls_work_inside_a_runtime() {
    let (mock, client) = started();
    assert_eq!(client.subject("orders", ORDER).resolve().await.unwrap(), 1);
    assert_eq!(
        client
            .subject("invoices", ORDER)
            .resolve_blocking()
            .unwrap(),
        1
    );
    assert_eq!(client.schema(1).await.unwrap().schema, ORDER);
    assert_eq!(client.schema_blocking(1).unwrap().schema, ORDER);
    assert_eq!(mock.calls().schemas, 1);
}

#[test]
fn without_auto_register_a_schema_is_looked_up_alone() {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings().auto_register(false)).unwrap();
    let error = client
        .subject("orders", ORDER)
        .resolve_blocking()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
    assert_eq!(error.get("subject"), Some("orders-value"));
    assert_eq!(
        error.get("url").map(|url| url.trim_end_matches('/')),
        Some(mock.url().as_str())
    );
    assert_eq!(mock.calls().registers, 0);
    mock.register("orders-value", ORDER).unwrap();
    assert_eq!(
        client.subject("orders", ORDER).resolve_blocking().unwrap(),
        1
    );
}

#[test]
fn an_incompatible_schema_is_refused_with_what_differs() {
    let (mock, client) = started();
    mock.register("orders-value", ORDER).unwrap();
    for settings in [mock.settings(), mock.settings().check_compatibility(true)] {
        let client = SchemaRegistry::new(&settings).unwrap();
        let error = client
            .subject("orders", ORDER_WITH_PRICE)
            .resolve_blocking()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
        assert!(error.message().contains("price"), "{error}");
        assert!(!error.retryable());
    }
    assert_eq!(
        mock.calls().registers,
        1,
        "the check alone is asked the second time"
    );
    let found = client
        .check_compatibility_blocking("orders", ORDER_WITH_PRICE)
        .unwrap();
    assert!(
        !found.compatible && found.messages[0].contains("price"),
        "{found:?}"
    );
    assert!(
        client
            .check_compatibility_blocking("orders", ORDER_WITH_NOTE)
            .unwrap()
            .compatible
    );
    assert!(
        client
            .check_compatibility_blocking("unheard-of", ORDER)
            .unwrap()
            .compatible
    );
}

#[test]
fn what_is_no_schema_is_refused() {
    let (_mock, client) = started();
    let error = client
        .subject("orders", "{\"type\": \"recrod\"}")
        .resolve_blocking()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
    assert_eq!(error.get("status"), Some("422"));
}

#[test]
fn a_schema_comes_with_those_that_it_refers_to() {
    let (mock, client) = started();
    let address = r#"{"type": "record", "name": "Address", "fields": [
        {"name": "city", "type": "string"}]}"#;
    mock.register("address", address).unwrap();
    let customer = r#"{"type": "record", "name": "Customer", "fields": [
        {"name": "home", "type": "Address"}]}"#;
    let body = json!({ "schema": customer, "references": [
        { "name": "Address", "subject": "address", "version": 1 }] });
    let registering = client.0.clone();
    let registered: IdAnswer = background::block_on(async move {
        let call = Call::post(&["subjects", "customers-value", "versions"], body);
        registering.http.call(&call).await
    })
    .unwrap()
    .unwrap();
    let found = client.schema_blocking(registered.id).unwrap();
    assert_eq!(
        (found.schema.as_str(), found.references.as_slice()),
        (customer, &[address.to_owned()][..])
    );
}

#[test]
fn a_schema_that_is_not_avro_is_undecodable() {
    let (mock, client) = started();
    mock.fail(RegistryFault::Body(
        r#"{"schemaType": "PROTOBUF", "schema": "message A {}"}"#.into(),
    ));
    let error = client.schema_blocking(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undecodable);
    assert!(error.message().contains("PROTOBUF"), "{error}");
}

#[test]
fn the_newest_version_is_told_and_registering_is_forced_on_request() {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings().auto_register(false)).unwrap();
    assert_eq!(client.latest_blocking("orders").unwrap(), None);
    assert_eq!(client.register_blocking("orders", ORDER).unwrap(), 1);
    assert_eq!(
        client.register_blocking("orders", ORDER_WITH_NOTE).unwrap(),
        2
    );
    let latest = client.latest_blocking("orders").unwrap().unwrap();
    assert_eq!(
        (latest.version, latest.id, latest.schema.as_str()),
        (2, 2, ORDER_WITH_NOTE)
    );
}

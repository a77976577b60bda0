//! The client against a registry in this process, with every fault that it can be made to have.

use std::time::{Duration, Instant};

use super::*;
use crate::testkit::{MockRegistry, RegistryFault};

#[cfg(unix)]
mod fork;
mod oracle;
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
fn a_refused_login_is_final() {
    let (mock, client) = started();
    mock.require_basic("me", "s3cret");
    let error = client.schema_blocking(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(mock.calls().total, 1, "asking again would lock the account");
    mock.fail_next(1, RegistryFault::Status(403));
    assert_eq!(
        client.schema_blocking(1).unwrap_err().kind(),
        ErrorKind::Authorization
    );
}

#[test]
fn logins_of_every_kind_are_sent() {
    let mock = MockRegistry::start().unwrap();
    mock.register("orders-value", ORDER).unwrap();
    mock.require_basic("me@corp", "p:/w");
    let with_login = mock.url().replace("http://", "http://me%40corp:p%3A%2Fw@");
    let quick = |settings: RegistrySettings| settings.retries(0);
    for settings in [
        quick(RegistrySettings::new(with_login)),
        quick(mock.settings().username("me@corp").password("p:/w")),
    ] {
        let client = SchemaRegistry::new(&settings).unwrap();
        assert!(client.schema_blocking(1).is_ok(), "{settings:?}");
    }
    mock.require_bearer("t0ken");
    let client = SchemaRegistry::new(&quick(mock.settings().bearer_token("t0ken"))).unwrap();
    assert!(client.schema_blocking(1).is_ok());
}

#[test]
fn what_passes_is_asked_again_and_what_stays_is_not() {
    for (fault, calls) in [
        (RegistryFault::Status(500), 3),
        (RegistryFault::Status(503), 3),
        (RegistryFault::Status(429), 3),
        (RegistryFault::Disconnect, 3),
        (RegistryFault::Body("<html>login</html>".to_owned()), 3),
        (RegistryFault::Status(409), 1),
        (RegistryFault::Status(422), 1),
        (RegistryFault::Status(400), 1),
    ] {
        let (mock, client) = started();
        mock.register("orders-value", ORDER).unwrap();
        mock.fail_next(2, fault.clone());
        let outcome = client.schema_blocking(1);
        assert_eq!(outcome.is_ok(), calls == 3, "{fault:?}: {outcome:?}");
        assert_eq!(mock.calls().total, calls, "{fault:?}");
    }
}

#[test]
fn patience_ends() {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings().retries(2)).unwrap();
    mock.fail(RegistryFault::Status(502));
    let error = client
        .subject("orders", ORDER)
        .resolve_blocking()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        (error.get("status"), error.get("subject")),
        (Some("502"), Some("orders-value"))
    );
    assert_eq!(mock.calls().total, 3);
}

#[test]
fn a_slow_answer_is_given_up_at_the_deadline() {
    let mock = MockRegistry::start().unwrap();
    let settings = mock
        .settings()
        .timeout(Duration::from_millis(50))
        .retries(0);
    let client = SchemaRegistry::new(&settings).unwrap();
    mock.fail(RegistryFault::Slow(LONG));
    let error = client.schema_blocking(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("within 50ms"), "{error}");
}

#[test]
fn an_endless_answer_costs_bounded_memory_and_no_retry() {
    let (mock, client) = started();
    mock.fail(RegistryFault::Body("[".repeat(9 << 20)));
    let error = client.schema_blocking(1).unwrap_err();
    assert!(error.message().contains("larger than"), "{error}");
    assert_eq!(mock.calls().total, 1);
}

#[test]
fn a_deeply_nested_answer_is_garbage() {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings().retries(0)).unwrap();
    mock.fail(RegistryFault::Body(format!(
        "{}1",
        "{\"a\":".repeat(100_000)
    )));
    assert_eq!(
        client.schema_blocking(1).unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[test]
fn a_registry_that_is_down_is_unavailable_and_named_without_its_password() {
    let (_mock, url) = nowhere();
    let settings = RegistrySettings::new(url.replace("http://", "http://me:s3cret@"));
    let client = SchemaRegistry::new(&settings.retries(1).backoff(Duration::ZERO)).unwrap();
    let error = client.schema_blocking(7).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.get("schema_id"), Some("7"));
    assert!(error.message().contains("refused"), "{error}");
    assert!(
        !format!("{error} {client:?}").contains("s3cret"),
        "{error} {client:?}"
    );
}

#[test]
fn a_running_client_does_not_notice_an_outage_for_what_it_knows() {
    let (mock, client) = started();
    let id = client.subject("orders", ORDER);
    id.resolve_blocking().unwrap();
    client.schema_blocking(1).unwrap();
    mock.down();
    assert_eq!((id.get(), id.resolve_blocking().unwrap()), (Some(1), 1));
    assert_eq!(client.subject("orders", ORDER).get(), Some(1));
    assert_eq!(client.schema_blocking(1).unwrap().schema, ORDER);
    assert!(client.schema_blocking(2).is_err());
    mock.up();
    mock.register("invoices-value", "\"string\"").unwrap();
    assert_eq!(client.schema_blocking(2).unwrap().schema, "\"string\"");
}

#[test]
fn other_addresses_are_tried_and_the_good_one_first_from_then_on() {
    let (_down, nowhere) = nowhere();
    let (sick, well) = (
        MockRegistry::start().unwrap(),
        MockRegistry::start().unwrap(),
    );
    sick.fail(RegistryFault::Status(500));
    well.register("orders-value", ORDER).unwrap();
    let settings = well
        .settings()
        .urls([nowhere, sick.url(), well.url()])
        .retries(0);
    let client = SchemaRegistry::new(&settings).unwrap();
    assert_eq!(client.schema_blocking(1).unwrap().schema, ORDER);
    client.subject("orders", ORDER).resolve_blocking().unwrap();
    assert_eq!((sick.calls().total, well.calls().total), (1, 2));
    // A final answer ends the call: no other address is asked.
    assert!(client.schema_blocking(99).is_err());
    assert_eq!(sick.calls().total, 1);
}

#[test]
fn an_unknown_id_is_asked_for_once_until_its_failure_is_old() {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings().failure_ttl(LONG)).unwrap();
    for _ in 0..5 {
        let error = client.schema_blocking(404).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        assert_eq!(error.get("schema_id"), Some("404"));
    }
    assert_eq!(mock.calls().schemas, 1);
    let client = SchemaRegistry::new(&mock.settings()).unwrap();
    assert!(client.schema_blocking(1).is_err());
    mock.register("orders-value", ORDER).unwrap();
    assert!(
        client.schema_blocking(1).is_ok(),
        "it was registered meanwhile"
    );
}

#[test]
fn ids_out_of_records_cannot_fill_the_memory() {
    let (mock, client) = started();
    mock.register("orders-value", ORDER).unwrap();
    client.schema_blocking(1).unwrap();
    let mut schemas = client.0.schemas.lock();
    for id in 2..=MAX_FAILED_IDS as u32 {
        schemas.insert(id, Arc::new(Once::new()));
    }
    drop(schemas);
    assert!(client.schema_blocking(1_000_000).is_err());
    assert_eq!(
        client.0.schemas.lock().len(),
        2,
        "the known one and the one just asked for"
    );
    assert!(client.known_schema(1).is_some());
}

#[test]
fn a_given_id_holds_without_a_registry() {
    let (_mock, url) = nowhere();
    let settings = RegistrySettings::new(url).schema_id("orders", 42);
    let client = SchemaRegistry::new(&settings).unwrap();
    let id = client.subject("orders", ORDER);
    assert_eq!(id.get(), Some(42));
    assert_eq!(id.resolve_blocking().unwrap(), 42);
    assert_eq!(id.get(), Some(42));
}

#[test]
fn a_given_id_is_checked_once_the_registry_answers() {
    let mock = MockRegistry::start().unwrap();
    mock.register("orders-value", ORDER).unwrap();
    mock.down();
    let client = SchemaRegistry::new(&mock.settings().schema_id("orders", 1).retries(0)).unwrap();
    let id = client.subject("orders", ORDER);
    assert_eq!(id.resolve_blocking().unwrap(), 1);
    mock.up();
    eventually("the id is checked", || mock.calls().schemas > 0);
    assert_eq!(id.get(), Some(1));
    assert_eq!(mock.calls().look_ups, 0);
}

#[test]
fn a_wrong_given_id_is_replaced_by_the_right_one() {
    let mock = MockRegistry::start().unwrap();
    mock.register("other-value", "\"string\"").unwrap();
    for wrong in [1, 77] {
        let client = SchemaRegistry::new(&mock.settings().schema_id("orders", wrong)).unwrap();
        let id = client.subject("orders", ORDER);
        assert_eq!(id.resolve_blocking().unwrap(), wrong);
        eventually("the id is replaced", || id.get() == Some(2));
        assert_eq!(id.resolve_blocking().unwrap(), 2);
    }
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

#[test]
fn calls_and_their_failures_are_counted() {
    let mock = MockRegistry::start().unwrap();
    let metrics = Metrics::new();
    let client = SchemaRegistry::with_metrics(&mock.settings(), metrics.clone()).unwrap();
    mock.register("orders-value", ORDER).unwrap();
    mock.fail_next(2, RegistryFault::Status(503));
    client.schema_blocking(1).unwrap();
    let registry = metrics.snapshot().registry;
    assert_eq!((registry.calls, registry.errors["Unavailable"]), (3, 2));
}

#[test]
fn a_handle_of_a_dropped_client_keeps_what_it_knows() {
    let (_mock, client) = started();
    let known = client.subject("orders", ORDER);
    known.resolve_blocking().unwrap();
    let unknown = client.subject("invoices", ORDER);
    drop(client);
    assert_eq!(known.get(), Some(1));
    assert_eq!(
        unknown.resolve_blocking().unwrap_err().kind(),
        ErrorKind::Closed
    );
}

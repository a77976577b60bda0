//! Registries that refuse, fail, lie or are gone, and how long they are asked.

use super::*;

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
        schemas.insert(SchemaKey::Id(id), Arc::new(Once::new()));
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

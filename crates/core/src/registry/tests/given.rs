//! Ids that the configuration gives, and what outlives the client.

use super::*;

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
fn a_given_id_whose_timestamps_count_in_another_unit_is_a_wrong_one() {
    let with_unit = |unit: &str| {
        format!(
            r#"{{"type": "record", "name": "Order", "fields": [
                {{"name": "at", "type": {{"type": "long", "logicalType": "{unit}"}}}}]}}"#
        )
    };
    let mock = MockRegistry::start().unwrap();
    mock.register("other-value", &with_unit("timestamp-micros"))
        .unwrap();
    let client = SchemaRegistry::new(&mock.settings().schema_id("orders", 1)).unwrap();
    let id = client.subject("orders", &with_unit("timestamp-millis"));
    assert_eq!(id.resolve_blocking().unwrap(), 1);
    eventually("the id is replaced", || id.get() == Some(2));
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

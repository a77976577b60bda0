//! The registry as the decoder asks it.

use super::*;
use crate::codec::SchemaSource;
use crate::events::Topic;

#[test]
fn an_older_schema_is_found_by_its_fingerprint() {
    let (mock, client) = started();
    let subject = subject_name(Topic::ALL[1].name());
    mock.register(&subject, ORDER).unwrap();
    mock.register(&subject, ORDER_WITH_NOTE).unwrap();
    let older = Schema::parse(ORDER).unwrap().fingerprint();
    assert_eq!(client.by_fingerprint(older).unwrap().fingerprint(), older);
    let calls = mock.calls().total;
    assert_eq!(client.by_fingerprint(older).unwrap().fingerprint(), older);
    assert_eq!(mock.calls().total, calls, "what was gathered is kept");
    let error = client.by_fingerprint(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undecodable);
    assert!(error.message().contains("0000000000000001"), "{error}");
}

#[test]
fn unknown_fingerprints_do_not_make_the_registry_be_searched_each_time() {
    let mock = MockRegistry::start().unwrap();
    let client = SchemaRegistry::new(&mock.settings().failure_ttl(LONG)).unwrap();
    for fingerprint in 0..20 {
        assert!(client.by_fingerprint(fingerprint).is_err());
    }
    assert_eq!(mock.calls().total, Topic::ALL.len() as u64);
}

#[test]
fn a_schema_by_id_is_ready_for_the_decoder() {
    let (mock, client) = started();
    mock.register("orders-value", ORDER).unwrap();
    assert_eq!(client.by_id(1).unwrap().name(), "Order");
    mock.fail_next(1, RegistryFault::Body(r#"{"schema": "{}"}"#.into()));
    let error = client.by_id(2).unwrap_err();
    assert_eq!(error.get("schema_id"), Some("2"));
}

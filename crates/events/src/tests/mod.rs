//! Tests of all the generated events alike.

mod damage;
mod golden;
mod oracle;
mod values;

use crate::events::{Event, Topic};

/// The Avro body of an event, checked against its bound.
fn encode(event: &Event<'_>, default_source: &str) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(default_source, &mut out);
    let bound = event.max_encoded_len() + default_source.len();
    assert!(
        out.len() <= bound,
        "{}: {} > {bound}",
        event.name(),
        out.len()
    );
    out
}

fn decode(topic: Topic, body: &[u8]) -> Event<'_> {
    Event::decode(topic, body).unwrap()
}

fn json(event: &Event<'_>, default_source: &str) -> serde_json::Value {
    let mut out = Vec::new();
    event.write_json(default_source, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

//! What the fuzz targets share.

use carbon_events_types::codec::Fill;
use carbon_events_types::events::{Event, Topic};

/// What stands in envelopes that are not complete.
pub const FILL: Fill<'_> = Fill {
    event_id: "01890a5d-ac96-774b-bcce-b302099a8057",
    timestamp_ms: 1_700_000_000_000,
    source: "fuzz",
};

/// The first byte picks the topic, all others are the input.
pub fn topic_and_input(data: &[u8]) -> Option<(Topic, &[u8])> {
    let (selector, input) = data.split_first()?;
    Some((Topic::ALL[usize::from(*selector) % Topic::ALL.len()], input))
}

/// Does with a decoded event what a reader may do, and checks that it is read again as it was
/// written.
pub fn use_event(event: &Event<'_>) {
    let _ = event.validate("fuzz");
    assert!(!format!("{event:?}").is_empty());
    let mut key = Vec::new();
    event.write_key("fuzz", &mut key);
    event
        .write_json("fuzz", &mut Vec::new())
        .expect("every event can be written as JSON");

    let mut body = Vec::new();
    event.encode("fuzz", &mut body);
    assert!(body.len() <= event.max_encoded_len() + "fuzz".len());
    let again = Event::decode(event.topic(), &body).expect("what was encoded is decoded");
    let mut body_again = Vec::new();
    again.encode("fuzz", &mut body_again);
    assert_eq!(body, body_again);
}

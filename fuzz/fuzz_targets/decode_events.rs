//! Any bytes as the Avro body of any event.

#![no_main]

use carbon_events_types::events::Event;
use carbon_events_fuzz::{topic_and_input, use_event};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((topic, body)) = topic_and_input(data)
        && let Ok(event) = Event::decode(topic, body)
    {
        use_event(&event);
    }
});

//! Any text as a writer's schema, and any bytes as its body: what stands before the first zero
//! byte, and what stands behind it.

#![no_main]

use carbon_events_types::codec::{Plan, Schema};
use carbon_events_types::events::Event;
use carbon_events_fuzz::{topic_and_input, use_event};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((topic, input)) = topic_and_input(data) else {
        return;
    };
    let end = input
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(input.len());
    let (schema, body) = input.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let Ok(Ok(writer)) = str::from_utf8(schema).map(Schema::parse) else {
        return;
    };

    let mut out = Vec::new();
    if let Ok(plan) = Plan::new(&writer, &writer)
        && plan.transcode(body, &mut out).is_ok()
    {
        assert_eq!(out, body);
    }
    let reader = Schema::parse(topic.spec().schema_json).expect("our schema can be read");
    out.clear();
    if let Ok(plan) = Plan::new(&writer, &reader)
        && plan.transcode(body, &mut out).is_ok()
        && let Ok(event) = Event::decode(topic, &out)
    {
        use_event(&event);
    }
});

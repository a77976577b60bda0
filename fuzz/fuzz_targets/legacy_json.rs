//! Any bytes as the JSON of any event, by both rules.

#![no_main]

use carbon_events_types::codec::{Decoder, NoSchemas, Rules, event_from_json, frame};
use carbon_events_fuzz::{FILL, topic_and_input, use_event};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((topic, json)) = topic_and_input(data) else {
        return;
    };
    let mut scratch = Vec::new();
    let strict = event_from_json(topic, json, Rules::Strict, &FILL, &mut scratch);
    if let Ok(decoded) = &strict {
        use_event(&decoded.event);
    }
    let mut scratch = Vec::new();
    let lenient = event_from_json(topic, json, Rules::Lenient, &FILL, &mut scratch);
    match (&strict, &lenient) {
        // What strict reading takes, lenient reading takes for the same.
        (Ok(strict), Ok(lenient)) => {
            assert_eq!(strict.event, lenient.event);
            assert_eq!(strict.leniency, lenient.leniency);
        }
        (Ok(_), Err(error)) => panic!("{error}"),
        (Err(error), Err(_)) | (Err(error), Ok(_)) => {
            // What was read as JSON is a body that can be decoded.
            assert!(!error.message().contains("cannot be decoded"), "{error}");
        }
    }
    if frame::split(json).is_ok() {
        let mut scratch = Vec::new();
        match Decoder::new(NoSchemas).decode_event(topic, json, &FILL, &mut scratch) {
            Ok(decoded) => use_event(&decoded.event),
            Err(error) => assert!(!error.message().contains("cannot be decoded"), "{error}"),
        }
    }
});

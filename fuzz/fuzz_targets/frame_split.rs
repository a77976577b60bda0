//! Any value is told to be in one format or in none, and a header that is read can be written.

#![no_main]

use carbon_events_types::codec::{Decoder, NoSchemas, WireFormat, frame};
use carbon_events_fuzz::{FILL, use_event};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    match frame::split(value) {
        Ok(frame) => {
            let mut again = Vec::new();
            match frame.format {
                WireFormat::Confluent { id } => frame::write_confluent_header(id, &mut again),
                WireFormat::SingleObject { fingerprint } => {
                    frame::write_single_object_header(fingerprint, &mut again);
                }
                WireFormat::Guid { .. } | WireFormat::Json => {}
            }
            again.extend_from_slice(frame.body);
            assert_eq!(again, value);
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
    let mut scratch = Vec::new();
    if let Ok(decoded) = Decoder::new(NoSchemas).decode_any(value, &FILL, &mut scratch) {
        use_event(&decoded.event);
    }
});

//! Any bytes as the body of one of the writers in `schemas/evolution/`.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use carbon_events_types::codec::{Plan, Schema};
use carbon_events_types::events::{Event, Topic};
use carbon_events_fuzz::use_event;
use libfuzzer_sys::fuzz_target;

/// One for each case, none where the schemas do not fit.
static PLANS: LazyLock<Vec<(Topic, Option<Plan>)>> = LazyLock::new(|| {
    let mut plans = Vec::new();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/evolution"));
    for topic in Topic::ALL {
        let mut cases: Vec<_> = fs::read_dir(root.join(topic.spec().record))
            .expect("each record has its cases")
            .map(|case| case.expect("the folder can be read").path())
            .collect();
        cases.sort();
        for case in cases {
            let schema = |file: &str| fs::read_to_string(case.join(file));
            let writer = schema("writer.avsc").expect("each case has a writer");
            let reader = schema("reader.avsc").unwrap_or(topic.spec().schema_json.to_owned());
            let (writer, reader) = (Schema::parse(&writer), Schema::parse(&reader));
            let writer = writer.expect("the writer's schema can be read");
            let reader = reader.expect("the reader's schema can be read");
            plans.push((topic, Plan::new(&writer, &reader).ok()));
        }
    }
    plans
});

fuzz_target!(|data: &[u8]| {
    let Some((selector, body)) = data.split_first() else {
        return;
    };
    let (topic, plan) = &PLANS[usize::from(*selector) % PLANS.len()];
    let mut out = Vec::new();
    if let Some(plan) = plan
        && plan.transcode(body, &mut out).is_ok()
        && let Ok(event) = Event::decode(*topic, &out)
    {
        use_event(&event);
    }
});

//! `produce`, `consume` and `caused_by`, one after the other on one topic.

use std::collections::HashMap;

use carbon_events::events::DataQualityEvent;
use carbon_events::{Event, Topic};

use crate::harness::{program, records, run};

#[test]
fn what_is_produced_is_consumed_once_and_answered_with_its_cause() {
    let last_line = |output: String| output.lines().last().unwrap_or_default().to_owned();
    let produce = |events: &str| last_line(run(program("produce").arg(events)));
    let consume = || last_line(run(program("consume").args(["--group=flow", "--until-end"])));
    let caused_by = || last_line(run(program("caused_by").arg("--until-end")));

    assert_eq!(produce("50"), "50 delivered, 0 failed");
    let records_of = |events: std::ops::Range<u32>| events.map(|n| 1000 + n).sum::<u32>();
    let told =
        |events, records| format!("{events} events tell of {records} records; 0 undecodable");
    assert_eq!(consume(), told(50, records_of(0..50)));
    assert_eq!(caused_by(), "50 events answered");

    // What the groups committed they do not read again.
    assert_eq!(produce("20"), "20 delivered, 0 failed");
    assert_eq!(consume(), told(20, records_of(0..20)));
    assert_eq!(caused_by(), "20 events answered");

    let mut causes = HashMap::new();
    for record in records(Topic::DataIngestion) {
        let Ok(Event::DataIngestion(event)) = record.event else {
            panic!("{record:?}");
        };
        causes.insert(
            event.envelope.event_id.to_string(),
            event.dataset_name.into_owned(),
        );
    }
    assert_eq!(causes.len(), 70);
    for record in records(Topic::DataQuality) {
        let Ok(Event::DataQuality(answer)) = record.event else {
            panic!("{record:?}");
        };
        let DataQualityEvent {
            envelope,
            dataset_name,
            ..
        } = answer;
        let cause = envelope.causation_id.as_deref().unwrap();
        assert_eq!(causes.remove(cause).as_deref(), Some(&*dataset_name));
        assert_eq!(envelope.correlation_id.as_deref(), Some(cause));
        assert_eq!(envelope.source, "row-count-check");
    }
    assert!(causes.is_empty(), "{} without an answer", causes.len());
}

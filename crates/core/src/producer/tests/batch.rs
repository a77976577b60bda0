//! Batches without librdkafka: what Miri can check.

use std::sync::Arc;

use crate::metrics::Metrics;
use crate::producer::Header;
use crate::producer::batch::completing::{CompletedRun, Completing};
use crate::producer::batch::in_flight::{InFlight, look_up};
use crate::producer::batch::{Batch, Buffers, RecordParts};
use crate::producer::batch_limit::BatchLimit;
use crate::producer::topic::{Framing, TopicState};
use crate::{Delivery, Error, ErrorKind};

const RECORDS: u32 = 6;

struct Opaque(*mut std::ffi::c_void);

// SAFETY: librdkafka gives them back on another thread, too.
unsafe impl Send for Opaque {}

/// A batch whose records have keys, values and headers of all kinds, and their deliveries.
fn filled(buffers: Buffers) -> (Batch, Vec<Delivery>) {
    let name = Arc::<str>::from("system-health");
    let metrics = Metrics::default().topic(&name);
    let limit = BatchLimit::new(0);
    let topic = TopicState::new(name, Framing::SingleObject, limit, metrics, None);
    let mut batch = Batch::new(topic, 3, RECORDS, 1, buffers);
    let mut deliveries = Vec::new();
    for index in 0..RECORDS {
        let key = format!("key {index}");
        let parts = RecordParts {
            owner: None,
            key: (index % 2 == 0).then_some(key.as_bytes()),
            partition: 3,
            headers: match index {
                4 => vec![Header {
                    name: "trace".to_owned(),
                    value: Some(vec![b'1']),
                }],
                _ => Vec::new(),
            },
            framed: false,
            awaits_schema_id: index == 1,
        };
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(&[0; 5]);
            out.push(index as u8);
            Ok(index != 5)
        };
        deliveries.push(batch.append(parts, write).unwrap().0);
    }
    assert!(batch.is_full(usize::MAX));
    (batch, deliveries)
}

#[test]
fn records_are_sent_where_they_lie_and_freed_with_the_last_report() {
    let (mut batch, deliveries) = filled(Buffers::default());
    batch.fill_schema_id(0x0102_0304);
    let in_flight = InFlight::new(batch);
    let mut opaques = Vec::new();
    for (index, record) in in_flight.records(0).enumerate() {
        let expected = format!("key {index}");
        let key = (index % 2 == 0).then_some(expected.as_bytes());
        assert_eq!((record.key, record.partition), (key, 3));
        let id: &[u8] = if index == 1 { &[1, 2, 3, 4] } else { &[0; 4] };
        match record.value {
            Some(value) => assert_eq!((&value[1..5], value[5]), (id, index as u8)),
            None => assert_eq!(index, 5),
        }
        assert_eq!(record.headers.len(), usize::from(index == 4));
        opaques.push(Opaque(record.opaque));
    }
    // Reports come on another thread, in any order.
    let completed = std::thread::spawn(move || {
        let mut completing = Completing::default();
        let refused = Error::new(ErrorKind::RecordTooLarge, "too large");
        for (count, Opaque(opaque)) in opaques.into_iter().rev().enumerate() {
            let outcome = match count {
                2 => Err(&refused),
                _ => Ok((3, count as i64, 0)),
            };
            // SAFETY: each came from `records`, and is completed once.
            let before = unsafe { completing.complete(opaque, outcome) };
            assert!(before.is_none(), "all are of one batch");
        }
        completing.finish().unwrap()
    });
    let completed = completed.join().unwrap();
    assert_eq!(completed.records, u64::from(RECORDS));
    let failed: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.outcome().unwrap().is_err())
        .collect();
    assert_eq!(failed, [false, false, false, true, false, false]);
    // Its memory serves the next one.
    let (batch, deliveries) = filled(completed.buffers.unwrap());
    let closed = Error::new(ErrorKind::Aborted, "closed");
    assert_eq!(batch.fail(&closed).0, u64::from(RECORDS));
    for delivery in deliveries {
        assert_eq!(delivery.wait().unwrap_err().kind(), ErrorKind::Aborted);
    }
}

#[test]
fn reports_of_two_batches_in_turns_complete_both() {
    let batches = [filled(Buffers::default()), filled(Buffers::default())];
    let (batches, deliveries): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
    let opaques = batches.into_iter().map(|batch| {
        let in_flight = InFlight::new(batch);
        let opaques = in_flight.records(0).map(|record| record.opaque);
        opaques.collect::<Vec<_>>()
    });
    let opaques: Vec<_> = opaques.collect();
    let mut completing = Completing::default();
    let (mut records, mut freed) = (0, 0);
    let mut note = |completed: Option<CompletedRun>| {
        if let Some(completed) = completed {
            records += completed.records;
            freed += usize::from(completed.buffers.is_some());
        }
    };
    for index in 0..RECORDS as usize {
        for opaques in &opaques {
            // SAFETY: each came from `records`, and is completed once.
            note(unsafe { completing.complete(opaques[index], Ok((3, 0, 0))) });
        }
    }
    note(completing.finish());
    assert_eq!((records, freed), (2 * u64::from(RECORDS), 2));
    let mut deliveries = deliveries.iter().flatten();
    assert!(deliveries.all(|delivery| delivery.outcome().is_some_and(|outcome| outcome.is_ok())));
}

#[test]
fn a_record_that_expired_completes_once() {
    let (batch, deliveries) = filled(Buffers::default());
    let in_flight = InFlight::new(batch);
    let opaques: Vec<_> = in_flight.records(0).map(|record| record.opaque).collect();
    // SAFETY: not completed before the loop below.
    let first = unsafe { look_up(opaques[0]) };
    let expired = Error::new(ErrorKind::Timeout, "expired");
    // SAFETY: this thread completes all of them.
    let runs = unsafe { first.watched().expire(&expired) };
    assert_eq!(runs.iter().map(|run| run.records).sum::<u64>(), 1);
    assert!(first.is_complete());
    let mut completing = Completing::default();
    for opaque in opaques {
        // SAFETY: each came from `records`, and is completed once.
        let before = unsafe { completing.complete(opaque, Ok((3, 0, 0))) };
        assert!(before.is_none());
    }
    let run = completing.finish().unwrap();
    assert_eq!(run.records, u64::from(RECORDS) - 1);
    assert!(deliveries[0].outcome().unwrap().is_err());
    assert!(deliveries[1].outcome().unwrap().is_ok());
}

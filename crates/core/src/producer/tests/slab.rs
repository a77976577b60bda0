//! A slab's way with librdkafka left out: what Miri can look at.

use std::sync::Arc;

use crate::metrics::Metrics;
use crate::producer::Header;
use crate::producer::limit::BatchLimit;
use crate::producer::slab::{Buffers, InFlight, Parts, Settling, Slab};
use crate::producer::topic::{Framing, Topic};
use crate::{Delivery, Error, ErrorKind};

const RECORDS: u32 = 6;

struct Opaque(*mut std::ffi::c_void);

// SAFETY: librdkafka gives them back on another thread, too.
unsafe impl Send for Opaque {}

/// A slab whose records have keys, values and headers of all kinds, and their deliveries.
fn filled(buffers: Buffers) -> (Slab, Vec<Delivery>) {
    let name = Arc::from("system-health");
    let topic = Topic::new(
        name,
        Framing::SingleObject,
        None,
        BatchLimit::new(0),
        &Metrics::default(),
    );
    let mut slab = Slab::new(topic, 3, RECORDS, 1, buffers);
    let mut deliveries = Vec::new();
    for index in 0..RECORDS {
        let key = format!("key {index}");
        let parts = Parts {
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
        deliveries.push(slab.append(parts, write).unwrap().0);
    }
    assert!(slab.is_full(usize::MAX));
    (slab, deliveries)
}

#[test]
fn records_are_handed_over_where_they_lie_and_freed_with_the_last_report() {
    let (mut slab, deliveries) = filled(Buffers::default());
    slab.fill_schema_id(0x0102_0304);
    let in_flight = InFlight::new(slab);
    let mut opaques = Vec::new();
    for (index, record) in in_flight.outgoing(0).enumerate() {
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
    let settled = std::thread::spawn(move || {
        let mut settling = Settling::default();
        let refused = Error::new(ErrorKind::RecordTooLarge, "too large");
        for (count, Opaque(opaque)) in opaques.into_iter().rev().enumerate() {
            let outcome = match count {
                2 => Err(&refused),
                _ => Ok((3, count as i64, 0)),
            };
            // SAFETY: each came from `outgoing`, and is settled once.
            let before = unsafe { settling.settle(opaque, outcome) };
            assert!(before.is_none(), "all are of one slab");
        }
        settling.finish().unwrap()
    });
    let settled = settled.join().unwrap();
    assert_eq!(settled.records, u64::from(RECORDS));
    let failed: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.outcome().unwrap().is_err())
        .collect();
    assert_eq!(failed, [false, false, false, true, false, false]);
    // Its memory serves the next one.
    let (slab, deliveries) = filled(settled.buffers.unwrap());
    let closed = Error::new(ErrorKind::Aborted, "closed");
    assert_eq!(slab.fail(&closed).0, u64::from(RECORDS));
    for delivery in deliveries {
        assert_eq!(delivery.wait().unwrap_err().kind(), ErrorKind::Aborted);
    }
}

#[test]
fn reports_of_two_slabs_in_turns_settle_both() {
    let slabs = [filled(Buffers::default()), filled(Buffers::default())];
    let (slabs, deliveries): (Vec<_>, Vec<_>) = slabs.into_iter().unzip();
    let opaques = slabs.into_iter().map(|slab| {
        let in_flight = InFlight::new(slab);
        let opaques = in_flight.outgoing(0).map(|record| record.opaque);
        opaques.collect::<Vec<_>>()
    });
    let opaques: Vec<_> = opaques.collect();
    let mut settling = Settling::default();
    let (mut records, mut freed) = (0, 0);
    let mut note = |settled: Option<crate::producer::slab::Settled>| {
        if let Some(settled) = settled {
            records += settled.records;
            freed += usize::from(settled.buffers.is_some());
        }
    };
    for index in 0..RECORDS as usize {
        for opaques in &opaques {
            // SAFETY: each came from `outgoing`, and is settled once.
            note(unsafe { settling.settle(opaques[index], Ok((3, 0, 0))) });
        }
    }
    note(settling.finish());
    assert_eq!((records, freed), (2 * u64::from(RECORDS), 2));
    let mut deliveries = deliveries.iter().flatten();
    assert!(deliveries.all(|delivery| delivery.outcome().is_some_and(|outcome| outcome.is_ok())));
}

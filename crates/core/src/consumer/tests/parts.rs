//! Batches that several readers process in parts.

use super::*;
use crate::consumer::Part;
use crate::deadline::Deadline;

/// The parts of the batch that has all of these events, of so many records each.
fn parts(consumer: &EventConsumer, records: usize, each: usize) -> Vec<Part> {
    has_buffered(consumer, records);
    let batch = next(consumer);
    assert_eq!(batch.len(), records);
    let starts = (0..records).step_by(each);
    batch.into_parts(starts.map(|start| start..records.min(start + each)))
}

fn offsets(part: &Part) -> Vec<i64> {
    part.iter().map(|record| record.offset()).collect()
}

#[test]
fn parts_of_a_batch_are_acknowledged_without_a_gap() {
    let (broker, consumer) = reading(0..10);
    let mut parts = parts(&consumer, 10, 4);
    assert!(parts.iter_mut().all(|part| !part.take()));
    assert_eq!(offsets(&parts[1]), [4, 5, 6, 7]);
    parts[1].acknowledge(4);
    parts[2].acknowledge(1);
    assert_eq!(acknowledged(&consumer), None, "the first part comes before");
    parts[0].acknowledge(3);
    assert_eq!(acknowledged(&consumer), Some(3));
    parts[0].acknowledge(4);
    assert_eq!(acknowledged(&consumer), Some(9));
    drop(parts);
    close_and_expect(&broker, &consumer, &[(0, 9)]);
}

#[test]
fn a_part_that_is_left_and_taken_again_holds_back_what_comes_after_it() {
    let (_broker, consumer) = reading(0..8);
    let mut parts = parts(&consumer, 8, 4);
    let (second, mut first) = (parts.pop().unwrap(), parts.pop().unwrap());
    assert!(first.is_before(&second) && !second.is_before(&first));
    first.take();
    first.acknowledge(1);
    first.leave(1);
    second.acknowledge(4);
    drop(second);
    assert_eq!(acknowledged(&consumer), Some(1));
    assert!(!first.take());
    assert_eq!(offsets(&first), [1, 2, 3]);
    first.acknowledge(2);
    assert_eq!(acknowledged(&consumer), Some(3));
    first.acknowledge(3);
    assert_eq!(acknowledged(&consumer), Some(8));
}

#[test]
fn a_rebalance_waits_for_parts_in_hand_only_and_the_others_drop_what_was_revoked() {
    let broker = broker();
    // Of one partition: what several have may come in several batches.
    write(&broker, 0, 0..6);
    let member = || builder(&broker, "g").build().unwrap();
    let consumer = member();
    let mut parts = parts(&consumer, 6, 3);
    let is_in_hand = || {
        let soon = Deadline::after(Duration::from_millis(20));
        let progress = consumer.shared().progress();
        !progress.wait_until_processed(&consumer.assignment(), soon, || false)
    };
    assert!(!is_in_hand(), "no reader has a part in hand");
    for part in &mut parts {
        part.take();
    }
    let mut part = parts.swap_remove(0);
    drop(parts);
    assert!(is_in_hand());
    part.leave(0);
    assert!(!is_in_hand());
    let second = member();
    until("both to have partitions", || {
        !second.assignment().is_empty() && !consumer.assignment().is_empty()
    });
    // The eager protocol revokes all partitions, and what was kept is fetched again.
    assert!(part.take() && part.is_empty());
    let mut seen = Vec::new();
    until("each record", || {
        for one in [&consumer, &second] {
            if let Some(batch) = one.next_batch(Duration::from_millis(50)).unwrap() {
                seen.extend(batch.iter().map(|it| (it.partition(), it.offset())));
            }
        }
        seen.len() >= 6
    });
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter((0..6).map(|offset| (0, offset))));
}

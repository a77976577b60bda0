//! Batches that are returned to the consumer and read again.

use futures::executor::block_on;

use super::*;
use crate::consumer::Offsets;

#[test]
fn an_abandoned_batch_is_read_again() {
    let (broker, consumer) = reading(0..3);
    let batch = next(&consumer);
    let first = batch.get(0).unwrap().offset();
    batch.abandon();
    consumer.seek(Offsets::at(TOPIC, 0, first), SOON).unwrap();
    assert_eq!(read(&consumer, 3)[&0], [0, 1, 2]);
    consumer.acknowledge();
    close_and_expect(&broker, &consumer, &[(0, 3)]);
}

#[test]
fn a_cancelled_read_leaves_its_batch_to_the_next_read() {
    let (broker, consumer) = reading_with(0..10, |it| it.detect_end(true));
    let batch = next(&consumer);
    let read_before = batch.len();
    // As a binding does whose caller is gone.
    batch.give_back();
    assert!(consumer.buffered_records() >= read_before);
    assert!(!consumer.at_end());
    let again = block_on(consumer.next_batch_async()).unwrap().unwrap();
    assert_eq!(again.len(), read_before);
    assert_eq!(again.get(0).unwrap().offset(), 0);
    drop(again);
    while block_on(consumer.next_batch_async()).unwrap().is_some() {}
    assert!(consumer.at_end());
    close_and_expect(&broker, &consumer, &[(0, 10)]);
}

#[test]
fn a_returned_batch_comes_again_without_what_was_acknowledged() {
    let (broker, consumer) = reading(0..10);
    has_buffered(&consumer, 10);
    let batch = next(&consumer);
    batch.get(3).unwrap().acknowledge();
    batch.give_back();
    let again = next(&consumer);
    let offsets: Vec<_> = again.iter().map(|record| record.offset()).collect();
    assert_eq!(offsets, Vec::from_iter(4..10));
    assert_eq!(
        again
            .get(0)
            .unwrap()
            .typed::<ServiceHealthEvent>()
            .unwrap()
            .latency_ms,
        4
    );
    is_committed(&broker, &[(0, 4)]);
    again.acknowledge();
    is_committed(&broker, &[(0, 10)]);
}

#[test]
fn returned_batches_come_in_their_order_and_not_after_a_seek() {
    let (_broker, consumer) = reading_with(0..6, |it| it.max_batch_records(2_u32));
    let [one, two] = [next(&consumer), next(&consumer)];
    let first = |batch: &Batch| batch.get(0).unwrap().offset();
    let second = first(&two);
    two.give_back();
    one.give_back();
    let again = next(&consumer);
    assert_eq!(first(&again), 0);
    consumer.seek(Offsets::at(TOPIC, 0, 5), SOON).unwrap();
    let sought = next(&consumer);
    assert_eq!(first(&sought), 5, "and not {second}");
    again.give_back();
    assert_eq!(consumer.buffered_records(), 0, "sought away from");
}

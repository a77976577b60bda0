//! What is committed, and when.

use futures::StreamExt;
use futures::executor::block_on;

use super::*;
use crate::ErrorKind;
use crate::consumer::Offsets;

fn is_committed(broker: &Broker, expected: &[(i32, i64)]) {
    let expected = expected.iter().copied().collect();
    until("the commit", || committed(broker, "g") == expected);
}

#[test]
fn a_batch_is_committed_once_the_next_is_asked_for() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    assert_eq!(read(&consumer, 10)[&0].len(), 10);
    assert_eq!(
        consumer
            .next_batch(Duration::ZERO)
            .unwrap()
            .map(|batch| batch.len()),
        None
    );
    is_committed(&broker, &[(0, 10)]);
}

#[test]
fn an_acknowledged_record_is_committed_though_its_batch_is_given_up() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let batch = next(&consumer);
    batch.get(0).unwrap().acknowledge();
    batch.abandon();
    consumer.close(Duration::from_secs(10)).unwrap();
    is_committed(&broker, &[(0, 1)]);
}

#[test]
fn an_error_that_ends_the_loop_leaves_its_batch_to_the_next_reader() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let work = || -> Result<(), String> {
        let consumer = builder(&broker, "g").build().unwrap();
        loop {
            for record in &next(&consumer) {
                let event = record.typed::<ServiceHealthEvent>().unwrap();
                if event.latency_ms == 5 {
                    return Err("the database is down".to_owned());
                }
            }
        }
    };
    work().unwrap_err();
    let consumer = builder(&broker, "g").build().unwrap();
    let again = read(&consumer, 5);
    assert!(again[&0].contains(&5), "{again:?}");
}

#[test]
fn a_panic_leaves_its_batch_to_the_next_reader() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let outcome = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let _batch = next(&consumer);
                panic!("a bug in the handler");
            })
            .join()
    });
    outcome.unwrap_err();
    // The consumer lives on, and closes as if nothing had happened.
    write(&broker, 0, 10..12);
    read(&consumer, 1);
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
    let consumer = builder(&broker, "g").build().unwrap();
    assert_eq!(read(&consumer, 12)[&0], Vec::from_iter(0..12));
}

#[test]
fn an_abandoned_batch_is_read_again() {
    let broker = broker();
    write(&broker, 0, 0..3);
    let consumer = builder(&broker, "g").build().unwrap();
    let batch = next(&consumer);
    let first = batch.get(0).unwrap().offset();
    batch.abandon();
    consumer.seek(Offsets::at(TOPIC, 0, first), SOON).unwrap();
    assert_eq!(read(&consumer, 3)[&0], [0, 1, 2]);
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 3)]));
}

#[test]
fn closing_commits_what_was_dropped_and_not_what_is_in_hand() {
    let broker = broker();
    write(&broker, 0, 0..4);
    let settings = settings(&broker, "g").max_batch_records(2_u32);
    let consumer = builder(&broker, "g").consumer(settings).build().unwrap();
    drop(next(&consumer));
    let in_hand = next(&consumer);
    let handled = in_hand.get(0).unwrap().offset();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, handled)]));
    assert_eq!(in_hand.get(0).unwrap().offset(), handled, "still readable");
    let error = consumer.next_batch(SOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(
        consumer.commit(&in_hand).unwrap_err().kind(),
        ErrorKind::Closed
    );
    consumer.close(SOON).unwrap();
}

#[test]
fn acknowledging_needs_no_next_batch() {
    let broker = broker();
    write(&broker, 0, 0..4);
    let consumer = builder(&broker, "g").build().unwrap();
    let mut left = 4;
    while left > 0 {
        let batch = next(&consumer);
        left -= batch.len();
        batch.acknowledge();
    }
    is_committed(&broker, &[(0, 4)]);
    drop(consumer);
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 4)]));
}

#[test]
fn a_record_of_a_stream_is_handled_when_the_next_is_asked_for() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let mut stream = consumer.typed::<ServiceHealthEvent>();
    for latency_ms in 0..6 {
        let record = block_on(stream.next()).unwrap().unwrap();
        assert_eq!(record.event.unwrap().latency_ms, latency_ms);
    }
    is_committed(&broker, &[(0, 5)]);
    drop(stream);
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 5)]));
}

#[test]
fn a_stream_ends_with_its_consumer() {
    let broker = broker();
    let consumer = builder(&broker, "g").build().unwrap();
    std::thread::scope(|scope| {
        let ends = scope.spawn(|| block_on(consumer.stream().count()));
        until("an assignment", || !consumer.assignment().is_empty());
        block_on(consumer.close_async(SOON)).unwrap();
        assert_eq!(ends.join().unwrap(), 0);
    });
}

#[test]
fn without_auto_commit_only_what_is_asked_for_is_committed() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let manual = |group| builder(&broker, group).auto_commit(false).build().unwrap();
    let consumer = manual("g");
    assert_eq!(read(&consumer, 10)[&0].len(), 10);
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
    let consumer = manual("g");
    let batch = next(&consumer);
    let record = batch.get(0).unwrap();
    consumer.commit_sync(&record, SOON).unwrap();
    assert_eq!(committed(&broker, "g")[&0], 1);
    block_on(consumer.commit_async(&batch)).unwrap();
    assert_eq!(committed(&broker, "g")[&0], batch.len() as i64);
    consumer
        .commit_sync(Offsets::at(TOPIC, 0, 4), SOON)
        .unwrap();
    assert_eq!(committed(&broker, "g")[&0], 4);
    consumer.commit(&record).unwrap();
    until("the commit", || committed(&broker, "g")[&0] == 1);
    let owned = record.to_owned();
    consumer.commit_sync(&owned, SOON).unwrap();
    assert_eq!(consumer.metrics().snapshot().commits, 5);
    drop(batch);
    consumer.commit_sync(consumer.handled(), SOON).unwrap();
    assert!(committed(&broker, "g")[&0] >= 1);
}

#[test]
fn batches_of_several_threads_are_committed_without_a_gap() {
    let broker = broker();
    write(&broker, 0, 0..40);
    let settings = settings(&broker, "g").max_batch_records(10_u32);
    let consumer = builder(&broker, "g").consumer(settings).build().unwrap();
    let first = next(&consumer);
    let handled = first.get(0).unwrap().offset();
    // Handled behind it: what is behind a gap is not committed.
    let mut seen = first.len();
    while seen < 40 {
        let batch = next(&consumer);
        seen += batch.len();
        batch.acknowledge();
    }
    assert!(
        consumer
            .handled()
            .iter()
            .all(|position| position.next_offset == handled)
    );
    first.acknowledge();
    let handled = consumer.handled();
    assert_eq!(
        handled
            .iter()
            .map(|position| position.next_offset)
            .collect::<Vec<_>>(),
        [40]
    );
}

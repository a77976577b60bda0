//! Where reading starts.

use super::*;
use crate::ErrorKind;
use crate::config::StartPosition;
use crate::consumer::Offsets;

/// Latencies 0 to 9 in partition 0 and 100 to 104 in partition 1.
fn filled() -> Broker {
    let broker = broker();
    write(&broker, 0, 0..10);
    write(&broker, 1, 100..105);
    broker
}

#[test]
fn at_the_oldest_record_by_default() {
    let broker = filled();
    let consumer = builder(&broker, "g").build().unwrap();
    let read = read(&consumer, 15);
    assert_eq!(read[&0], Vec::from_iter(0..10));
    assert_eq!(read[&1], Vec::from_iter(100..105));
}

#[test]
fn at_an_offset_or_the_nearest_that_there_is() {
    let broker = filled();
    let consumer = builder(&broker, "g")
        .start(StartPosition::Offset(7))
        .build()
        .unwrap();
    assert_eq!(read(&consumer, 3), BTreeMap::from([(0, vec![7, 8, 9])]));
    // Partition 1 has no offset 7 yet: it is read from its end.
    write(&broker, 1, [105]);
    assert_eq!(read(&consumer, 1), BTreeMap::from([(1, vec![105])]));
}

#[test]
fn at_given_offsets_in_some_partitions() {
    let broker = filled();
    let at = || Offsets::at(TOPIC, 0, 2).and(TOPIC, 0, 8).and(TOPIC, 1, -3);
    for standalone in [true, false, false] {
        let settings = settings(&broker, "g")
            .standalone(standalone)
            .start(StartPosition::Offset(3));
        let consumer = builder(&broker, "g").consumer(settings).start_at(at());
        let consumer = consumer.build().unwrap();
        let again = read(&consumer, 7);
        assert_eq!(again[&0], [8, 9]);
        assert_eq!(again[&1], Vec::from_iter(100..105));
        // The group's next consumer starts there again, whatever this one commits.
        consumer.close(SOON).unwrap();
    }
}

#[test]
fn behind_the_newest_record() {
    let broker = filled();
    let consumer = builder(&broker, "g")
        .start(StartPosition::Latest)
        .standalone();
    let consumer = consumer.build().unwrap();
    until("an assignment", || !consumer.assignment().is_empty());
    write(&broker, 0, [10]);
    assert_eq!(read(&consumer, 1), BTreeMap::from([(0, vec![10])]));
}

#[test]
fn where_the_group_left_off_unless_that_is_to_be_ignored() {
    let broker = filled();
    let first = builder(&broker, "g").build().unwrap();
    read(&first, 15);
    first.acknowledge();
    first.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 10), (1, 5)]));
    write(&broker, 0, [10]);
    let again = builder(&broker, "g").start(StartPosition::Offset(3));
    let again = again.build().unwrap();
    assert_eq!(read(&again, 1), BTreeMap::from([(0, vec![10])]));
    again.close(SOON).unwrap();
    for (start, count) in [
        (StartPosition::Earliest, 16),
        (StartPosition::Offset(3), 10),
    ] {
        let settings = settings(&broker, "g").start(start).ignore_committed(true);
        let anew = builder(&broker, "g").consumer(settings).build().unwrap();
        let read = read(&anew, count);
        assert_eq!(read[&0].last(), Some(&10), "{start}");
        assert_eq!(read.values().map(Vec::len).sum::<usize>(), count, "{start}");
        anew.close(SOON).unwrap();
    }
}

#[test]
fn where_a_seek_goes() {
    let broker = filled();
    let consumer = builder(&broker, "g").build().unwrap();
    read(&consumer, 15);
    consumer
        .seek(Offsets::at(TOPIC, 0, 8).and(TOPIC, 1, 4), SOON)
        .unwrap();
    let again = read(&consumer, 3);
    assert_eq!(again, BTreeMap::from([(0, vec![8, 9]), (1, vec![104])]));
    let error = consumer
        .seek(Offsets::at("data-quality", 0, 0), SOON)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    consumer.acknowledge();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 10), (1, 5)]));
}

#[test]
fn a_standalone_consumer_starts_fresh_each_time_and_commits_nothing() {
    let broker = filled();
    for _ in 0..2 {
        let consumer = builder(&broker, "g")
            .standalone()
            .detect_end()
            .build()
            .unwrap();
        let mut records = 0;
        while let Some(batch) = consumer.next_batch(SOON).unwrap() {
            records += batch.len();
        }
        assert_eq!(records, 15);
        assert!(consumer.at_end());
        assert_eq!(consumer.assignment().len(), 3);
        let error = consumer.commit_sync(consumer.handled(), SOON).unwrap_err();
        assert_eq!(error.get("setting"), Some("standalone"));
        consumer.close(SOON).unwrap();
    }
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
}

#[test]
fn an_end_that_comes_together_with_the_last_records_is_reported() {
    // The reader is late on purpose: by then records and ends wait in one queue.
    for _ in 0..5 {
        let broker = filled();
        let consumer = builder(&broker, "g")
            .standalone()
            .detect_end()
            .build()
            .unwrap();
        until("records and ends", || consumer.buffered_records() >= 15 + 3);
        let mut records = 0;
        while let Some(batch) = consumer.next_batch(SOON).unwrap() {
            records += batch.len();
        }
        assert_eq!(records, 15);
        assert!(consumer.at_end());
    }
}

#[test]
fn the_end_is_reported_once_and_reading_goes_on_behind_it() {
    use futures::StreamExt;
    let broker = filled();
    let consumer = builder(&broker, "g").detect_end().build().unwrap();
    let to_the_end = || futures::executor::block_on(consumer.stream().count());
    assert_eq!(to_the_end(), 15);
    assert!(consumer.at_end());
    assert!(
        consumer
            .next_batch(Duration::from_millis(50))
            .unwrap()
            .is_none()
    );
    write(&broker, 2, [1, 2]);
    assert_eq!(to_the_end(), 2);
}

//! Streams, cursors and iterations: records one by one.

use futures::StreamExt;
use futures::executor::block_on;

use super::*;
use crate::consumer::{Cursor, Iteration, ReaderId};

#[test]
fn a_stream_goes_on_where_the_one_before_ended() {
    let broker = broker();
    write(&broker, 0, 0..10);
    write(&broker, 1, 10..20);
    let consumer = builder(&broker, "g").detect_end().build().unwrap();
    let mut seen = Vec::new();
    while let Some(record) = block_on(consumer.typed::<ServiceHealthEvent>().next()) {
        seen.push(record.unwrap().event.unwrap().latency_ms);
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..20));
    close_and_expect(&broker, &consumer, &[(0, 10), (1, 10)]);
}

#[test]
fn a_batch_goes_on_where_a_stream_ended() {
    let (broker, consumer) = reading(0..10);
    has_buffered(&consumer, 10);
    let mut stream = consumer.stream();
    for _ in 0..4 {
        block_on(stream.next()).unwrap().unwrap();
    }
    drop(stream);
    is_committed(&broker, &[(0, 3)]);
    let batch = next(&consumer);
    let offsets: Vec<_> = batch.iter().map(|record| record.offset()).collect();
    assert_eq!(offsets, Vec::from_iter(4..10));
    consumer.close(SOON).unwrap();
}

#[test]
fn a_record_of_a_stream_is_acknowledged_when_the_next_is_asked_for() {
    let (broker, consumer) = reading(0..10);
    let mut stream = consumer.typed::<ServiceHealthEvent>();
    for latency_ms in 0..6 {
        let record = block_on(stream.next()).unwrap().unwrap();
        assert_eq!(record.event.unwrap().latency_ms, latency_ms);
    }
    is_committed(&broker, &[(0, 5)]);
    drop(stream);
    close_and_expect(&broker, &consumer, &[(0, 5)]);
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
fn an_iteration_is_one_readers_and_the_next_goes_on_behind_it() {
    let (_broker, consumer) = reading(0..6);
    has_buffered(&consumer, 6);
    let iteration = Iteration::default();
    let readers = [ReaderId::numbered(1), ReaderId::numbered(2)];
    let read = |reader: &ReaderId| loop {
        let taken = iteration.next(reader, |record| Ok::<_, ()>(record.offset()));
        if let Some(offset) = taken.unwrap() {
            return offset;
        }
        let batch = consumer.next_batch_of(reader, SOON).unwrap().unwrap();
        iteration.begin(reader, batch);
    };
    let [one, other] = &readers;
    assert_eq!([read(one), read(other), read(other)], [0, 1, 2]);
    let failed = iteration.next(other, |record| Err::<(), _>(record.offset()));
    assert_eq!(failed, Err(3));
    // The first reader has not read on: nothing behind its record is committed.
    assert_eq!(acknowledged(&consumer), None);
    assert_eq!(read(one), 3);
    // By asking for the record that failed, the other reader has acknowledged the one before it.
    assert_eq!(acknowledged(&consumer), Some(3));
    iteration.end();
    consumer.acknowledge_of(other);
    assert_eq!(acknowledged(&consumer), Some(3));
    consumer.acknowledge_of(one);
    assert_eq!(acknowledged(&consumer), Some(4));
}

#[test]
fn an_iteration_that_another_thread_ends_leaves_its_record_to_its_reader() {
    let (broker, consumer) = reading(0..2);
    has_buffered(&consumer, 2);
    let (iteration, reader) = (Iteration::default(), ReaderId::current());
    iteration.begin(&reader, next(&consumer));
    let first = iteration.next(&reader, |record| Ok::<_, ()>(record.offset()));
    assert_eq!(first, Ok(Some(0)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = ReaderId::current();
            assert_eq!(iteration.next(&other, |_| Ok::<_, ()>(())), Ok(None));
            next(&consumer).acknowledge();
        });
    });
    assert_eq!(acknowledged(&consumer), None);
    consumer.acknowledge();
    close_and_expect(&broker, &consumer, &[(0, 2)]);
}

#[test]
fn no_close_or_rebalance_waits_for_the_record_of_a_reader_that_is_gone() {
    let broker = broker();
    for partition in 0..3 {
        write(&broker, partition, [partition.into()]);
    }
    let member = || {
        let settings = settings(&broker, "g").revoke_timeout(Duration::from_secs(3600));
        builder(&broker, "g").consumer(settings).build().unwrap()
    };
    let consumer = member();
    has_buffered(&consumer, 3);
    let mut cursor = Cursor::new(next(&consumer));
    assert!(cursor.next_record().is_some());
    std::thread::scope(|scope| {
        scope.spawn(move || drop(cursor));
    });
    let second = member();
    until("both to have partitions", || {
        !second.assignment().is_empty() && !consumer.assignment().is_empty()
    });
    // Nothing of it was acknowledged, by whichever reader.
    consumer.acknowledge_of(&ReaderId::current());
    second.close(SOON).unwrap();
    close_and_expect(&broker, &consumer, &[]);
}

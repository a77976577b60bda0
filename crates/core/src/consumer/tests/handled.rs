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

/// Waits until so many records can be read at once. librdkafka counts what is no record too.
fn has_buffered(consumer: &EventConsumer, records: usize) {
    until("the records", || consumer.buffered_records() >= records);
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
    consumer.acknowledge();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 3)]));
}

#[test]
fn closing_acknowledges_neither_what_was_dropped_nor_what_is_in_hand() {
    let broker = broker();
    write(&broker, 0, 0..6);
    let settings = settings(&broker, "g").max_batch_records(2_u32);
    let consumer = builder(&broker, "g").consumer(settings).build().unwrap();
    drop(next(&consumer));
    drop(next(&consumer));
    let in_hand = next(&consumer);
    let first = in_hand.get(0).unwrap().offset();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, first)]));
    assert_eq!(in_hand.get(0).unwrap().offset(), first, "still readable");
    let error = consumer.next_batch(SOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(
        consumer.commit(&in_hand).unwrap_err().kind(),
        ErrorKind::Closed
    );
    consumer.close(SOON).unwrap();
}

#[test]
fn a_failed_handler_and_a_close_leave_the_batch_to_the_next_reader() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let work = || -> Result<(), String> {
        let batch = next(&consumer);
        let handled = batch.iter().map(|_| Err("the database is down".to_owned()));
        handled.collect()
    };
    work().unwrap_err();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
}

#[test]
fn a_loop_that_is_left_without_an_error_acknowledges() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let read = next(&consumer).len() as i64;
    consumer.acknowledge();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, read)]));
}

#[test]
fn a_read_of_another_thread_acknowledges_nothing() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(next(&consumer))).join().unwrap();
    });
    write(&broker, 0, 10..12);
    drop(next(&consumer));
    let _ = consumer.next_batch(Duration::ZERO).unwrap();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
}

#[test]
fn a_read_of_another_task_acknowledges_nothing() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let consumer = std::sync::Arc::new(consumer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let read = |consumer: &std::sync::Arc<EventConsumer>| {
        let consumer = std::sync::Arc::clone(consumer);
        async move { drop(consumer.next_batch_async().await.unwrap()) }
    };
    runtime.block_on(async {
        tokio::spawn(read(&consumer)).await.unwrap();
        write(&broker, 0, 10..12);
        tokio::spawn(read(&consumer)).await.unwrap();
    });
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
}

#[test]
fn a_task_acknowledges_by_reading_on() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").detect_end().build().unwrap();
    let all = async { while consumer.next_batch_async().await.unwrap().is_some() {} };
    block_on(all);
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 10)]));
}

#[tokio::test]
async fn what_tokio_blocks_on_is_one_reader() {
    let broker = broker();
    write(&broker, 0, 0..4);
    let consumer = builder(&broker, "g").build().unwrap();
    has_buffered(&consumer, 4);
    let mut stream = consumer.stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    drop(consumer.next_batch_async().await.unwrap());
    let handled = || consumer.handled().iter().next().map(|it| it.next_offset);
    assert_eq!(
        handled(),
        Some(1),
        "the record of the stream, by reading on"
    );
    consumer.acknowledge();
    assert_eq!(handled(), Some(4));
}

#[test]
fn a_batch_that_a_worker_drops_is_not_acknowledged() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let batch = next(&consumer);
    std::thread::spawn(move || drop(batch)).join().unwrap();
    assert!(consumer.next_batch(Duration::ZERO).unwrap().is_none());
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
}

#[test]
fn a_read_that_is_cancelled_leaves_its_batch_to_the_next_read() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").detect_end().build().unwrap();
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
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 10)]));
}

#[test]
fn a_batch_that_is_given_back_comes_again_without_what_was_acknowledged() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
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
fn batches_that_are_given_back_come_in_their_order_and_not_after_a_seek() {
    let broker = broker();
    write(&broker, 0, 0..6);
    let settings = settings(&broker, "g").max_batch_records(2_u32);
    let consumer = builder(&broker, "g").consumer(settings).build().unwrap();
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
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 10), (1, 10)]));
}

#[test]
fn a_batch_goes_on_where_a_stream_ended() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
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
fn an_iteration_is_one_readers_and_the_next_goes_on_behind_it() {
    use crate::consumer::{Iteration, ReaderId};
    let broker = broker();
    write(&broker, 0, 0..6);
    let consumer = builder(&broker, "g").build().unwrap();
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
    assert_eq!(consumer.handled(), Offsets::default());
    assert_eq!(read(one), 3);
    let handled = || consumer.handled().iter().next().unwrap().next_offset;
    // By asking for the record that failed, the other reader has acknowledged the one before it.
    assert_eq!(handled(), 3);
    iteration.end();
    consumer.acknowledge_of(other);
    assert_eq!(handled(), 3);
    consumer.acknowledge_of(one);
    assert_eq!(handled(), 4);
}

#[test]
fn an_iteration_that_another_thread_ends_leaves_its_record_to_its_reader() {
    use crate::consumer::{Iteration, ReaderId};
    let broker = broker();
    write(&broker, 0, 0..2);
    let consumer = builder(&broker, "g").build().unwrap();
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
    assert_eq!(consumer.handled(), Offsets::default());
    consumer.acknowledge();
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 2)]));
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
    batch.acknowledge();
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

/// librdkafka's position counts the end that it tells of as a record.
#[test]
fn nothing_is_committed_beyond_the_end_that_is_told() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let settings = settings(&broker, "g").commit_interval(Duration::from_millis(20));
    let consumer = builder(&broker, "g").consumer(settings.detect_end(true));
    let consumer = consumer.build().unwrap();
    until("the end", || {
        drop(consumer.next_batch(Duration::from_millis(10)).unwrap());
        consumer.at_end()
    });
    // The consumer's thread looks at positions meanwhile.
    std::thread::park_timeout(Duration::from_millis(300));
    drop(consumer.next_batch(Duration::from_millis(10)));
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 10)]));
}

/// Nor do they go back with a seek.
#[test]
fn nothing_is_committed_beyond_what_was_read_again_after_a_seek() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let settings = settings(&broker, "g").commit_interval(Duration::from_millis(20));
    let settings = settings.max_batch_records(2_u32);
    let consumer = builder(&broker, "g").consumer(settings).build().unwrap();
    let mut read = 0;
    while read < 10 {
        read += next(&consumer).len();
    }
    consumer.acknowledge();
    consumer.seek(Offsets::at(TOPIC, 0, 4), SOON).unwrap();
    let again = next(&consumer);
    assert_eq!(again.get(0).unwrap().offset(), 4);
    let end = 4 + again.len() as i64;
    again.acknowledge();
    std::thread::park_timeout(Duration::from_millis(300));
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, end)]));
}

#[test]
fn a_read_that_waits_acknowledges_nothing_that_its_reader_gets_meanwhile() {
    let broker = broker();
    let consumer = builder(&broker, "g").build().unwrap();
    let task = futures::task::noop_waker();
    let mut cx = std::task::Context::from_waker(&task);
    let mut waits = Box::pin(consumer.next_batch_async());
    let mut stream = consumer.stream();
    until("an assignment", || !consumer.assignment().is_empty());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    assert!(stream.poll_next_unpin(&mut cx).is_pending());
    write(&broker, 0, 0..4);
    // The same task, by another read.
    let mut other = Box::pin(consumer.next_batch_async());
    let mut seen = 0;
    until("the records", || match other.as_mut().poll(&mut cx) {
        std::task::Poll::Pending => false,
        std::task::Poll::Ready(batch) => {
            seen += batch.unwrap().unwrap().len();
            true
        }
    });
    let _ = waits.as_mut().poll(&mut cx);
    let _ = stream.poll_next_unpin(&mut cx);
    assert_eq!(consumer.handled(), Offsets::default());
    assert!(seen > 0);
}

#[test]
fn no_close_or_rebalance_waits_for_the_record_of_a_reader_that_is_gone() {
    use crate::consumer::{Cursor, ReaderId};
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
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::new());
}

/// The parts of the batch that has all of these events, of so many records each.
fn parts(consumer: &EventConsumer, records: usize, each: usize) -> Vec<crate::consumer::Part> {
    has_buffered(consumer, records);
    let batch = next(consumer);
    assert_eq!(batch.len(), records);
    let starts = (0..records).step_by(each);
    batch.into_parts(starts.map(|start| start..records.min(start + each)))
}

fn offsets(part: &crate::consumer::Part) -> Vec<i64> {
    part.iter().map(|record| record.offset()).collect()
}

#[test]
fn parts_of_a_batch_are_acknowledged_without_a_gap() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let mut parts = parts(&consumer, 10, 4);
    assert!(parts.iter_mut().all(|part| !part.take()));
    assert_eq!(offsets(&parts[1]), [4, 5, 6, 7]);
    let handled = || consumer.handled().iter().next().map(|it| it.next_offset);
    parts[1].acknowledge(4);
    parts[2].acknowledge(1);
    assert_eq!(handled(), None, "the first part comes before");
    parts[0].acknowledge(3);
    assert_eq!(handled(), Some(3));
    parts[0].acknowledge(4);
    assert_eq!(handled(), Some(9));
    drop(parts);
    consumer.close(SOON).unwrap();
    assert_eq!(committed(&broker, "g"), BTreeMap::from([(0, 9)]));
}

#[test]
fn a_part_that_is_left_and_taken_again_holds_back_what_comes_after_it() {
    let broker = broker();
    write(&broker, 0, 0..8);
    let consumer = builder(&broker, "g").build().unwrap();
    let mut parts = parts(&consumer, 8, 4);
    let (second, mut first) = (parts.pop().unwrap(), parts.pop().unwrap());
    assert!(first.is_before(&second) && !second.is_before(&first));
    first.take();
    first.acknowledge(1);
    first.leave(1);
    second.acknowledge(4);
    drop(second);
    let handled = || consumer.handled().iter().next().map(|it| it.next_offset);
    assert_eq!(handled(), Some(1));
    assert!(!first.take());
    assert_eq!(offsets(&first), [1, 2, 3]);
    first.acknowledge(2);
    assert_eq!(handled(), Some(3));
    first.acknowledge(3);
    assert_eq!(handled(), Some(8));
}

#[test]
fn a_rebalance_waits_for_parts_in_hand_alone_and_the_others_forget_what_was_given_up() {
    let broker = broker();
    // Of one partition: what several have may come in several batches.
    write(&broker, 0, 0..6);
    let member = || builder(&broker, "g").build().unwrap();
    let consumer = member();
    let mut parts = parts(&consumer, 6, 3);
    let is_waited_for = || {
        let soon = Instant::now() + Duration::from_millis(20);
        let progress = &consumer.shared.progress;
        !progress.wait_until_handled(&consumer.assignment(), soon, || false)
    };
    assert!(!is_waited_for(), "nobody has a part");
    for part in &mut parts {
        part.take();
    }
    let mut part = parts.swap_remove(0);
    drop(parts);
    assert!(is_waited_for());
    part.leave(0);
    assert!(!is_waited_for());
    let second = member();
    until("both to have partitions", || {
        !second.assignment().is_empty() && !consumer.assignment().is_empty()
    });
    // The eager protocol gives up all, and what was kept is fetched anew.
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

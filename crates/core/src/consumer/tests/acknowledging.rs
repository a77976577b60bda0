//! What acknowledges a batch, and what is committed when.

use futures::StreamExt;
use futures::executor::block_on;

use super::*;
use crate::ErrorKind;
use crate::consumer::Offsets;

#[test]
fn a_batch_is_committed_once_the_next_is_asked_for() {
    let (broker, consumer) = reading(0..10);
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
fn an_acknowledged_record_is_committed_though_its_batch_is_abandoned() {
    let (broker, consumer) = reading(0..10);
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
    let (broker, consumer) = reading(0..10);
    let outcome = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let _batch = next(&consumer);
                panic!("a bug of the caller");
            })
            .join()
    });
    outcome.unwrap_err();
    // The consumer lives on, and closes as if nothing had happened.
    write(&broker, 0, 10..12);
    read(&consumer, 1);
    close_and_expect(&broker, &consumer, &[]);
    let consumer = builder(&broker, "g").build().unwrap();
    assert_eq!(read(&consumer, 12)[&0], Vec::from_iter(0..12));
}

#[test]
fn closing_acknowledges_neither_what_was_dropped_nor_what_is_in_hand() {
    let (broker, consumer) = reading_with(0..6, |it| it.max_batch_records(2_u32));
    drop(next(&consumer));
    drop(next(&consumer));
    let in_hand = next(&consumer);
    let first = in_hand.get(0).unwrap().offset();
    close_and_expect(&broker, &consumer, &[(0, first)]);
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
fn a_failed_caller_and_a_close_leave_the_batch_to_the_next_reader() {
    let (broker, consumer) = reading(0..10);
    let work = || -> Result<(), String> {
        let batch = next(&consumer);
        let outcomes = batch.iter().map(|_| Err("the database is down".to_owned()));
        outcomes.collect()
    };
    work().unwrap_err();
    close_and_expect(&broker, &consumer, &[]);
}

#[test]
fn a_loop_that_is_left_without_an_error_acknowledges() {
    let (broker, consumer) = reading(0..10);
    let read = next(&consumer).len() as i64;
    consumer.acknowledge();
    close_and_expect(&broker, &consumer, &[(0, read)]);
}

#[test]
fn a_read_of_another_thread_acknowledges_nothing() {
    let (broker, consumer) = reading(0..10);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(next(&consumer))).join().unwrap();
    });
    write(&broker, 0, 10..12);
    drop(next(&consumer));
    let _ = consumer.next_batch(Duration::ZERO).unwrap();
    close_and_expect(&broker, &consumer, &[]);
}

#[test]
fn a_read_of_another_task_acknowledges_nothing() {
    let (broker, consumer) = reading(0..10);
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
    close_and_expect(&broker, &consumer, &[]);
}

#[test]
fn a_task_acknowledges_by_reading_on() {
    let (broker, consumer) = reading_with(0..10, |it| it.detect_end(true));
    let all = async { while consumer.next_batch_async().await.unwrap().is_some() {} };
    block_on(all);
    close_and_expect(&broker, &consumer, &[(0, 10)]);
}

#[tokio::test]
async fn what_tokio_blocks_on_is_one_reader() {
    let (_broker, consumer) = reading(0..4);
    has_buffered(&consumer, 4);
    let mut stream = consumer.stream();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    drop(consumer.next_batch_async().await.unwrap());
    assert_eq!(
        acknowledged(&consumer),
        Some(1),
        "the record of the stream, by reading on"
    );
    consumer.acknowledge();
    assert_eq!(acknowledged(&consumer), Some(4));
}

#[test]
fn a_batch_that_a_worker_drops_is_not_acknowledged() {
    let (broker, consumer) = reading(0..10);
    let batch = next(&consumer);
    std::thread::spawn(move || drop(batch)).join().unwrap();
    assert!(consumer.next_batch(Duration::ZERO).unwrap().is_none());
    close_and_expect(&broker, &consumer, &[]);
}

#[test]
fn acknowledging_needs_no_next_batch() {
    let (broker, consumer) = reading(0..4);
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
    assert_eq!(acknowledged(&consumer), None);
    assert!(seen > 0);
}

#[test]
fn without_auto_commit_only_what_is_asked_for_is_committed() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let manual = |group| builder(&broker, group).auto_commit(false).build().unwrap();
    let consumer = manual("g");
    assert_eq!(read(&consumer, 10)[&0].len(), 10);
    close_and_expect(&broker, &consumer, &[]);
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
    let (_broker, consumer) = reading_with(0..40, |it| it.max_batch_records(10_u32));
    let first = next(&consumer);
    let start = first.get(0).unwrap().offset();
    // What is acknowledged behind a gap is not committed.
    let mut seen = first.len();
    while seen < 40 {
        let batch = next(&consumer);
        seen += batch.len();
        batch.acknowledge();
    }
    assert!(acknowledged(&consumer).is_none_or(|next| next == start));
    first.acknowledge();
    assert_eq!(acknowledged(&consumer), Some(40));
}

/// librdkafka's position counts the end that it reports as a record.
#[test]
fn nothing_is_committed_beyond_a_reported_end() {
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
    close_and_expect(&broker, &consumer, &[(0, 10)]);
}

/// Nor does a seek move that position back.
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
    close_and_expect(&broker, &consumer, &[(0, end)]);
}

//! Senders in line for a full queue: in which order they are admitted, and how they leave.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::executor::block_on;
use futures::future::join_all;

use super::sessions::end_session;
use super::*;
use crate::producer::{Admission, SharedProducer};

/// A producer whose queue takes that many records, and one record of which is delivered.
fn small(broker: &Broker, settings: ProducerSettings, records: u64) -> EventProducer {
    let settings = settings.queue_max_records(records);
    let producer = builder(broker).producer(settings).build().unwrap();
    let first = producer.raw(TOPIC).key(&b"first"[..]).send().unwrap();
    first.wait_timeout(SOON).unwrap();
    // Capacity is given back a moment after the outcome is known.
    producer.flush(SOON).unwrap();
    producer
}

fn submit(producer: &EventProducer, key: &str, value: &str) -> Admission {
    let record = producer.raw(TOPIC).key(key.as_bytes());
    record.value(value.as_bytes()).submit().unwrap()
}

fn try_send(producer: &EventProducer, value: &str) -> crate::Result<Delivery> {
    let record = producer.raw(TOPIC).key(&b"key"[..]);
    record.value(value.as_bytes()).try_send()
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// The values of one key, in the order of the log; `count` records are in it.
fn values(broker: &Broker, key: &str, count: usize) -> Vec<String> {
    let records = read(broker, TOPIC, count);
    let own = records
        .iter()
        .filter(|record| record.key() == Some(key.as_bytes()));
    own.map(|record| text(record.payload())).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn records_in_line_are_accepted_in_the_order_of_their_sends() {
    const RECORDS: usize = 1_000;
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 3);
    broker.delay(Duration::from_millis(200)).unwrap();
    let expected = numbers(RECORDS);
    let admissions: Vec<_> = expected
        .iter()
        .map(|value| submit(&producer, "key", value))
        .collect();
    assert!(admissions[0].outcome().is_some());
    assert!(admissions[RECORDS - 1].outcome().is_none());
    assert_eq!(producer.stats().queued, RECORDS as u64);
    broker.delay(Duration::ZERO).unwrap();
    // Whoever is asked first changes nothing.
    for admission in admissions.iter().rev() {
        let delivery = admission.wait().unwrap();
        delivery.wait_timeout(SOON).unwrap();
    }
    assert_eq!(values(&broker, "key", RECORDS + 1), expected);
}

#[test]
fn threads_tasks_and_tries_keep_their_order_and_lose_no_wake_up() {
    const RECORDS: usize = 800;
    const SENDERS: usize = 3;
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 4);
    let expected = numbers(RECORDS);
    let by_thread = |key: String| {
        for value in &expected {
            let record = producer.raw(TOPIC).key(key.as_bytes());
            drop(record.value(value.as_bytes()).send().unwrap());
        }
    };
    let by_task = |key: String| {
        block_on(async {
            for value in &expected {
                let record = producer.raw(TOPIC).key(key.as_bytes());
                drop(record.value(value.as_bytes()).send_async().await.unwrap());
            }
        });
    };
    let by_many_tasks = |key: String| {
        let sends = expected.iter().map(|value| {
            let record = producer.raw(TOPIC).key(key.as_bytes());
            record.value(value.as_bytes()).send_async()
        });
        let accepted = block_on(join_all(sends));
        assert!(accepted.iter().all(Result::is_ok));
    };
    // Leaves the line as often as not.
    let by_quitter = || {
        for number in 0..RECORDS {
            let mut admission = submit(&producer, "quitter", "");
            if number % 3 == 0 {
                std::thread::yield_now();
            }
            let _ = poll(&mut admission);
        }
    };
    let by_tries = || {
        let mut sent = 0;
        while sent < 20 {
            match try_send(&producer, "") {
                Ok(_) => sent += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::QueueFull),
            }
            std::thread::yield_now();
        }
    };
    // Takes capacity, and gives it back.
    let by_failures = || {
        for _ in 0..RECORDS {
            let record = producer.raw(TOPIC).partition(1_000);
            assert_eq!(record.send().unwrap_err().kind(), ErrorKind::UnknownTopic);
        }
    };
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            scope.spawn(move || by_thread(format!("thread {number}")));
            scope.spawn(move || by_task(format!("task {number}")));
        }
        scope.spawn(|| by_many_tasks("tasks".to_owned()));
        scope.spawn(by_quitter);
        scope.spawn(by_failures);
        by_tries();
    });
    producer.flush(SOON).unwrap();
    let stats = producer.stats();
    assert_eq!((stats.failed, stats.queued), (0, 0));
    let records = read(&broker, TOPIC, stats.delivered as usize);
    let mut keys: Vec<_> = (0..SENDERS)
        .flat_map(|number| [format!("thread {number}"), format!("task {number}")])
        .collect();
    keys.push("tasks".to_owned());
    for key in keys {
        let own = records.iter().filter(|one| text(one.key()) == key);
        let own: Vec<_> = own.map(|one| text(one.payload())).collect();
        assert_eq!(own, expected, "{key}");
    }
}

#[test]
fn a_try_does_not_overtake_a_thread_that_waits() {
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 1);
    for _ in 0..20 {
        broker.delay(Duration::from_millis(30)).unwrap();
        drop(submit(&producer, "key", "fills").wait().unwrap());
        let waiting = {
            let producer = producer.clone();
            std::thread::spawn(move || {
                let record = producer.raw(TOPIC).key(&b"key"[..]).value(&b"waits"[..]);
                record.send().unwrap().wait_timeout(SOON).unwrap().offset
            })
        };
        while producer.stats().queued < 2 && !waiting.is_finished() {
            std::thread::yield_now();
        }
        broker.delay(Duration::ZERO).unwrap();
        let tried = loop {
            if let Ok(delivery) = try_send(&producer, "tries") {
                break delivery;
            }
            std::thread::yield_now();
        };
        let waited = waiting.join().unwrap();
        assert!(waited < tried.wait_timeout(SOON).unwrap().offset);
    }
}

#[test]
fn a_dropped_admission_sends_nothing_and_delays_no_other() {
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 1);
    broker.delay(Duration::from_millis(300)).unwrap();
    let accepted = submit(&producer, "key", "0");
    let mut dropped: Vec<_> = (0..50).map(|_| submit(&producer, "key", "no")).collect();
    let mut last = submit(&producer, "key", "1");
    assert_eq!(producer.stats().queued, 52);
    // From both ends and from the middle.
    drop(dropped.split_off(40));
    drop(dropped.drain(10..20).collect::<Vec<_>>());
    drop(dropped);
    assert_eq!(producer.stats().queued, 2);
    assert!(poll(&mut last).is_pending());
    // What was accepted is sent all the same.
    drop(accepted);
    broker.delay(Duration::ZERO).unwrap();
    let delivery = block_on(last).unwrap();
    delivery.wait_timeout(SOON).unwrap();
    assert_eq!(values(&broker, "key", 3), ["0", "1"]);
    assert_eq!(producer.stats().accepted, 3);
}

#[test]
fn closing_notifies_every_sender_in_line() {
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 1);
    broker.take_down().unwrap();
    drop(submit(&producer, "key", "fills"));
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let producer = producer.clone();
            std::thread::spawn(move || {
                if number == 0 {
                    return block_on(producer.raw(TOPIC).send_async()).unwrap_err();
                }
                producer.raw(TOPIC).send().unwrap_err()
            })
        })
        .collect();
    let admission = submit(&producer, "key", "waits");
    while producer.stats().queued < 5 {
        std::thread::yield_now();
    }
    let began = Instant::now();
    let error = producer.close(Duration::ZERO).unwrap_err();
    assert_eq!(error.get("records"), Some("1"));
    let errors = threads.into_iter().map(|thread| thread.join().unwrap());
    for error in errors.chain([admission.wait().unwrap_err()]) {
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.get("topic"), Some(TOPIC));
    }
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    assert_eq!(producer.stats().queued, 0);
}

#[test]
fn a_sender_that_joins_the_line_while_the_producer_closes_is_notified() {
    let broker = broker();
    for round in 0..15 {
        let producer = small(&broker, ProducerSettings::default(), 1);
        let sender = {
            let producer = producer.clone();
            std::thread::spawn(move || {
                let began = Instant::now();
                loop {
                    if let Err(error) = producer.raw(TOPIC).key(&b"key"[..]).send() {
                        return (error, began.elapsed());
                    }
                }
            })
        };
        for _ in 0..round * 50 {
            std::thread::yield_now();
        }
        producer.close(SOON).unwrap();
        let (error, took) = sender.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(took < SOON, "{took:?}");
    }
}

#[test]
fn a_future_in_line_fails_after_the_block_timeout_without_a_runtime() {
    let broker = broker();
    let timeout = Duration::from_millis(150);
    let settings = ProducerSettings::default().block_timeout(timeout);
    let producer = small(&broker, settings, 1);
    broker.take_down().unwrap();
    drop(submit(&producer, "key", "fills"));
    let began = Instant::now();
    let error = block_on(producer.raw(TOPIC).send_async()).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("topic")),
        (ErrorKind::QueueFull, Some(TOPIC))
    );
    let took = began.elapsed();
    assert!(took >= timeout && took < SOON / 2, "{took:?}");
    assert_eq!(producer.stats().queued, 1);
    assert!(producer.close(Duration::ZERO).is_err());
}

#[test]
fn a_flush_waits_for_records_in_line() {
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 2);
    broker.delay(Duration::from_millis(20)).unwrap();
    let admissions: Vec<_> = (0..20).map(|_| submit(&producer, "key", "")).collect();
    producer.flush(SOON).unwrap();
    let deliveries = admissions.iter().map(|one| one.outcome().unwrap().unwrap());
    for delivery in deliveries {
        assert!(delivery.outcome().unwrap().is_ok());
    }
}

#[test]
fn records_in_line_of_a_session_that_ends_go_in_the_next_one_in_order() {
    const RECORDS: usize = 200;
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 5);
    broker.delay(Duration::from_millis(50)).unwrap();
    let expected = numbers(RECORDS);
    let admissions: Vec<_> = expected
        .iter()
        .map(|value| submit(&producer, "key", value))
        .collect();
    end_session(&producer);
    // Nobody asks for them meanwhile: the flush starts the next session.
    producer.flush(SOON).unwrap();
    let outcomes = admissions.iter().map(|one| {
        let delivery = one.wait().unwrap();
        delivery.wait_timeout(SOON)
    });
    let delivered: Vec<_> = outcomes
        .zip(&expected)
        .filter_map(|(outcome, value)| outcome.is_ok().then_some(value.clone()))
        .collect();
    // Those that the old session had accepted fail with it.
    assert!(delivered.len() > RECORDS / 2, "{}", delivered.len());
    assert_eq!(values(&broker, "key", delivered.len() + 1), delivered);
}

#[test]
fn the_next_session_admits_records_in_line_at_once() {
    let broker = broker();
    let took = || {
        let producer = small(&broker, ProducerSettings::default(), 1);
        broker.delay(SOON).unwrap();
        let (_fills, waits) = (submit(&producer, "key", ""), submit(&producer, "key", ""));
        let began = Instant::now();
        end_session(&producer);
        drop(waits.wait().unwrap());
        let took = began.elapsed();
        broker.delay(Duration::ZERO).unwrap();
        let _ = producer.close(Duration::ZERO);
        took
    };
    // An idle event thread looks every 500 ms. More than one try, for a busy machine.
    assert!((0..3).any(|_| took() < Duration::from_millis(300)));
}

#[test]
fn a_caller_that_does_not_wait_is_refused_where_the_line_is_as_long_as_the_queue() {
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 10);
    broker.take_down().unwrap();
    let mut sent: Vec<_> = (0..19).map(|_| submit(&producer, "key", "")).collect();
    producer.check_line().unwrap();
    sent.push(submit(&producer, "key", ""));
    let error = producer.check_line().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    drop(sent);
    producer.check_line().unwrap();
    assert!(producer.close(Duration::ZERO).is_err());
}

#[test]
fn a_caller_that_does_not_wait_is_refused_where_the_line_has_as_many_bytes_as_the_queue() {
    let broker = broker();
    let settings = ProducerSettings::default().queue_max_bytes(100_000u64);
    let producer = small(&broker, settings, 100);
    broker.take_down().unwrap();
    let large = "x".repeat(100_000);
    let _fills = submit(&producer, "key", &large);
    producer.check_line().unwrap();
    let waits = submit(&producer, "key", &large);
    assert_eq!(
        producer.check_line().unwrap_err().kind(),
        ErrorKind::QueueFull
    );
    drop(waits);
    producer.check_line().unwrap();
    assert!(producer.close(Duration::ZERO).is_err());
}

#[test]
fn a_producer_is_ready_when_the_line_is_empty_and_the_queue_has_capacity() {
    struct Ready(AtomicBool);
    impl Wake for Ready {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let broker = broker();
    let producer = small(&broker, ProducerSettings::default(), 1);
    let ready = Arc::new(Ready(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&ready));
    let mut context = Context::from_waker(&waker);
    assert!(producer.poll_ready(&mut context).is_ready());
    broker.delay(Duration::from_millis(100)).unwrap();
    let (_first, second) = (submit(&producer, "key", ""), submit(&producer, "key", ""));
    assert!(producer.poll_ready(&mut context).is_pending());
    let delivery = second.wait().unwrap();
    delivery.wait_timeout(SOON).unwrap();
    let deadline = Instant::now() + SOON;
    while !ready.0.load(Ordering::SeqCst) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(ready.0.load(Ordering::SeqCst));
    assert!(producer.poll_ready(&mut context).is_ready());
}

#[test]
fn a_shared_producer_keeps_its_seat_while_a_record_is_in_line() {
    let broker = broker();
    let settings = crate::config::Settings {
        connection: broker.connection(),
        producer: ProducerSettings::default().queue_max_records(1u64),
        ..Default::default()
    };
    let producer = SharedProducer::new(settings, None).unwrap();
    let submit = || producer.with(|core| core.raw(TOPIC).key(&b"key"[..]).submit());
    submit().unwrap().wait().unwrap().wait().unwrap();
    broker.delay(Duration::from_millis(100)).unwrap();
    let (_first, second) = (submit().unwrap(), submit().unwrap());
    assert_eq!(producer.stats().queued, 2);
    producer.close(SOON).unwrap();
    assert!(second.wait().unwrap().outcome().unwrap().is_ok());
    let stats = producer.stats();
    assert_eq!((stats.delivered, stats.queued), (3, 0));
    let dropped = { (submit().unwrap(), submit().unwrap()) };
    drop(dropped.1);
    assert_eq!(producer.stats().queued, 1);
    producer.close(SOON).unwrap();
}

//! Failures, and the errors that reads return.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::ErrorKind;
use crate::config::{ConnectionSettings, SecurityProtocol};
use crate::testkit::{Api, BrokerError};

#[test]
fn an_unknown_topic_is_an_error_and_the_others_are_read() {
    let broker = broker();
    write(&broker, 0, [1]);
    broker
        .fail_topic("nowhere", Some(BrokerError::UnknownTopic))
        .unwrap();
    let consumer = builder(&broker, "g").topic("nowhere").build().unwrap();
    let mut errors = Vec::new();
    let mut records = 0;
    until("both", || {
        match consumer.next_batch(Duration::from_millis(100)) {
            Ok(batch) => records += batch.map_or(0, |batch| batch.len()),
            Err(error) => errors.push(error),
        }
        records == 1 && !errors.is_empty()
    });
    assert_eq!(errors[0].kind(), ErrorKind::UnknownTopic, "{errors:?}");
    assert!(errors[0].message().contains("nowhere"), "{errors:?}");
}

#[test]
fn an_unknown_topic_is_an_error_of_a_standalone_consumer_too() {
    let broker = broker();
    broker
        .fail_topic("nowhere", Some(BrokerError::UnknownTopic))
        .unwrap();
    let settings = broker.consumer_settings("g", ["nowhere"]).standalone(true);
    let builder = EventConsumer::builder().connection(broker.connection());
    let consumer = builder.consumer(settings).build().unwrap();
    let error = error(&consumer);
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    assert_eq!(error.get("topic"), Some("nowhere"));
}

#[test]
fn a_group_that_may_not_be_joined_is_an_error() {
    let broker = broker();
    broker.fail_next(Api::JoinGroup, 20, BrokerError::GroupAuthorizationFailed);
    let consumer = builder(&broker, "g").build().unwrap();
    assert_eq!(error(&consumer).kind(), ErrorKind::Authorization);
}

#[test]
fn a_topic_that_may_not_be_read_is_an_error() {
    let broker = broker();
    write(&broker, 0, [1]);
    broker.fail_next(Api::Fetch, 20, BrokerError::TopicAuthorizationFailed);
    let consumer = builder(&broker, "g").build().unwrap();
    let error = error(&consumer);
    assert_eq!(error.kind(), ErrorKind::Authorization);
    assert_eq!(error.get("topic"), Some(TOPIC));
}

#[test]
fn unreachable_brokers_are_an_error_after_a_while_and_found_again() {
    let broker = broker();
    write(&broker, 0, [1]);
    let settings = settings(&broker, "g").unreachable_after(Duration::from_millis(300));
    let consumer = builder(&broker, "g").consumer(settings).build().unwrap();
    assert_eq!(read(&consumer, 1)[&0], [1]);
    broker.take_down().unwrap();
    let down = Instant::now();
    let error = error(&consumer);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.retryable() && down.elapsed() >= Duration::from_millis(300));
    broker.bring_up().unwrap();
    write(&broker, 0, [2]);
    until("the record behind it", || {
        let Ok(Some(batch)) = consumer.next_batch(Duration::from_millis(100)) else {
            return false;
        };
        batch
            .iter()
            .any(|record| record.typed::<ServiceHealthEvent>().unwrap().latency_ms == 2)
    });
}

#[test]
fn an_address_without_a_broker_does_not_delay_closing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let connection = ConnectionSettings::new(nobody.to_string());
    let settings = ConsumerSettings::new("g", [TOPIC]);
    let consumer = EventConsumer::builder()
        .connection(connection.security_protocol(SecurityProtocol::Plaintext))
        .consumer(settings.unreachable_after(Duration::from_millis(500)))
        .build()
        .unwrap();
    assert_eq!(error(&consumer).kind(), ErrorKind::Unavailable);
    let started = Instant::now();
    let _ = consumer.close(Duration::from_secs(2));
    drop(consumer);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

/// How long closing within `timeout` takes, and then dropping.
fn time_to_close(consumer: EventConsumer, timeout: Duration) -> Duration {
    let started = Instant::now();
    let _ = consumer.close(timeout);
    drop(consumer);
    started.elapsed()
}

#[test]
fn closing_without_time_returns_at_once_and_leaves_in_the_background() {
    let broker = broker();
    write(&broker, 0, 0..10);
    let consumer = builder(&broker, "g").build().unwrap();
    let batch = next(&consumer);
    let read = batch.len() as i64;
    batch.get(batch.len() - 1).unwrap().acknowledge();
    assert!(time_to_close(consumer, Duration::ZERO) < Duration::from_secs(2));
    until("the commit", || {
        committed(&broker, "g") == BTreeMap::from([(0, read)])
    });
    let started = Instant::now();
    drop(batch);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn closing_keeps_its_time_while_no_broker_answers() {
    let outages: [fn(&Broker); 2] = [
        |broker| broker.take_down().unwrap(),
        |broker| broker.delay(Duration::from_secs(20)).unwrap(),
    ];
    for begin in outages {
        let broker = broker();
        write(&broker, 0, 0..10);
        let consumer = builder(&broker, "g").build().unwrap();
        next(&consumer).acknowledge();
        begin(&broker);
        let taken = time_to_close(consumer, Duration::from_millis(500));
        assert!(taken < Duration::from_millis(600), "{taken:?}");
    }
}

#[test]
fn a_broker_that_is_slow_to_say_where_to_start_is_waited_for() {
    let broker = broker();
    write(&broker, 0, 0..3);
    broker.fail_next(Api::ListOffsets, 3, BrokerError::LeaderNotAvailable);
    let consumer = builder(&broker, "g").start(crate::config::StartPosition::Offset(1));
    let consumer = consumer.build().unwrap();
    assert_eq!(read(&consumer, 2)[&0], [1, 2]);
}

#[test]
fn a_panic_of_the_listener_does_no_harm() {
    let broker = broker();
    write(&broker, 0, [1]);
    let called = std::sync::Arc::new(AtomicBool::new(false));
    let caller = std::sync::Arc::clone(&called);
    let consumer = builder(&broker, "g")
        .on_assignment(move |_| {
            caller.store(true, Ordering::SeqCst);
            panic!("a bug in the listener");
        })
        .build()
        .unwrap();
    assert_eq!(read(&consumer, 1)[&0], [1]);
    assert!(called.load(Ordering::SeqCst));
    consumer.close(SOON).unwrap();
}

#[test]
fn pending_reads_fail_if_the_consumers_thread_ends() {
    let broker = broker();
    let consumer = builder(&broker, "g").build().unwrap();
    until("an assignment", || !consumer.assignment().is_empty());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            loop {
                if let Err(error) = consumer.next_batch(SOON) {
                    return error;
                }
            }
        });
        consumer.shared().thread_ended();
        let error = waiting.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        assert_eq!(consumer.next_batch(SOON).unwrap_err(), error, "it stays");
    });
    consumer.close(SOON).unwrap();
}

#[test]
fn impossible_settings_are_refused_at_once() {
    let setting = |builder: EventConsumerBuilder| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.get("setting").map(str::to_owned)
    };
    let topicless = EventConsumer::builder().group_id("g");
    assert_eq!(setting(topicless).as_deref(), Some("topics"));
    let groupless = EventConsumer::builder().topic(TOPIC);
    assert_eq!(setting(groupless).as_deref(), Some("group_id"));
    let mistyped = EventConsumer::builder()
        .group_id("g")
        .topic(TOPIC)
        .property("grup.id", "g");
    assert_eq!(setting(mistyped).as_deref(), Some("grup.id"));
}

#[test]
fn a_closed_consumer_leaves_no_threads_or_sockets() {
    let broker = broker();
    write(&broker, 0, 0..100);
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let sockets = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let round = || {
        let consumer = builder(&broker, "g").build().unwrap();
        let batch = next(&consumer);
        consumer.close(SOON).unwrap();
        drop(batch);
    };
    // Tests run beside each other in one process, so single counts prove nothing: a leak of a
    // handful in each round would show among whatever they do.
    round();
    let (threads_before, sockets_before) = (threads(), sockets());
    (0..20).for_each(|_| round());
    until("threads and sockets to end", || {
        threads() < threads_before + 60 && sockets() < sockets_before + 60
    });
}

//! Fatal errors: a session ends, the next one begins, and the producer goes on.

use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use super::*;
use crate::config::Settings;
use crate::producer::SharedProducer;

/// Has librdkafka give the running session up.
pub(super) fn end_session(producer: &EventProducer) {
    let session = producer.lifecycle().running().unwrap();
    let handle = session.sender().handle();
    let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    // SAFETY: the instance is live; the text is copied.
    unsafe { sys::rd_kafka_test_fatal_error(handle.ptr(), code, c"a test".as_ptr()) };
}

fn send(producer: &EventProducer, value: &str) -> Delivery {
    let record = producer.raw(TOPIC).key(&b"one key"[..]);
    record.value(value.as_bytes()).send().unwrap()
}

#[test]
fn after_a_fatal_error_the_producer_goes_on_with_a_new_session() {
    let (_broker, producer) = started();
    send(&producer, "before").wait_timeout(SOON).unwrap();
    end_session(&producer);
    // One of them may still be the old session's: it fails with the fatal error.
    let deadline = Instant::now() + SOON;
    let mut failed = 0;
    while let Err(error) = send(&producer, "after").wait_timeout(SOON) {
        assert!(error.message().contains("a test"), "{error}");
        assert_eq!(error.get("topic"), Some(TOPIC));
        failed += 1;
        assert!(Instant::now() < deadline, "{error}");
    }
    producer.flush(SOON).unwrap();
    assert_eq!(counts(&producer), (2, failed, 0));
    producer.close(SOON).unwrap();
    let error = producer.raw(TOPIC).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn what_was_accepted_before_a_fatal_error_ends_and_what_comes_after_is_delivered_in_order() {
    const RECORDS: usize = 2_000;
    let (broker, producer) = started();
    send(&producer, "first").wait_timeout(SOON).unwrap();
    broker.delay(Duration::from_millis(30)).unwrap();
    let mut sent = Vec::new();
    for number in 0..RECORDS {
        if number % 700 == 699 {
            end_session(&producer);
            // The old session's requests are still in flight when the next one begins.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        sent.push((number, send(&producer, &number.to_string())));
    }
    producer.flush(SOON).unwrap();
    let delivered: Vec<_> = sent
        .iter()
        .filter(|(_, delivery)| delivery.outcome().unwrap().is_ok())
        .map(|(number, _)| number.to_string())
        .collect();
    assert!(delivered.contains(&(RECORDS - 1).to_string()));
    let read = read(&broker, TOPIC, delivered.len() + 1);
    let read: Vec<_> = read
        .iter()
        .map(|record| String::from_utf8(record.payload().unwrap().to_vec()).unwrap())
        .collect();
    assert_eq!(read[1..], delivered);
    assert_eq!(producer.stats().queued, 0);
}

#[test]
fn closing_right_after_a_fatal_error_completes_every_record() {
    let (broker, producer) = started();
    send(&producer, "first").wait_timeout(SOON).unwrap();
    broker.take_down().unwrap();
    let mut sent: Vec<_> = (0..500).map(|_| send(&producer, "old")).collect();
    end_session(&producer);
    std::thread::park_timeout(Duration::from_millis(50));
    sent.extend((0..500).map(|_| send(&producer, "new")));
    let began = Instant::now();
    let error = producer.close(Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    for delivery in &sent {
        assert!(delivery.outcome().unwrap().is_err());
    }
    assert_eq!(counts(&producer), (1, 1000, 0));
}

#[test]
fn a_session_that_can_never_write_fails_its_records_at_a_bounded_rate() {
    let (broker, producer) = started();
    broker.fail_next(
        Api::InitProducerId,
        1000,
        BrokerError::ClusterAuthorizationFailed,
    );
    let began = Instant::now();
    let mut sessions = Vec::new();
    while began.elapsed() < Duration::from_millis(1500) {
        let sent = producer.raw(TOPIC).key(&b"one key"[..]).send();
        let error = sent.map_or_else(|refused| refused, |sent| failure(&sent));
        assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
        let session = producer.lifecycle().running().unwrap();
        if !sessions
            .iter()
            .any(|known| std::sync::Arc::ptr_eq(known, &session))
        {
            sessions.push(session);
        }
    }
    assert!(
        (2..=4).contains(&sessions.len()),
        "{} sessions",
        sessions.len()
    );
    assert_eq!(producer.stats().queued, 0);
}

#[test]
fn what_a_session_held_when_it_ended_fails_without_another_send() {
    let (broker, producer) = started();
    send(&producer, "first").wait_timeout(SOON).unwrap();
    broker.delay(Duration::from_millis(200)).unwrap();
    let mut sent = vec![send(&producer, "on the wire")];
    std::thread::park_timeout(Duration::from_millis(50));
    sent.extend((0..100).map(|_| send(&producer, "held")));
    sent.push(producer.raw("not-known-yet").send().unwrap());
    end_session(&producer);
    for delivery in &sent[1..] {
        assert!(failure(delivery).message().contains("a test"));
    }
    // What was on the wire ends as it ends.
    let outcome = sent[0].wait_timeout(Duration::from_secs(2));
    assert!(outcome.is_ok() || sent[0].outcome().is_some());
    // Its events are served until the next session.
    let session = producer.lifecycle().running().unwrap();
    let is_served = || {
        session
            .event_thread()
            .lock()
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    };
    std::thread::park_timeout(Duration::from_millis(50));
    assert!(is_served());
    send(&producer, "next").wait_timeout(SOON).unwrap();
    let deadline = Instant::now() + SOON;
    while is_served() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn shared_producers_go_on_after_a_fatal_error_of_their_session() {
    let broker = broker();
    let settings = Settings {
        connection: broker.connection().service_name("fatal"),
        ..Settings::default()
    };
    let producers = [0, 1].map(|_| SharedProducer::new(settings.clone(), None).unwrap());
    let send = |producer: &SharedProducer| {
        producer.with(|core| core.raw(TOPIC).value(&b"v"[..]).try_send())
    };
    for producer in &producers {
        send(producer).unwrap().wait_timeout(SOON).unwrap();
    }
    producers[0]
        .with(|core| {
            end_session(core);
            Ok(())
        })
        .unwrap();
    for producer in &producers {
        let deadline = Instant::now() + SOON;
        while send(producer).unwrap().wait_timeout(SOON).is_err() {
            assert!(Instant::now() < deadline);
        }
        producer.flush(SOON).unwrap();
        assert_eq!(
            (producer.stats().delivered, producer.stats().queued),
            (2, 0)
        );
    }
}

/// A broker without a record of the session takes any first sequence number, also that of the second
/// batch where it refused the first.
#[test]
fn the_first_record_of_a_partition_goes_alone() {
    let (broker, producer) = started();
    producer
        .raw("deployment-events")
        .send()
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    broker.delay(Duration::from_millis(500)).unwrap();
    // As a topic is resolved, and then in a queue of its own.
    for topic in ["config-changes", "deployment-events"] {
        let send = |value: &str| {
            let record = producer.raw(topic).partition(1);
            record.value(value.as_bytes()).send().unwrap()
        };
        let sent: Vec<_> = (0..50).map(|number| send(&number.to_string())).collect();
        let session = producer.lifecycle().running().unwrap();
        let in_flight = || session.sender().in_flight();
        let deadline = Instant::now() + SOON;
        while in_flight() == 0 {
            assert!(Instant::now() < deadline, "{topic}");
        }
        std::thread::park_timeout(Duration::from_millis(50));
        assert_eq!(in_flight(), 1, "{topic}");
        producer.flush(SOON).unwrap();
        let offsets: Vec<_> = sent
            .iter()
            .map(|sent| sent.wait().unwrap().offset)
            .collect();
        assert_eq!(offsets, (0..50).collect::<Vec<i64>>(), "{topic}");
    }
}

#[test]
fn a_record_that_the_broker_takes_for_a_duplicate_is_not_called_delivered() {
    let (broker, producer) = started();
    send(&producer, "first").wait_timeout(SOON).unwrap();
    let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
    broker.fail_next_with_code(Api::Produce, code);
    let error = failure(&send(&producer, "second"));
    assert!(error.retryable(), "{error}");
    assert_eq!(error.get("topic"), Some(TOPIC));
    assert_eq!(
        (producer.stats().delivered, producer.stats().failed),
        (1, 1)
    );
}

/// Senders must find the topic's lock free while what waited for the topic goes over.
#[test]
fn a_small_queue_of_librdkafkas_is_waited_for_while_a_topic_becomes_known() {
    let broker = broker();
    broker.delay(Duration::from_millis(50)).unwrap();
    let connection = broker
        .connection()
        .property("queue.buffering.max.kbytes", "1024");
    let settings = ProducerSettings::default().block_timeout(Duration::from_secs(5));
    let producer = EventProducer::builder();
    let producer = producer
        .connection(connection)
        .producer(settings)
        .build()
        .unwrap();
    let value = vec![b'v'; 100_000];
    let sent: Vec<_> = (0..40)
        .map(|_| {
            let began = Instant::now();
            let sent = producer
                .raw(TOPIC)
                .key(&b"k"[..])
                .value(&value[..])
                .send()
                .unwrap();
            assert!(
                began.elapsed() < Duration::from_secs(4),
                "{:?}",
                began.elapsed()
            );
            sent
        })
        .collect();
    producer.flush(SOON).unwrap();
    let offsets: Vec<_> = sent
        .iter()
        .map(|sent| sent.wait().unwrap().offset)
        .collect();
    assert_eq!(offsets, (0..40).collect::<Vec<i64>>());
}

/// The others must neither wait for it one by one nor keep other partitions waiting.
#[test]
fn a_partition_that_does_not_answer_delays_no_other_for_long() {
    let broker = Broker::start_cluster(2).unwrap();
    broker.create_topic("two", 2).unwrap();
    broker.move_partition("two", 0, Some(1)).unwrap();
    broker.move_partition("two", 1, Some(2)).unwrap();
    let settings = ProducerSettings::default().delivery_timeout(Duration::from_secs(3));
    let producer = builder(&broker).producer(settings).build().unwrap();
    producer.connect(SOON).unwrap();
    broker.take_node_down(1).unwrap();
    let began = Instant::now();
    let send = |partition| producer.raw("two").partition(partition).send().unwrap();
    let sent: Vec<_> = (0..20).map(|number| send(number % 2)).collect();
    for (number, sent) in sent.iter().enumerate() {
        let outcome = sent.wait_timeout(SOON);
        assert_eq!(outcome.is_ok(), number % 2 == 1, "{number}: {outcome:?}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
}

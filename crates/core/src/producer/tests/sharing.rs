//! Producers of equal settings that share a connection.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::config::Settings;
use crate::producer::SharedProducer;
use crate::producer::shared::pool::{IDLE, running};

fn settings(broker: &Broker) -> Settings {
    Settings {
        connection: broker.connection().service_name("shared"),
        ..Settings::default()
    }
}

fn send(producer: &SharedProducer, topic: &str) -> crate::Result<Delivery> {
    producer.with(|core| core.raw(topic).key(&b"k"[..]).value(&b"v"[..]).try_send())
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn equal_settings_share_a_connection_and_count_their_own_records() {
    let broker = broker();
    let made = || SharedProducer::new(settings(&broker), None).unwrap();
    let (one, two) = (made(), made());
    assert_eq!(running(&settings(&broker)), 0, "before the first record");
    for _ in 0..3 {
        send(&one, TOPIC).unwrap().wait_timeout(SOON).unwrap();
    }
    drop(send(&two, TOPIC).unwrap());
    two.flush(SOON).unwrap();
    assert_eq!(running(&settings(&broker)), 1);
    let counts = |producer: &SharedProducer| {
        let stats = producer.stats();
        (stats.accepted, stats.delivered, stats.failed, stats.queued)
    };
    wait_until("the last record's end", || one.stats().queued == 0);
    assert_eq!((counts(&one), counts(&two)), ((3, 3, 0, 0), (1, 1, 0, 0)));

    let mut others = settings(&broker);
    others.producer.linger = Duration::from_millis(1);
    let other = SharedProducer::new(others.clone(), None).unwrap();
    drop(send(&other, TOPIC).unwrap());
    other.flush(SOON).unwrap();
    assert_eq!(running(&settings(&broker)), 1);
    assert_eq!(running(&others), 1);
}

#[test]
fn a_flush_waits_for_the_producers_own_records_alone() {
    let broker = broker();
    let made = || SharedProducer::new(settings(&broker), None).unwrap();
    let (stuck, free) = (made(), made());
    send(&free, TOPIC).unwrap().wait_timeout(SOON).unwrap();
    broker
        .fail_topic("not-there", Some(BrokerError::UnknownTopic))
        .unwrap();
    let lost = send(&stuck, "not-there").unwrap();
    drop(send(&free, TOPIC).unwrap());
    free.flush(SOON).unwrap();
    assert!(lost.outcome().is_none());
    let error = stuck.flush(Duration::from_millis(10)).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("records")),
        (ErrorKind::Timeout, Some("1"))
    );
    assert_eq!(failure(&lost).kind(), ErrorKind::UnknownTopic);
    stuck.flush(SOON).unwrap();
    assert_eq!((stuck.stats().failed, free.stats().failed), (1, 0));
}

#[test]
fn a_pooled_producer_ends_when_it_is_not_used_and_never_with_a_record_in_it() {
    let broker = broker();
    let known = || running(&settings(&broker));
    let producer = SharedProducer::new(settings(&broker), None).unwrap();
    send(&producer, TOPIC).unwrap().wait_timeout(SOON).unwrap();
    producer.close(SOON).unwrap();
    wait_until("the pooled producer to end", || known() == 0);
    // It can be used again, and one that is not closed keeps its connection.
    drop(send(&producer, TOPIC).unwrap());
    producer.flush(SOON).unwrap();
    std::thread::park_timeout(Duration::from_millis(200));
    assert_eq!(known(), 1);

    broker.take_down().unwrap();
    let left = send(&producer, TOPIC).unwrap();
    let began = Instant::now();
    let error = producer.close(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(producer);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "a drop does not block"
    );
    std::thread::park_timeout(Duration::from_millis(300));
    assert!(
        left.outcome().is_none() && known() == 1,
        "the record is still in it"
    );
    broker.bring_up().unwrap();
    left.wait_timeout(SOON).unwrap();
    wait_until("the pooled producer to end", || known() == 0);
}

#[test]
fn wrong_settings_are_refused_when_the_producer_is_made() {
    let broker = broker();
    let wrong = || {
        let mut wrong = settings(&broker);
        wrong.connection = wrong.connection.property("lingr.ms", "5");
        wrong
    };
    let error = SharedProducer::new(wrong(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let producer = SharedProducer::new(settings(&broker), None).unwrap();
    assert_eq!(
        producer
            .change_settings(|it| *it = wrong())
            .unwrap_err()
            .kind(),
        ErrorKind::InvalidConfig
    );
    send(&producer, TOPIC).unwrap().wait_timeout(SOON).unwrap();
}

#[test]
fn nothing_is_lost_while_producers_come_and_go() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 150;
    let broker = broker();
    let accepted = AtomicU64::new(0);
    let delivered = AtomicU64::new(0);
    let shared = SharedProducer::new(settings(&broker), None).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (accepted, delivered, shared, broker) = (&accepted, &delivered, &shared, &broker);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let own = SharedProducer::new(settings(broker), None).unwrap();
                    let deliveries: Vec<_> =
                        [&own, shared].map(|one| send(one, TOPIC).unwrap()).into();
                    accepted.fetch_add(2, Ordering::Relaxed);
                    match (thread + round) % 4 {
                        0 => own.close(SOON).unwrap(),
                        // Its record stays in an entry without a seat.
                        1 => drop(own),
                        2 => shared.closed(None),
                        _ => shared.close(SOON).unwrap(),
                    }
                    // At times longer than an idle one lives.
                    if (thread + round) % 25 == 0 {
                        std::thread::park_timeout(Duration::from_millis(70));
                    }
                    for delivery in deliveries {
                        delivery.wait_timeout(SOON).unwrap();
                        delivered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(accepted.into_inner(), 2 * THREADS * ROUNDS);
    assert_eq!(delivered.into_inner(), 2 * THREADS * ROUNDS);
    shared.flush(SOON).unwrap();
    let stats = shared.stats();
    assert_eq!((stats.delivered, stats.failed), (THREADS * ROUNDS, 0));
}

/// A second session, started in the place of the first, would leave the first one's records to no
/// flush and no close.
#[test]
fn many_threads_start_one_session() {
    const THREADS: u64 = 8;
    let broker = broker();
    for _ in 0..40 {
        let producer = builder(&broker).build().unwrap();
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    drop(producer.raw(TOPIC).value(&b"v"[..]).send().unwrap());
                });
            }
        });
        producer.flush(SOON).unwrap();
        assert_eq!(producer.stats().delivered, THREADS);
    }
}

/// A service may make a producer with callbacks of its own for every event.
#[test]
fn a_pooled_producer_that_no_other_can_share_ends_at_once() {
    struct Quiet;
    impl crate::producer::ClientObserver for Quiet {}
    let broker = broker();
    let known = || running(&settings(&broker));
    for _ in 0..20 {
        let producer = SharedProducer::new(settings(&broker), None).unwrap();
        producer.observer(Quiet).unwrap();
        send(&producer, TOPIC).unwrap().wait_timeout(SOON).unwrap();
        producer.close(SOON).unwrap();
    }
    wait_until("the pooled producers to end", || known() == 0);

    // One that is closed and lives keeps its connection, as any other.
    let producer = SharedProducer::new(settings(&broker), None).unwrap();
    producer.observer(Quiet).unwrap();
    send(&producer, TOPIC).unwrap().wait_timeout(SOON).unwrap();
    producer.close(SOON).unwrap();
    std::thread::park_timeout(IDLE / 2);
    assert_eq!(known(), 1);
}

#[test]
fn a_pooled_producer_whose_token_provider_is_still_held_waits_for_the_next_one() {
    let broker = broker();
    let known = || running(&settings(&broker));
    let tokens = crate::config::TokenProvider::new(|| {
        Err(Error::new(ErrorKind::Unavailable, "not asked for"))
    });
    let made = || SharedProducer::new(settings(&broker), Some(tokens.clone())).unwrap();
    let other = made();
    let run = |producer: SharedProducer| {
        send(&producer, TOPIC).unwrap().wait_timeout(SOON).unwrap();
        producer.close(SOON).unwrap();
    };
    for _ in 0..3 {
        run(made());
        std::thread::park_timeout(IDLE / 3);
        assert_eq!(known(), 1, "the application can ask for it again");
    }
    run(other);
    drop(tokens);
    wait_until("the pooled producer to end", || known() == 0);
}

//! A record's delivery timeout runs from when it is accepted, wherever it waits.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(2);

fn settings() -> ProducerSettings {
    ProducerSettings::default().delivery_timeout(TIMEOUT)
}

/// The record times out when its time is up, and no earlier.
fn times_out(delivery: &Delivery, sent: Instant) {
    let error = failure(delivery);
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(error.get("topic"), Some(TOPIC));
    let after = sent.elapsed();
    assert!(
        after >= TIMEOUT && after < TIMEOUT + Duration::from_secs(1),
        "{after:?}"
    );
}

#[test]
fn the_time_that_a_record_waited_for_its_topic_counts_towards_its_delivery_timeout() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    registry.fail(RegistryFault::Slow(TIMEOUT * 3 / 4));
    let producer = builder(&broker)
        .registry(registry.settings())
        .producer(settings())
        .build()
        .unwrap();
    let sent = Instant::now();
    let delivery = producer.send(&event("a")).unwrap();
    // The partitions are known by then, and the schema id is not.
    std::thread::park_timeout(TIMEOUT / 2);
    broker.delay(TIMEOUT * 2).unwrap();
    times_out(&delivery, sent);
    // librdkafka still has it: nothing waits for that.
    producer.flush(Duration::from_millis(100)).unwrap();
    assert_eq!((producer.stats().failed, producer.stats().queued), (1, 0));
    broker.delay(Duration::ZERO).unwrap();
    let delivered = producer.send(&event("a")).unwrap();
    delivered.wait_timeout(SOON).unwrap();
    producer.close(SOON).unwrap();
    assert_eq!(
        (producer.stats().delivered, producer.stats().failed),
        (1, 1)
    );
}

#[test]
fn the_time_that_a_record_waited_for_the_first_of_its_partition_counts_as_well() {
    let broker = broker();
    let producer = builder(&broker).producer(settings()).build().unwrap();
    let send = |partition| producer.raw(TOPIC).partition(partition).send().unwrap();
    send(0).wait_timeout(SOON).unwrap();
    broker.delay(TIMEOUT * 2).unwrap();
    let sent = Instant::now();
    let deliveries = [send(1), send(1), send(1)];
    for delivery in &deliveries[1..] {
        times_out(delivery, sent);
    }
    assert_eq!(failure(&deliveries[0]).kind(), ErrorKind::Timeout);
    let began = Instant::now();
    producer.close(SOON).unwrap();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(counts(&producer), (1, 3, 0));
}

#[test]
fn a_record_that_librdkafkas_queue_has_no_capacity_for_times_out_too() {
    let broker = broker();
    let connection = broker
        .connection()
        .property("queue.buffering.max.kbytes", "1024");
    let producer = EventProducer::builder()
        .connection(connection)
        .producer(settings())
        .build()
        .unwrap();
    let send = |size: usize| {
        let record = producer.raw(TOPIC).partition(0);
        record.value(vec![0; size]).send().unwrap()
    };
    send(1).wait_timeout(SOON).unwrap();
    broker.delay(TIMEOUT * 2).unwrap();
    let sent = Instant::now();
    // Ours is as large, but bounded by what it has, not by what it would have.
    let deliveries = [send(900_000), send(100_000), send(900_000)];
    for delivery in &deliveries[1..] {
        times_out(delivery, sent);
    }
    producer.flush(SOON).unwrap();
    assert_eq!((producer.stats().failed, producer.stats().queued), (3, 0));
}

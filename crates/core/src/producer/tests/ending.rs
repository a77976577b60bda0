//! How records end that are not delivered, and how a producer ends.

use super::*;

#[tokio::test]
async fn a_task_closes_without_blocking_its_thread() {
    let (_broker, producer) = started();
    let delivery = producer.send(&event("a")).unwrap();
    // On a runtime of one thread: the delivery's task goes on while the producer closes.
    let (closed, delivered) = tokio::join!(producer.close_async(SOON), delivery);
    closed.unwrap();
    delivered.unwrap();
    let error = producer.send(&event("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    producer.close_async(SOON).await.unwrap();
}

#[test]
fn a_record_that_the_broker_does_not_take_fails_with_what_the_broker_said() {
    let (broker, producer) = started();
    deliver_one(&producer);
    broker.fail_next(Api::Produce, 1, BrokerError::MessageTooLarge);
    let error = failure(&producer.send(&event("a")).unwrap());
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
    // A passing fault is retried, not reported.
    broker.fail_next(Api::Produce, 2, BrokerError::NotEnoughReplicas);
    deliver_one(&producer);
    let stats = producer.stats();
    assert_eq!((stats.delivered, stats.failed), (2, 1));
}

#[test]
fn a_record_without_a_broker_fails_at_the_delivery_timeout() {
    let broker = broker();
    let settings = ProducerSettings::default().delivery_timeout(Duration::from_secs(2));
    let producer = builder(&broker).producer(settings.clone()).build().unwrap();
    deliver_one(&producer);
    broker.take_down().unwrap();
    let known = producer.send(&event("a")).unwrap();
    // And one of a topic that this producer never saw.
    let unknown = producer
        .raw("config-changes")
        .value(&b"v"[..])
        .send()
        .unwrap();
    assert_eq!(failure(&known).kind(), ErrorKind::Timeout);
    assert!(failure(&unknown).retryable(), "{}", failure(&unknown));
    assert_eq!(counts(&producer), (1, 2, 0));
}

#[test]
fn closing_without_a_broker_completes_every_record_and_counts_them() {
    let (broker, producer) = started();
    deliver_one(&producer);
    broker.take_down().unwrap();
    let mut deliveries: Vec<_> = (0..2000)
        .map(|_| producer.send(&event("a")).unwrap())
        .collect();
    deliveries.push(
        producer
            .raw("config-changes")
            .value(&b"v"[..])
            .send()
            .unwrap(),
    );
    let error = producer.close(Duration::from_millis(100)).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("records")),
        (ErrorKind::Aborted, Some("2001"))
    );
    for delivery in &deliveries {
        assert_eq!(
            delivery.outcome().unwrap().unwrap_err().kind(),
            ErrorKind::Aborted
        );
    }
    assert_eq!(producer.stats().failed, 2001);
    assert_eq!(
        producer.send(&event("a")).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn dropping_the_last_clone_delivers_what_was_accepted() {
    let (_broker, producer) = started();
    let clone = producer.clone();
    drop(producer);
    let deliveries: Vec<_> = (0..500).map(|_| clone.send(&event("a")).unwrap()).collect();
    drop(clone);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.outcome().unwrap().is_ok())
    );
}

#[test]
fn connecting_fails_when_no_broker_answers() {
    let (broker, producer) = started();
    producer.connect(Duration::from_secs(10)).unwrap();
    broker.take_down().unwrap();
    let late = builder(&broker).build().unwrap();
    let error = late.connect(Duration::from_millis(300)).unwrap_err();
    assert!(error.retryable(), "{error}");
    producer.close(Duration::from_secs(1)).unwrap();
    let error = producer.connect(Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn closing_waits_neither_for_a_name_server_nor_for_a_registry_nor_for_a_token() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    registry.fail(RegistryFault::Slow(Duration::from_secs(10)));
    let tokens = || {
        std::thread::sleep(Duration::from_secs(10));
        Err(Error::new(ErrorKind::Unavailable, "too late"))
    };
    let login = broker
        .connection()
        .security_protocol(crate::config::SecurityProtocol::SaslPlaintext)
        .sasl_mechanism(crate::config::SaslMechanism::OAuthBearer);
    for (what, builder) in [
        (
            "name",
            EventProducer::builder()
                .bootstrap_servers("slow.invalid:9092")
                .property("security.protocol", "plaintext"),
        ),
        (
            "registry",
            builder(&broker).schema_registry_url(registry.url()),
        ),
        (
            "token",
            EventProducer::builder()
                .connection(login)
                .token_provider(crate::config::TokenProvider::new(tokens)),
        ),
    ] {
        let producer = builder.build().unwrap();
        let sent = producer.send(&event("a")).unwrap();
        std::thread::park_timeout(Duration::from_millis(100));
        let began = Instant::now();
        let error = producer.close(Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Aborted, "{what}");
        assert!(sent.outcome().is_some(), "{what}");
        drop(producer);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{what}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn sends_that_race_with_close_complete_or_are_refused() {
    const THREADS: usize = 20;
    let broker = broker();
    for round in 0..12 {
        let settings = ProducerSettings::default()
            .queue_max_records(if round % 2 == 0 { 0 } else { 50u64 })
            .delivery_timeout(Duration::from_secs(5));
        let producer = builder(&broker).producer(settings).build().unwrap();
        producer.send(&event("first")).unwrap().wait().unwrap();
        if round % 3 == 2 {
            broker.take_down().unwrap();
        }
        let start = std::sync::Barrier::new(THREADS + 1);
        let run = |thread: usize| {
            let mut sent = Vec::new();
            start.wait();
            let refused = loop {
                let record = producer.raw(TOPIC).partition([0, 1, 99][thread % 3]);
                match record.send() {
                    Ok(delivery) if sent.len() < 5_000 => sent.push(delivery),
                    Ok(delivery) => drop(delivery),
                    Err(error) if error.kind() == ErrorKind::UnknownTopic => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(refused.kind(), ErrorKind::Closed, "{refused}");
            sent
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn({
                        let run = &run;
                        move || run(thread)
                    })
                })
                .collect();
            start.wait();
            std::thread::park_timeout(Duration::from_millis(5));
            let began = Instant::now();
            let outcome = producer.close(Duration::from_millis(200 * (round as u64 % 2)));
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{:?}",
                began.elapsed()
            );
            for thread in threads {
                for delivery in thread.join().unwrap() {
                    let is_delivered = delivery.outcome().expect("an outcome").is_ok();
                    assert!(is_delivered || outcome.is_err());
                }
            }
        });
        let stats = producer.stats();
        assert_eq!(stats.queued, 0);
        assert_eq!(stats.accepted, stats.delivered + stats.failed);
        if round % 3 == 2 {
            broker.bring_up().unwrap();
        }
    }
}

//! Records that wait: for capacity in the queue, or for the registry.

use super::*;

#[test]
fn a_queue_of_no_records_at_most_has_no_bound() {
    let broker = broker();
    let property = |value| builder(&broker).property("queue.buffering.max.messages", value);
    broker.take_down().unwrap();
    for producer in [
        builder(&broker).producer(ProducerSettings::default().queue_max_records(0u64)),
        property("0"),
    ] {
        let producer = producer.build().unwrap();
        for _ in 0..50 {
            drop(producer.raw(TOPIC).value(&b"v"[..]).try_send().unwrap());
        }
        assert!(producer.close(Duration::ZERO).is_err());
    }
}

#[test]
fn a_full_queue_says_so_or_waits_but_never_drops() {
    let broker = broker();
    let settings = ProducerSettings::default()
        .queue_max_records(10u64)
        .block_timeout(Duration::from_millis(200));
    let producer = builder(&broker).producer(settings).build().unwrap();
    deliver_one(&producer);
    broker.delay(Duration::from_secs(2)).unwrap();
    for _ in 0..10 {
        drop(producer.try_send(&event("a")).unwrap());
    }
    assert_eq!(
        producer.try_send(&event("a")).unwrap_err().kind(),
        ErrorKind::QueueFull
    );
    let began = Instant::now();
    let error = producer.send(&event("a")).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("topic")),
        (ErrorKind::QueueFull, Some(TOPIC))
    );
    assert!(began.elapsed() >= Duration::from_millis(200));
    broker.delay(Duration::ZERO).unwrap();
    producer.flush(SOON).unwrap();
    deliver_one(&producer);
    assert_eq!(producer.stats().delivered, 12);
}

#[tokio::test]
async fn a_task_waits_for_capacity_and_a_cancelled_one_has_sent_nothing() {
    let broker = broker();
    let settings = ProducerSettings::default().queue_max_records(1u64);
    let producer = builder(&broker).producer(settings).build().unwrap();
    producer
        .send_async(&event("a"))
        .await
        .unwrap()
        .await
        .unwrap();
    broker.delay(Duration::from_secs(1)).unwrap();
    let first = producer.send_async(&event("a")).await.unwrap();
    {
        let another = event("b");
        let mut waiting = std::pin::pin!(producer.send_async(&another));
        assert!(futures::poll!(&mut waiting).is_pending());
    }
    broker.delay(Duration::ZERO).unwrap();
    let second = producer.send_async(&event("c")).await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(producer.stats().accepted, 3);
}

#[test]
fn records_wait_for_a_registry_that_is_down_and_follow_in_order() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    registry.down();
    let producer = builder(&broker)
        .registry(registry.settings())
        .build()
        .unwrap();
    let first = producer.send(&event("a")).unwrap();
    let second = producer
        .raw(TOPIC)
        .key(&b"a"[..])
        .value(&b"raw"[..])
        .send()
        .unwrap();
    assert!(first.outcome().is_none());
    registry.up();
    let first = first.wait_timeout(SOON).unwrap();
    let second = second.wait_timeout(SOON).unwrap();
    assert_eq!(
        (first.partition, first.offset + 1),
        (second.partition, second.offset)
    );
    let record = read(&broker, TOPIC, 2).remove(0);
    let frame = split(record.payload().unwrap()).unwrap();
    assert!(matches!(frame.format, WireFormat::Confluent { .. }));
    assert_eq!(registry.versions("system-health-value").len(), 1);
    ServiceHealthEvent::decode(frame.body).unwrap();
}

#[test]
fn a_registry_outage_goes_unnoticed_once_the_schema_is_known_or_given() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    let producer = builder(&broker)
        .registry(registry.settings())
        .build()
        .unwrap();
    deliver_one(&producer);
    registry.down();
    deliver_one(&producer);
    let given = registry.settings().schema_id(TOPIC, 77);
    let producer = builder(&broker).registry(given).build().unwrap();
    producer
        .send(&event("given"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    let records = read(&broker, TOPIC, 3);
    let given = records
        .iter()
        .find(|record| record.key() == Some(b"given"))
        .unwrap();
    let frame = split(given.payload().unwrap()).unwrap();
    assert_eq!(frame.format, WireFormat::Confluent { id: 77 });
}

#[test]
fn a_schema_that_the_registry_refuses_fails_its_records_with_its_kind() {
    let broker = broker();
    let registry = MockRegistry::start().unwrap();
    registry.fail(RegistryFault::Status(409));
    let producer = builder(&broker)
        .registry(registry.settings())
        .build()
        .unwrap();
    let error = failure(&producer.send(&event("a")).unwrap());
    assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
    assert_eq!(producer.stats().failed, 1);
}

/// Senders that are quicker than the resolver must not keep it for ever.
#[test]
fn a_topic_becomes_known_while_threads_send_without_end() {
    let broker = broker();
    let settings = ProducerSettings::default()
        .queue_max_records(0u64)
        .queue_max_bytes(u64::MAX);
    let producer = builder(&broker).producer(settings).build().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (producer, stop) = (&producer, &stop);
            scope.spawn(move || {
                let key = [thread];
                for _ in 0..20_000 {
                    drop(producer.raw(TOPIC).key(&key[..]).send().unwrap());
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let known = || {
            let session = producer.lifecycle().running()?;
            let topic = session.topics().get(TOPIC);
            topic.routes().as_ref().map(drop)
        };
        let deadline = Instant::now() + SOON;
        while known().is_none() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(known().is_some());
    });
    producer.flush(SOON).unwrap();
    assert_eq!(producer.stats().failed, 0);
}

#[test]
fn raw_and_typed_records_of_one_key_keep_their_order_while_a_topic_becomes_known() {
    const RECORDS: usize = 400;
    for _ in 0..5 {
        let broker = broker();
        let registry = MockRegistry::start().unwrap();
        registry.fail(RegistryFault::Slow(Duration::from_millis(30)));
        let producer = builder(&broker)
            .registry(registry.settings())
            .build()
            .unwrap();
        let typed = event("one key");
        let sent: Vec<_> = (0..RECORDS)
            .map(|number| match number % 3 {
                // The first raw records open the topic, the first typed one closes it again.
                0 if number > 30 => producer.send(&typed).unwrap(),
                _ => {
                    std::thread::park_timeout(Duration::from_micros(100));
                    producer.raw(TOPIC).key(&b"one key"[..]).send().unwrap()
                }
            })
            .collect();
        let offsets: Vec<_> = sent
            .iter()
            .map(|sent| sent.wait_timeout(SOON).unwrap().offset)
            .collect();
        assert_eq!(offsets, (0..RECORDS as i64).collect::<Vec<_>>());
    }
}

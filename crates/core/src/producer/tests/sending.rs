//! What reaches the broker, and what is refused at the call.

use super::*;
use crate::events::AuditAPICallEvent;

#[test]
fn a_lone_send_is_not_delayed_by_linger() {
    let broker = broker();
    let settings = ProducerSettings::default().linger(Duration::from_secs(60));
    let producer = builder(&broker).producer(settings).build().unwrap();
    for _ in 0..3 {
        deliver_one(&producer);
    }
}

#[test]
fn a_burst_is_delivered_in_the_order_of_each_key() {
    let (broker, producer) = started();
    let keys = ["a", "b", "c", "d", "e"];
    let deliveries: Vec<_> = (0..5000)
        .map(|index: usize| {
            let value = index.to_string().into_bytes();
            producer
                .raw(TOPIC)
                .key(keys[index % 5].as_bytes())
                .value(value)
                .send()
                .unwrap()
        })
        .collect();
    producer.flush(SOON).unwrap();
    let mut last = std::collections::HashMap::new();
    for record in read(&broker, TOPIC, 5000) {
        let index: usize = std::str::from_utf8(record.payload().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        let before = last.insert(record.key().unwrap().to_vec(), index);
        assert!(
            before.is_none_or(|before| before < index),
            "{before:?} before {index}"
        );
        // Each handle says where its record is.
        let report = deliveries[index].outcome().unwrap().unwrap();
        assert_eq!(
            (report.partition, report.offset),
            (record.partition(), record.offset())
        );
    }
    let stats = producer.stats();
    assert_eq!(
        (stats.accepted, stats.delivered, stats.failed, stats.queued),
        (5000, 5000, 0, 0)
    );
}

#[test]
fn a_typed_event_is_a_single_object_without_a_registry() {
    let (broker, producer) = started();
    let sent = event("billing");
    producer.send(&sent).unwrap().wait_timeout(SOON).unwrap();
    let record = read(&broker, TOPIC, 1).remove(0);
    assert_eq!(record.key(), Some(&b"billing"[..]));
    let frame = split(record.payload().unwrap()).unwrap();
    let fingerprint = ServiceHealthEvent::FINGERPRINT;
    assert_eq!(frame.format, WireFormat::SingleObject { fingerprint });
    let read = ServiceHealthEvent::decode(frame.body).unwrap();
    assert_eq!(read.envelope.source, "tests");
    let filled = Envelope {
        source: "tests".into(),
        ..sent.envelope.clone()
    };
    assert_eq!(
        read,
        ServiceHealthEvent {
            envelope: filled,
            ..sent
        }
    );
}

#[test]
fn json_is_written_where_it_is_asked_for() {
    let broker = broker();
    let producer = builder(&broker).format(EventFormat::Json).build().unwrap();
    producer
        .send(&event("billing"))
        .unwrap()
        .wait_timeout(SOON)
        .unwrap();
    let record = read(&broker, TOPIC, 1).remove(0);
    let json: serde_json::Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
    assert_eq!(json["eventType"], "ServiceHealthEvent");
    assert_eq!(json["source"], "tests");
    assert_eq!(json["errorRate"], 0.5);
}

#[test]
fn headers_keys_partitions_and_tombstones_reach_the_broker() {
    let broker = broker();
    let trace = || {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        Some(crate::producer::TraceContext {
            traceparent,
            tracestate: None,
        })
    };
    let producer = builder(&broker).trace_context(trace).build().unwrap();
    let typed = event("a");
    let sent = [
        producer
            .event(&typed)
            .key(&b"mine"[..])
            .header("tenant", "north")
            .send()
            .unwrap(),
        producer
            .raw(TOPIC)
            .partition(2)
            .no_key()
            .value(&b"v"[..])
            .send()
            .unwrap(),
        producer.raw(TOPIC).key(&b"gone"[..]).send().unwrap(),
    ];
    for delivery in &sent {
        delivery.wait_timeout(SOON).unwrap();
    }
    let records = read(&broker, TOPIC, 3);
    let find = |key: Option<&[u8]>| records.iter().find(|record| record.key() == key).unwrap();
    let headers = find(Some(b"mine")).headers().unwrap();
    assert_eq!(headers.get(0).key, "tenant");
    assert_eq!(headers.get(0).value, Some(&b"north"[..]));
    assert_eq!(headers.get(1).key, "traceparent");
    assert_eq!(
        (find(None).partition(), find(None).payload()),
        (2, Some(&b"v"[..]))
    );
    assert_eq!(find(Some(b"gone")).payload(), None);
}

#[test]
fn bad_values_and_records_too_large_are_refused_at_the_call() {
    let broker = broker();
    let producer = builder(&broker)
        .property("message.max.bytes", "2000")
        .build()
        .unwrap();
    let bad = ServiceHealthEvent {
        error_rate: 1.5,
        ..event("a")
    };
    let error = producer.send(&bad).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("field")),
        (ErrorKind::InvalidEvent, Some("errorRate"))
    );
    let long = "x".repeat(3000);
    let error = producer.send(&ServiceHealthEvent {
        message: Some(long.into()),
        ..event("a")
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::RecordTooLarge);
    let error = producer.raw(TOPIC).partition(1000).value(&b"v"[..]).send();
    if let Ok(delivery) = error {
        // The topic was not known yet, so the handle fails.
        assert_eq!(failure(&delivery).kind(), ErrorKind::UnknownTopic);
    }
    deliver_one(&producer);
}

#[test]
fn a_check_refuses_what_a_send_refuses_and_sends_nothing() {
    let broker = broker();
    let producer = builder(&broker)
        .property("message.max.bytes", "2000")
        .build()
        .unwrap();
    let sent = producer.raw(TOPIC).value(&b"known"[..]).send().unwrap();
    sent.wait_timeout(SOON).unwrap();
    let long = "x".repeat(3000);
    for (record, kind) in [
        (
            producer.raw(TOPIC).value(long.as_bytes()),
            ErrorKind::RecordTooLarge,
        ),
        (
            producer.raw(TOPIC).key(long.as_bytes()),
            ErrorKind::RecordTooLarge,
        ),
        (
            producer.raw(TOPIC).header("h", &*long),
            ErrorKind::RecordTooLarge,
        ),
        (producer.raw(TOPIC).partition(1000), ErrorKind::UnknownTopic),
    ] {
        assert_eq!(record.check().unwrap_err().kind(), kind);
        assert_eq!(record.send().unwrap_err().kind(), kind);
    }
    let bad = ServiceHealthEvent {
        error_rate: 1.5,
        ..event("a")
    };
    let error = producer.event(&bad).check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidEvent);
    producer.event(&event("a")).check().unwrap();
    producer.raw(TOPIC).partition(0).check().unwrap();
    let stats = producer.stats();
    assert_eq!((stats.delivered, stats.queued), (1, 0));
}

#[test]
fn threads_share_a_producer_and_every_record_is_counted_once() {
    let broker = broker();
    let settings = ProducerSettings::default().queue_max_records(500u64);
    let producer = Arc::new(builder(&broker).producer(settings).build().unwrap());
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let producer = Arc::clone(&producer);
            std::thread::spawn(move || {
                let service = format!("service-{thread}");
                (0..1000)
                    .map(|_| producer.send(&event(&service)).unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let deliveries: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    producer.flush(SOON).unwrap();
    let places: std::collections::HashSet<_> = deliveries
        .iter()
        .map(|delivery| delivery.outcome().unwrap().unwrap())
        .map(|report| (report.partition, report.offset))
        .collect();
    assert_eq!(places.len(), 8000);
    assert_eq!(producer.stats().delivered, 8000);
    let snapshot = producer.metrics().snapshot();
    assert_eq!(snapshot.topic(TOPIC).unwrap().delivered, 8000);
}

#[test]
fn a_producer_that_sent_nothing_has_started_nothing() {
    let producer = EventProducer::builder()
        .bootstrap_servers("127.0.0.1:1")
        .build()
        .unwrap();
    assert!(producer.lifecycle().running().is_none());
    assert_eq!(producer.stats().accepted, 0);
    producer.flush(Duration::ZERO).unwrap();
    producer.close(Duration::ZERO).unwrap();
}

#[test]
fn a_mistyped_property_is_refused_with_the_nearest_name() {
    let error = EventProducer::builder()
        .property("batch.sise", "1")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("batch.size"), "{error}");
}

#[test]
fn every_topic_of_the_table_takes_its_record() {
    let (_broker, producer) = started();
    for topic in Topic::ALL {
        let delivery = producer.raw(topic.name()).value(&b"v"[..]).send().unwrap();
        assert_eq!(&*delivery.wait_timeout(SOON).unwrap().topic, topic.name());
    }
}

#[test]
fn json_that_is_no_typed_event_leaves_without_its_secrets() {
    let (broker, producer) = started();
    let call = serde_json::json!({"statusCode": "n/a", "apiKey": "abc"});
    let outgoing = producer.json("audit-api-calls", &call).unwrap();
    outgoing.send().unwrap().wait_timeout(SOON).unwrap();
    let records = read(&broker, "audit-api-calls", 1);
    let expected = r#"{"statusCode":"n/a","apiKey":"sha256:ba7816bf8f01cfea"}"#;
    assert_eq!(records[0].payload(), Some(expected.as_bytes()));
}

#[test]
fn an_event_within_json_is_hashed_once() {
    let (broker, producer) = started();
    let event = AuditAPICallEvent::builder()
        .service("s")
        .endpoint("/")
        .method("GET")
        .status_code(200)
        .latency_ms(1)
        .request_size_bytes(0)
        .response_size_bytes(0)
        .ip_address("192.0.2.1")
        .api_key("abc");
    let event = event.build().unwrap();
    let both = (
        &event,
        serde_json::json!({"eventType": "AuditAPICallEvent", "apiKey": "k"}),
    );
    let outgoing = producer.json("mirror", &both).unwrap();
    outgoing.send().unwrap().wait_timeout(SOON).unwrap();
    let records = read(&broker, "mirror", 1);
    let written: serde_json::Value = serde_json::from_slice(records[0].payload().unwrap()).unwrap();
    assert_eq!(written[0]["apiKey"], "sha256:ba7816bf8f01cfea");
    assert_ne!(written[1]["apiKey"], "k");
}

#[test]
fn a_partition_that_the_topic_lacks_is_refused_whether_the_topic_is_known_or_not() {
    let broker = broker();
    broker.create_topic("two-partitions", 2).unwrap();
    let producer = builder(&broker).build().unwrap();
    let record = |partition| {
        let record = producer.raw("two-partitions").partition(partition);
        record.header("name", &b"value"[..]).value(&b"v"[..])
    };
    // The topic becomes known meanwhile.
    let sent: Vec<_> = [0, 7, 1, 9, 7, 0]
        .map(|it| record(it).send().unwrap())
        .into();
    for (sent, fits) in sent.iter().zip([true, false, true, false, false, true]) {
        match sent.wait_timeout(SOON) {
            Ok(_) => assert!(fits),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.kind(), ErrorKind::UnknownTopic);
                assert_eq!(error.get("topic"), Some("two-partitions"));
            }
        }
    }
    for partition in [-1, 2] {
        let error = record(partition).send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
    }
    let unknown = producer.raw("other").partition(-2).send().unwrap_err();
    assert_eq!(unknown.get("partition"), Some("-2"));
    assert_eq!(counts(&producer), (3, 3, 0));
    for record in read(&broker, "two-partitions", 3) {
        assert_eq!(record.headers().unwrap().count(), 1);
    }
}

#[test]
fn a_value_that_cannot_be_written_is_an_error_and_no_tombstone() {
    let (broker, producer) = started();
    let refuse = || {
        let session = producer.lifecycle().session().unwrap();
        let topic = session.topics().get(TOPIC);
        assert!(session.admission().try_take());
        let record = crate::producer::accumulator::NewRecord {
            key: Some(b"k"),
            partition: None,
            headers: Vec::new(),
            owner: None,
            framed: false,
            deferred: false,
        };
        let refused = session.accept(&topic, record, |out| {
            out.extend_from_slice(b"half of ");
            Err(Error::new(ErrorKind::InvalidEvent, "no JSON"))
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidEvent);
    };
    let send = |value: &'static [u8]| producer.raw(TOPIC).key(&b"k"[..]).value(value).send();
    // Before the topic is known, and after.
    for round in 0..2 {
        refuse();
        let sent = send(b"whole").unwrap();
        refuse();
        sent.wait_timeout(SOON).unwrap();
        assert_eq!(producer.stats().accepted, round + 1);
    }
    for record in read(&broker, TOPIC, 2) {
        assert_eq!(record.payload(), Some(&b"whole"[..]));
    }
    producer.close(SOON).unwrap();
}

/// As where a topic's max.message.bytes is below the largest batch, and we may not ask for it.
#[test]
fn records_whose_batch_is_too_large_for_the_topic_go_again_in_smaller_ones() {
    use rdkafka::types::RDKafkaRespErr;
    for idempotence in [true, false] {
        let broker = broker();
        let settings = ProducerSettings::default().idempotence(idempotence);
        let producer = builder(&broker).producer(settings).build().unwrap();
        let send = || {
            let record = producer.raw(TOPIC).partition(0);
            record.value(vec![0; 1_000]).send().unwrap()
        };
        send().wait_timeout(SOON).unwrap();
        broker.delay(Duration::from_millis(20)).unwrap();
        // A record that goes at once, and three batches.
        broker.fail_next_with_code(Api::Produce, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
        broker.fail_next(Api::Produce, 3, BrokerError::MessageTooLarge);
        let sent: Vec<_> = (0..100).map(|_| send()).collect();
        let mut failed = 0;
        for delivery in &sent {
            if let Err(error) = delivery.wait_timeout(SOON) {
                assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error}");
                failed += 1;
            }
        }
        // At most the records that librdkafka had made a batch of their own of.
        assert!(failed <= 3, "{failed}");
        assert_eq!(counts(&producer), (101 - failed, failed, 0));
        producer.close(SOON).unwrap();
    }
}

#[test]
fn closing_completes_records_that_are_to_go_again() {
    let (broker, producer) = started();
    let send = || {
        producer
            .raw(TOPIC)
            .partition(0)
            .value(vec![0; 1_000])
            .send()
            .unwrap()
    };
    send().wait_timeout(SOON).unwrap();
    broker.delay(Duration::from_millis(20)).unwrap();
    broker.fail_next(Api::Produce, 1_000, BrokerError::MessageTooLarge);
    let sent: Vec<_> = (0..100).map(|_| send()).collect();
    let began = Instant::now();
    let _ = producer.close(Duration::from_millis(100));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(sent.iter().all(|sent| sent.outcome().unwrap().is_err()));
    assert_eq!((producer.stats().failed, producer.stats().queued), (100, 0));
}

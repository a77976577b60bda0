//! Where reading starts, what is seen, and how much is read ahead.

use carbon_events::config::{GroupProtocol, StartPosition};
use carbon_events_tests::noise;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::*;

fn raw_producer(properties: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka().bootstrap_servers());
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

#[test]
fn reading_starts_at_a_time() {
    // Timestamps 1000, 2000, … in partition 0 and one early record in partition 1.
    let raw = raw_producer(&[]);
    let write = |topic: &str, partition: i32, timestamp_ms: i64| {
        let record = BaseRecord::<(), [u8]>::to(topic).payload(b"x");
        let record = record.partition(partition).timestamp(timestamp_ms);
        raw.send(record).map_err(|(error, _)| error).unwrap();
        raw.flush(SOON).unwrap();
    };
    for (topic, protocol) in [
        ("time-classic", GroupProtocol::Classic),
        ("time-consumer", GroupProtocol::Consumer),
    ] {
        kafka().create_topic(topic, 2, &[]).unwrap();
        (1..=10).for_each(|second| write(topic, 0, second * 1000));
        write(topic, 1, 500);
        let at = |timestamp_ms| {
            let start = StartPosition::TimestampMs(timestamp_ms);
            let builder = builder(kafka(), topic).group_protocol(protocol);
            builder.start(start).build().unwrap()
        };
        let consumer = at(7_500);
        assert_eq!(read(&consumer, 3), [(0, 7), (0, 8), (0, 9)], "{protocol:?}");
        consumer.acknowledge();
        consumer.close(SOON).unwrap();
        write(topic, 0, 11_000);
        // Where the group has committed wins over the time; in partition 1 it never has.
        let consumer = at(0);
        let both = BTreeMap::from_iter(read(&consumer, 2));
        assert_eq!(both, BTreeMap::from([(0, 10), (1, 0)]), "{protocol:?}");
        consumer.close(SOON).unwrap();

        let alone = builder(kafka(), topic).standalone().detect_end();
        let alone = alone.start(StartPosition::TimestampMs(600)).build();
        let all = carbon_events_tests::read_to_end(&alone.unwrap());
        assert!(all.iter().all(|record| record.partition == 0) && all.len() == 11);
    }
}

#[test]
fn aborted_records_are_not_seen_and_the_end_is_found_behind_them() {
    let topic = "transactions";
    kafka().create_topic(topic, 1, &[]).unwrap();
    let raw = raw_producer(&[("transactional.id", topic)]);
    raw.init_transactions(SOON).unwrap();
    for (value, commits) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        raw.begin_transaction().unwrap();
        let record = BaseRecord::<(), str>::to(topic).payload(value).partition(0);
        raw.send(record).map_err(|(error, _)| error).unwrap();
        raw.flush(SOON).unwrap();
        match commits {
            true => raw.commit_transaction(SOON).unwrap(),
            false => raw.abort_transaction(SOON).unwrap(),
        }
    }
    let values = |builder: EventConsumerBuilder| -> Vec<Vec<u8>> {
        let consumer = builder.detect_end().build().unwrap();
        let read = carbon_events_tests::read_to_end(&consumer);
        read.into_iter().filter_map(|record| record.value).collect()
    };
    assert_eq!(values(builder(kafka(), topic)), [b"a", b"c"]);
    let all = builder(kafka(), topic).standalone();
    let all = all.property("isolation.level", "read_uncommitted");
    assert_eq!(values(all), [b"a", b"b", b"c", b"d"]);
}

#[test]
fn markers_and_aborted_records_at_the_end_are_no_lag() {
    let topic = "markers";
    kafka().create_topic(topic, 1, &[]).unwrap();
    let raw = raw_producer(&[("transactional.id", topic)]);
    raw.init_transactions(SOON).unwrap();
    let send = |value: &str| {
        raw.begin_transaction().unwrap();
        let record = BaseRecord::<(), str>::to(topic).payload(value).partition(0);
        raw.send(record).map_err(|(error, _)| error).unwrap();
        raw.flush(SOON).unwrap();
    };
    send("a");
    raw.commit_transaction(SOON).unwrap();
    send("b");
    raw.abort_transaction(SOON).unwrap();
    let consumer = builder(kafka(), topic).build().unwrap();
    assert_eq!(read(&consumer, 1), [(0, 0)]);
    assert_eq!(places(&consumer, Duration::from_millis(500)), []);
    // The record, its marker, the aborted record, and its marker.
    let end = BTreeMap::from([(0, 4)]);
    until("the commit", || {
        assert_eq!(places(&consumer, Duration::from_millis(50)), []);
        committed(kafka(), topic, 1) == end
    });
    until("no lag", || {
        let text = consumer.metrics().to_prometheus();
        let lag = text.lines().find(|line| line.contains("lag_records{"));
        lag.is_some_and(|line| line.ends_with(" 0"))
    });
}

#[test]
fn an_open_transaction_is_waited_for() {
    let topic = "open-transaction";
    kafka().create_topic(topic, 1, &[]).unwrap();
    let raw = raw_producer(&[("transactional.id", topic)]);
    raw.init_transactions(SOON).unwrap();
    raw.begin_transaction().unwrap();
    let record = BaseRecord::<(), str>::to(topic).payload("a").partition(0);
    raw.send(record).map_err(|(error, _)| error).unwrap();
    raw.flush(SOON).unwrap();
    let consumer = builder(kafka(), topic).build().unwrap();
    until("an assignment", || !consumer.assignment().is_empty());
    assert_eq!(places(&consumer, Duration::from_secs(1)), []);
    raw.commit_transaction(SOON).unwrap();
    assert_eq!(read(&consumer, 1), [(0, 0)]);
}

#[test]
fn fetching_pauses_at_the_memory_bound_and_goes_on() {
    const SIZE: usize = 10_000;
    const RECORDS: usize = 3_000;
    let topic = "large";
    kafka().create_topic(topic, 3, &[]).unwrap();
    let producer = producer(kafka());
    for (number, value) in noise(RECORDS * SIZE).chunks(SIZE).enumerate() {
        let record = producer.raw(topic).partition((number % 3) as i32);
        drop(record.value(value).send().unwrap());
    }
    producer.flush(SOON).unwrap();
    let bound = 2 << 20;
    let settings = ConsumerSettings::new(topic, [topic])
        .max_buffered_bytes(bound)
        .max_batch_records(10_u32);
    let consumer = builder(kafka(), topic).consumer(settings).build().unwrap();
    let in_hand = hold(&consumer, 1);
    let mut most = 0;
    // Ten times as long as reading everything takes.
    let watched = Instant::now();
    until("it was watched for a while", || {
        most = most.max(consumer.buffered_records());
        watched.elapsed() > Duration::from_secs(2)
    });
    assert!(
        most > 0 && most * SIZE < 2 * bound as usize,
        "{most} records of {SIZE} bytes wait"
    );
    let before = in_hand.iter().map(Batch::len).sum::<usize>();
    drop(in_hand);
    assert_eq!(before + read(&consumer, RECORDS - before).len(), RECORDS);
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    let topic = "grows";
    kafka().create_topic(topic, 1, &[]).unwrap();
    let producer = producer(kafka());
    fill(&producer, topic, 1, 2);
    let often = |builder: EventConsumerBuilder| {
        let builder = builder.property("topic.metadata.refresh.interval.ms", "200");
        builder.build().unwrap()
    };
    let all = often(builder(kafka(), topic).standalone());
    let new = builder(kafka(), topic).standalone();
    let new = often(new.start(StartPosition::Latest));
    let member = often(builder(kafka(), topic).start(StartPosition::Latest));
    assert_eq!(read(&all, 2), [(0, 0), (0, 1)]);
    until("an assignment", || {
        new.assignment().len() == 1 && member.assignment().len() == 1
    });

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka().bootstrap_servers());
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let grown = [NewPartitions::new(topic, 3)];
    let growing = admin.create_partitions(&grown, &AdminOptions::new());
    futures::executor::block_on(growing).unwrap()[0]
        .as_ref()
        .unwrap();
    // Written before anybody looks: a new partition is read from its beginning.
    let grown = self::producer(kafka());
    until("all partitions to be known", || {
        let record = grown.raw(topic).partition(2).value(b"x".to_vec());
        record.send().and_then(|delivery| delivery.wait()).is_ok()
    });
    assert_eq!(read(&all, 1), [(2, 0)]);
    assert_eq!(read(&new, 1), [(2, 0)]);
    assert_eq!(read(&member, 1), [(2, 0)]);
    until("all partitions", || all.assignment().len() == 3);
    fill(&grown, topic, 3, 3);
    let mut next = read(&all, 3);
    next.sort_unstable();
    assert_eq!(next, [(0, 2), (1, 0), (2, 1)]);
}

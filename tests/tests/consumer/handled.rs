//! What is committed, and how far behind a consumer is.

use carbon_events::consumer::{Offsets, TopicPartition};

use super::*;

#[test]
fn lag_is_what_is_written_and_not_handled() {
    let topic = "lag";
    kafka().create_topic(topic, 1, &[]).unwrap();
    let producer = producer(kafka());
    fill(&producer, topic, 1, 10);
    let consumer = builder(kafka(), topic).build().unwrap();
    let lag = || {
        let lags = consumer.metrics().snapshot().lag;
        let of = |lag: &carbon_events::metrics::LagSnapshot| lag.records;
        assert!(
            lags.iter()
                .all(|lag| (&*lag.topic, lag.partition) == (topic, 0))
        );
        lags.first().map(of)
    };
    let in_hand = hold(&consumer, 10);
    until("a lag of 10", || lag() == Some(10));
    drop(in_hand);
    until("no lag", || {
        assert_eq!(places(&consumer, Duration::from_millis(50)), []);
        lag() == Some(0)
    });
    fill(&producer, topic, 1, 3);
    let in_hand = hold(&consumer, 3);
    until("a lag of 3", || lag() == Some(3));
    drop(in_hand);
}

#[test]
fn only_what_was_handled_is_committed() {
    let topic = "handled";
    kafka().create_topic(topic, 1, &[]).unwrap();
    fill(&producer(kafka()), topic, 1, 30);
    let settings = ConsumerSettings::new(topic, [topic])
        .commit_interval(Duration::from_millis(100))
        .max_batch_records(10_u32);
    let builder = || builder(kafka(), topic).consumer(settings.clone());
    let consumer = builder().build().unwrap();
    let is_committed = |offset: i64| {
        let expected = BTreeMap::from([(0, offset)]);
        until("the commit", || committed(kafka(), topic, 1) == expected);
    };
    // Handled with the next one that is asked for.
    drop(consumer.next_batch(SOON).unwrap().unwrap());
    let second = consumer.next_batch(SOON).unwrap().unwrap();
    let handled = places_of(Some(&second)).next().unwrap().1;
    is_committed(handled);
    // In hand, and committed neither by time nor by leaving.
    consumer.close(SOON).unwrap();
    drop(second);
    is_committed(handled);

    let consumer = builder().build().unwrap();
    let again = consumer.next_batch(SOON).unwrap().unwrap();
    assert_eq!(places_of(Some(&again)).next(), Some((0, handled)));
    again.abandon();
    consumer.close(SOON).unwrap();
    is_committed(handled);

    let consumer = builder().build().unwrap();
    assert_eq!(read(&consumer, 30 - handled as usize)[0], (0, handled));
    consumer.acknowledge();
    consumer.close(SOON).unwrap();
    is_committed(30);
}

#[test]
fn a_committed_place_can_be_moved_and_gone_to() {
    let topic = "moved";
    kafka().create_topic(topic, 1, &[]).unwrap();
    fill(&producer(kafka()), topic, 1, 10);
    let consumer = builder(kafka(), topic).auto_commit(false).build().unwrap();
    assert_eq!(read(&consumer, 10).len(), 10);
    assert_eq!(consumer.assignment(), [TopicPartition::new(topic, 0)]);
    consumer
        .commit_sync(Offsets::at(topic, 0, 4), SOON)
        .unwrap();
    assert_eq!(committed(kafka(), topic, 1), BTreeMap::from([(0, 4)]));
    consumer.seek(Offsets::at(topic, 0, 8), SOON).unwrap();
    assert_eq!(read(&consumer, 2), [(0, 8), (0, 9)]);
    consumer.close(SOON).unwrap();
    assert_eq!(committed(kafka(), topic, 1), BTreeMap::from([(0, 4)]));
}

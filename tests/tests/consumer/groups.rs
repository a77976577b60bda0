//! Groups of several members, by every protocol.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use carbon_events::ErrorKind;
use carbon_events::config::GroupProtocol;
use carbon_events_tests::reading_error;

use super::*;

const PARTITIONS: i32 = 6;
/// How often members come, get partitions, read and leave.
const VISITS: usize = 6;

/// Members come and go while records are written: whatever was written was handled, and once. Only
/// where commits `may_be_refused`, and a member was told of one, may some have been read twice.
fn members_come_and_go(
    topic: &'static str,
    may_be_refused: bool,
    member: fn(&str) -> EventConsumerBuilder,
) {
    kafka().create_topic(topic, PARTITIONS as u16, &[]).unwrap();
    let seen = Mutex::new(Vec::new());
    let (read, written, visits) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let (all_written, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let refused = AtomicU64::new(0);
    let leave = |consumer: EventConsumer| {
        let metrics = consumer.metrics().clone();
        consumer.acknowledge();
        let closed = consumer.close(SOON);
        let failed = if may_be_refused {
            metrics.snapshot().failed_commits
        } else {
            0
        };
        assert!(closed.is_ok() || failed > 0, "{closed:?}");
        refused.fetch_add(failed, Ordering::SeqCst);
    };
    let is_done = || done.load(Ordering::SeqCst);
    let take = |consumer: &EventConsumer| {
        let places = places(consumer, Duration::from_millis(20));
        read.fetch_add(places.len(), Ordering::SeqCst);
        seen.lock().unwrap().extend(places);
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let producer = producer(kafka());
            while visits.load(Ordering::SeqCst) < VISITS && !is_done() {
                fill(&producer, topic, PARTITIONS, 600);
                let written = written.fetch_add(600, Ordering::SeqCst) + 600;
                let near = || read.load(Ordering::SeqCst) + 6_000 > written;
                wait_until(SOON, || near() || is_done());
            }
            all_written.store(true, Ordering::SeqCst);
        });
        // One that stays, and two that come and go.
        scope.spawn(|| {
            let consumer = member(topic).build().unwrap();
            while !is_done() {
                take(&consumer);
            }
            leave(consumer);
        });
        for stay in [1_000, 3_000] {
            let (read, visits, all_written) = (&read, &visits, &all_written);
            let (is_done, take, leave) = (&is_done, &take, &leave);
            scope.spawn(move || {
                while !is_done() && !all_written.load(Ordering::SeqCst) {
                    let consumer = member(topic).build().unwrap();
                    let mut until = usize::MAX;
                    while read.load(Ordering::SeqCst) < until && !is_done() {
                        take(&consumer);
                        if until == usize::MAX && !consumer.assignment().is_empty() {
                            until = read.load(Ordering::SeqCst) + stay;
                            visits.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    leave(consumer);
                }
            });
        }
        let distinct = || seen.lock().unwrap().iter().collect::<BTreeSet<_>>().len();
        let all = wait_until(3 * SOON, || {
            all_written.load(Ordering::SeqCst) && distinct() == written.load(Ordering::SeqCst)
        });
        done.store(true, Ordering::SeqCst);
        assert!(
            all,
            "{} of {written:?} records, {visits:?} visits",
            distinct()
        );
    });
    let (written, refused) = (written.into_inner(), refused.into_inner());
    let each = written as i64 / i64::from(PARTITIONS);
    let expected: BTreeMap<_, _> = (0..PARTITIONS).map(|partition| (partition, each)).collect();
    if refused > 0 {
        let last = member(topic).build().unwrap();
        until("what was refused is read again", || {
            take(&last);
            committed(kafka(), topic, PARTITIONS) == expected
        });
        last.close(SOON).unwrap();
    }
    assert_eq!(committed(kafka(), topic, PARTITIONS), expected);
    // Nobody crashed and all were quick to handle what they had, so nothing was read twice. But a
    // cooperative member commits while its group is shared out anew, and the broker refuses that
    // once it has a newer generation which the member has not heard of yet.
    let twice = seen.into_inner().unwrap().len() - written;
    assert!(twice == 0 || refused > 0, "{twice} records read twice");
}

#[test]
fn members_of_an_eager_group_come_and_go() {
    members_come_and_go("eager", false, |topic| {
        builder(kafka(), topic).property("partition.assignment.strategy", "range,roundrobin")
    });
}

#[test]
fn members_of_a_cooperative_group_come_and_go() {
    members_come_and_go("cooperative", true, |topic| {
        builder(kafka(), topic).property("partition.assignment.strategy", "cooperative-sticky")
    });
}

#[test]
fn members_of_a_group_that_the_broker_shares_out_come_and_go() {
    members_come_and_go("broker-side", false, |topic| {
        builder(kafka(), topic).group_protocol(GroupProtocol::Consumer)
    });
}

#[test]
fn a_rebalance_waits_for_the_batch_in_hand() {
    for (topic, protocol) in [
        ("in-hand-classic", GroupProtocol::Classic),
        ("in-hand-consumer", GroupProtocol::Consumer),
    ] {
        kafka().create_topic(topic, 2, &[]).unwrap();
        let member = || {
            let builder = builder(kafka(), topic).group_protocol(protocol);
            builder.build().unwrap()
        };
        let first = member();
        until("an assignment", || first.assignment().len() == 2);
        fill(&producer(kafka()), topic, 2, 100);
        let in_hand = hold(&first, 100);
        let second = member();
        // Within `revoke_timeout` nothing that is in hand is given to another.
        assert_eq!(places(&second, Duration::from_secs(1)), []);
        drop(in_hand);
        until("both have a partition", || {
            assert_eq!(places(&first, Duration::from_millis(10)), []);
            assert_eq!(places(&second, Duration::from_millis(10)), [], "read twice");
            (first.assignment().len(), second.assignment().len()) == (1, 1)
        });
        first.close(SOON).unwrap();
        until("the other has both", || {
            assert_eq!(places(&second, Duration::from_millis(10)), [], "read twice");
            second.assignment().len() == 2
        });
        fill(&producer(kafka()), topic, 2, 2);
        let next = BTreeSet::from_iter(read(&second, 2));
        assert_eq!(next, BTreeSet::from([(0, 50), (1, 50)]));
    }
}

#[test]
fn a_slow_handler_is_not_taken_for_dead() {
    for (topic, protocol) in [
        ("slow-classic", GroupProtocol::Classic),
        ("slow-consumer", GroupProtocol::Consumer),
    ] {
        kafka().create_topic(topic, 2, &[]).unwrap();
        fill(&producer(kafka()), topic, 2, 10);
        let settings = ConsumerSettings::new(topic, [topic])
            .group_protocol(protocol)
            .session_timeout(Duration::from_secs(6));
        let builder = builder(kafka(), topic).consumer(settings);
        let consumer = builder.property("max.poll.interval.ms", "6000").build();
        let consumer = consumer.unwrap();
        let in_hand = hold(&consumer, 10);
        let began = Instant::now();
        until("it is over the poll interval", || {
            assert_eq!(consumer.assignment().len(), 2);
            began.elapsed() > Duration::from_secs(8)
        });
        drop(in_hand);
        consumer.acknowledge();
        consumer.close(SOON).unwrap();
        let all = BTreeMap::from([(0, 5), (1, 5)]);
        assert_eq!(committed(kafka(), topic, 2), all);
    }
}

#[test]
fn a_member_that_another_of_its_name_fences_is_told_for_good() {
    let topic = "fenced";
    kafka().create_topic(topic, 1, &[]).unwrap();
    let member = || {
        let member = builder(kafka(), topic).property("group.instance.id", "billing-0");
        member.build().unwrap()
    };
    let first = member();
    until("an assignment", || first.assignment().len() == 1);
    let second = member();
    let error = reading_error(&first, SOON);
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    let again = first.next_batch(SOON).unwrap_err();
    assert_eq!(again, error, "it stays");
    until("an assignment", || second.assignment().len() == 1);
    let began = Instant::now();
    let _ = first.close(SOON);
    drop(first);
    assert!(began.elapsed() < SOON / 3, "{:?}", began.elapsed());
}

#[test]
fn a_group_of_another_strategy_is_told() {
    let topic = "mixed-strategies";
    kafka().create_topic(topic, 1, &[]).unwrap();
    let with = |strategy: &str| {
        let member = builder(kafka(), topic).property("partition.assignment.strategy", strategy);
        member.build().unwrap()
    };
    let first = with("range");
    until("an assignment", || first.assignment().len() == 1);
    let error = reading_error(&with("roundrobin"), SOON);
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

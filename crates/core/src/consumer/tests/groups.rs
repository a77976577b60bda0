//! Several members of one group.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::consumer::{AssignmentChange, TopicPartition};
use crate::sync::Mutex;

type Changes = Arc<Mutex<Vec<String>>>;

fn member(broker: &Broker, strategy: &str) -> (EventConsumer, Changes) {
    let changes = Changes::default();
    let log = Arc::clone(&changes);
    let member = builder(broker, "g")
        .property("partition.assignment.strategy", strategy)
        .on_assignment(move |change| {
            let (verb, partitions) = match change {
                AssignmentChange::Assigned(partitions) => ("assigned", partitions),
                AssignmentChange::Revoked(partitions) => ("revoked", partitions),
                AssignmentChange::Lost(partitions) => ("lost", partitions),
            };
            log.lock().push(format!("{verb} {}", partitions.len()));
        })
        .build()
        .unwrap();
    (member, changes)
}

/// Two members share the partitions; one leaves; the other goes on where it left. Everything is
/// committed before each rebalance, as the in-process broker refuses commits during one.
fn nothing_is_lost_or_read_twice(strategy: &str) {
    let broker = broker();
    let (first, _) = member(&broker, strategy);
    let mut seen: Vec<(i32, i64)> = Vec::new();
    let mut take = |consumer: &EventConsumer| {
        if let Some(batch) = consumer.next_batch(Duration::from_millis(5)).unwrap() {
            seen.extend(
                batch
                    .iter()
                    .map(|record| (record.partition(), record.offset())),
            );
        }
    };
    let fill = |offsets: std::ops::Range<i64>| {
        (0..3).for_each(|partition| write(&broker, partition, offsets.clone()));
    };
    let all_committed =
        |end: i64| committed(&broker, "g") == (0..3).map(|partition| (partition, end)).collect();
    fill(0..20);
    until("the first records", || {
        take(&first);
        all_committed(20)
    });
    let (second, changes) = member(&broker, strategy);
    until("both have partitions", || {
        take(&first);
        take(&second);
        !second.assignment().is_empty() && first.assignment().len() + second.assignment().len() == 3
    });
    fill(20..40);
    until("the records of both", || {
        take(&first);
        take(&second);
        all_committed(40)
    });
    second.close(SOON).unwrap();
    assert!(
        changes.lock().last().unwrap().starts_with("revoked"),
        "{changes:?}"
    );
    until("all partitions again", || {
        take(&first);
        first.assignment().len() == 3
    });
    fill(40..60);
    until("the rest", || {
        take(&first);
        all_committed(60)
    });
    first.close(SOON).unwrap();
    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!((seen.len(), distinct.len()), (180, 180), "{strategy}");
}

#[test]
fn an_eager_rebalance_loses_nothing() {
    nothing_is_lost_or_read_twice("range,roundrobin");
}

#[test]
fn a_cooperative_rebalance_loses_nothing() {
    nothing_is_lost_or_read_twice("cooperative-sticky");
}

#[test]
fn a_batch_in_hand_holds_its_partitions_until_it_is_acknowledged() {
    let broker = broker();
    write(&broker, 0, 0..5);
    let first = builder(&broker, "g").build().unwrap();
    let mut in_hand = vec![next(&first)];
    while in_hand.iter().map(Batch::len).sum::<usize>() < 5 {
        in_hand.push(next(&first));
    }
    let second = builder(&broker, "g").build().unwrap();
    // The second has to wait, for as long as `revoke_timeout` allows.
    assert!(
        second
            .next_batch(Duration::from_millis(500))
            .unwrap()
            .is_none()
    );
    assert!(second.assignment().is_empty());
    in_hand.clear();
    until("both have partitions", || {
        let _ = first.next_batch(Duration::ZERO).unwrap();
        let _ = second.next_batch(Duration::ZERO).unwrap();
        first.assignment().len() + second.assignment().len() == 3 && !second.assignment().is_empty()
    });
}

#[test]
fn a_slow_caller_keeps_its_partitions_and_a_bounded_buffer() {
    let broker = broker();
    let bound = 1 << 20;
    let settings = settings(&broker, "g").max_buffered_bytes(bound);
    let consumer = builder(&broker, "g")
        .consumer(settings)
        .property("max.poll.interval.ms", "1000")
        .property("queued.max.messages.kbytes", "1024")
        .build()
        .unwrap();
    let large = value(
        &ServiceHealthEvent::builder()
            .service_name("s".repeat(10_000))
            .namespace("n")
            .health_status(HealthStatus::Healthy)
            .latency_ms(1)
            .error_rate(0.0)
            .build()
            .unwrap(),
    );
    let size = large.len();
    for _ in 0..3 {
        for partition in 0..3 {
            write_values(&broker, TOPIC, partition, vec![large.clone(); 100]);
        }
    }
    let batch = next(&consumer);
    let started = Instant::now();
    let mut most = 0;
    until("twice the poll interval", || {
        most = most.max(consumer.buffered_records());
        started.elapsed() > Duration::from_millis(2500)
    });
    assert_eq!(
        consumer.assignment().len(),
        3,
        "never removed from the group"
    );
    assert!(
        most > 0 && most * size < 5 * bound as usize,
        "{most} records of {size} bytes"
    );
    let mut seen = batch.len();
    drop(batch);
    while seen < 900 {
        seen += next(&consumer).len();
    }
}

#[test]
fn partitions_show_as_kafkas_tools_write_them() {
    let partitions = [TopicPartition::new("t", 0), TopicPartition::new("u", 3)];
    let change = AssignmentChange::Revoked(&partitions);
    assert_eq!(change.to_string(), "revoked t-0, u-3");
}

//! A producer created before a fork works in the child, and the parent's records stay the parent's. A
//! consumer stays the parent's.

use std::time::{Duration, Instant};

use carbon_events::config::StartPosition;
use carbon_events::testkit::Broker;
use carbon_events::{ErrorKind, EventConsumer, EventProducer};
use carbon_events_tests::SOON;

/// Runs `work` in a forked child and gives its exit code; -1 where it did not end by itself.
fn in_child(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `work` and leaves by _exit, without this process' exit handlers.
    match unsafe { libc::fork() } {
        -1 => panic!("fork failed"),
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(101);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(code) }
        }
        child => {
            let deadline = std::time::Instant::now() + SOON;
            loop {
                let mut status = 0;
                // SAFETY: `status` outlives the call.
                let done = unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) };
                if done == child {
                    return if libc::WIFEXITED(status) {
                        libc::WEXITSTATUS(status)
                    } else {
                        -1
                    };
                }
                if std::time::Instant::now() > deadline {
                    // SAFETY: the child is ours and hangs.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                    return -1;
                }
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
    }
}

#[test]
fn a_producer_made_before_a_fork_works_in_the_child_and_loses_nothing_in_the_parent() {
    let broker = Broker::start().unwrap();
    let producer = EventProducer::builder()
        .connection(broker.connection())
        .build()
        .unwrap();
    let send = |key: &[u8]| {
        producer
            .raw("system-health")
            .key(key.to_vec())
            .value(&b"v"[..])
            .send()
    };
    send(b"before").unwrap().wait_timeout(SOON).unwrap();
    // In flight across the fork: the broker's answer takes its time.
    broker.delay(Duration::from_millis(300)).unwrap();
    let parents: Vec<_> = (0..100).map(|_| send(b"parent").unwrap()).collect();
    let code = in_child(|| {
        let delivered = (0..10).all(|_| send(b"child").unwrap().wait_timeout(SOON).is_ok());
        let flushed = producer.flush(SOON).is_ok();
        let closed = producer.close(SOON).is_ok();
        i32::from(!(delivered && flushed && closed))
    });
    assert_eq!(code, 0, "in the child");
    producer.flush(SOON).unwrap();
    assert!(
        parents
            .iter()
            .all(|delivery| delivery.outcome().unwrap().is_ok())
    );
    assert_eq!(producer.stats().delivered, 101);
}

#[test]
fn a_consumer_created_before_a_fork_is_closed_in_the_child_and_reads_on_in_the_parent() {
    let broker = Broker::start().unwrap();
    let producer = EventProducer::builder()
        .connection(broker.connection())
        .build()
        .unwrap();
    let send = || {
        let record = producer.raw("system-health").value(&b"v"[..]);
        record.send().unwrap().wait_timeout(SOON).unwrap();
    };
    send();
    let consumer = EventConsumer::builder()
        .connection(broker.connection())
        .group_id("forked")
        .start(StartPosition::Earliest)
        .topics(["system-health"])
        .build()
        .unwrap();
    let next = || consumer.next_batch(SOON).unwrap().expect("a record");
    assert_eq!(next().len(), 1);
    let code = in_child(|| {
        let start = Instant::now();
        let read = consumer.next_batch(SOON).map(|_| ());
        let refused = read.is_err_and(|error| error.kind() == ErrorKind::Closed);
        consumer.acknowledge();
        let closed = consumer.close(SOON).is_ok() && start.elapsed() < SOON / 2;
        i32::from(!(refused && closed))
    });
    assert_eq!(code, 0, "in the child");
    send();
    assert_eq!(next().len(), 1);
    consumer.close(SOON).unwrap();
}

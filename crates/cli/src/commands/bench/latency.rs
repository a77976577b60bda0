//! How long an event takes from its send to its consumer at a steady rate, and how many awaited
//! sends fit in a second one after the other. Every client runs with its own defaults but for
//! linger, which is named.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::bail;
use carbon_events::EventProducer;
use carbon_events::config::StartPosition;
use carbon_events::consumer::EventConsumer;
use carbon_events::events::AuditAPICallEvent;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::producer::{Producer, ThreadedProducer};

use super::report::Report;
use super::work::measure;
use super::{Bench, Side, consume, produce};

/// Awaited sends a round.
const AWAITED: u64 = 2_000;
/// What is not measured at the start of a round: connections are made, the broker warms up.
const WARM_UP: Duration = Duration::from_secs(1);
/// The stamp of the events that are sent meanwhile.
const NOT_MEASURED: i64 = 0;
/// How long the last events may take to arrive.
const LAST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Contender {
    Own,
    Linger0,
    Linger1,
}

const CONTENDERS: [(Contender, Side, &str); 3] = [
    (Contender::Own, Side::Own, "carbon-events"),
    (Contender::Linger0, Side::Peer, "rdkafka, linger 0 ms"),
    (Contender::Linger1, Side::Peer, "rdkafka, linger 1 ms"),
];

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    bench.rounds(&CONTENDERS, |contender, name| {
        let latencies = match contender {
            Contender::Own => own(bench)?,
            Contender::Linger0 => peer(bench, "0")?,
            Contender::Linger1 => peer(bench, "1")?,
        };
        report.latency(name, latencies);
        let taken = match contender {
            Contender::Own => own_awaited(bench)?,
            Contender::Linger0 => peer_awaited(bench, "0")?,
            Contender::Linger1 => peer_awaited(bench, "1")?,
        };
        report.throughput("awaited sends", name, taken);
        Ok(())
    })
}

/// Calls `send` with each event's number and stamp, at the bench's rate.
fn pace(
    bench: &Bench<'_>,
    began: Instant,
    mut send: impl FnMut(u64, i64) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let rate = f64::from(bench.options.rate);
    let first = Instant::now();
    let mut number = 0;
    while first.elapsed() < WARM_UP + bench.options.duration {
        let due = (first.elapsed().as_secs_f64() * rate) as u64;
        let measured = first.elapsed() >= WARM_UP;
        while number < due {
            let stamp = if measured {
                began.elapsed().as_nanos() as i64
            } else {
                NOT_MEASURED
            };
            send(number, stamp)?;
            number += 1;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(number)
}

/// Collects latencies on a thread of its own until `count` events came.
struct Reader {
    sent: mpsc::Sender<u64>,
    ready: mpsc::Receiver<()>,
    thread: std::thread::JoinHandle<anyhow::Result<Vec<Duration>>>,
}

impl Reader {
    /// `next` gives the stamps of the events that came, and says when it is ready for the first.
    fn start(
        began: Instant,
        mut next: impl FnMut(&mut Vec<i64>) -> anyhow::Result<bool> + Send + 'static,
    ) -> Self {
        let (sent, expected) = mpsc::channel();
        let (tell_ready, ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut latencies = Vec::new();
            let mut came = 0;
            let mut stamps = Vec::new();
            let mut deadline = None;
            let mut count = None;
            loop {
                if next(&mut stamps)? {
                    // Nobody listens any more once the first was taken.
                    let _ = tell_ready.send(());
                }
                let now = began.elapsed();
                came += stamps.len() as u64;
                latencies.extend(
                    stamps
                        .drain(..)
                        .filter(|stamp| *stamp != NOT_MEASURED)
                        .map(|stamp| now.saturating_sub(Duration::from_nanos(stamp as u64))),
                );
                if count.is_none() {
                    count = expected.try_recv().ok();
                    deadline = count.map(|_| Instant::now() + LAST);
                }
                if count.is_some_and(|count| came >= count) {
                    return Ok(latencies);
                }
                if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    bail!("{came} of {count:?} events came");
                }
            }
        });
        Reader {
            sent,
            ready,
            thread,
        }
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        Ok(self.ready.recv_timeout(LAST)?)
    }

    fn finish(self, count: u64) -> anyhow::Result<Vec<Duration>> {
        self.sent.send(count)?;
        match self.thread.join() {
            Ok(latencies) => latencies,
            Err(_) => bail!("the reader panicked"),
        }
    }
}

fn own(bench: &Bench<'_>) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let consumer = EventConsumer::builder()
        .settings(bench.own_settings())
        .topic(bench.topic.name())
        .start(StartPosition::Latest)
        .standalone()
        .detect_end()
        .build()?;
    let reader = Reader::start(began, move |stamps| {
        if let Some(batch) = consumer.next_batch(Duration::from_millis(100))? {
            for record in &batch {
                stamps.push(record.typed::<AuditAPICallEvent<'_>>()?.request_size_bytes);
            }
        }
        Ok(consumer.at_end())
    });
    reader.wait_until_ready()?;
    let producer = EventProducer::builder()
        .settings(bench.own_settings())
        .build()?;
    let count = pace(bench, began, |number, stamp| {
        drop(producer.send(&bench.work.event(number, stamp)?)?);
        Ok(())
    })?;
    reader.finish(count)
}

fn peer(bench: &Bench<'_>, linger_ms: &str) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let topic = bench.topic.name();
    let consumer: BaseConsumer = consume::peer_config(bench, "latest")?
        .set("enable.partition.eof", "true")
        .create()?;
    consumer.subscribe(&[&topic])?;
    let mut at_end = 0;
    let partitions = bench.options.partitions;
    let reader = Reader::start(began, move |stamps| {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                let event = decode(record.payload().unwrap_or_default())?;
                stamps.push(event.request_size_bytes);
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => at_end += 1,
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
        Ok(at_end >= partitions)
    });
    reader.wait_until_ready()?;
    let producer: ThreadedProducer<DefaultProducerContext> =
        produce::peer_config(bench, linger_ms)?.create()?;
    let mut value = Vec::new();
    let count = pace(bench, began, |number, stamp| {
        produce::encode(&bench.work, number, stamp, &mut value)?;
        let record = BaseRecord::to(&topic)
            .key(bench.work.key(number))
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    })?;
    producer.flush(LAST)?;
    reader.finish(count)
}

fn decode(value: &[u8]) -> anyhow::Result<AuditAPICallEvent<'_>> {
    use carbon_events::events::TypedEvent;
    let frame = carbon_events::codec::frame::split(value)?;
    Ok(AuditAPICallEvent::decode(frame.body)?)
}

fn own_awaited(bench: &Bench<'_>) -> anyhow::Result<super::work::Taken> {
    let producer = EventProducer::builder()
        .settings(bench.own_settings())
        .build()?;
    producer.send(&bench.work.event(0, 0)?)?.wait()?;
    measure(|| {
        for number in 0..AWAITED {
            producer.send(&bench.work.event(number, 0)?)?.wait()?;
        }
        Ok(AWAITED)
    })
}

fn peer_awaited(bench: &Bench<'_>, linger_ms: &str) -> anyhow::Result<super::work::Taken> {
    let producer: FutureProducer = produce::peer_config(bench, linger_ms)?.create()?;
    let topic = bench.topic.name();
    let mut value = Vec::new();
    let mut send = |number: u64| -> anyhow::Result<()> {
        produce::encode(&bench.work, number, 0, &mut value)?;
        let record = FutureRecord::to(&topic)
            .key(bench.work.key(number))
            .payload(&value);
        futures::executor::block_on(producer.send(record, LAST)).map_err(|(error, _)| error)?;
        Ok(())
    };
    send(0)?;
    measure(|| {
        for number in 0..AWAITED {
            send(number)?;
        }
        Ok(AWAITED)
    })
}

//! A burst: every event built, keyed, encoded, sent and acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, bail};
use carbon_events::EventProducer;
use carbon_events::events::{AuditAPICallEvent, TypedEvent};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DefaultProducerContext, FutureProducer, FutureRecord, Producer, ThreadedProducer,
};

use super::report::Report;
use super::work::{Taken, Work, measure};
use super::{Bench, Side, native};

pub(super) const FLUSH: Duration = Duration::from_secs(120);
/// Few enough to keep rdkafka's queue from filling up.
const FUTURES_IN_FLIGHT: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Own,
    Future,
    Threaded,
    Native,
    Java,
}

const CONTENDERS: [(Contender, Side, &str); 5] = [
    (Contender::Own, Side::Own, "carbon-events"),
    (Contender::Future, Side::Peer, "rdkafka FutureProducer"),
    (Contender::Threaded, Side::Peer, "rdkafka ThreadedProducer"),
    (Contender::Native, Side::Peer, "librdkafka rd_kafka_produce"),
    (
        Contender::Java,
        Side::Java,
        "Java ProducerPerformance, prepared bytes, no keys",
    ),
];

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    bench.rounds(&CONTENDERS, |contender, name| {
        let taken = match contender {
            Contender::Own => own(bench)?,
            Contender::Future => future_producer(bench)?,
            Contender::Threaded => threaded_producer(bench)?,
            Contender::Native => native::produce(bench)?,
            Contender::Java => bench.options.java.produce(bench)?,
        };
        report.throughput("produce", name, taken);
        Ok(())
    })
}

fn own(bench: &Bench<'_>) -> anyhow::Result<Taken> {
    let producer = EventProducer::builder()
        .settings(bench.own_settings())
        .build()?;
    producer.send(&bench.work.event(0, 0)?)?.wait()?;
    let taken = measure(|| {
        for number in 0..bench.work.events {
            // Outcomes are counted; a handle is not needed.
            drop(producer.send(&bench.work.event(number, 0)?)?);
        }
        producer.flush(FLUSH)?;
        Ok(bench.work.events)
    })?;
    let stats = producer.stats();
    if stats.failed > 0 {
        bail!("{} of {} records failed", stats.failed, stats.accepted);
    }
    Ok(taken)
}

/// rdkafka's clients, configured for throughput as usual: the same acknowledgements, idempotence,
/// compression and partitioner.
pub(super) fn peer_config(bench: &Bench<'_>, linger_ms: &str) -> anyhow::Result<ClientConfig> {
    let mut config = bench.settings.connection.client_config()?;
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", linger_ms)
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "1048576");
    Ok(config)
}

/// An event's value as this library's producer writes it without a registry.
pub(super) fn encode(
    work: &Work,
    number: u64,
    stamp: i64,
    value: &mut Vec<u8>,
) -> anyhow::Result<()> {
    value.clear();
    carbon_events::codec::frame::write_single_object_header(AuditAPICallEvent::FINGERPRINT, value);
    work.event(number, stamp)?.encode("", value);
    Ok(())
}

fn future_producer(bench: &Bench<'_>) -> anyhow::Result<Taken> {
    let producer: FutureProducer = peer_config(bench, "10")?.create()?;
    let (work, topic) = (&bench.work, bench.topic.name());
    let mut value = Vec::new();
    encode(work, 0, 0, &mut value)?;
    let warm = FutureRecord::to(&topic).key(work.key(0)).payload(&value);
    futures::executor::block_on(producer.send(warm, FLUSH)).map_err(|(error, _)| error)?;
    measure(|| {
        let mut in_flight = VecDeque::with_capacity(FUTURES_IN_FLIGHT);
        for number in 0..work.events {
            encode(work, number, 0, &mut value)?;
            let record = FutureRecord::to(&topic)
                .key(work.key(number))
                .payload(&value);
            in_flight.push_back(producer.send_result(record).map_err(|(error, _)| error)?);
            if in_flight.len() >= FUTURES_IN_FLIGHT {
                delivered(in_flight.pop_front())?;
            }
        }
        while !in_flight.is_empty() {
            delivered(in_flight.pop_front())?;
        }
        Ok(work.events)
    })
}

fn delivered(delivery: Option<rdkafka::producer::DeliveryFuture>) -> anyhow::Result<()> {
    let delivery = delivery.context("nothing in flight")?;
    futures::executor::block_on(delivery)?.map_err(|(error, _)| error)?;
    Ok(())
}

fn threaded_producer(bench: &Bench<'_>) -> anyhow::Result<Taken> {
    let producer: ThreadedProducer<DefaultProducerContext> = peer_config(bench, "10")?.create()?;
    let (work, topic) = (&bench.work, bench.topic.name());
    let mut value = Vec::new();
    let mut send = |number: u64| -> anyhow::Result<()> {
        encode(work, number, 0, &mut value)?;
        let mut record = BaseRecord::to(&topic).key(work.key(number)).payload(&value);
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    };
    send(0)?;
    producer.flush(FLUSH)?;
    measure(|| {
        for number in 0..work.events {
            send(number)?;
        }
        producer.flush(FLUSH)?;
        Ok(work.events)
    })
}

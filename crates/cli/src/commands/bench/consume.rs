//! Reads the topic from its beginning: this library decodes every event, rdkafka's clients only count
//! bytes.

use std::time::{Duration, Instant};

use anyhow::bail;
use carbon_events::EventProducer;
use carbon_events::config::StartPosition;
use carbon_events::consumer::EventConsumer;
use carbon_events::events::AuditAPICallEvent;
use futures::StreamExt;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};

use super::report::Report;
use super::work::{Taken, measure};
use super::{Bench, Side};

/// After how long without a record a reader fails.
const STALLED: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Contender {
    Own,
    Base,
    Stream,
    Java,
}

const CONTENDERS: [(Contender, Side, &str); 4] = [
    (Contender::Own, Side::Own, "carbon-events, decoded"),
    (Contender::Base, Side::Peer, "rdkafka BaseConsumer, raw"),
    (Contender::Stream, Side::Peer, "rdkafka StreamConsumer, raw"),
    (Contender::Java, Side::Java, "Java ConsumerPerformance, raw"),
];

pub(super) fn run(bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    let producer = EventProducer::builder()
        .settings(bench.own_settings())
        .build()?;
    for number in 0..bench.work.events {
        drop(producer.send(&bench.work.event(number, 0)?)?);
    }
    producer.close(Duration::from_secs(120))?;
    bench.rounds(&CONTENDERS, |contender, name| {
        let taken = match contender {
            Contender::Own => own(bench)?,
            Contender::Base => base_consumer(bench)?,
            Contender::Stream => stream_consumer(bench)?,
            Contender::Java => bench.options.java.consume(bench)?,
        };
        report.throughput("consume", name, taken);
        Ok(())
    })
}

fn own(bench: &Bench<'_>) -> anyhow::Result<Taken> {
    let consumer = EventConsumer::builder()
        .settings(bench.own_settings())
        .topic(bench.topic.name())
        .start(StartPosition::Earliest)
        .standalone()
        .build()?;
    let mut sizes = 0;
    let taken = measure(|| {
        let mut read = 0;
        while read < bench.work.events {
            let Some(batch) = consumer.next_batch(STALLED)? else {
                bail!("no record arrived for {STALLED:?}");
            };
            for record in &batch {
                let event = record.typed::<AuditAPICallEvent<'_>>()?;
                sizes += event.response_size_bytes;
                read += 1;
            }
        }
        Ok(read)
    })?;
    std::hint::black_box(sizes);
    Ok(taken)
}

/// rdkafka's consumers, with the one setting without which they starve.
pub(super) fn peer_config(bench: &Bench<'_>, start: &str) -> anyhow::Result<ClientConfig> {
    let mut config = bench.settings.connection.client_config()?;
    config
        .set("group.id", format!("{}peer", bench.topic.prefix()))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", start)
        .set("fetch.queue.backoff.ms", "10");
    Ok(config)
}

fn base_consumer(bench: &Bench<'_>) -> anyhow::Result<Taken> {
    let consumer: BaseConsumer = peer_config(bench, "earliest")?.create()?;
    consumer.subscribe(&[&bench.topic.name()])?;
    let mut bytes = 0;
    let taken = measure(|| {
        let mut read = 0;
        let mut last = Instant::now();
        while read < bench.work.events {
            match consumer.poll(Duration::from_millis(100)) {
                Some(record) => {
                    bytes += record?.payload_len();
                    read += 1;
                    if read & 0xffff == 0 {
                        last = Instant::now();
                    }
                }
                None if last.elapsed() > STALLED => bail!("no record arrived for {STALLED:?}"),
                None => {}
            }
        }
        Ok(read)
    })?;
    std::hint::black_box(bytes);
    Ok(taken)
}

fn stream_consumer(bench: &Bench<'_>) -> anyhow::Result<Taken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let consumer: StreamConsumer = peer_config(bench, "earliest")?.create()?;
        consumer.subscribe(&[&bench.topic.name()])?;
        let mut bytes = 0;
        let taken = measure(|| {
            futures::executor::block_on(async {
                let mut records = consumer.stream().take(usize::try_from(bench.work.events)?);
                let mut read = 0;
                while let Some(record) = records.next().await {
                    bytes += record?.payload_len();
                    read += 1;
                }
                Ok(read)
            })
        })?;
        std::hint::black_box(bytes);
        Ok(taken)
    })
}

//! Answers each event with another that it caused: whoever reads the second finds the first by its
//! causation id, and the whole chain by its correlation id.
//!
//! ```text
//! data-ingestion ──▶ check ──▶ data-quality   causationId   = eventId of the ingestion
//!                                             correlationId = that of the ingestion, or its eventId
//! ```
//!
//! An ingestion counts as handled when its answer is acknowledged. After a crash in between it is
//! read and answered again; nothing is left without an answer.
//!
//! ```sh
//! cargo run --release -p carbon-events-examples --example caused_by -- --until-end
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use carbon_events::events::{DataIngestionEvent, DataQualityEvent, QualityResult};
use carbon_events::{Batch, Delivery, EventConsumer, EventProducer, Topic};
use clap::Parser;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Publish a data-quality event for every data-ingestion event
#[derive(Parser)]
struct Options {
    /// End when everything has been read that there is, instead of waiting for more
    #[arg(long)]
    until_end: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let stop = Arc::new(AtomicBool::new(false));
    ctrlc::set_handler({
        let stop = Arc::clone(&stop);
        move || stop.store(true, Ordering::Relaxed)
    })?;
    let producer = EventProducer::from_env()
        .service_name("row-count-check")
        .build()?;
    let mut builder = EventConsumer::from_env()
        .group_id("row-count-check")
        .topic(Topic::DataIngestion)
        .auto_commit(false);
    if options.until_end {
        builder = builder.detect_end();
    }
    let consumer = builder.build()?;

    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) && !consumer.at_end() {
        let Some(batch) = consumer.next_batch(Duration::from_millis(500))? else {
            continue;
        };
        let answers = answer(&producer, &batch)?;
        answered += answers.len();
        for answer in answers {
            answer.wait()?;
        }
        consumer.commit_sync(&batch, TIMEOUT)?;
    }
    consumer.close(TIMEOUT)?;
    producer.close(TIMEOUT)?;
    println!("{answered} events answered");
    Ok(())
}

/// Sends one answer for each event of the batch.
fn answer(producer: &EventProducer, batch: &Batch) -> carbon_events::Result<Vec<Delivery>> {
    let mut answers = Vec::with_capacity(batch.len());
    for record in batch {
        let ingestion = match record.typed::<DataIngestionEvent>() {
            Ok(event) => event,
            Err(error) if error.retryable() => return Err(error),
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        let empty = ingestion.record_count == 0;
        let quality = DataQualityEvent::builder()
            .caused_by(&ingestion)
            .dataset_name(&*ingestion.dataset_name)
            .check_type("completeness")
            .check_name("has-rows")
            .result(if empty {
                QualityResult::Fail
            } else {
                QualityResult::Pass
            })
            .score(if empty { 0.0 } else { 1.0 })
            .failed_records(0)
            .total_records(ingestion.record_count)
            .build()?;
        answers.push(producer.send(&quality)?);
    }
    Ok(answers)
}

//! Sends many events without waiting for each, and learns the fate of every one.
//!
//! ```sh
//! cargo run --release -p carbon-events-examples --example produce -- 1000
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use carbon_events::EventProducer;
use carbon_events::events::{DataIngestionEvent, IngestionStatus};
use clap::Parser;

/// Publish data-ingestion events
#[derive(Parser)]
struct Options {
    /// How many
    #[arg(default_value_t = 1000)]
    events: u32,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let producer = EventProducer::from_env()
        .service_name("ingestion")
        .build()?;

    // Sending takes a record and gives a handle at once; records on their way travel in batches.
    let mut deliveries = Vec::new();
    for number in 0..options.events {
        let dataset = format!("prices-{}", number % 10);
        let event = DataIngestionEvent::builder()
            .dataset_name(&dataset)
            .record_count(1000 + number)
            .size_bytes(64_000)
            .format("parquet")
            .location(format!("s3://lake/{dataset}/{number}.parquet"))
            .status(IngestionStatus::Success)
            .metadata([("market", "eex")])
            .build()?;
        deliveries.push(producer.send(&event)?);
    }

    // Each handle says where its record is, or why it is nowhere.
    let mut by_partition = BTreeMap::<i32, u32>::new();
    let mut failed = 0;
    for delivery in deliveries {
        match delivery.wait() {
            Ok(report) => *by_partition.entry(report.partition).or_default() += 1,
            Err(error) => {
                failed += 1;
                eprintln!("not delivered: {error}");
            }
        }
    }
    for (partition, records) in by_partition {
        println!("partition {partition}: {records} records");
    }
    println!("{} delivered, {failed} failed", options.events - failed);
    producer.close(Duration::from_secs(10))?;
    ensure!(failed == 0, "{failed} records were not delivered");
    Ok(())
}

//! Reads events of one type as a member of a consumer group, and commits what it has handled: after
//! a crash the group begins with the first batch that was not.
//!
//! ```sh
//! cargo run --release -p carbon-events-examples --example consume -- --until-end
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use carbon_events::events::DataIngestionEvent;
use carbon_events::{EventConsumer, Topic};
use clap::Parser;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Read data-ingestion events as a member of a consumer group
#[derive(Parser)]
struct Options {
    /// The consumer group
    #[arg(long, default_value = "ingestion-report")]
    group: String,
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
    let mut builder = EventConsumer::from_env()
        .group_id(options.group)
        .topic(Topic::DataIngestion)
        .auto_commit(false);
    if options.until_end {
        builder = builder.detect_end();
    }
    let consumer = builder.build()?;

    let (mut events, mut records, mut undecodable) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) && !consumer.at_end() {
        let Some(batch) = consumer.next_batch(Duration::from_millis(500))? else {
            continue;
        };
        for record in &batch {
            match record.typed::<DataIngestionEvent>() {
                Ok(event) => {
                    events += 1;
                    records += event.record_count;
                }
                // The registry is away: the batch is not handled, and will be read again.
                Err(error) if error.retryable() => return Err(error.into()),
                // No later attempt can decode it. The error says where it is; reading goes on.
                Err(error) => {
                    undecodable += 1;
                    eprintln!("{error}");
                }
            }
        }
        consumer.commit_sync(&batch, TIMEOUT)?;
    }
    consumer.close(TIMEOUT)?;
    println!("{events} events tell of {records} records; {undecodable} undecodable");
    Ok(())
}

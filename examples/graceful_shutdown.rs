//! Ends as a service in a container should: on Ctrl-C or SIGTERM it takes no more work, delivers
//! what it accepted within a deadline, and says how many records it had to give up.
//!
//! ```sh
//! cargo run --release -p carbon-events-examples --example graceful_shutdown
//! ```
//!
//! The exit code is 1 where a record was given up or failed. Keep the deadline below the time that
//! the platform waits before it kills the process (Kubernetes: `terminationGracePeriodSeconds`, 30).

use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use carbon_events::EventProducer;
use carbon_events::events::{HealthStatus, ServiceHealthEvent};
use clap::Parser;

/// Publish health events until told to end, then end without losing any
#[derive(Parser)]
struct Options {
    /// How long the last records may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    deadline: u64,
    /// How long to wait between two events, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10)]
    every: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // A second signal finds nobody who waits: the deadline is running.
        let _ = stop.send(());
    })?;
    let producer = EventProducer::from_env()
        .service_name("heartbeat")
        .build()?;

    println!("publishing; Ctrl-C ends it");
    let every = Duration::from_millis(options.every);
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let event = ServiceHealthEvent::builder()
            .service_name("heartbeat")
            .namespace("examples")
            .health_status(HealthStatus::Healthy)
            .latency_ms(0)
            .error_rate(0.0)
            .build()?;
        // Nobody waits for a single one; the counters below have the outcome of all.
        match producer.try_send(&event) {
            Ok(delivery) => drop(delivery),
            Err(error) => eprintln!("not accepted: {error}"),
        }
    }

    eprintln!("waiting for {} records", producer.stats().queued);
    let closed = producer.close(Duration::from_millis(options.deadline));
    let stats = producer.stats();
    println!(
        "{} accepted, {} delivered, {} not",
        stats.accepted, stats.delivered, stats.failed
    );
    if let Err(error) = closed {
        eprintln!("{error}");
    }
    Ok(ExitCode::from(u8::from(stats.failed > 0)))
}

//! Publishes a web server's access log (combined format) as [`AuditAPICallEvent`]s, reads them back
//! and sums them up.
//!
//! ```sh
//! cargo run --release -p carbon-events-examples --example access_log -- examples/data/access.log
//! ```
//!
//! Kept of each line: the time, the client's address, method, path, status, size and user; referrer
//! and user agent travel as headers, for which the record has no field. The format tells neither
//! how long an answer took nor how large the request was: both are 0.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use carbon_events::events::AuditAPICallEvent;
use carbon_events::{Delivery, ErrorKind, EventProducer};
use carbon_events_examples::combined_log::Request;
use carbon_events_examples::lines::Log;
use carbon_events_examples::run::Run;
use carbon_events_examples::tally::Tally;
use clap::Parser;

/// Publish an access log, read it back and sum it up
#[derive(Parser)]
struct Options {
    /// The log; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The service that answered the requests
    #[arg(long, default_value = "web")]
    service: String,
    /// How many rows each table has at most
    #[arg(long, default_value_t = 10)]
    top: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let producer = EventProducer::from_env()
        .service_name("access-log")
        .build()?;
    let mut log = Log::open(&options.file)?;
    let mut run = Run::default();
    while let Some(line) = log.next_line()? {
        let request = match Request::parse(&line.text) {
            Ok(request) => request,
            Err(why) => {
                log.malformed(line.number, why);
                continue;
            }
        };
        match publish(&producer, &options.service, &run.id, &request) {
            Ok(delivery) => run.sent(delivery),
            Err(error) if error.kind() == ErrorKind::RecordTooLarge => {
                log.malformed(line.number, error.message());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let delivered = run.settle()?;
    producer.close(Duration::from_secs(10))?;

    let columns = ["requests", "bytes"];
    let mut all = Tally::new(columns, "in all");
    let mut by_status = Tally::new(columns, "by status");
    let mut by_path = Tally::new(columns, "by path");
    let mut by_client = Tally::new(columns, "by client");
    let read = run.read_back::<AuditAPICallEvent>(|call| {
        let numbers = [1, call.response_size_bytes];
        all.add("requests", numbers);
        by_status.add(&call.status_code.to_string(), numbers);
        by_path.add(&call.endpoint, numbers);
        by_client.add(&call.ip_address, numbers);
    })?;

    let mut out = std::io::stdout().lock();
    let (lines, malformed) = (log.lines, log.malformed);
    writeln!(
        out,
        "{lines} lines: {delivered} published, {malformed} malformed; {read} read back"
    )?;
    for tally in [all, by_status, by_path, by_client] {
        writeln!(out, "\n{}", tally.table(options.top).trim_end())?;
    }
    Ok(())
}

/// Sends one request's event; its key is the service, as the topic table has it.
fn publish(
    producer: &EventProducer,
    service: &str,
    run: &str,
    request: &Request<'_>,
) -> carbon_events::Result<Delivery> {
    let event = AuditAPICallEvent::builder()
        .timestamp_ms(request.timestamp_ms)
        .correlation_id(run)
        .service(service)
        .endpoint(&*request.path)
        .method(request.method)
        .status_code(request.status)
        .latency_ms(0)
        .request_size_bytes(0)
        .response_size_bytes(request.bytes)
        .user_id(request.user)
        .ip_address(request.client)
        .build()?;
    let mut record = producer.event(&event);
    for (name, value) in [
        ("referer", &request.referrer),
        ("user-agent", &request.user_agent),
    ] {
        if let Some(value) = value {
            record = record.header(name, value.as_bytes());
        }
    }
    record.send()
}

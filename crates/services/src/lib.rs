//! Real services as child processes, for tests and development: Apache Kafka of one or more nodes
//! and a schema registry that speaks Confluent's REST API, both from Maven Central.
//!
//! ```no_run
//! use carbon_events_services::{Kafka, Registry};
//!
//! # fn main() -> anyhow::Result<()> {
//! let kafka = Kafka::builder().brokers(3).tls(true).start()?;
//! let registry = Registry::start()?;
//! println!("{} {}", kafka.tls_bootstrap_servers(), registry.url());
//! kafka.kill(2)?; // as a crash would
//! kafka.restart(2)?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything listens on free ports of 127.0.0.1, so runs can be concurrent. A service stops when its
//! value is dropped, and with this process however that ends ([`run`]). Its log is kept if a test
//! panics. Downloads are cached ([`cache`]).
//!
//! Tests that do not disturb their services share one broker and one registry: [`shared`].

mod artifacts;
pub mod cache;
mod certs;
mod http;
mod interop;
mod java;
mod kafka;
mod ports;
mod process;
mod python;
mod registry;
pub mod run;
pub mod versions;
mod wire;

use std::sync::LazyLock;
use std::thread;

use anyhow::{Result, anyhow};

pub use artifacts::fetch_all;
pub use certs::{CLIENT, Certs, Identity, KEY_PASSWORD, READER};
pub use interop::{Format, Peer, Place, ReadRecord, WriteRecord, java_partitions};
pub use java::{Jvm, kafka_tool};
pub use kafka::{Builder, Kafka, READER_USER, User, WRITER_USER};
pub use process::wait_until;
pub use python::python;
pub use registry::Registry;

/// One broker with every listener and with access rules, and one registry.
#[derive(Debug)]
pub struct Shared {
    /// The broker.
    pub kafka: Kafka,
    /// The registry.
    pub registry: Registry,
}

/// The services that the tests of one test binary share. The first call starts them; they end with
/// the process. Each test must use its own topics, subjects and groups.
///
/// # Panics
///
/// If they cannot be started, with the reason, in every test that calls this.
pub fn shared() -> &'static Shared {
    static SHARED: LazyLock<Result<Shared, String>> =
        LazyLock::new(|| start_shared().map_err(|error| format!("{error:#}")));
    match &*SHARED {
        Ok(shared) => shared,
        Err(error) => panic!("{error}"),
    }
}

fn start_shared() -> Result<Shared> {
    thread::scope(|scope| {
        let registry = scope.spawn(Registry::start);
        let kafka = Kafka::builder()
            .tls(true)
            .sasl(true)
            .access_rules(true)
            .start();
        let registry = registry
            .join()
            .map_err(|_| anyhow!("the registry's start panicked"))?;
        Ok(Shared {
            kafka: kafka?,
            registry: registry?,
        })
    })
}

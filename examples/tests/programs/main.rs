//! Each program as its reader runs it, on a real Kafka and a real registry.

mod flow;
mod harness;
mod logs;
mod service;
mod shutdown;

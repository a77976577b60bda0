//! What a service needs to test its events without a cluster: a broker and a schema registry in the
//! same process, with faults on demand. [`Broker`] says what it lacks beside a real one.
//!
//! Enabled by the cargo feature `testkit`, meant for `[dev-dependencies]`. Everything listens on a free
//! port of 127.0.0.1 alone and ends when its handle is dropped.

mod broker;
mod mock;
mod platform;
mod registry;

pub use broker::{Api, Broker, BrokerError};
pub use platform::Platform;
pub use registry::{MockRegistry, RegistryCalls, RegistryFault};

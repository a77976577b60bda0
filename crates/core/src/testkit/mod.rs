//! Tests of a service without a cluster: a broker and a schema registry in the same process, with faults
//! on demand. [`Broker`] lists its differences from a real one.
//!
//! Enabled by the cargo feature `testkit`, meant for `[dev-dependencies]`. Everything listens on free
//! ports of 127.0.0.1 and stops when its handle is dropped.

mod broker;
mod mock;
mod platform;
mod registry;

pub use broker::{Api, Broker, BrokerError};
pub use platform::Platform;
pub use registry::{MockRegistry, RegistryCalls, RegistryFault};

//! An owned librdkafka mock cluster.
//!
//! rdkafka's `MockCluster` cannot be sent to another thread, and makes the first group wait three seconds
//! for its members.

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use crate::kafka::{Handle, broker_error};
use crate::{Error, ErrorKind, Result};

/// A mock cluster and the client instance whose threads and timers it lives on.
pub(super) struct Mock {
    cluster: NonNull<sys::rd_kafka_mock_cluster_t>,
    // Dropped after the cluster, which holds a reference to it that librdkafka does not count.
    _handle: Arc<Handle>,
}

// SAFETY: the functions below either take the cluster's lock or send the cluster's own thread an
// operation and wait for it; the cluster is destroyed once, in Drop.
unsafe impl Send for Mock {}
// SAFETY: as above.
unsafe impl Sync for Mock {}

impl Mock {
    /// Starts a cluster of nodes 1 to `brokers` on free ports of 127.0.0.1.
    pub(super) fn start(brokers: i32) -> Result<Mock> {
        let mut config = ClientConfig::new();
        // This client's log is not read and would grow with every request.
        config.set("log_level", "0");
        let handle = Handle::producer(&config)?;
        // SAFETY: the handle is live and outlives the cluster.
        let cluster = unsafe { sys::rd_kafka_mock_cluster_new(handle.ptr(), brokers) };
        let cluster = NonNull::new(cluster).ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "the in-process broker found no free port",
            )
        })?;
        // SAFETY: the cluster is live.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), 0) };
        Ok(Mock {
            cluster,
            _handle: handle,
        })
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster is live, and so is its NUL-terminated text.
        let servers =
            unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr())) };
        servers.to_string_lossy().into_owned()
    }

    pub(super) fn create_topic(&self, name: &str, partitions: i32, replicas: i32) -> Result<()> {
        let native = topic_name(name)?;
        // SAFETY: cluster and name outlive the call.
        let code = unsafe {
            let cluster = self.cluster.as_ptr();
            sys::rd_kafka_mock_topic_create(cluster, native.as_ptr(), partitions, replicas)
        };
        done(code, "create a topic").map_err(|error| error.with("topic", name))
    }

    pub(super) fn topic_error(&self, name: &str, error: RDKafkaRespErr) -> Result<()> {
        let name = topic_name(name)?;
        // SAFETY: cluster and name outlive the call.
        unsafe {
            sys::rd_kafka_mock_topic_set_error(self.cluster.as_ptr(), name.as_ptr(), error);
        }
        Ok(())
    }

    /// `node` is -1 for no leader.
    pub(super) fn set_leader(&self, topic: &str, partition: i32, node: i32) -> Result<()> {
        let name = topic_name(topic)?;
        // SAFETY: cluster and name outlive the call.
        let code = unsafe {
            let cluster = self.cluster.as_ptr();
            sys::rd_kafka_mock_partition_set_leader(cluster, name.as_ptr(), partition, node)
        };
        done(code, "move a partition").map_err(|error| error.with("topic", topic))
    }

    pub(super) fn push_errors(&self, api_key: i16, errors: &[RDKafkaRespErr]) {
        // SAFETY: the cluster is live, and the array is as long as it says; it is copied.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.cluster.as_ptr(),
                api_key,
                errors.len(),
                errors.as_ptr(),
            );
        }
    }

    pub(super) fn clear_errors(&self, api_key: i16) {
        // SAFETY: the cluster is live.
        unsafe { sys::rd_kafka_mock_clear_request_errors(self.cluster.as_ptr(), api_key) }
    }

    /// `node` is -1 for all.
    pub(super) fn set_down(&self, node: i32, down: bool) -> Result<()> {
        // SAFETY: the cluster is live.
        let code = unsafe {
            let cluster = self.cluster.as_ptr();
            if down {
                sys::rd_kafka_mock_broker_set_down(cluster, node)
            } else {
                sys::rd_kafka_mock_broker_set_up(cluster, node)
            }
        };
        done(code, "find the broker").map_err(|error| error.with("broker", node))
    }

    /// `node` is -1 for all.
    pub(super) fn set_round_trip(&self, node: i32, delay: Duration) -> Result<()> {
        let millis = c_int::try_from(delay.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the cluster is live.
        let code =
            unsafe { sys::rd_kafka_mock_broker_set_rtt(self.cluster.as_ptr(), node, millis) };
        done(code, "find the broker").map_err(|error| error.with("broker", node))
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, before the client that it lives on.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) }
    }
}

fn topic_name(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| {
        Error::new(
            ErrorKind::UnknownTopic,
            "a topic's name contains a NUL character",
        )
    })
}

fn done(code: RDKafkaRespErr, doing: &str) -> Result<()> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(broker_error(code, doing)),
    }
}

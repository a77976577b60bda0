//! The events that are sent, and the clock and CPU that they take.

use std::time::{Duration, Instant};

use carbon_events::Result;
use carbon_events::events::{AuditAPICallEvent, TypedEvent};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The events of one round.
pub(super) struct Work {
    pub(super) events: u64,
    keys: Vec<String>,
}

const ENDPOINT: &str = "/api/v1/datasets/power-prices/rows?limit=100&offset=2000&sort=asc";

impl Work {
    pub(super) fn new(events: u64, keys: u32) -> Self {
        let keys = (0..keys).map(|key| format!("service-{key:04}")).collect();
        Work { events, keys }
    }

    /// The key of the event of that number: spread as a hash spreads.
    pub(super) fn key(&self, number: u64) -> &str {
        let spread = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        &self.keys[spread % self.keys.len()]
    }

    /// An event of some 209 bytes in Avro. `stamp` travels as its request's size.
    pub(super) fn event(&self, number: u64, stamp: i64) -> Result<AuditAPICallEvent<'_>> {
        AuditAPICallEvent::builder()
            .service(self.key(number))
            .endpoint(ENDPOINT)
            .method("GET")
            .status_code(200)
            .latency_ms((number % 977) as i64)
            .request_size_bytes(stamp)
            .response_size_bytes((number.wrapping_mul(7919) % 65_536) as i64)
            .user_id("user-4711")
            .ip_address("192.0.2.17")
            .error_message("answered from cache")
            .source("bench")
            .build()
    }

    /// The bytes of one event's Avro body.
    pub(super) fn event_bytes(&self) -> Result<usize> {
        let mut body = Vec::new();
        self.event(0, 0)?.encode("", &mut body);
        Ok(body.len())
    }
}

/// What one contender took for one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) events: u64,
    pub(super) wall: Duration,
    pub(super) cpu_seconds: f64,
}

impl Taken {
    pub(super) fn per_second(&self) -> f64 {
        self.events as f64 / self.wall.as_secs_f64()
    }

    pub(super) fn cpu_seconds_a_million(&self) -> f64 {
        self.cpu_seconds / (self.events as f64 / 1e6)
    }
}

/// Measures `work`, which gives the number of events it did.
pub(super) fn measure(work: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<Taken> {
    let (cpu, began) = (cpu_seconds(), Instant::now());
    let events = work()?;
    Ok(Taken {
        events,
        wall: began.elapsed(),
        cpu_seconds: cpu_seconds() - cpu,
    })
}

/// User and system time of this process so far.
fn cpu_seconds() -> f64 {
    // getrusage of the own process fails only for a bad pointer.
    getrusage(UsageWho::RUSAGE_SELF).map_or(f64::NAN, |usage| {
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}

pub(super) fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

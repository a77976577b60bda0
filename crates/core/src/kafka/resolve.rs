//! Looks up brokers' addresses so that a fork cannot interrupt it.
//!
//! glibc's `getaddrinfo` holds a lock of its own while it asks which address families this host has
//! (`AI_ADDRCONFIG`, which librdkafka sets). A child that is forked at that moment finds the lock
//! held for ever, and its brokers' threads wait for it. An address needs no such question; for a name,
//! forks wait.
//!
//! A name is looked up on a thread of its own, so that a client can end while a name server is silent.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::IpAddr;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rdkafka::types::RDKafkaConf;

use crate::fork;

/// librdkafka's callback: a lookup, or with neither `node` nor `service` the end of its result.
type Resolve = unsafe extern "C" fn(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
    opaque: *mut c_void,
) -> c_int;

unsafe extern "C" {
    // rdkafka-sys leaves it out.
    fn rd_kafka_conf_set_resolve_cb(conf: *mut RDKafkaConf, resolve: Option<Resolve>);
}

/// How often a lookup checks whether its caller still waits.
const STEP: Duration = Duration::from_millis(20);

/// The lookups of one client.
#[derive(Default)]
pub(super) struct Lookups {
    given_up: AtomicBool,
}

impl Lookups {
    /// Fails all lookups, including those in progress: a broker's thread that waits for a slow name
    /// server would delay the client's end.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Makes the client of this configuration look up addresses here.
    ///
    /// # Safety
    ///
    /// The configuration is live and not yet a client's, and this outlives that client.
    pub(super) unsafe fn install(&self, conf: *mut RDKafkaConf) {
        let opaque = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: by this function's contract.
        unsafe {
            rdkafka_sys::rd_kafka_conf_set_opaque(conf, opaque);
            rd_kafka_conf_set_resolve_cb(conf, Some(resolve));
        }
    }

    /// The result of `getaddrinfo`, called on a thread of its own.
    fn name(&self, lookup: Lookup) -> (c_int, *mut libc::addrinfo) {
        let (answer, answered) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("carbon-resolve".into());
        if thread.spawn(move || lookup.answer(&answer)).is_err() {
            return (libc::EAI_AGAIN, null_mut());
        }
        loop {
            match answered.recv_timeout(STEP) {
                Ok((code, found)) => return (code, found.take()),
                Err(RecvTimeoutError::Timeout) if !self.given_up.load(Ordering::SeqCst) => {}
                Err(_) => return (libc::EAI_AGAIN, null_mut()),
            }
        }
    }
}

/// The arguments of a lookup.
struct Lookup {
    node: Option<CString>,
    service: Option<CString>,
    hints: libc::addrinfo,
}

// SAFETY: hints have no pointers in them.
unsafe impl Send for Lookup {}

impl Lookup {
    fn answer(&self, answer: &mpsc::SyncSender<(c_int, Found)>) {
        #[cfg(test)]
        if self.node.as_deref() == Some(c"slow.invalid") {
            std::thread::sleep(Duration::from_secs(10));
        }
        let pointer = |text: &Option<CString>| text.as_ref().map_or(null(), |text| text.as_ptr());
        let mut found = null_mut();
        let code = {
            let _undisturbed = fork::undisturbed();
            let (node, service) = (pointer(&self.node), pointer(&self.service));
            // SAFETY: the texts end in NUL, and the hints are librdkafka's, copied.
            unsafe { libc::getaddrinfo(node, service, &self.hints, &mut found) }
        };
        // Freed if the caller no longer waits.
        let _ = answer.send((code, Found(found)));
    }
}

/// An owned result of `getaddrinfo`.
struct Found(*mut libc::addrinfo);

// SAFETY: it is the only pointer to its list.
unsafe impl Send for Found {}

impl Found {
    fn take(mut self) -> *mut libc::addrinfo {
        std::mem::replace(&mut self.0, null_mut())
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: `getaddrinfo` returned it, and it is freed once.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
}

unsafe extern "C" fn resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
    opaque: *mut c_void,
) -> c_int {
    if node.is_null() && service.is_null() {
        // SAFETY: librdkafka gives back what `getaddrinfo` gave below, once.
        unsafe { libc::freeaddrinfo(*result) };
        return 0;
    }
    // SAFETY: librdkafka's texts end in NUL, it always gives hints, and the opaque is ours.
    let (node_text, service_text, mut hints, lookups) = unsafe {
        let text = |text: *const c_char| (!text.is_null()).then(|| CStr::from_ptr(text));
        let lookups = &*opaque.cast_const().cast::<Lookups>();
        (text(node), text(service), *hints, lookups)
    };
    let is_address = node_text
        .and_then(|node| node.to_str().ok())
        .is_some_and(|node| node.parse::<IpAddr>().is_ok());
    if is_address {
        hints.ai_flags &= !libc::AI_ADDRCONFIG;
        hints.ai_flags |= libc::AI_NUMERICHOST;
        // SAFETY: librdkafka's own arguments, the hints copied.
        return unsafe { libc::getaddrinfo(node, service, &hints, result) };
    }
    let (code, found) = lookups.name(Lookup {
        node: node_text.map(CStr::to_owned),
        service: service_text.map(CStr::to_owned),
        hints,
    });
    // SAFETY: librdkafka passes a place for the result.
    unsafe { *result = found };
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_found_and_freed() {
        for (node, families) in [
            (c"127.0.0.1", vec![libc::AF_INET]),
            (c"::1", vec![libc::AF_INET6]),
            (c"localhost", vec![libc::AF_INET, libc::AF_INET6]),
        ] {
            // SAFETY: an addrinfo of zeros is an empty one.
            let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
            hints.ai_socktype = libc::SOCK_STREAM;
            hints.ai_flags = libc::AI_ADDRCONFIG;
            let lookups = Lookups::default();
            let opaque = std::ptr::from_ref(&lookups).cast_mut().cast();
            let mut result = null_mut();
            // SAFETY: as librdkafka calls it; the result is freed once.
            unsafe {
                let code = resolve(node.as_ptr(), c"9092".as_ptr(), &hints, &mut result, opaque);
                assert_eq!(code, 0, "{node:?}");
                assert!(families.contains(&(*result).ai_family), "{node:?}");
                let (no, none) = (std::ptr::null(), std::ptr::null());
                assert_eq!(resolve(no, no, none, &mut result, opaque), 0);
            }
        }
    }
}

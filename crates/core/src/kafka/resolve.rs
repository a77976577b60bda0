//! Looking up brokers' addresses such that a fork does not interrupt it.
//!
//! glibc's `getaddrinfo` holds a lock of its own while it asks which address families this host has
//! (`AI_ADDRCONFIG`, which librdkafka sets). A child that is forked at that moment finds the lock
//! held for ever, and its brokers' threads wait for it. An address needs no such question; for a name,
//! forks wait.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::net::IpAddr;

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

/// Has clients of this configuration look addresses up here.
///
/// # Safety
///
/// The configuration is live and not yet a client's.
pub(super) unsafe fn install(conf: *mut RDKafkaConf) {
    // SAFETY: by this function's contract.
    unsafe { rd_kafka_conf_set_resolve_cb(conf, Some(resolve)) };
}

unsafe extern "C" fn resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
    _: *mut c_void,
) -> c_int {
    if node.is_null() && service.is_null() {
        // SAFETY: librdkafka gives back what `getaddrinfo` gave below, once.
        unsafe { libc::freeaddrinfo(*result) };
        return 0;
    }
    // SAFETY: librdkafka's texts end in NUL, and it always gives hints.
    let (is_address, mut hints) = unsafe {
        let is_address = !node.is_null()
            && CStr::from_ptr(node)
                .to_str()
                .is_ok_and(|node| node.parse::<IpAddr>().is_ok());
        (is_address, *hints)
    };
    let _undisturbed = if is_address {
        hints.ai_flags &= !libc::AI_ADDRCONFIG;
        hints.ai_flags |= libc::AI_NUMERICHOST;
        None
    } else {
        Some(fork::undisturbed())
    };
    // SAFETY: librdkafka's own arguments, the hints copied.
    unsafe { libc::getaddrinfo(node, service, &hints, result) }
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
            let (mut result, null) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: as librdkafka calls it; the result is freed once.
            unsafe {
                let code = resolve(node.as_ptr(), c"9092".as_ptr(), &hints, &mut result, null);
                assert_eq!(code, 0, "{node:?}");
                assert!(families.contains(&(*result).ai_family), "{node:?}");
                let (no, none) = (std::ptr::null(), std::ptr::null());
                assert_eq!(resolve(no, no, none, &mut result, null), 0);
            }
        }
    }
}

//! Which process we are in. librdkafka's threads do not survive a fork, so a producer notices that
//! it was made in the parent and starts an engine of its own in the child; the parent's stays the
//! parent's, with every record it has accepted.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A number that differs between a process and the children that it forks. A relaxed load: cheap
/// enough for every send, where `getpid` is a system call.
pub(super) fn generation() -> u32 {
    static REGISTER: Once = Once::new();
    #[cfg(unix)]
    REGISTER.call_once(|| {
        unsafe extern "C" fn in_child() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the handler does what is allowed after a fork: it adds to an atomic.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    GENERATION.load(Ordering::Relaxed)
}

//! Forks wait while an HTTP client is made. OpenSSL holds locks of its own meanwhile, and a child would
//! find them locked for ever by a thread that it does not have.

#[cfg(unix)]
use std::sync::Once;

use parking_lot::Mutex;

static MAKING: Mutex<()> = Mutex::new(());

/// Runs `make` while nobody forks.
pub(super) fn undisturbed<T>(make: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    static REGISTER: Once = Once::new();
    #[cfg(unix)]
    REGISTER.call_once(|| {
        unsafe extern "C" fn before() {
            std::mem::forget(MAKING.lock());
        }
        unsafe extern "C" fn after() {
            // SAFETY: `before` locked it on this thread, of which the child's is the copy.
            unsafe { MAKING.force_unlock() };
        }
        // SAFETY: the handlers wait for and touch nothing but the lock, which is held by no thread
        // that forks.
        unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
    });
    let _making = MAKING.lock();
    make()
}

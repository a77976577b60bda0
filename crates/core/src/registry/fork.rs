//! Forks wait while an HTTP client is made. OpenSSL holds locks of its own meanwhile, and a child would
//! find them locked for ever by a thread that it does not have.

#[cfg(unix)]
use std::cell::Cell;
#[cfg(unix)]
use std::sync::Once;

use crate::sync::Mutex;
#[cfg(unix)]
use crate::sync::MutexGuard;

static MAKING: Mutex<()> = Mutex::new(());

#[cfg(unix)]
thread_local! {
    /// The lock, while this thread forks.
    static FORKING: Cell<Option<MutexGuard<'static, ()>>> = const { Cell::new(None) };
}

/// Runs `make` while nobody forks.
pub(super) fn undisturbed<T>(make: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    static REGISTER: Once = Once::new();
    #[cfg(unix)]
    REGISTER.call_once(|| {
        unsafe extern "C" fn before() {
            let held = MAKING.lock();
            // A thread in its last moments cannot keep it, and forks without.
            let _ = FORKING.try_with(|forking| forking.set(Some(held)));
        }
        unsafe extern "C" fn after() {
            // `before` ran on this thread, of which the child's is the copy.
            let _ = FORKING.try_with(Cell::take);
        }
        // SAFETY: the handlers wait for and touch nothing but the lock, which is held by no thread
        // that forks.
        unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
    });
    let _making = MAKING.lock();
    make()
}

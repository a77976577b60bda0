//! Which process this is, for values that a forked child must not share with its parent.
//!
//! A child of `fork` starts as a copy of its parent's memory. [`generation`] differs between the
//! two, and a [`PerProcess`] value is made again when the generation has changed.
//!
//! The handler is not registered by a `Once`, which a fork could leave half done in the child. Two
//! threads may register it twice; the generation then grows by two, which is as good.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// A number that differs between a process and the children that it forks. Two loads: cheap enough
/// for every send, where `getpid` is a system call.
#[inline]
pub fn generation() -> u32 {
    if !REGISTERED.load(Ordering::Acquire) {
        register();
    }
    GENERATION.load(Ordering::Relaxed)
}

#[cold]
fn register() {
    // Miri has no `pthread_atfork`.
    #[cfg(all(unix, not(miri)))]
    {
        unsafe extern "C" fn in_child() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the handler only adds to an atomic.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
    REGISTERED.store(true, Ordering::Release);
}

/// A value that each process makes for itself, on first use.
pub(crate) struct PerProcess<T> {
    made: Option<(u32, T)>,
}

impl<T> PerProcess<T> {
    /// Not made yet.
    pub(crate) const fn new() -> Self {
        PerProcess { made: None }
    }

    /// The value; `make` makes it on first use in this process.
    #[inline]
    pub(crate) fn get_or_make(&mut self, make: impl FnOnce() -> T) -> &mut T {
        let generation = generation();
        if !matches!(&self.made, Some((made_in, _)) if *made_in == generation) {
            self.made = None;
        }
        &mut self.made.get_or_insert_with(|| (generation, make())).1
    }
}

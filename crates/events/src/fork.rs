//! Which process this is, for values that a forked child must not share with its parent.
//!
//! A child of `fork` starts as a copy of its parent's memory. [`generation`] differs between the
//! two, and a [`PerProcess`] value is gone when the generation has changed.
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

/// A value whose threads, sockets, locks or secrets belong to the process that created it. A forked
/// child has a copy that it must not use.
pub struct PerProcess<T> {
    generation: u32,
    value: T,
}

impl<T> PerProcess<T> {
    #[inline]
    pub fn new(value: T) -> Self {
        PerProcess {
            generation: generation(),
            value,
        }
    }

    /// The value; `None` in a forked child of the process that created it.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        (self.generation == generation()).then_some(&self.value)
    }

    /// The value in `slot`; `create` creates it on first use in this process.
    #[inline]
    pub(crate) fn get_or_create(slot: &mut Option<Self>, create: impl FnOnce() -> T) -> &mut T {
        if slot.as_ref().and_then(PerProcess::get).is_none() {
            *slot = None;
        }
        &mut slot.get_or_insert_with(|| PerProcess::new(create())).value
    }
}

//! Which process we are in, and what a fork must not interrupt.
//!
//! A child has the parent's memory and one of its threads. librdkafka's threads are not in it, so each
//! engine remembers the [`generation`] that it was made in. And a lock that another thread held at the
//! fork stays locked in the child for ever: what is shared with the child and guarded by a lock (the
//! registry's client, the metrics, OpenSSL's and the resolver's own state) is used within
//! [`undisturbed`] only, and forks wait until nobody is, for a second at most.
//!
//! Nothing is registered by a `Once`, which a fork could leave half done as well: the handlers may be
//! registered twice without harm.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

pub(crate) use carbon_events_types::fork::{PerProcess, generation};

/// How long a fork waits at most: a name server may take its time.
const LONGEST: Duration = Duration::from_secs(1);

/// Read by those who must not be disturbed, written by a fork.
static FIRST_GATE: RwLock<()> = RwLock::new(());
/// The gate of a child that was forked while the one before was in use, which it is for ever there.
static LATER_GATE: AtomicPtr<RwLock<()>> = AtomicPtr::new(std::ptr::null_mut());

fn gate() -> &'static RwLock<()> {
    // SAFETY: null, or an allocation that is never freed.
    unsafe { LATER_GATE.load(Ordering::Acquire).as_ref() }.unwrap_or(&FIRST_GATE)
}

thread_local! {
    /// The gate as this thread holds it, and how often.
    static HELD: RefCell<Option<RwLockReadGuard<'static, ()>>> = const { RefCell::new(None) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The gate while this thread forks.
    static FORKING: Cell<Option<RwLockWriteGuard<'static, ()>>> = const { Cell::new(None) };
}

/// Until what it gives is dropped, forks of other threads wait. For work that is short and waits for
/// nothing but locks that are used so, too.
#[must_use = "forks wait until it is dropped"]
pub(crate) fn undisturbed() -> Undisturbed {
    register();
    // A thread in its last moments has no thread locals, and goes on without.
    let counted = DEPTH.try_with(|depth| {
        if depth.get() == 0 {
            let gate = gate().read().unwrap_or_else(PoisonError::into_inner);
            let _ = HELD.try_with(|held| held.replace(Some(gate)));
        }
        depth.set(depth.get() + 1);
    });
    Undisturbed {
        counted: counted.is_ok(),
        _not_send: std::marker::PhantomData,
    }
}

/// See [`undisturbed`].
pub(crate) struct Undisturbed {
    counted: bool,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        let _ = DEPTH.try_with(|depth| {
            depth.set(depth.get() - 1);
            if depth.get() == 0 {
                let _ = HELD.try_with(RefCell::take);
            }
        });
    }
}

fn register() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if REGISTERED.load(Ordering::Acquire) {
        return;
    }
    // Miri forks nothing.
    #[cfg(all(unix, not(miri)))]
    {
        unsafe extern "C" fn before() {
            // Not within what this thread itself must not be disturbed in.
            if DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(true) {
                return;
            }
            let _ = FORKING.try_with(|forking| {
                // Held already where the handlers are registered twice.
                forking.set(forking.take().or_else(closed_gate));
            });
        }
        unsafe extern "C" fn in_parent() {
            let _ = FORKING.try_with(Cell::take);
        }
        unsafe extern "C" fn in_child() {
            // `before` ran on this thread, of which the child's is the copy.
            let closed = FORKING.try_with(Cell::take).ok().flatten();
            if closed.is_none() {
                let made = Box::into_raw(Box::new(RwLock::new(())));
                LATER_GATE.store(made, Ordering::Release);
            }
        }
        // SAFETY: the handlers touch an atomic and a lock that no thread holds while it forks.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }
    REGISTERED.store(true, Ordering::Release);
}

/// The gate, closed; `None` where it stays in use.
#[cfg(all(unix, not(miri)))]
fn closed_gate() -> Option<RwLockWriteGuard<'static, ()>> {
    let deadline = Instant::now() + LONGEST;
    loop {
        match gate().try_write() {
            Ok(held) => return Some(held),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_disturbed_may_be_nested() {
        let outer = undisturbed();
        let inner = undisturbed();
        drop(outer);
        assert!(gate().try_write().is_err(), "still held by the inner one");
        drop(inner);
        drop(undisturbed());
    }

    /// The exit code of a forked child that runs `child`.
    #[cfg(all(unix, not(miri)))]
    fn exit_of(child: impl FnOnce() -> i32) -> i32 {
        // SAFETY: the child calls nothing that another thread's lock could stop.
        match unsafe { libc::fork() } {
            // SAFETY: it ends the process.
            0 => unsafe { libc::_exit(child()) },
            child => {
                let mut status = 0;
                // SAFETY: `status` is ours.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                libc::WEXITSTATUS(status)
            }
        }
    }

    #[cfg(all(unix, not(miri)))]
    #[test]
    fn a_value_per_process_is_none_in_a_child() {
        let value = PerProcess::new(7);
        assert_eq!(exit_of(|| i32::from(value.get().is_some())), 0);
        assert_eq!(value.get(), Some(&7));
    }

    /// The thread that could open the gate is not in the child.
    #[cfg(all(unix, not(miri)))]
    #[test]
    fn a_fork_that_did_not_wait_costs_the_childs_forks_nothing() {
        let (holds, held) = std::sync::mpsc::channel();
        let (ends, end) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::spawn(move || {
            let _undisturbed = undisturbed();
            holds.send(()).unwrap();
            let _ = end.recv();
        });
        held.recv().unwrap();
        let slow = exit_of(|| {
            let began = Instant::now();
            exit_of(|| 0);
            i32::from(began.elapsed() > LONGEST / 2)
        });
        drop(ends);
        holder.join().unwrap();
        assert_eq!(slow, 0, "a fork of the child waited");
    }
}

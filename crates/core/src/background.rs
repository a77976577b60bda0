//! The one thread on which this library does its own asynchronous work.
//!
//! Callers come with any runtime or with none: a tokio task, a Python thread, Node's event loop. HTTP
//! calls therefore never run on the caller's runtime but on a small one of ours, which is made when it
//! is first needed and lives as long as the process: making a thousand producers makes one thread.
//!
//! After a fork the child has the parent's memory without its threads. The runtime belongs to the
//! process that started it: a child starts its own, and never touches the parent's, whose locks may
//! be held by threads that the child does not have.

use std::future::Future;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc;
use std::thread::{self, ThreadId};

use futures::channel::oneshot;
use tokio::runtime::{Builder, Handle};

use crate::fork::PerProcess;
use crate::{Error, ErrorKind, Result};

struct Background {
    handle: Handle,
    thread: ThreadId,
    /// Ends the thread when it is dropped, which happens only to a runtime that lost the race to be
    /// the process' one.
    _stop: oneshot::Sender<()>,
}

/// The current process' runtime, leaked: a forked child still points to its parent's.
static CURRENT: AtomicPtr<PerProcess<Background>> = AtomicPtr::new(std::ptr::null_mut());

fn current() -> Result<&'static Background> {
    let found = CURRENT.load(Ordering::Acquire);
    // SAFETY: `CURRENT` is null or points to a leaked allocation, which is never freed or changed.
    if let Some(background) = unsafe { found.as_ref() }.and_then(PerProcess::get) {
        return Ok(background);
    }
    let made = Box::into_raw(Box::new(PerProcess::new(start()?)));
    if CURRENT
        .compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
        // SAFETY: `made` came from `Box::into_raw` above, and no other thread has seen it.
        drop(unsafe { Box::from_raw(made) });
    }
    current()
}

fn start() -> Result<Background> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Internal,
            format!("cannot spawn the background thread: {error}"),
        )
        .because(error)
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::Builder::new()
        .name("carbon-events-io".to_owned())
        .spawn(move || {
            // Resolves to an error when `stop` is dropped; that is the signal.
            let _ = runtime.block_on(stopped);
        })
        .map_err(failed)?;
    Ok(Background {
        handle,
        thread: thread.thread().id(),
        _stop: stop,
    })
}

/// Runs a future on the background thread. The work goes on when the returned future is dropped.
pub(crate) fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    let (sender, receiver) = oneshot::channel();
    let started = current().map(|background| {
        background.handle.spawn(async move {
            // The caller may have dropped its future.
            let _ = sender.send(work.await);
        });
    });
    async move {
        started?;
        receiver
            .await
            .map_err(|_| Error::new(ErrorKind::Internal, "background work panicked"))
    }
}

/// Runs blocking work on a thread of its own, which needs no particular executor. For what is rare:
/// the work goes on when the returned future is dropped.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    thread
        .spawn(move || {
            // The caller may have dropped its future.
            let _ = sender.send(work());
        })
        .map_err(|error| {
            Error::new(ErrorKind::Unavailable, "cannot spawn a thread").because(error)
        })?;
    receiver
        .await
        .map_err(|_| Error::new(ErrorKind::Internal, format!("the thread {name} panicked")))
}

/// Runs a future on the background thread and waits for it, from inside any runtime or from none.
pub(crate) fn block_on<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let background = current()?;
    if background.thread == thread::current().id() {
        let message = "a callback on the background thread must not wait for that thread";
        return Err(Error::new(ErrorKind::Internal, message));
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    background.handle.spawn(async move {
        let _ = sender.send(work.await);
    });
    receiver
        .recv()
        .map_err(|_| Error::new(ErrorKind::Internal, "background work panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_from_inside_and_outside_any_runtime() {
        assert_eq!(block_on(async { 1 }).unwrap(), 1);
        assert_eq!(futures::executor::block_on(spawn(async { 2 })).unwrap(), 2);
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(
            runtime.block_on(async { block_on(async { 3 }) }).unwrap(),
            3
        );
        assert_eq!(
            runtime
                .block_on(async { spawn(async { 4 }).await })
                .unwrap(),
            4
        );
    }

    #[test]
    fn waiting_on_the_background_thread_is_an_error_and_no_deadlock() {
        let error = block_on(async { block_on(async {}) }).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[test]
    fn a_panic_is_an_error_of_that_call_alone() {
        let outcome = block_on(async { std::hint::black_box(None::<u8>).expect("no value") });
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(block_on(async { 5 }).unwrap(), 5);
    }

    #[test]
    fn a_panic_on_a_thread_of_its_own_is_an_error_too() {
        let run = |work: fn() -> u8| futures::executor::block_on(on_a_thread("test", work));
        assert_eq!(run(|| 6).unwrap(), 6);
        let error = run(|| std::hint::black_box(None).expect("no value")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[test]
    fn all_callers_share_one_thread() {
        let ids: Vec<ThreadId> = thread::scope(|scope| {
            let spawned: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| block_on(async { thread::current().id() }).unwrap()))
                .collect();
            spawned
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    }
}

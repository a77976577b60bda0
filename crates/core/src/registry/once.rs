//! A value that is fetched once and cached; failures are cached for a while.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use crate::deadline::Deadline;
use crate::fork::{self, PerProcess};
use crate::sync::Mutex;
use crate::{Error, Result, background};

/// A value that one call fetches for many callers: those that ask meanwhile wait for the same answer.
pub(super) struct Once<T>(Mutex<State<T>>);

type Answer<T> = Shared<BoxFuture<'static, Result<T>>>;

enum State<T> {
    Empty,
    /// A forked child starts a fetch of its own: this one's thread is in the parent.
    InFlight(PerProcess<Answer<T>>),
    Known(T),
    /// Returned to every caller until the deadline.
    Failed(Error, Deadline),
}

impl<T: Clone + Send + Sync + 'static> Once<T> {
    pub(super) fn new() -> Self {
        Once(Mutex::new(State::Empty))
    }

    /// The value, if it is known.
    pub(super) fn get(&self) -> Option<T> {
        let _undisturbed = fork::undisturbed();
        match &*self.0.lock() {
            State::Known(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// Sets the value, whatever is in flight.
    pub(super) fn set(&self, value: T) {
        let _undisturbed = fork::undisturbed();
        *self.0.lock() = State::Known(value);
    }

    /// Forgets the value, so that the next caller fetches it.
    pub(super) fn clear(&self) {
        let _undisturbed = fork::undisturbed();
        *self.0.lock() = State::Empty;
    }

    /// Whether nothing would be lost if this were forgotten.
    pub(super) fn is_idle(&self) -> bool {
        let _undisturbed = fork::undisturbed();
        matches!(&*self.0.lock(), State::Empty | State::Failed(..))
    }

    /// The value, or a failure that is not older than `failure_ttl`, or else the outcome of `fetch`.
    /// That runs on the background thread and is kept whether or not anyone waits for it.
    pub(super) fn get_or_fetch<F>(
        self: &Arc<Self>,
        failure_ttl: Duration,
        fetch: impl FnOnce() -> F,
    ) -> BoxFuture<'static, Result<T>>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let _undisturbed = fork::undisturbed();
        let mut state = self.0.lock();
        match &*state {
            State::Known(value) => return ready(Ok(value.clone())).boxed(),
            State::Failed(error, until) if !until.has_passed() => {
                return ready(Err(error.clone())).boxed();
            }
            State::InFlight(answer) => {
                // An error that was seen without being kept is that of a panic: start again.
                let live = answer.get();
                if let Some(answer) = live.filter(|it| !matches!(it.peek(), Some(Err(_)))) {
                    return answer.clone().boxed();
                }
            }
            State::Failed(..) | State::Empty => {}
        }
        let (cell, fetched) = (self.clone(), fetch());
        let answer = background::spawn(async move {
            let outcome = fetched.await;
            let _undisturbed = fork::undisturbed();
            *cell.0.lock() = match &outcome {
                Ok(value) => State::Known(value.clone()),
                Err(error) => State::Failed(error.clone(), Deadline::after(failure_ttl)),
            };
            outcome
        });
        let answer = async move { answer.await? }.boxed().shared();
        *state = State::InFlight(PerProcess::new(answer.clone()));
        answer.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::ErrorKind;

    const LONG: Duration = Duration::from_secs(3600);

    fn wait<T>(answer: BoxFuture<'static, Result<T>>) -> Result<T> {
        futures::executor::block_on(answer)
    }

    #[test]
    fn many_callers_cause_one_fetch() {
        let cell = Arc::new(Once::new());
        let fetches = Arc::new(AtomicU32::new(0));
        let (release, released) = futures::channel::oneshot::channel::<()>();
        let first = cell.get_or_fetch(LONG, || {
            let fetches = fetches.clone();
            async move {
                fetches.fetch_add(1, Relaxed);
                let _ = released.await;
                Ok(7)
            }
        });
        let others: Vec<_> = (0..10)
            .map(|_| cell.get_or_fetch(LONG, || ready(Ok(0))))
            .collect();
        release.send(()).unwrap();
        assert_eq!(wait(first).unwrap(), 7);
        assert!(others.into_iter().all(|other| wait(other).unwrap() == 7));
        assert_eq!((cell.get(), fetches.load(Relaxed)), (Some(7), 1));
    }

    #[test]
    fn a_failure_holds_for_its_time_and_no_longer() {
        let cell = Arc::new(Once::new());
        let failing = || ready(Err::<u32, _>(Error::new(ErrorKind::Unavailable, "down")));
        assert!(wait(cell.get_or_fetch(LONG, failing)).is_err());
        assert!(wait(cell.get_or_fetch(LONG, || ready(Ok(1)))).is_err());
        let cell = Arc::new(Once::new());
        assert!(wait(cell.get_or_fetch(Duration::ZERO, failing)).is_err());
        assert_eq!(wait(cell.get_or_fetch(LONG, || ready(Ok(1)))).unwrap(), 1);
    }

    #[test]
    fn a_fetch_goes_on_when_nobody_waits_for_it() {
        let cell = Arc::new(Once::new());
        drop(cell.get_or_fetch(LONG, || ready(Ok(3))));
        assert_eq!(wait(cell.get_or_fetch(LONG, || ready(Ok(4)))).unwrap(), 3);
    }

    #[test]
    fn a_panicked_fetch_is_tried_again() {
        let cell = Arc::new(Once::<u32>::new());
        let panicking = || async { panic!("on purpose") };
        assert_eq!(
            wait(cell.get_or_fetch(LONG, panicking)).unwrap_err().kind(),
            ErrorKind::Internal
        );
        assert_eq!(wait(cell.get_or_fetch(LONG, || ready(Ok(1)))).unwrap(), 1);
    }
}

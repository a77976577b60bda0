//! Blocked threads and tasks that wait for records, and how they are notified.

use std::task::Waker;

use crate::deadline::Deadline;
use crate::sync::{Condvar, Mutex};

/// Counts notifications, so that one between a look at the queue and the wait is not missed.
#[derive(Default)]
pub(super) struct Notify {
    state: Mutex<State>,
    notified: Condvar,
}

#[derive(Default)]
struct State {
    count: u64,
    tasks: Vec<Waker>,
}

impl Notify {
    /// How many notifications there were. Ask before looking at what is waited for.
    pub(super) fn count(&self) -> u64 {
        self.state.lock().count
    }

    /// Notifies every thread and task that waits.
    pub(super) fn notify(&self) {
        let tasks = {
            let mut state = self.state.lock();
            state.count += 1;
            std::mem::take(&mut state.tasks)
        };
        self.notified.notify_all();
        tasks.into_iter().for_each(Waker::wake);
    }

    /// Blocks until there are more than `seen` notifications; returns `false` if `deadline` passes
    /// before.
    pub(super) fn wait(&self, seen: u64, deadline: Deadline) -> bool {
        let mut state = self.state.lock();
        while state.count == seen {
            let late;
            (state, late) = self.notified.wait_for(state, deadline.remaining());
            if late {
                return state.count != seen;
            }
        }
        true
    }

    /// Has the next notification wake the task; returns `false` if there are more than `seen` already.
    pub(super) fn register(&self, seen: u64, task: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.count != seen {
            return false;
        }
        if !state.tasks.iter().any(|known| known.will_wake(task)) {
            state.tasks.push(task.clone());
        }
        true
    }
}

//! Who waits for records, blocking or in a task, and how they are woken.

use std::task::Waker;
use std::time::Instant;

use crate::sync::{Condvar, Mutex};

/// Counts what arrived, so that an arrival between looking and waiting is not missed.
#[derive(Default)]
pub(crate) struct Wake {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    arrivals: u64,
    tasks: Vec<Waker>,
}

impl Wake {
    /// To be asked before looking.
    pub(crate) fn arrivals(&self) -> u64 {
        self.state.lock().arrivals
    }

    /// Something arrived.
    pub(crate) fn wake(&self) {
        let tasks = {
            let mut state = self.state.lock();
            state.arrivals += 1;
            std::mem::take(&mut state.tasks)
        };
        self.arrived.notify_all();
        tasks.into_iter().for_each(Waker::wake);
    }

    /// Blocks until something arrives beyond the `seen` arrivals; `false` if `deadline` comes first.
    pub(crate) fn wait(&self, seen: u64, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while state.arrivals == seen {
            match deadline {
                Some(deadline) => {
                    let late;
                    (state, late) = self.arrived.wait_until(state, deadline);
                    if late {
                        return state.arrivals != seen;
                    }
                }
                None => state = self.arrived.wait(state),
            }
        }
        true
    }

    /// Has the task woken by the next arrival; `false` if there was one beyond those `seen`.
    pub(crate) fn register(&self, seen: u64, task: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.arrivals != seen {
            return false;
        }
        if !state.tasks.iter().any(|known| known.will_wake(task)) {
            state.tasks.push(task.clone());
        }
        true
    }
}

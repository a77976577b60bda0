//! Who reads: the thread or task that received records.

use std::task::Waker;
use std::thread::ThreadId;

/// One of the readers that share a consumer. Reading on acknowledges only what the same reader
/// received before.
///
/// For a blocking call it is the calling thread, for an asynchronous one the task. Other languages
/// number their own tasks.
#[derive(Debug, Clone)]
pub struct ReaderId(Id);

#[derive(Debug, Clone)]
enum Id {
    Thread(ThreadId),
    /// A task of tokio's.
    Task(tokio::task::Id),
    /// A task of another executor: its waker, which is kept so that no later task has the same.
    Polled(ThreadId, Waker),
    Numbered(ThreadId, u64),
}

impl ReaderId {
    /// The tokio task or, outside of one, the thread that this is called in.
    pub fn current() -> Self {
        ReaderId(match tokio::task::try_id() {
            Some(task) => Id::Task(task),
            None => Id::Thread(std::thread::current().id()),
        })
    }

    /// A reader that the caller keeps apart from the others of this thread by a number.
    pub fn numbered(number: u64) -> Self {
        ReaderId(Id::Numbered(std::thread::current().id(), number))
    }

    /// The task that is polled with this waker.
    pub(super) fn polled(waker: &Waker) -> Self {
        ReaderId(match tokio::task::try_id() {
            Some(task) => Id::Task(task),
            None => Id::Polled(std::thread::current().id(), waker.clone()),
        })
    }

    pub(super) fn is(&self, other: &ReaderId) -> bool {
        match (&self.0, &other.0) {
            (Id::Thread(one), Id::Thread(other)) => one == other,
            (Id::Task(one), Id::Task(other)) => one == other,
            (Id::Polled(_, one), Id::Polled(_, other)) => one.will_wake(other),
            // What tokio blocks on, such as an asynchronous `main`, speaks for its thread where it
            // calls what is not asynchronous.
            (Id::Polled(one, _), Id::Thread(other)) => {
                one == other && tokio::runtime::Handle::try_current().is_ok()
            }
            (Id::Numbered(one, number), Id::Numbered(other, of_other)) => {
                one == other && number == of_other
            }
            _ => false,
        }
    }

    /// Whether this reader is at work in the calling thread. A batch that is dropped elsewhere may
    /// have been dropped by a failure that its reader does not see.
    pub(super) fn is_here(&self) -> bool {
        match &self.0 {
            Id::Thread(thread) | Id::Polled(thread, _) => {
                *thread == std::thread::current().id() && tokio::task::try_id().is_none()
            }
            Id::Task(task) => tokio::task::try_id() == Some(*task),
            Id::Numbered(..) => true,
        }
    }
}

//! The thread or task that reads.

use std::task::Waker;
use std::thread::ThreadId;

/// One of the readers that share a consumer. A reader's next read acknowledges what that reader
/// received and dropped before.
///
/// A blocking call's reader is the calling thread, an asynchronous call's is the task. Other languages
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
    /// The calling tokio task or, outside of one, the calling thread.
    pub fn current() -> Self {
        ReaderId(match tokio::task::try_id() {
            Some(task) => Id::Task(task),
            None => Id::Thread(std::thread::current().id()),
        })
    }

    /// The calling thread's reader of this number: for several readers in one thread.
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
            // A future that tokio blocks on, such as an asynchronous `main`, is its thread's reader
            // in a blocking call.
            (Id::Polled(one, _), Id::Thread(other)) => {
                one == other && tokio::runtime::Handle::try_current().is_ok()
            }
            (Id::Numbered(one, number), Id::Numbered(other, of_other)) => {
                one == other && number == of_other
            }
            _ => false,
        }
    }

    /// Whether this reader runs in the calling thread now. A batch that is dropped elsewhere may have
    /// been dropped by a failure that its reader does not see.
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

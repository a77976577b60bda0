//! A pipe by which any thread wakes an event loop: asyncio's, gevent's or eventlet's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// One byte is in the pipe for any number of notifications until the loop has drained it.
pub(crate) struct Wakeup {
    signalled: AtomicBool,
    reading: File,
    writing: File,
}

impl Wakeup {
    pub(crate) fn new() -> io::Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors, which are ours from here on.
        let (reading, writing) = unsafe {
            if libc::pipe(ends.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            for end in ends {
                libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK);
                libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        };
        Ok(Wakeup {
            signalled: AtomicBool::new(false),
            reading: reading.into(),
            writing: writing.into(),
        })
    }

    /// The descriptor that is readable after a notification.
    pub(crate) fn fileno(&self) -> i32 {
        self.reading.as_raw_fd()
    }

    /// Makes the descriptor readable.
    pub(crate) fn notify(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // A full pipe is one that wakes its reader, too.
            let _ = (&self.writing).write(&[1]);
        }
    }

    /// Empties the pipe. What the notifications were about must be looked at after this.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.reading).read(&mut bytes), Ok(64)) {}
        self.signalled.store(false, Ordering::SeqCst);
    }
}

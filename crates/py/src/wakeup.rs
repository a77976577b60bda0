//! A pipe through which any thread notifies an event loop of asyncio, gevent or eventlet.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The pipe holds one byte for any number of notifications, until the loop drains it.
pub(crate) struct Wakeup {
    signalled: AtomicBool,
    reading: File,
    writing: File,
}

impl Wakeup {
    pub(crate) fn new() -> io::Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: `ends` holds two descriptors, which this function then owns.
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
            // If the pipe is full, it is readable already.
            let _ = (&self.writing).write(&[1]);
        }
    }

    /// Empties the pipe. The caller must process the notifications after this call.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.reading).read(&mut bytes), Ok(64)) {}
        self.signalled.store(false, Ordering::SeqCst);
    }
}

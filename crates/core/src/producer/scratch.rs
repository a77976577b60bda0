//! A thread's buffers for a key and for a value that is too large to be encoded in place.

use std::cell::Cell;

/// See the module.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// What a thread keeps of a value's buffer once it is sent.
const KEPT_BYTES: usize = 64 << 10;

/// Lends this thread's scratch. A send within a send (a trace hook that sends an event) and one in
/// a thread's last moments get a fresh one.
pub(super) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
    }
    let mut scratch = SCRATCH
        .try_with(Cell::take)
        .ok()
        .flatten()
        .unwrap_or_default();
    let result = work(&mut scratch);
    if scratch.value.capacity() > KEPT_BYTES {
        scratch.value = Vec::new();
    }
    // Where the thread is ending, the buffers end with it.
    let _ = SCRATCH.try_with(|kept| kept.set(Some(scratch)));
    result
}

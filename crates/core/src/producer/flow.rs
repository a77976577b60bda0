//! What keeps the records of one partition from going all at once: its first record goes alone, and
//! a topic's limit puts the others in windows.

use super::opening::Opening;
use super::window::Window;
use crate::sync::Mutex;

/// The flow control of one partition.
#[derive(Default)]
pub(super) struct Flow {
    opening: Opening,
    window: Mutex<Window>,
}

impl Flow {
    pub(super) fn new(is_idempotent: bool) -> Self {
        if is_idempotent {
            return Flow::default();
        }
        Flow {
            opening: Opening::not_needed(),
            ..Flow::default()
        }
    }

    #[inline]
    pub(super) fn opening(&self) -> &Opening {
        &self.opening
    }

    #[inline]
    pub(super) fn window(&self) -> &Mutex<Window> {
        &self.window
    }
}

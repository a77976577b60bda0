//! Bodies that had to be rewritten into our own schema, kept beside their batch so that events can
//! borrow from them.

use std::sync::OnceLock;

use crate::events::Topic;

/// The rewritten bodies of a batch, by record.
#[derive(Default)]
pub(super) struct Rewritten(OnceLock<Box<[Slot]>>);

type Slot = OnceLock<Box<Body>>;

/// A body, and the next of the same record where it was read as several events.
struct Body {
    topic: Topic,
    bytes: Vec<u8>,
    next: Slot,
}

impl Rewritten {
    pub(super) fn get(&self, index: usize, topic: Topic) -> Option<&[u8]> {
        let mut slot = self.0.get()?.get(index)?;
        loop {
            let body = slot.get()?;
            if body.topic == topic {
                return Some(&body.bytes);
            }
            slot = &body.next;
        }
    }

    /// Keeps the body of the record at `index`, of so many `records`.
    pub(super) fn keep(&self, index: usize, records: usize, topic: Topic, bytes: Vec<u8>) -> &[u8] {
        let empty = || (0..records).map(|_| OnceLock::new()).collect();
        let Some(mut slot) = self.0.get_or_init(empty).get(index) else {
            return &[];
        };
        let mut new = Box::new(Body {
            topic,
            bytes,
            next: OnceLock::new(),
        });
        loop {
            // Another thread may have been first, with this event or with another one.
            match slot.set(new) {
                Ok(()) => return slot.get().map_or(&[], |body| &body.bytes),
                Err(refused) => new = refused,
            }
            match slot.get() {
                Some(body) if body.topic == topic => return &body.bytes,
                Some(body) => slot = &body.next,
                None => return &[],
            }
        }
    }
}

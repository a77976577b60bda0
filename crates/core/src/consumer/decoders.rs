//! What all threads that decode share: a pool of decoders, and the schema ids that need none.

use std::sync::atomic::{AtomicU64, Ordering};

use super::schemas::Schemas;
use crate::Result;
use crate::codec::{Decoder, WireFormat};
use crate::events::Topic;
use crate::sync::Mutex;

/// Marks a known schema id: 0 is an id, too.
const KNOWN: u64 = 1 << 32;

pub(super) struct Decoders {
    schemas: Schemas,
    /// For each topic the id whose bodies are in our own schema, with [`KNOWN`].
    own_ids: [AtomicU64; Topic::ALL.len()],
    idle: Mutex<Vec<Decoder<Schemas>>>,
}

impl Decoders {
    pub(super) fn new(schemas: Schemas) -> Self {
        Decoders {
            schemas,
            own_ids: [const { AtomicU64::new(0) }; _],
            idle: Mutex::default(),
        }
    }

    pub(super) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// Whether bodies in this format are known to be in our own schema of `topic`'s event.
    #[inline]
    pub(super) fn is_own(&self, topic: Topic, format: WireFormat) -> bool {
        match format {
            WireFormat::Confluent { id } => {
                self.own_ids[topic as usize].load(Ordering::Relaxed) == KNOWN | u64::from(id)
            }
            WireFormat::SingleObject { fingerprint } => fingerprint == topic.spec().fingerprint,
            WireFormat::Guid { .. } | WireFormat::Json => false,
        }
    }

    /// Notes that bodies in this format were found to be in our own schema.
    pub(super) fn note_own(&self, topic: Topic, format: WireFormat) {
        if let WireFormat::Confluent { id } = format {
            self.own_ids[topic as usize].store(KNOWN | u64::from(id), Ordering::Relaxed);
        }
    }

    /// Runs `work` with a decoder of the pool.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Decoder<Schemas>) -> Result<T>,
    ) -> Result<T> {
        let idle = self.idle.lock().pop();
        let mut decoder = idle.unwrap_or_else(|| Decoder::new(self.schemas.clone()));
        let outcome = work(&mut decoder);
        self.idle.lock().push(decoder);
        outcome
    }
}

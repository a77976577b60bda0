//! A batch in flight: librdkafka has pointers into it, so it neither moves nor changes.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use super::completing::Watched;
use super::{Batch, MIXED, Record};
use crate::producer::headers::Header;
use crate::producer::topic::TopicState;

/// A batch that librdkafka has pointers into. The completion of its last record frees it, so each of
/// its records must be sent or completed; see [`Completing`](super::completing::Completing).
pub(in crate::producer) struct InFlight(NonNull<Batch>);

// SAFETY: the batch is only read through this, and its completion is atomic.
unsafe impl Send for InFlight {}

/// A record as librdkafka takes it.
pub(in crate::producer) struct RecordView<'a> {
    pub(in crate::producer) partition: i32,
    pub(in crate::producer) key: Option<&'a [u8]>,
    pub(in crate::producer) value: Option<&'a [u8]>,
    pub(in crate::producer) headers: &'a [Header],
    /// The record's identity, passed to librdkafka as its opaque pointer.
    pub(in crate::producer) opaque: *mut c_void,
}

impl RecordView<'_> {
    /// At least the bytes that it takes of a batch on the wire (`DefaultRecord` in Kafka's protocol).
    pub(in crate::producer) fn wire_len(&self) -> usize {
        const FIELDS: usize = 36;
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().map(|header| header.len() + 10);
        FIELDS + len(self.key) + len(self.value) + headers.sum::<usize>()
    }
}

impl InFlight {
    /// Freezes a batch: from here on its memory neither moves nor changes.
    pub(in crate::producer) fn new(batch: Batch) -> Self {
        batch.count();
        let mut batch = Box::new(batch);
        batch.incomplete = AtomicU32::new(batch.records.len() as u32);
        // The one pointer that the batch is read through and freed by from here on.
        let at = NonNull::from(Box::leak(batch));
        // SAFETY: it was just leaked, and nothing else points to it yet.
        for record in unsafe { &mut (*at.as_ptr()).records } {
            record.batch = at.as_ptr();
        }
        InFlight(at)
    }

    pub(in crate::producer) fn batch(&self) -> &Batch {
        // SAFETY: alive while a record is incomplete, and the owner of an InFlight drops it once it
        // has sent the last one.
        unsafe { self.0.as_ref() }
    }

    /// The records from `from` up to `to`, to be watched once librdkafka has them.
    pub(in crate::producer) fn watched(&self, from: usize, to: usize) -> Watched {
        let batch = self.batch();
        Watched::new(batch, &batch.records[from..to])
    }

    /// The records from `from` on, as librdkafka takes them.
    pub(in crate::producer) fn records(&self, from: usize) -> impl Iterator<Item = RecordView<'_>> {
        let batch = self.batch();
        let first = batch
            .records
            .get(from)
            .map_or(u32::MAX, |record| record.index);
        let first = batch.headers.partition_point(|(index, _)| *index < first);
        let mut headers = batch.headers[first..].iter().peekable();
        batch.records[from..].iter().map(move |record| {
            let own = headers.next_if(|(index, _)| *index == record.index);
            batch.view(record, own.map_or(&[], |(_, headers)| headers))
        })
    }
}

impl Batch {
    #[inline]
    fn partition_of(&self, record: &Record) -> i32 {
        if self.partition == MIXED {
            record.partition
        } else {
            self.partition
        }
    }

    #[inline]
    fn view<'a>(&'a self, record: &'a Record, headers: &'a [Header]) -> RecordView<'a> {
        let key_start = record.start as usize;
        let value_start = key_start + record.key_len.max(0) as usize;
        let value = |len| &self.bytes[value_start..value_start + len as usize];
        RecordView {
            partition: self.partition_of(record),
            key: (record.key_len >= 0).then(|| &self.bytes[key_start..value_start]),
            value: (record.value_len >= 0).then(|| value(record.value_len)),
            headers,
            opaque: std::ptr::from_ref(record).cast_mut().cast(),
        }
    }
}

/// A record in flight, found by its opaque pointer.
pub(in crate::producer) struct RecordRef<'a> {
    record: &'a Record,
    batch: &'a Batch,
}

/// The record behind `opaque`.
///
/// # Safety
/// `opaque` came from [`InFlight::records`], and the record is not completed for as long as what this
/// returns lives.
pub(in crate::producer) unsafe fn look_up<'a>(opaque: *mut c_void) -> RecordRef<'a> {
    // SAFETY: by this function's contract the record and its batch are alive.
    let record = unsafe { &*opaque.cast_const().cast::<Record>() };
    // SAFETY: as above.
    let batch = unsafe { &*record.batch };
    RecordRef { record, batch }
}

impl<'a> RecordRef<'a> {
    pub(in crate::producer) fn topic(&self) -> &'a Arc<TopicState> {
        &self.batch.topic
    }

    /// When the first record of its batch was appended.
    pub(in crate::producer) fn opened(&self) -> Instant {
        self.batch.opened
    }

    pub(in crate::producer) fn partition(&self) -> i32 {
        self.batch.partition_of(self.record)
    }

    /// Whether it has its outcome, although librdkafka has not reported on it.
    pub(in crate::producer) fn is_complete(&self) -> bool {
        self.batch.outcomes.is_complete(self.record.index)
    }

    pub(in crate::producer) fn view(&self) -> RecordView<'a> {
        let index = self.record.index;
        let headers = &self.batch.headers;
        let own = headers.binary_search_by_key(&index, |(index, _)| *index);
        let own = own.ok().map_or(&[][..], |at| &headers[at].1);
        self.batch.view(self.record, own)
    }

    pub(in crate::producer) fn watched(&self) -> Watched {
        Watched::new(self.batch, std::slice::from_ref(self.record))
    }

    /// Counts an outcome for the record's owner, before the record completes.
    pub(in crate::producer) fn count_for_owner(&self, delivered: bool) {
        if let Some(owner) = self.batch.owners.get(self.record.owner) {
            owner.count(u64::from(delivered), u64::from(!delivered));
        }
    }
}

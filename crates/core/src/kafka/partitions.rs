//! librdkafka's list of partitions, each with an offset and an error.

use std::ffi::{CStr, CString};
use std::ptr::NonNull;

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka_sys as sys;

/// Logical offsets.
pub(crate) mod logical {
    use rdkafka_sys as sys;

    pub(crate) const BEGINNING: i64 = sys::RD_KAFKA_OFFSET_BEGINNING as i64;
    /// The group's committed offset, else `auto.offset.reset`.
    pub(crate) const STORED: i64 = sys::RD_KAFKA_OFFSET_STORED as i64;
}

/// An owned list.
pub(crate) struct PartitionList {
    ptr: NonNull<sys::rd_kafka_topic_partition_list_t>,
}

// SAFETY: plain memory without an owner thread; changed through `&mut` alone.
unsafe impl Send for PartitionList {}

/// One entry of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartitionEntry<'list> {
    pub(crate) topic: &'list str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) error: Option<RDKafkaErrorCode>,
}

impl PartitionList {
    pub(crate) fn new() -> Self {
        // SAFETY: allocates; librdkafka aborts rather than returning null.
        let ptr = unsafe { sys::rd_kafka_topic_partition_list_new(16) };
        PartitionList {
            ptr: NonNull::new(ptr).unwrap_or_else(|| std::process::abort()),
        }
    }

    /// A copy of a borrowed list.
    ///
    /// # Safety
    /// `list` is null or a live list.
    pub(super) unsafe fn copy_of(list: *const sys::rd_kafka_topic_partition_list_t) -> Self {
        // SAFETY: by this function's contract.
        match NonNull::new(unsafe { sys::rd_kafka_topic_partition_list_copy(list) }) {
            Some(ptr) if !list.is_null() => PartitionList { ptr },
            _ => Self::new(),
        }
    }

    /// Adds a partition. A topic's name never contains a NUL character; one that does is left out.
    pub(crate) fn push(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        leader_epoch: Option<i32>,
    ) {
        let Ok(topic) = CString::new(topic) else {
            return;
        };
        // SAFETY: the list is ours, the name is copied, and the entry lives in the list.
        unsafe {
            let list = self.ptr.as_ptr();
            let entry = sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
            (*entry).offset = offset;
            if let Some(epoch) = leader_epoch {
                sys::rd_kafka_topic_partition_set_leader_epoch(entry, epoch);
            }
        }
    }

    /// Replaces every offset by `change` of it.
    pub(crate) fn set_offsets(&mut self, mut change: impl FnMut(PartitionEntry<'_>) -> i64) {
        for index in 0..self.len() {
            if let Some(entry) = self.get(index) {
                let offset = change(entry);
                // SAFETY: `get` found that there is such an entry; the list is ours to change.
                unsafe { (*(*self.ptr.as_ptr()).elems.add(index)).offset = offset };
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        // SAFETY: the list is live.
        usize::try_from(unsafe { self.ptr.as_ref() }.cnt).unwrap_or(0)
    }

    fn get(&self, index: usize) -> Option<PartitionEntry<'_>> {
        if index >= self.len() {
            return None;
        }
        // SAFETY: `elems` holds `cnt` entries, their names NUL-terminated, for as long as the list
        // lives unchanged.
        unsafe {
            let entry = self.ptr.as_ref().elems.add(index);
            let code = std::ptr::addr_of!((*entry).err).cast::<i32>().read();
            Some(PartitionEntry {
                topic: CStr::from_ptr((*entry).topic).to_str().unwrap_or_default(),
                partition: (*entry).partition,
                offset: (*entry).offset,
                error: error_code(code),
            })
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PartitionEntry<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.ptr.as_ptr()
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.ptr.as_ptr()) }
    }
}

/// The error that a number from librdkafka's memory stands for; none for success. A broker newer
/// than this librdkafka may send numbers that the enum does not have, so none is read as one.
pub(super) fn error_code(number: i32) -> Option<RDKafkaErrorCode> {
    match number {
        0 => None,
        _ => Some(RDKafkaErrorCode::from(resp_err(number))),
    }
}

pub(super) fn resp_err(number: i32) -> RDKafkaRespErr {
    RDKafkaRespErr::try_from(number).unwrap_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_back_what_was_put_in() {
        let mut list = PartitionList::new();
        list.push("data-quality", 3, 17, Some(2));
        list.push("data-quality", 4, logical::BEGINNING, None);
        list.set_offsets(|entry| entry.offset + 1);
        // SAFETY: the list is live.
        let copy = unsafe { PartitionList::copy_of(list.ptr()) };
        drop(list);
        let entries: Vec<_> = copy
            .iter()
            .map(|entry| (entry.topic, entry.partition, entry.offset))
            .collect();
        assert_eq!(entries, [("data-quality", 3, 18), ("data-quality", 4, -1)]);
        assert!(copy.iter().all(|entry| entry.error.is_none()));
    }

    #[test]
    fn a_code_of_a_newer_broker_is_unknown() {
        assert_eq!(error_code(0), None);
        assert_eq!(
            error_code(3),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition)
        );
        assert_eq!(error_code(-191), Some(RDKafkaErrorCode::PartitionEOF));
        assert_eq!(error_code(9_999), Some(RDKafkaErrorCode::Unknown));
    }
}

//! What only consumers do: subscribe, take and give up partitions, store and commit offsets, close.

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka_sys as sys;

use super::errors::{broker_error, kind_of};
use super::handle::{Handle, Queue};
use super::message::millis;
use super::partitions::PartitionList;
use crate::{Error, Result};

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
/// RD_KAFKA_PARTITION_UA, "unassigned".
const ANY_PARTITION: i32 = -1;

impl Handle {
    /// Lets errors, logs and token requests come by the consumer queue too.
    pub(crate) fn poll_one_queue(&self) -> Result<()> {
        // SAFETY: the instance is live.
        outcome(
            unsafe { sys::rd_kafka_poll_set_consumer(self.ptr()) },
            "set up the consumer",
        )
    }

    /// Joins the group to read these topics.
    pub(crate) fn subscribe(&self, topics: &[Arc<str>]) -> Result<()> {
        let mut list = PartitionList::new();
        for topic in topics {
            list.push(topic, ANY_PARTITION, 0, None);
        }
        // SAFETY: the instance and the list are live; the list is copied.
        outcome(
            unsafe { sys::rd_kafka_subscribe(self.ptr(), list.ptr()) },
            "subscribe",
        )
    }

    /// Reads these partitions, each from its offset, and no others; none with `None`.
    pub(crate) fn assign(&self, partitions: Option<&PartitionList>) -> Result<()> {
        let list = partitions.map_or(std::ptr::null_mut(), PartitionList::ptr);
        // SAFETY: the instance is live, and the list is null or live and copied.
        outcome(
            unsafe { sys::rd_kafka_assign(self.ptr(), list) },
            "assign partitions",
        )
    }

    /// Reads these partitions too.
    pub(crate) fn incremental_assign(&self, partitions: &PartitionList) -> Result<()> {
        // SAFETY: the instance and the list are live; the list is copied; the error is ours.
        unsafe {
            let error = sys::rd_kafka_incremental_assign(self.ptr(), partitions.ptr());
            take_error(error, "assign partitions")
        }
    }

    /// Reads these partitions no longer.
    pub(crate) fn incremental_unassign(&self, partitions: &PartitionList) -> Result<()> {
        // SAFETY: as for `incremental_assign`.
        unsafe {
            let error = sys::rd_kafka_incremental_unassign(self.ptr(), partitions.ptr());
            take_error(error, "give up partitions")
        }
    }

    /// Whether partitions come and go one by one, and not all at every rebalance.
    pub(crate) fn is_cooperative(&self) -> bool {
        // SAFETY: the instance is live and gives a static string, or null once the group is left.
        unsafe {
            let protocol = sys::rd_kafka_rebalance_protocol(self.ptr());
            !protocol.is_null() && CStr::from_ptr(protocol) == c"COOPERATIVE"
        }
    }

    /// Whether the partitions being revoked belong to others already: their offsets can no longer
    /// be committed.
    pub(crate) fn assignment_lost(&self) -> bool {
        // SAFETY: the instance is live.
        unsafe { sys::rd_kafka_assignment_lost(self.ptr()) != 0 }
    }

    /// Sends the records of a partition to `queue`; to be called before it is assigned, since
    /// librdkafka undoes it when the partition is given up.
    pub(crate) fn send_records_to(&self, queue: &Queue, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else {
            return;
        };
        // SAFETY: instance and queue are live; the partition's queue is a reference of ours, which
        // is released once, and forwarding holds on to its target by itself.
        unsafe {
            let own = sys::rd_kafka_queue_get_partition(self.ptr(), topic.as_ptr(), partition);
            if !own.is_null() {
                sys::rd_kafka_queue_forward(own, queue.ptr());
                sys::rd_kafka_queue_destroy(own);
            }
        }
    }

    /// Remembers offsets for the next automatic commit. Those of partitions that are no longer
    /// ours are passed over.
    pub(crate) fn store_offsets(&self, offsets: &PartitionList) {
        // SAFETY: instance and list are live. The outcome is that of partitions that we do not
        // have any more, whose offsets are the next owner's affair.
        unsafe { sys::rd_kafka_offsets_store(self.ptr(), offsets.ptr()) };
    }

    /// Sends a commit; the answer comes to `answers` as an event.
    pub(crate) fn commit(&self, offsets: &PartitionList, answers: &Queue) -> Result<()> {
        // SAFETY: instance, list and queue are live; the list is copied, the queue referenced.
        let code = unsafe {
            let (none, nothing) = (None, std::ptr::null_mut());
            sys::rd_kafka_commit_queue(self.ptr(), offsets.ptr(), answers.ptr(), none, nothing)
        };
        outcome(code, "commit offsets")
    }

    /// Sets each offset to what the group has committed, or to a negative number.
    pub(crate) fn committed(&self, list: &mut PartitionList, timeout: Duration) -> Result<()> {
        // SAFETY: instance and list are live, the list ours to change.
        let code = unsafe { sys::rd_kafka_committed(self.ptr(), list.ptr(), millis(timeout)) };
        outcome(code, "ask for the group's offsets").and_then(|()| each_partition(list))
    }

    /// Sets each offset to the one behind what was taken of the partition, control records of
    /// transactions among it; to a negative number where nothing was. Asks no broker.
    pub(crate) fn position(&self, list: &mut PartitionList) -> Result<()> {
        // SAFETY: instance and list are live, the list ours to change.
        let code = unsafe { sys::rd_kafka_position(self.ptr(), list.ptr()) };
        outcome(code, "ask for positions")
    }

    /// Sets each offset, a time in milliseconds UTC, to that of the first record of that time or
    /// later; negative where there is none.
    pub(crate) fn offsets_for_times(
        &self,
        list: &mut PartitionList,
        timeout: Duration,
    ) -> Result<()> {
        // SAFETY: instance and list are live, the list ours to change.
        let code =
            unsafe { sys::rd_kafka_offsets_for_times(self.ptr(), list.ptr(), millis(timeout)) };
        outcome(code, "look up offsets by time").and_then(|()| each_partition(list))
    }

    /// Goes on reading at these offsets.
    pub(crate) fn seek(&self, list: &PartitionList, timeout: Duration) -> Result<()> {
        // SAFETY: instance and list are live; the error is ours.
        unsafe {
            let error = sys::rd_kafka_seek_partitions(self.ptr(), list.ptr(), millis(timeout));
            take_error(error, "seek")?;
        }
        each_partition(list)
    }

    /// The offset behind a partition's newest record as the last fetch told it.
    pub(crate) fn end_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the instance is live, the name NUL-terminated, the numbers ours.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.ptr(),
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (code == NO_ERROR && high >= 0).then_some(high)
    }

    /// Begins to leave the group; `events` must then be served until [`Self::has_left`].
    pub(crate) fn leave(&self, events: &Queue) -> Result<()> {
        // SAFETY: instance and queue are live; the error is ours.
        unsafe {
            let error = sys::rd_kafka_consumer_close_queue(self.ptr(), events.ptr());
            take_error(error, "leave the group")
        }
    }

    pub(crate) fn has_left(&self) -> bool {
        // SAFETY: the instance is live.
        unsafe { sys::rd_kafka_consumer_closed(self.ptr()) != 0 }
    }

    /// The error after which this instance does nothing more, if there was one.
    pub(crate) fn fatal_error(&self) -> Option<Error> {
        let mut text = [0; 512];
        // SAFETY: the instance is live; librdkafka NUL-terminates what it writes into `text`.
        let (code, text) = unsafe {
            let code = sys::rd_kafka_fatal_error(self.ptr(), text.as_mut_ptr(), text.len());
            (
                code,
                CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned(),
            )
        };
        let known = RDKafkaErrorCode::from(code);
        (code != NO_ERROR).then(|| Error::new(kind_of(known), text))
    }
}

fn outcome(code: RDKafkaRespErr, doing: &str) -> Result<()> {
    if code == NO_ERROR {
        Ok(())
    } else {
        Err(broker_error(code, doing))
    }
}

/// The first error of a list's partitions.
fn each_partition(list: &PartitionList) -> Result<()> {
    match list.iter().find_map(|entry| Some((entry, entry.error?))) {
        None => Ok(()),
        Some((entry, code)) => Err(Error::new(kind_of(code), code.to_string())
            .with("topic", entry.topic)
            .with("partition", entry.partition)),
    }
}

/// # Safety
/// `error` is null or an error owned by the caller.
unsafe fn take_error(error: *mut sys::rd_kafka_error_t, doing: &str) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: by this function's contract; destroyed once, after its last use.
    unsafe {
        let code = RDKafkaErrorCode::from(sys::rd_kafka_error_code(error));
        let text = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy();
        let error_of_ours = Error::new(kind_of(code), format!("cannot {doing}: {text}"));
        sys::rd_kafka_error_destroy(error);
        Err(error_of_ours)
    }
}

//! At which offsets reading starts in partitions that were just given to us.

use std::collections::HashSet;
use std::time::Duration;

use super::position::TopicPartition;
use crate::Result;
use crate::config::{ConsumerSettings, StartPosition};
use crate::kafka::{Handle, PartitionEntry, PartitionList, logical};

/// "Timestamps" that stand for a place (KIP-79).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Sets the offsets to start at. Partitions among `started` go on where the group has committed,
/// as do all unless committed offsets are to be ignored.
///
/// Fails where the brokers do not answer within `timeout`; to be tried again then, since starting
/// anywhere else could lose records.
pub(super) fn resolve(
    handle: &Handle,
    settings: &ConsumerSettings,
    started: &HashSet<TopicPartition>,
    list: &mut PartitionList,
    timeout: Duration,
) -> Result<()> {
    let anew = |entry: &PartitionEntry<'_>| {
        let first_time = || !started.contains(&TopicPartition::from(*entry));
        settings.standalone || settings.ignore_committed && first_time()
    };
    let fresh: HashSet<TopicPartition> = match settings.start {
        // `auto.offset.reset` does it where nothing is committed.
        StartPosition::Earliest | StartPosition::Latest => select(list, anew),
        StartPosition::Offset(_) | StartPosition::TimestampMs(_) => {
            let mut fresh = select(list, anew);
            let mut committed = PartitionList::new();
            for entry in list.iter().filter(|entry| !anew(entry)) {
                committed.push(entry.topic, entry.partition, logical::STORED, None);
            }
            if committed.len() > 0 {
                handle.committed(&mut committed, timeout)?;
                fresh.extend(select(&committed, |entry| entry.offset < 0));
            }
            fresh
        }
    };
    if fresh.is_empty() {
        return Ok(());
    }
    let look_up = |time: i64| {
        let mut times = PartitionList::new();
        for TopicPartition { topic, partition } in &fresh {
            times.push(topic, *partition, time, None);
        }
        handle
            .offsets_for_times(&mut times, timeout)
            .map(|()| times)
    };
    let starts = match settings.start {
        StartPosition::Earliest => look_up(EARLIEST)?,
        StartPosition::Latest => look_up(LATEST)?,
        StartPosition::TimestampMs(time) => look_up(time)?,
        StartPosition::Offset(offset) => {
            // An offset that is not there would send librdkafka to where `auto.offset.reset` says.
            let (mut starts, ends) = (look_up(EARLIEST)?, look_up(LATEST)?);
            starts.set_offsets(|oldest| {
                let newest = offset_of(&ends, &oldest).unwrap_or(offset);
                offset.min(newest).max(oldest.offset)
            });
            starts
        }
    };
    list.set_offsets(|entry| match offset_of(&starts, &entry) {
        // No record is as new as that: the next one that comes is.
        Some(offset) if offset < 0 => logical::END,
        Some(offset) => offset,
        None => entry.offset,
    });
    Ok(())
}

fn select(
    list: &PartitionList,
    wanted: impl Fn(&PartitionEntry<'_>) -> bool,
) -> HashSet<TopicPartition> {
    list.iter()
        .filter(wanted)
        .map(TopicPartition::from)
        .collect()
}

fn offset_of(list: &PartitionList, of: &PartitionEntry<'_>) -> Option<i64> {
    let same =
        |entry: &PartitionEntry<'_>| entry.partition == of.partition && entry.topic == of.topic;
    list.iter().find(same).map(|entry| entry.offset)
}

//! At which offsets reading starts in partitions that were just assigned.

use std::collections::HashSet;
use std::time::Duration;

use super::position::{Offsets, Position, TopicPartition};
use crate::Result;
use crate::config::{ConsumerSettings, StartPosition};
use crate::kafka::{Handle, PartitionEntry, PartitionList, logical};

/// "Timestamps" that mean an end of the partition (KIP-79).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Where a consumer starts: by its settings and, in some partitions, at given offsets.
pub(super) struct Starts<'a> {
    pub(super) settings: &'a ConsumerSettings,
    pub(super) given: &'a Offsets,
    /// Partitions that it had before.
    pub(super) started: &'a HashSet<TopicPartition>,
}

impl Starts<'_> {
    fn is_first_time(&self, entry: &PartitionEntry<'_>) -> bool {
        !self.started.contains(&TopicPartition::from(*entry))
    }

    /// The offset given for a partition; of several, the last.
    fn given(&self, entry: &PartitionEntry<'_>) -> Option<i64> {
        let here = |position: &&Position| {
            let TopicPartition { topic, partition } = &position.partition;
            **topic == *entry.topic && *partition == entry.partition
        };
        let given = self.given.positions.iter().rev().find(here);
        given
            .filter(|_| self.is_first_time(entry))
            .map(|position| position.next_offset)
    }

    /// Whether a partition starts without regard to committed offsets.
    fn is_fresh(&self, entry: &PartitionEntry<'_>) -> bool {
        let settings = self.settings;
        settings.standalone || settings.ignore_committed && self.is_first_time(entry)
    }
}

/// Sets the offsets to start at. Partitions that the consumer had before go on where the group has
/// committed, as do all unless committed offsets are to be ignored or an offset was given.
///
/// Fails where the brokers do not answer within `timeout`. Retry then: to start anywhere else could
/// lose records.
pub(super) fn resolve(
    handle: &Handle,
    wanted: &Starts<'_>,
    list: &mut PartitionList,
    timeout: Duration,
) -> Result<()> {
    let start = wanted.settings.start;
    let given = select(list, |entry| wanted.given(entry).is_some());
    let is_fresh =
        |entry: &PartitionEntry<'_>| wanted.given(entry).is_none() && wanted.is_fresh(entry);
    let fresh: HashSet<TopicPartition> = match start {
        // `auto.offset.reset` does it where nothing is committed.
        StartPosition::Earliest | StartPosition::Latest => select(list, is_fresh),
        StartPosition::Offset(_) | StartPosition::TimestampMs(_) => {
            let mut fresh = select(list, is_fresh);
            let mut committed = PartitionList::new();
            let goes_on =
                |entry: &PartitionEntry<'_>| wanted.given(entry).is_none() && !is_fresh(entry);
            for entry in list.iter().filter(goes_on) {
                committed.push(entry.topic, entry.partition, logical::STORED, None);
            }
            if committed.len() > 0 {
                handle.committed(&mut committed, timeout)?;
                fresh.extend(select(&committed, |entry| entry.offset < 0));
            }
            fresh
        }
    };
    let look_up = |partitions: &HashSet<TopicPartition>, time: i64| {
        let mut times = PartitionList::new();
        for TopicPartition { topic, partition } in partitions {
            times.push(topic, *partition, time, None);
        }
        if partitions.is_empty() {
            return Ok(times);
        }
        handle
            .offsets_for_times(&mut times, timeout)
            .map(|()| times)
    };
    // An offset that is not there would send librdkafka to where `auto.offset.reset` says.
    let nearest = |partitions: &HashSet<TopicPartition>,
                   offset_in: &dyn Fn(&PartitionEntry<'_>) -> i64| {
        let (mut starts, ends) = (look_up(partitions, EARLIEST)?, look_up(partitions, LATEST)?);
        starts.set_offsets(|oldest| {
            let offset = offset_in(&oldest);
            let newest = offset_of(&ends, &oldest).unwrap_or(offset);
            offset.min(newest).max(oldest.offset)
        });
        Ok(starts)
    };
    let starts = match start {
        StartPosition::Earliest => look_up(&fresh, EARLIEST)?,
        StartPosition::Latest => look_up(&fresh, LATEST)?,
        StartPosition::TimestampMs(time) => {
            // The ends first: what is written between the two answers is read, and not skipped by
            // an end that is only looked up when fetching begins.
            let (ends, mut starts) = (look_up(&fresh, LATEST)?, look_up(&fresh, time)?);
            starts.set_offsets(|found| match offset_of(&ends, &found) {
                Some(end) if found.offset < 0 => end,
                _ => found.offset,
            });
            starts
        }
        StartPosition::Offset(offset) => nearest(&fresh, &|_| offset)?,
    };
    let places = nearest(&given, &|entry| wanted.given(entry).unwrap_or(entry.offset))?;
    list.set_offsets(|entry| {
        let found = offset_of(&places, &entry).or_else(|| offset_of(&starts, &entry));
        found.unwrap_or(entry.offset)
    });
    Ok(())
}

/// Has the added partitions start at their beginning, where the group has committed nothing and no
/// offset was given: everything in them is newer than the start.
pub(super) fn at_the_beginning(
    handle: &Handle,
    wanted: &Starts<'_>,
    list: &mut PartitionList,
    is_added: impl Fn(&PartitionEntry<'_>) -> bool,
    timeout: Duration,
) -> Result<()> {
    let added = |entry: &PartitionEntry<'_>| {
        is_added(entry) && wanted.is_first_time(entry) && wanted.given(entry).is_none()
    };
    let mut committed = PartitionList::new();
    for entry in list.iter().filter(added) {
        committed.push(entry.topic, entry.partition, logical::STORED, None);
    }
    if committed.len() == 0 {
        return Ok(());
    }
    handle.committed(&mut committed, timeout)?;
    let is_fresh = |entry: &PartitionEntry<'_>| entry.offset < 0 || wanted.is_fresh(entry);
    let beginning = select(&committed, is_fresh);
    list.set_offsets(|entry| {
        if beginning.contains(&TopicPartition::from(entry)) {
            logical::BEGINNING
        } else {
            entry.offset
        }
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

//! Whether the end of every assigned partition was reached.

use std::collections::HashSet;

use super::position::TopicPartition;

/// The end, with `detect_end`. Between two assignments there is none.
#[derive(Default)]
pub(super) struct End {
    is_assigned: bool,
    unread: HashSet<TopicPartition>,
    /// Whether the next read reports the end.
    is_due: bool,
}

impl End {
    pub(super) fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.is_assigned = true;
        self.unread.extend(partitions.iter().cloned());
    }

    /// Records of the partition were read: its end is behind them.
    pub(super) fn moved(&mut self, partition: &TopicPartition) {
        self.unread.insert(partition.clone());
    }

    pub(super) fn reached_in(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if self.unread.remove(partition) && self.is_reached() {
                self.is_due = true;
            }
        }
    }

    /// The partitions that are left may have been read to their end before. With `all` none is left.
    pub(super) fn revoked(&mut self, partitions: &[TopicPartition], all: bool) {
        self.is_assigned &= !all;
        self.reached_in(partitions);
    }

    pub(super) fn is_reached(&self) -> bool {
        self.is_assigned && self.unread.is_empty()
    }

    /// Whether to report the end now; once each time that it is reached.
    pub(super) fn take(&mut self) -> bool {
        std::mem::take(&mut self.is_due) && self.is_reached()
    }

    /// Records are read again: the end, where it was reached, is reported behind them.
    pub(super) fn report_again(&mut self) {
        self.is_due = self.is_reached();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_reached_by_revoking_what_is_unread_but_not_by_revoking_all() {
        let partitions = [0, 1].map(|number| TopicPartition::new("t", number));
        let end = || {
            let mut end = End::default();
            end.assigned(&partitions);
            end
        };
        let mut one_left = end();
        one_left.reached_in(&partitions[..1]);
        one_left.revoked(&partitions[1..], false);
        assert!(one_left.is_reached() && one_left.take());
        let mut none_left = end();
        none_left.revoked(&partitions, true);
        assert!(!none_left.is_reached() && !none_left.take());
    }
}

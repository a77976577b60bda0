//! The topic table for one cluster.

use std::time::Duration;

use crate::events::{Topic, TopicSpec};

/// The topics that a cluster should have: the platform's, or some of them, with as many replicas as
/// the cluster supports.
///
/// ```
/// use carbon_events::admin::TopicTable;
///
/// // A cluster of one broker for development: one replica of everything.
/// let table = TopicTable::all().replication_factor(1);
/// assert!(table.specs(1).iter().all(|topic| topic.min_insync_replicas == 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTable {
    topics: Vec<Topic>,
    replication_factor: Option<i32>,
    min_insync_replicas: Option<i32>,
    fit_cluster: bool,
}

impl TopicTable {
    /// All topics of the platform.
    pub fn all() -> Self {
        Self::of(Topic::ALL.iter().copied())
    }

    /// Some topics of the platform.
    pub fn of(topics: impl IntoIterator<Item = Topic>) -> Self {
        TopicTable {
            topics: topics.into_iter().collect(),
            replication_factor: None,
            min_insync_replicas: None,
            fit_cluster: false,
        }
    }

    /// Replication factor instead of the table's three. If it is too low for the table's
    /// `min.insync.replicas`, that becomes one less than the factor (but at least 1).
    #[must_use]
    pub fn replication_factor(mut self, brokers: i32) -> Self {
        self.replication_factor = Some(brokers);
        self
    }

    /// `min.insync.replicas` instead of the table's two.
    #[must_use]
    pub fn min_insync_replicas(mut self, replicas: i32) -> Self {
        self.min_insync_replicas = Some(replicas);
        self
    }

    /// Limits the replication factor to the cluster's number of brokers, for development clusters of
    /// one or two.
    #[must_use]
    pub fn fit_cluster(mut self) -> Self {
        self.fit_cluster = true;
        self
    }

    /// The topics of a cluster with this many brokers.
    pub fn specs(&self, brokers: usize) -> Vec<TopicSpec> {
        let brokers = i32::try_from(brokers).unwrap_or(i32::MAX).max(1);
        let adapted = self.topics.iter().map(|topic| {
            let mut spec = topic.spec().clone();
            let mut replicas = self.replication_factor.unwrap_or(spec.replication_factor);
            if self.fit_cluster {
                replicas = replicas.min(brokers);
            }
            if replicas != spec.replication_factor {
                spec.replication_factor = replicas;
                // One replica may be missing, as with the table's three and two.
                spec.min_insync_replicas = spec.min_insync_replicas.min((replicas - 1).max(1));
            }
            if let Some(replicas) = self.min_insync_replicas {
                spec.min_insync_replicas = replicas;
            }
            spec
        });
        adapted.collect()
    }
}

impl Default for TopicTable {
    fn default() -> Self {
        Self::all()
    }
}

pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// The configurations that the table sets, by Kafka's names. The cluster decides all others.
pub(super) fn configs(spec: &TopicSpec) -> [(&'static str, String); 4] {
    [
        ("cleanup.policy", spec.cleanup_policy.to_string()),
        ("compression.type", spec.compression.to_owned()),
        (MIN_INSYNC_REPLICAS, spec.min_insync_replicas.to_string()),
        ("retention.ms", retention_ms(spec.retention)),
    ]
}

fn retention_ms(retention: Duration) -> String {
    retention.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(table: &TopicTable, brokers: usize) -> (i32, i32) {
        let specs = table.specs(brokers);
        assert_eq!(specs.len(), Topic::ALL.len());
        (specs[0].replication_factor, specs[0].min_insync_replicas)
    }

    #[test]
    fn replicas_are_the_tables_unless_the_cluster_is_small() {
        assert_eq!(replicas(&TopicTable::all(), 1), (3, 2));
        assert_eq!(replicas(&TopicTable::all().fit_cluster(), 1), (1, 1));
        assert_eq!(replicas(&TopicTable::all().fit_cluster(), 2), (2, 1));
        assert_eq!(replicas(&TopicTable::all().fit_cluster(), 5), (3, 2));
        assert_eq!(
            replicas(&TopicTable::all().replication_factor(1), 3),
            (1, 1)
        );
        let table = TopicTable::all()
            .replication_factor(4)
            .min_insync_replicas(3);
        assert_eq!(replicas(&table, 4), (4, 3));
    }

    #[test]
    fn a_topics_configurations_have_kafkas_names_and_units() {
        let specs = TopicTable::of([Topic::DataLineage]).specs(3);
        assert_eq!(
            configs(&specs[0]),
            [
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "lz4".to_owned()),
                ("min.insync.replicas", "2".to_owned()),
                ("retention.ms", "7776000000".to_owned()),
            ]
        );
    }
}

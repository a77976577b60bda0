//! How a cluster differs from the topic table.

use std::collections::HashMap;
use std::fmt;

use super::native::TopicState;
use super::table::{MIN_INSYNC_REPLICAS, configs};
use crate::events::{Topic, TopicSpec};

/// One way in which a topic differs from the table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The cluster has no such topic, or we may not describe it.
    Missing {
        /// How many partitions it will have.
        partitions: i32,
        /// The replication factor it will have.
        replication_factor: i32,
    },
    /// It has more or fewer partitions. More are only reported: partitions are never deleted.
    Partitions {
        /// The table's number.
        want: i32,
        /// The cluster's number.
        have: i32,
    },
    /// A partition has another number of replicas. Only reported: moving replicas needs a reassignment
    /// (`kafka-reassign-partitions`).
    ReplicationFactor {
        /// The table's replication factor.
        want: i32,
        /// The fewest replicas of any partition.
        have: i32,
    },
    /// A configuration has another value.
    Config {
        /// Its name, such as `retention.ms`.
        name: &'static str,
        /// The table's value.
        want: String,
        /// The cluster's value; `None` if the broker returns none.
        have: Option<String>,
        /// Why it is only reported, if it is: with `min.insync.replicas` above the number of replicas,
        /// a topic would reject all records.
        blocked: Option<&'static str>,
    },
}

impl Difference {
    /// Whether [`Admin::apply`](super::Admin::apply) resolves it.
    pub fn can_apply(&self) -> bool {
        match self {
            Difference::Missing { .. } => true,
            Difference::Config { blocked, .. } => blocked.is_none(),
            Difference::Partitions { want, have } => want > have,
            Difference::ReplicationFactor { .. } => false,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing {
                partitions,
                replication_factor,
            } => write!(
                f,
                "missing (to be created with {partitions} partitions, replication factor \
                 {replication_factor})"
            ),
            Difference::Partitions { want, have } => {
                write!(f, "partitions: {have}, should be {want}")?;
                if have > want {
                    f.write_str(" (not changed: partitions are never deleted)")?;
                }
                Ok(())
            }
            Difference::ReplicationFactor { want, have } => {
                write!(
                    f,
                    "replication factor: {have}, should be {want} (not changed)"
                )
            }
            Difference::Config {
                name,
                want,
                have,
                blocked,
            } => {
                let have = have.as_deref().unwrap_or("unknown");
                write!(f, "{name}: {have}, should be {want}")?;
                if let Some(why) = blocked {
                    write!(f, " (not changed: {why})")?;
                }
                Ok(())
            }
        }
    }
}

/// A topic and its differences.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDiff {
    /// The topic.
    pub topic: Topic,
    /// How it differs; empty if it matches.
    pub differences: Vec<Difference>,
}

/// How a cluster differs from the topic table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDiff {
    /// How many brokers the cluster has.
    pub brokers: usize,
    /// Every compared topic, in the table's order.
    pub topics: Vec<TopicDiff>,
}

impl ClusterDiff {
    /// Whether every topic matches.
    pub fn is_empty(&self) -> bool {
        self.topics.iter().all(|topic| topic.differences.is_empty())
    }

    /// Each difference with its topic.
    pub fn iter(&self) -> impl Iterator<Item = (Topic, &Difference)> {
        self.topics.iter().flat_map(|topic| {
            topic
                .differences
                .iter()
                .map(|difference| (topic.topic, difference))
        })
    }

    /// Whether a topic has this difference.
    pub(super) fn has(&self, topic: Topic, difference: &Difference) -> bool {
        self.iter()
            .any(|(other, found)| other == topic && same_matter(found, difference))
    }
}

/// Whether two differences are about the same property, whatever their values.
fn same_matter(one: &Difference, other: &Difference) -> bool {
    match (one, other) {
        (Difference::Config { name, .. }, Difference::Config { name: other, .. }) => name == other,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// A topic's configurations on the cluster, by name.
pub(super) type Configs = HashMap<String, Option<String>>;

/// Compares a topic with the table; `have` is its state and its configurations, if it exists.
pub(super) fn compare(spec: &TopicSpec, have: Option<(&TopicState, &Configs)>) -> TopicDiff {
    let TopicSpec {
        topic,
        partitions,
        replication_factor,
        ..
    } = *spec;
    let Some((state, have)) = have else {
        let missing = Difference::Missing {
            partitions,
            replication_factor,
        };
        return TopicDiff {
            topic,
            differences: vec![missing],
        };
    };
    let mut differences = Vec::new();
    if state.partitions != partitions {
        differences.push(Difference::Partitions {
            want: partitions,
            have: state.partitions,
        });
    }
    if state.replication_factor != replication_factor {
        differences.push(Difference::ReplicationFactor {
            want: replication_factor,
            have: state.replication_factor,
        });
    }
    for (name, want) in configs(spec) {
        let value = have.get(name).cloned().flatten();
        if !value
            .as_deref()
            .is_some_and(|value| same_value(value, &want))
        {
            let too_many =
                name == MIN_INSYNC_REPLICAS && spec.min_insync_replicas > state.replication_factor;
            let blocked = too_many.then_some("the topic has fewer replicas");
            differences.push(Difference::Config {
                name,
                want,
                have: value,
                blocked,
            });
        }
    }
    TopicDiff { topic, differences }
}

/// Whether two values are equal; the order of a list (`compact,delete`) does not matter.
fn same_value(one: &str, other: &str) -> bool {
    let parts = |value: &str| {
        let mut parts: Vec<String> = value
            .split(',')
            .map(|part| part.trim().to_owned())
            .collect();
        parts.sort_unstable();
        parts
    };
    one == other || parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::TopicTable;

    fn state(partitions: i32, replication_factor: i32) -> TopicState {
        TopicState {
            name: "data-lineage".to_owned(),
            partitions,
            replication_factor,
        }
    }

    fn in_force(change: &[(&str, Option<&str>)]) -> Configs {
        let spec = &TopicTable::of([Topic::DataLineage]).specs(3)[0];
        let wanted = configs(spec)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value)));
        let changed = change
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
        let others = [("segment.bytes".to_owned(), Some("1".to_owned()))];
        wanted.chain(others).chain(changed).collect()
    }

    fn differences(state: &TopicState, configs: &Configs) -> Vec<Difference> {
        let spec = &TopicTable::of([Topic::DataLineage]).specs(3)[0];
        compare(spec, Some((state, configs))).differences
    }

    #[test]
    fn a_topic_that_matches_has_no_differences() {
        assert_eq!(differences(&state(3, 3), &in_force(&[])), []);
    }

    #[test]
    fn drift_is_listed_value_by_value_for_the_tables_configurations_only() {
        let configs = in_force(&[
            ("retention.ms", Some("1000")),
            ("compression.type", None),
            ("segment.bytes", Some("2")),
        ]);
        let found = differences(&state(3, 3), &configs);
        let text: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(
            text,
            [
                "compression.type: unknown, should be lz4",
                "retention.ms: 1000, should be 7776000000"
            ]
        );
        assert!(found.iter().all(Difference::can_apply));
    }

    #[test]
    fn partitions_grow_and_never_shrink() {
        let found = differences(&state(2, 3), &in_force(&[]));
        assert_eq!(found, [Difference::Partitions { want: 3, have: 2 }]);
        assert!(found[0].can_apply());
        let found = differences(&state(4, 3), &in_force(&[]));
        assert_eq!(found, [Difference::Partitions { want: 3, have: 4 }]);
        assert!(!found[0].can_apply());
    }

    #[test]
    fn min_insync_replicas_is_never_set_above_the_number_of_replicas() {
        let found = differences(
            &state(3, 1),
            &in_force(&[("min.insync.replicas", Some("1"))]),
        );
        let text: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(
            text,
            [
                "replication factor: 1, should be 3 (not changed)",
                "min.insync.replicas: 1, should be 2 (not changed: the topic has fewer replicas)",
            ]
        );
        assert!(!found.iter().any(Difference::can_apply));
    }

    #[test]
    fn a_list_in_another_order_is_the_same() {
        assert!(same_value("delete, compact", "compact,delete"));
        assert!(!same_value("compact", "compact,delete"));
    }

    #[test]
    fn a_missing_topic_is_listed_with_what_it_will_be() {
        let spec = &TopicTable::of([Topic::DataLineage])
            .replication_factor(1)
            .specs(1)[0];
        let diff = compare(spec, None);
        assert_eq!(
            diff.differences[0].to_string(),
            "missing (to be created with 3 partitions, replication factor 1)"
        );
    }
}

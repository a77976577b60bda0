//! `topic.rs`: the topic table.

use super::{doc, each, lower_first};
use crate::model::{CleanupPolicy, Group, Model, Topic};
use crate::names::camel;

pub(super) fn file(model: &Model) -> String {
    let count = model.topics.len();
    let variants = each(&model.topics, |topic| {
        let text = format!("`{}`: {}", topic.name, lower_first(&topic.event.record.doc));
        format!("{}{},\n", doc(1, "///", &text), camel(&topic.name))
    });
    let all = each(&model.topics, |topic| {
        format!("Topic::{},", camel(&topic.name))
    });
    let specs = each(&model.topics, spec);
    format!(
        "//! The topics that the events belong on.

use std::fmt;
use std::time::Duration;

use super::record::TypedEvent;
use super::topic_spec::{{CleanupPolicy, TopicGroup, TopicSpec}};
use crate::events;

/// A topic of the topic table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {{
    {variants}
}}

impl Topic {{
    /// Every topic, in the order of the table.
    pub const ALL: [Topic; {count}] = [{all}];

    /// Its name in Kafka.
    pub const fn name(self) -> &'static str {{
        self.spec().name
    }}

    /// The topic of that name.
    pub fn from_name(name: &str) -> Option<Topic> {{
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }}

    /// Its row of the topic table.
    pub const fn spec(self) -> &'static TopicSpec {{
        &SPECS[self as usize]
    }}
}}

impl fmt::Display for Topic {{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{
        f.pad(self.name())
    }}
}}

/// The table, in the order of [`Topic`].
static SPECS: [TopicSpec; {count}] = [{specs}];
"
    )
}

fn spec(topic: &Topic) -> String {
    let record = &topic.event.record.name;
    let cleanup_policy = match topic.cleanup_policy {
        CleanupPolicy::Delete => "Delete",
        CleanupPolicy::Compact => "Compact",
        CleanupPolicy::CompactAndDelete => "CompactAndDelete",
    };
    let group = match topic.group {
        Group::Data => "Data",
        Group::System => "System",
        Group::Audit => "Audit",
    };
    let lines = [
        format!("topic: Topic::{}", camel(&topic.name)),
        format!("name: {:?}", topic.name),
        format!("record: {record:?}"),
        format!("schema_json: <events::{record}<'_>>::SCHEMA_JSON"),
        format!("fingerprint: <events::{record}<'_>>::FINGERPRINT"),
        format!("partitions: {}", topic.partitions),
        format!("replication_factor: {}", topic.replication_factor),
        format!("min_insync_replicas: {}", topic.min_insync_replicas),
        format!("retention: {}", duration(topic.retention_ms)),
        format!("cleanup_policy: CleanupPolicy::{cleanup_policy}"),
        format!("compression: {:?}", topic.compression),
        format!("key: {:?}", topic.key.template),
        format!("owner: {:?}", topic.owner),
        format!("group: TopicGroup::{group}"),
    ];
    format!("TopicSpec {{ {} }},", lines.join(", "))
}

/// A duration in the largest unit that it is whole in; std has none above an hour yet.
fn duration(ms: u64) -> String {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    if ms.is_multiple_of(DAY_MS) {
        format!("Duration::from_secs({} * 24 * 60 * 60)", ms / DAY_MS)
    } else {
        format!("Duration::from_millis({ms})")
    }
}

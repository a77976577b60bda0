//! `topic.rs`: the topic table.

use super::layout::doc;
use super::names::camel;
use crate::model::{CleanupPolicy, Group, Model, Topic};

pub(super) fn file(model: &Model) -> String {
    let count = model.topics.len();
    let mut out = String::from(
        "//! The topics that the events belong on.\n\n\
         use std::fmt;\n\
         use std::time::Duration;\n\n\
         use super::record::TypedEvent;\n\
         use super::topic_spec::{CleanupPolicy, TopicGroup, TopicSpec};\n\
         use crate::events;\n\n\
         /// A topic of the topic table.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         pub enum Topic {\n",
    );
    for topic in &model.topics {
        let text = format!("`{}`: {}", topic.name, lower_first(&topic.event.record.doc));
        out.push_str(&doc(1, "///", &text));
        out.push_str(&format!("    {},\n", camel(&topic.name)));
    }
    out.push_str("}\n\nimpl Topic {\n    /// Every topic, in the order of the table.\n");
    out.push_str(&format!("    pub const ALL: [Topic; {count}] = [\n"));
    for topic in &model.topics {
        out.push_str(&format!("        Topic::{},\n", camel(&topic.name)));
    }
    out.push_str(
        "    ];\n\n    /// Its name in Kafka.\n    pub const fn name(self) -> &'static str {\n",
    );
    out.push_str("        self.spec().name\n    }\n\n");
    out.push_str(
        "    /// The topic of that name.\n    pub fn from_name(name: &str) -> Option<Topic> {\n",
    );
    out.push_str("        Topic::ALL.into_iter().find(|topic| topic.name() == name)\n    }\n\n");
    out.push_str("    /// What it is made with, and what it carries.\n");
    out.push_str("    pub const fn spec(self) -> &'static TopicSpec {\n        &SPECS[self as usize]\n    }\n}\n\n");
    out.push_str(
        "impl fmt::Display for Topic {\n    \
             fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\n        \
                 f.pad(self.name())\n    \
             }\n\
         }\n\n",
    );
    out.push_str(&format!(
        "/// The table, in the order of [`Topic`].\nstatic SPECS: [TopicSpec; {count}] = [\n"
    ));
    for topic in &model.topics {
        out.push_str(&spec(topic));
    }
    out.push_str("];\n");
    out
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
    let lines: String = lines
        .iter()
        .map(|line| format!("        {line},\n"))
        .collect();
    format!("    TopicSpec {{\n{lines}    }},\n")
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

/// Text that goes on within a sentence.
pub(super) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // `API keys …` stays as it is.
        (Some(_), Some(second)) if second.is_uppercase() => text.to_owned(),
        (Some(first), _) => first.to_lowercase().chain(chars).collect(),
        (None, _) => String::new(),
    }
}

//! The content of `schemas/`, independent of any language.

/// All of it.
#[derive(Debug)]
pub struct Model {
    /// The topics in the table's order, each with its event.
    pub topics: Vec<Topic>,
    /// Every enum, in the order of first use.
    pub enums: Vec<Enum>,
}

/// One row of the topic table.
#[derive(Debug)]
pub struct Topic {
    /// Its name in Kafka.
    pub name: String,
    /// The event that it carries.
    pub event: Event,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many brokers hold each partition.
    pub replication_factor: i32,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `retention.ms`.
    pub retention_ms: u64,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`.
    pub compression: String,
    /// The template of its records' keys.
    pub key: Key,
    /// The team that owns it.
    pub owner: String,
    /// The part of the platform that its events are about.
    pub group: Group,
}

/// `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// `delete`
    Delete,
    /// `compact`
    Compact,
    /// `compact,delete`
    CompactAndDelete,
}

/// The part of the platform that a topic's events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// `data`
    Data,
    /// `system`
    System,
    /// `audit`
    Audit,
}

/// The template of a record's key.
#[derive(Debug)]
pub struct Key {
    /// As in the table, such as `{component}/{configKey}`.
    pub template: String,
    /// Its parts, in order.
    pub parts: Vec<KeyPart>,
}

/// One part of a key.
#[derive(Debug)]
pub enum KeyPart {
    /// Literal text.
    Literal(String),
    /// A required field.
    Field(String),
    /// A field, or another one where it is null.
    Either {
        /// The field that may be null.
        optional: String,
        /// The required field.
        otherwise: String,
    },
}

/// A record that is published on a topic of its own.
#[derive(Debug)]
pub struct Event {
    /// The schema's file in `schemas/`.
    pub file: String,
    /// The whole schema, with one line a field.
    pub schema_json: String,
    /// CRC-64-AVRO of its parsing canonical form.
    pub fingerprint: u64,
    /// Its name, documentation, and the fields after the envelope's seven.
    pub record: Record,
    /// Records that its fields are made of.
    pub nested: Vec<Record>,
}

/// A record: an event or a part of one.
#[derive(Debug)]
pub struct Record {
    /// Its name without the namespace.
    pub name: String,
    /// What it describes.
    pub doc: String,
    /// Its fields in order; an event's envelope is not among them.
    pub fields: Vec<Field>,
}

/// One field of a record.
#[derive(Debug)]
pub struct Field {
    /// Its name in the schema, such as `latencyMs`.
    pub name: String,
    /// What it holds.
    pub doc: String,
    /// Its type.
    pub ty: Type,
    /// The value if none is given; `None` if the field is required.
    pub default: Option<Default>,
    /// How its value is protected before it leaves the process.
    pub sensitive: Option<Sensitive>,
    /// The least and the greatest value that are allowed.
    pub range: Option<(f64, f64)>,
    /// Its name in the JSON of today's producers, where that is another.
    pub json_name: Option<String>,
}

impl Field {
    /// The name that it has in flat JSON.
    pub fn json_name(&self) -> &str {
        self.json_name.as_deref().unwrap_or(&self.name)
    }
}

/// The default of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Default {
    /// Null.
    Null,
    /// An array or map without items.
    Empty,
    /// A boolean.
    Boolean(bool),
    /// An `int` or a `long`.
    Integer(i64),
    /// A `double`.
    Double(f64),
    /// Text, or the symbol of an enum.
    Text(String),
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// One value that is always there.
    Plain(Plain),
    /// One value or null: `["null", T]`.
    Optional(Plain),
    /// `array` of plain values.
    Array(Plain),
    /// `array` of a nested record, by its name.
    Records(String),
    /// `map` of strings.
    StringMap,
}

impl Type {
    /// The enum that values of this type are of.
    pub fn enum_name(&self) -> Option<&str> {
        match self {
            Type::Plain(Plain::Enum(name))
            | Type::Optional(Plain::Enum(name))
            | Type::Array(Plain::Enum(name)) => Some(name),
            _ => None,
        }
    }
}

/// A type without parts.
#[derive(Debug, Clone, PartialEq)]
pub enum Plain {
    /// `string`
    String,
    /// `int`
    Int,
    /// `long`
    Long,
    /// `double`
    Double,
    /// `boolean`
    Boolean,
    /// An enum, by its name.
    Enum(String),
}

/// The treatment of a sensitive field.
#[derive(Debug, Clone)]
pub struct Sensitive {
    /// How the value is protected.
    pub action: Action,
    /// The boolean field that decides whether an event's value is sensitive; without it, always.
    pub when: Option<String>,
}

/// How a sensitive value is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its SHA-256 is written, shortened.
    Hash,
    /// `***` is written.
    Mask,
    /// Null is written.
    Drop,
}

/// An Avro enum.
#[derive(Debug, PartialEq)]
pub struct Enum {
    /// Its name without the namespace.
    pub name: String,
    /// What it describes.
    pub doc: String,
    /// The symbols in order, each with its meaning.
    pub symbols: Vec<(String, String)>,
}

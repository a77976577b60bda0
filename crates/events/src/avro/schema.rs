//! Avro schemas, as resolution and the JSON reader walk them.
//!
//! apache-avro parses the schema, and [`Schema`] keeps a tree in one vector: references to named
//! types are indices, logical types are the types that they are written as, and each field has its
//! name, aliases and default.

mod canonical;

use std::collections::{HashMap, HashSet};

use apache_avro::Schema as Parsed;
use apache_avro::schema::{Alias, DecimalSchema, InnerDecimalSchema, Name as ParsedName};
use apache_avro::schema::{FixedSchema, UuidSchema};
use serde_json::Value;

use crate::{Error, ErrorKind, Result};

/// How deep types may be nested in each other. JSON text is refused beyond 128 levels by its
/// parser; schemas that refer to each other could add to that.
const MAX_DEPTH: usize = 200;

/// A parsed schema: a writer's, from a registry, or ours.
#[derive(Debug)]
pub struct Schema {
    nodes: Vec<Node>,
    root: NodeId,
    fingerprint: u64,
}

/// The place of a node in its schema.
pub(crate) type NodeId = usize;

/// One type of a schema.
#[derive(Debug)]
pub(crate) enum Node {
    Null,
    Boolean,
    Int,
    /// A `long`, and what it counts where it is a timestamp.
    Long(Option<TimeUnit>),
    Float,
    Double,
    Bytes,
    String,
    Fixed {
        name: Name,
        size: usize,
    },
    Enum {
        name: Name,
        symbols: Vec<String>,
        default: Option<usize>,
    },
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record {
        name: Name,
        fields: Vec<Field>,
    },
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Millis,
    Micros,
    Nanos,
}

impl TimeUnit {
    pub(crate) const fn per_second(self) -> i64 {
        match self {
            TimeUnit::Millis => 1_000,
            TimeUnit::Micros => 1_000_000,
            TimeUnit::Nanos => 1_000_000_000,
        }
    }
}

/// The name of a record, enum or fixed.
#[derive(Debug)]
pub(crate) struct Name {
    /// With its namespace.
    pub(crate) full: String,
    /// Full names under which it was known before.
    pub(crate) aliases: Vec<String>,
}

impl Name {
    fn new(name: &ParsedName, aliases: &Option<Vec<Alias>>) -> Self {
        let aliases = aliases.iter().flatten();
        let aliases = aliases.map(|alias| alias.fullname(name.namespace()));
        Name {
            full: name.fullname(None),
            aliases: aliases.collect(),
        }
    }

    /// The name without its namespace.
    pub(crate) fn short(&self) -> &str {
        match self.full.rsplit_once('.') {
            Some((_, short)) => short,
            None => &self.full,
        }
    }

    /// Whether a type of this name reads what a type named `writer` wrote: namespaces do not
    /// count, and aliases are former names (Avro 1.12, "Schema Resolution" and "Aliases").
    pub(crate) fn reads(&self, writer: &Name) -> bool {
        self.short() == writer.short() || self.aliases.contains(&writer.full)
    }
}

/// One field of a record.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Names under which it was known before.
    pub(crate) aliases: Vec<String>,
    pub(crate) node: NodeId,
    /// Its value when the writer does not have the field.
    pub(crate) default: Option<Value>,
    /// The field's name in JSON events, where that is another one.
    pub(crate) legacy_json_name: Option<String>,
    /// Whether its value is treated before it is encoded.
    pub(crate) sensitive: bool,
}

impl Schema {
    /// Parses a schema that stands alone.
    ///
    /// What is not an Avro schema is [`ErrorKind::IncompatibleSchema`].
    pub fn parse(json: &str) -> Result<Schema> {
        Schema::build(&Parsed::parse_str(json).map_err(not_parsed)?)
    }

    /// Parses a schema that uses named types of other schemas, as a registry's references say.
    pub fn parse_with_references(json: &str, references: &[&str]) -> Result<Schema> {
        if references.is_empty() {
            return Schema::parse(json);
        }
        let (mut parsed, others) =
            Parsed::parse_str_with_list(json, references).map_err(not_parsed)?;
        parsed.denormalize(&others).map_err(not_parsed)?;
        Schema::build(&parsed)
    }

    /// As [`parse_with_references`](Self::parse_with_references), of a writer's schema, as a reader
    /// takes it: defaults are left out, as only a reader's count and a writer's may be wrong; and of
    /// several references that define one name, the first counts.
    pub fn parse_writers(json: &str, references: &[&str]) -> Result<Schema> {
        let json = without_defaults(json);
        let mut names = HashSet::new();
        let mut first_of_each = Vec::with_capacity(references.len());
        for reference in references {
            if full_name(reference).is_none_or(|name| names.insert(name)) {
                first_of_each.push(without_defaults(reference));
            }
        }
        let references: Vec<&str> = first_of_each.iter().map(String::as_str).collect();
        Schema::parse_with_references(&json, &references)
    }

    fn build(parsed: &Parsed) -> Result<Schema> {
        let mut builder = Builder {
            nodes: Vec::new(),
            named: HashMap::new(),
        };
        let root = builder.node(parsed, 0)?;
        let mut schema = Schema {
            nodes: builder.nodes,
            root,
            fingerprint: 0,
        };
        schema.fingerprint = canonical::fingerprint(&schema);
        Ok(schema)
    }

    /// CRC-64-AVRO of the parsing canonical form.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The full name of the record, or the type's name where it is no record.
    pub fn name(&self) -> &str {
        match self.node(self.root) {
            Node::Record { name, .. } => &name.full,
            other => other.type_name(),
        }
    }

    pub(crate) fn root(&self) -> NodeId {
        self.root
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The fields of the record that the schema is; none where it is no record.
    pub(crate) fn fields(&self) -> &[Field] {
        match self.node(self.root) {
            Node::Record { fields, .. } => fields,
            _ => &[],
        }
    }
}

impl Node {
    /// The type's name in a schema.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Boolean => "boolean",
            Node::Int => "int",
            Node::Long(_) => "long",
            Node::Float => "float",
            Node::Double => "double",
            Node::Bytes => "bytes",
            Node::String => "string",
            Node::Fixed { .. } => "fixed",
            Node::Enum { .. } => "enum",
            Node::Array(_) => "array",
            Node::Map(_) => "map",
            Node::Union(_) => "union",
            Node::Record { .. } => "record",
        }
    }

    /// The type's name within a sentence.
    pub(crate) fn a_type(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Boolean => "a boolean",
            Node::Int => "an int",
            Node::Long(_) => "a long",
            Node::Float => "a float",
            Node::Double => "a double",
            Node::Bytes => "bytes",
            Node::String => "a string",
            Node::Fixed { .. } => "a fixed",
            Node::Enum { .. } => "an enum",
            Node::Array(_) => "an array",
            Node::Map(_) => "a map",
            Node::Union(_) => "a union",
            Node::Record { .. } => "a record",
        }
    }

    /// The name of a record, enum or fixed.
    pub(crate) fn name(&self) -> Option<&Name> {
        match self {
            Node::Fixed { name, .. } | Node::Enum { name, .. } | Node::Record { name, .. } => {
                Some(name)
            }
            _ => None,
        }
    }
}

struct Builder {
    nodes: Vec<Node>,
    /// The named types met so far, by full name and by alias.
    named: HashMap<String, NodeId>,
}

impl Builder {
    fn node(&mut self, schema: &Parsed, depth: usize) -> Result<NodeId> {
        if depth > MAX_DEPTH {
            return Err(not_a_schema(format!(
                "types are nested more than {MAX_DEPTH} deep"
            )));
        }
        let node = match schema {
            Parsed::Null => Node::Null,
            Parsed::Boolean => Node::Boolean,
            Parsed::Int | Parsed::Date | Parsed::TimeMillis => Node::Int,
            Parsed::Long | Parsed::TimeMicros => Node::Long(None),
            Parsed::TimestampMillis | Parsed::LocalTimestampMillis => {
                Node::Long(Some(TimeUnit::Millis))
            }
            Parsed::TimestampMicros | Parsed::LocalTimestampMicros => {
                Node::Long(Some(TimeUnit::Micros))
            }
            Parsed::TimestampNanos | Parsed::LocalTimestampNanos => {
                Node::Long(Some(TimeUnit::Nanos))
            }
            Parsed::Float => Node::Float,
            Parsed::Double => Node::Double,
            Parsed::String | Parsed::Uuid(UuidSchema::String) => Node::String,
            Parsed::Bytes
            | Parsed::BigDecimal
            | Parsed::Uuid(UuidSchema::Bytes)
            | Parsed::Decimal(DecimalSchema {
                inner: InnerDecimalSchema::Bytes,
                ..
            }) => Node::Bytes,
            Parsed::Fixed(fixed)
            | Parsed::Duration(fixed)
            | Parsed::Uuid(UuidSchema::Fixed(fixed))
            | Parsed::Decimal(DecimalSchema {
                inner: InnerDecimalSchema::Fixed(fixed),
                ..
            }) => {
                return Ok(self.fixed(fixed));
            }
            Parsed::Enum(parsed) => {
                let symbols = parsed.symbols.clone();
                let default = parsed.default.as_ref();
                let default = default.and_then(|d| symbols.iter().position(|symbol| symbol == d));
                let name = Name::new(&parsed.name, &parsed.aliases);
                let id = self.place_for(&name);
                self.nodes[id] = Node::Enum {
                    name,
                    symbols,
                    default,
                };
                return Ok(id);
            }
            Parsed::Array(array) => Node::Array(self.node(&array.items, depth + 1)?),
            Parsed::Map(map) => Node::Map(self.node(&map.types, depth + 1)?),
            Parsed::Union(union) => {
                let branches = union.variants().iter();
                let branches = branches.map(|branch| self.node(branch, depth + 1));
                Node::Union(branches.collect::<Result<_>>()?)
            }
            Parsed::Record(record) => {
                let name = Name::new(&record.name, &record.aliases);
                // Known before its fields are: they may refer to it.
                let id = self.place_for(&name);
                let mut fields = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    let attributes = &field.custom_attributes;
                    let legacy_json_name = attributes.get("legacyJsonName");
                    fields.push(Field {
                        name: field.name.clone(),
                        aliases: field.aliases.clone(),
                        node: self.node(&field.schema, depth + 1)?,
                        default: field.default.clone(),
                        legacy_json_name: legacy_json_name
                            .and_then(Value::as_str)
                            .map(str::to_owned),
                        sensitive: attributes.contains_key("sensitive"),
                    });
                }
                self.nodes[id] = Node::Record { name, fields };
                return Ok(id);
            }
            Parsed::Ref { name } => {
                let name = name.fullname(None);
                let id = self.named.get(&name).copied();
                return id.ok_or_else(|| not_a_schema(format!("{name} is used but not defined")));
            }
        };
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn fixed(&mut self, fixed: &FixedSchema) -> NodeId {
        let name = Name::new(&fixed.name, &fixed.aliases);
        let id = self.place_for(&name);
        self.nodes[id] = Node::Fixed {
            name,
            size: fixed.size,
        };
        id
    }

    /// A place for a named type, findable under its names.
    fn place_for(&mut self, name: &Name) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node::Null);
        for name in std::iter::once(&name.full).chain(&name.aliases) {
            self.named.insert(name.clone(), id);
        }
        id
    }
}

/// The name, with its namespace, of what a schema's JSON defines.
fn full_name(json: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(json).ok()?;
    let name = schema.get("name")?.as_str()?;
    match schema.get("namespace").and_then(Value::as_str) {
        Some(namespace) if !name.contains('.') && !namespace.is_empty() => {
            Some(format!("{namespace}.{name}"))
        }
        _ => Some(name.to_owned()),
    }
}

/// A schema's JSON without the defaults of fields and enums. What is no JSON stays as it is, for the
/// parser to say what is wrong.
fn without_defaults(json: &str) -> String {
    let Ok(mut schema) = serde_json::from_str(json) else {
        return json.to_owned();
    };
    leave_out_defaults(&mut schema);
    schema.to_string()
}

fn leave_out_defaults(schema: &mut Value) {
    match schema {
        Value::Array(branches) => branches.iter_mut().for_each(leave_out_defaults),
        Value::Object(object) => {
            // Of a field and of an enum; other types have none.
            object.shift_remove("default");
            for part in ["type", "items", "values", "fields"] {
                if let Some(inner) = object.get_mut(part) {
                    leave_out_defaults(inner);
                }
            }
        }
        _ => {}
    }
}

fn not_a_schema(why: impl std::fmt::Display) -> Error {
    let message = format!("this is not an Avro schema that can be used: {why}");
    Error::new(ErrorKind::IncompatibleSchema, message)
}

fn not_parsed(error: apache_avro::Error) -> Error {
    match std::error::Error::source(&error) {
        Some(source) => not_a_schema(format_args!("{error}: {source}")),
        None => not_a_schema(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(json: &str) -> String {
        let error = Schema::parse(json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompatibleSchema);
        error.message().to_owned()
    }

    #[test]
    fn what_is_no_schema_says_why() {
        assert_eq!(
            why("{"),
            "this is not an Avro schema that can be used: Failed to parse schema from JSON: EOF \
             while parsing an object at line 1 column 1"
        );
        assert!(why(r#"{"type":"record","name":"R"}"#).contains("fields"));
        assert!(why(r#"{"type":"array","items":"Unknown"}"#).contains("Unknown"));
    }

    #[test]
    fn types_of_other_schemas_are_found_whatever_their_order() {
        let main = r#"{"type":"record","name":"a.R","fields":[
            {"name":"x","type":"b.X"},{"name":"y","type":"b.Y"}]}"#;
        let x = r#"{"type":"record","name":"b.X","fields":[{"name":"y","type":"Y"}]}"#;
        let y = r#"{"type":"enum","name":"b.Y","symbols":["S"]}"#;
        let inline = r#"{"type":"record","name":"a.R","fields":[
            {"name":"x","type":{"type":"record","name":"b.X","fields":[
                {"name":"y","type":{"type":"enum","name":"Y","symbols":["S"]}}]}},
            {"name":"y","type":"b.Y"}]}"#;
        let inline = Schema::parse(inline).unwrap();
        for references in [[x, y], [y, x]] {
            let schema = Schema::parse_with_references(main, &references).unwrap();
            assert_eq!(schema.fingerprint(), inline.fingerprint());
        }
        let error = Schema::parse_with_references(main, &[y]).unwrap_err();
        assert!(error.message().contains("b.X"), "{error}");
    }

    #[test]
    fn a_named_type_is_found_by_its_former_name() {
        let schema = Schema::parse(
            r#"{"type":"record","name":"R","fields":[
                {"name":"a","type":{"type":"fixed","name":"F","aliases":["G"],"size":2}},
                {"name":"b","type":"G"},{"name":"c","type":["null","F"]}]}"#,
        );
        let schema = schema.unwrap();
        assert_eq!(schema.fields()[0].node, schema.fields()[1].node);
        assert_eq!(schema.nodes().len(), 4);
    }
}

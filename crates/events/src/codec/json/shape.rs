//! A schema as the JSON reader wants it: a tree of what may stand where.

use crate::avro::default;
use crate::avro::schema::{Field as SchemaField, Node, NodeId, Schema, TimeUnit};
use crate::{Error, ErrorKind, Result};

/// A schema that contains itself cannot be such a tree; ours do not.
const MAX_DEPTH: usize = 16;

/// What may stand in a place of the JSON, and how it is encoded.
#[derive(Debug)]
pub(crate) enum Shape {
    Boolean,
    Int,
    Long,
    /// A `long` that is a timestamp in milliseconds.
    Timestamp,
    Double,
    String,
    Enum {
        symbols: Vec<String>,
        default: Option<usize>,
    },
    Array(Box<Shape>),
    Map(Box<Shape>),
    Record(Record),
    /// A union of null and something else, with the branches of both.
    Nullable {
        null: i64,
        value: i64,
        shape: Box<Shape>,
    },
}

/// A record's fields, in the schema's order.
#[derive(Debug)]
pub(crate) struct Record {
    /// Without its namespace.
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) shape: Shape,
    /// The encoded default.
    pub(super) default: Option<Vec<u8>>,
    pub(super) fill: Option<Filled>,
    /// The field that holds this one's value where this one is missing, by its place.
    pub(super) legacy: Option<usize>,
}

/// The fields of the envelope that need not be in the JSON although they have no default.
#[derive(Debug, Clone, Copy)]
pub(super) enum Filled {
    EventId,
    EventType,
    Timestamp,
    Source,
}

impl Shape {
    /// The shape of an event.
    pub(crate) fn new(schema: &Schema) -> Result<Shape> {
        let mut shape = Builder { schema }.shape(schema.root(), MAX_DEPTH)?;
        if let Shape::Record(event) = &mut shape {
            for field in &mut event.fields {
                field.fill = match field.name.as_str() {
                    "eventId" => Some(Filled::EventId),
                    "eventType" => Some(Filled::EventType),
                    "timestamp" => Some(Filled::Timestamp),
                    "source" => Some(Filled::Source),
                    _ => None,
                };
            }
        }
        Ok(shape)
    }

    /// The type's name within a sentence.
    pub(super) fn a_type(&self) -> &'static str {
        match self {
            Shape::Boolean => "a boolean",
            Shape::Int => "an int",
            Shape::Long | Shape::Timestamp => "a long",
            Shape::Double => "a double",
            Shape::String => "a string",
            Shape::Enum { .. } => "an enum symbol",
            Shape::Array(_) => "an array",
            Shape::Map(_) => "a map",
            Shape::Record(_) => "a record",
            Shape::Nullable { shape, .. } => shape.a_type(),
        }
    }
}

struct Builder<'s> {
    schema: &'s Schema,
}

impl Builder<'_> {
    fn shape(&self, id: NodeId, depth: usize) -> Result<Shape> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(unsupported("a type within itself"));
        };
        let inner = |id| Ok(Box::new(self.shape(id, depth)?));
        Ok(match self.schema.node(id) {
            Node::Boolean => Shape::Boolean,
            Node::Int => Shape::Int,
            Node::Long(Some(TimeUnit::Millis)) => Shape::Timestamp,
            Node::Long(_) => Shape::Long,
            Node::Double => Shape::Double,
            Node::String => Shape::String,
            Node::Enum {
                symbols, default, ..
            } => Shape::Enum {
                symbols: symbols.clone(),
                default: *default,
            },
            Node::Array(items) => Shape::Array(inner(*items)?),
            Node::Map(values) => Shape::Map(inner(*values)?),
            Node::Record { name, fields } => {
                let fields = fields.iter().map(|field| self.field(field, fields, depth));
                let fields = fields.collect::<Result<_>>()?;
                Shape::Record(Record {
                    name: name.short().to_owned(),
                    fields,
                })
            }
            Node::Union(branches) => {
                let (null, value) = match branches[..] {
                    [a, _] if matches!(self.schema.node(a), Node::Null) => (0, 1),
                    [_, b] if matches!(self.schema.node(b), Node::Null) => (1, 0),
                    _ => return Err(unsupported("a union that is not of null and one type")),
                };
                let shape = inner(branches[value])?;
                Shape::Nullable {
                    null,
                    value: value as i64,
                    shape,
                }
            }
            other => return Err(unsupported(other.a_type())),
        })
    }

    fn field(&self, field: &SchemaField, all: &[SchemaField], depth: usize) -> Result<Field> {
        let legacy = field.legacy_json_name.as_ref();
        let legacy_place = legacy.and_then(|name| all.iter().position(|other| other.name == *name));
        let mut aliases = field.aliases.clone();
        // A former name that no other field has now is one more name for this field.
        aliases.extend(legacy.filter(|_| legacy_place.is_none()).cloned());
        let default = field.default.as_ref();
        Ok(Field {
            name: field.name.clone(),
            aliases,
            shape: self.shape(field.node, depth)?,
            default: default.and_then(|value| default::encode(self.schema, field.node, value)),
            fill: None,
            legacy: legacy_place,
        })
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("{what} cannot be read from JSON"),
    )
}

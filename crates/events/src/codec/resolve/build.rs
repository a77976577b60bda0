//! The decisions of schema resolution, made once for each pair of types that meet.

use std::collections::HashMap;

use super::run::{Op, OpId, Shuffled, Skip, Step};
use crate::avro::default;
use crate::avro::schema::{Field, Name, Node, NodeId, Schema};

/// How many pairs of types may be nested in each other. Each schema alone is less deep, but two
/// that contain themselves can be stepped through together for long.
const MAX_DEPTH: usize = 250;

/// Why a type of the reader's cannot read a type of the writer's.
#[derive(Debug, Clone)]
pub(super) struct Mismatch {
    /// The field, with the fields that it is in; empty for the event itself.
    pub(super) field: String,
    why: String,
}

impl Mismatch {
    fn new(why: impl Into<String>) -> Self {
        Mismatch {
            field: String::new(),
            why: why.into(),
        }
    }

    fn within(mut self, field: &str) -> Self {
        let inner = std::mem::take(&mut self.field);
        self.field = if inner.is_empty() {
            field.to_owned()
        } else {
            format!("{field}.{inner}")
        };
        self
    }

    pub(super) fn message(&self, event: &str) -> String {
        if self.field.is_empty() {
            format!(
                "{event} cannot be read from the writer's schema: {}",
                self.why
            )
        } else {
            format!(
                "{event}.{} cannot be read from the writer's schema: {}",
                self.field, self.why
            )
        }
    }
}

type Resolved<T = OpId> = Result<T, Mismatch>;

pub(super) struct Builder<'s> {
    writer: &'s Schema,
    reader: &'s Schema,
    ops: Vec<Op>,
    /// What came of each pair of types; a pair that contains itself is known while it is made.
    made: HashMap<(NodeId, NodeId), Resolved>,
}

impl<'s> Builder<'s> {
    pub(super) fn new(writer: &'s Schema, reader: &'s Schema) -> Self {
        Builder {
            writer,
            reader,
            ops: Vec::new(),
            made: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<Op>, Vec<Skip>) {
        (self.ops, self.writer.nodes().iter().map(skip).collect())
    }

    /// How to read the writer's type `w` as the reader's type `r`.
    pub(super) fn resolve(&mut self, w: NodeId, r: NodeId, depth: usize) -> Resolved {
        if let Some(known) = self.made.get(&(w, r)) {
            return known.clone();
        }
        if depth > MAX_DEPTH {
            return Err(Mismatch::new("the types are nested too deep"));
        }
        // Until it is made, and for those inside it if it cannot be made, it refuses.
        let id = self.ops.len();
        self.ops.push(Op::Refuse(
            "the types that contain each other do not fit".into(),
        ));
        self.made.insert((w, r), Ok(id));
        let made = self.op(w, r, depth + 1).map(|op| {
            self.ops[id] = op;
            id
        });
        self.made.insert((w, r), made.clone());
        made
    }

    fn op(&mut self, w: NodeId, r: NodeId, depth: usize) -> Resolved<Op> {
        let (writer, reader) = (self.writer.node(w), self.reader.node(r));
        Ok(match (writer, reader) {
            (Node::Union(branches), _) => return self.writer_union(w, branches, r, depth),
            (_, Node::Union(branches)) => return self.reader_union(w, branches, depth),

            (Node::Null, Node::Null)
            | (Node::Boolean, Node::Boolean)
            | (Node::Int, Node::Int | Node::Long(_))
            | (Node::Float, Node::Float)
            | (Node::Double, Node::Double)
            | (Node::Bytes, Node::Bytes)
            | (Node::String, Node::String | Node::Bytes) => Op::Copy(w),
            (Node::Long(Some(from)), Node::Long(Some(to))) if from != to => Op::Time {
                from: from.per_second(),
                to: to.per_second(),
            },
            (Node::Long(_), Node::Long(_)) => Op::Copy(w),
            (Node::Int | Node::Long(_), Node::Float) => Op::LongToFloat,
            (Node::Int | Node::Long(_), Node::Double) => Op::LongToDouble,
            (Node::Float, Node::Double) => Op::FloatToDouble,
            (Node::Bytes, Node::String) => Op::Text,

            (
                Node::Fixed { name: w_name, size },
                Node::Fixed {
                    name,
                    size: expected,
                },
            ) => {
                same_name(writer, w_name, name)?;
                if size != expected {
                    let why =
                        format!("a fixed of {size} bytes cannot be read as one of {expected}");
                    return Err(Mismatch::new(why));
                }
                Op::Copy(w)
            }
            (
                Node::Enum {
                    name: w_name,
                    symbols,
                    ..
                },
                Node::Enum {
                    name,
                    symbols: known,
                    default,
                },
            ) => {
                same_name(writer, w_name, name)?;
                if known.starts_with(symbols) {
                    return Ok(Op::Copy(w));
                }
                let unknown = |symbol: &str| {
                    let name = name.short();
                    format!("the symbol {symbol} is not known here, and {name} has no default")
                };
                let place = |symbol: &String| {
                    let place = known.iter().position(|known| known == symbol).or(*default);
                    place
                        .map(|place| place as i64)
                        .ok_or_else(|| unknown(symbol).into())
                };
                let places: Box<[_]> = symbols.iter().map(place).collect();
                if places.iter().all(Result::is_err) {
                    return Err(Mismatch::new(unknown(&symbols.join(", "))));
                }
                Op::Enum(places)
            }
            (Node::Array(w_items), Node::Array(r_items)) => {
                let items = self.resolve(*w_items, *r_items, depth)?;
                if self.is_copy(items) {
                    Op::Copy(w)
                } else {
                    Op::Array(items)
                }
            }
            (Node::Map(w_values), Node::Map(r_values)) => {
                let values = self.resolve(*w_values, *r_values, depth)?;
                if self.is_copy(values) {
                    Op::Copy(w)
                } else {
                    Op::Map(values)
                }
            }
            (
                Node::Record {
                    name: w_name,
                    fields: w_fields,
                },
                Node::Record {
                    name,
                    fields: r_fields,
                },
            ) => {
                same_name(writer, w_name, name)?;
                return self.record(w, w_fields, r_fields, depth);
            }
            _ => {
                let why = format!("{} cannot be read as {}", writer.a_type(), reader.a_type());
                return Err(Mismatch::new(why));
            }
        })
    }

    fn is_copy(&self, op: OpId) -> bool {
        matches!(self.ops[op], Op::Copy(_))
    }

    /// The writer's branch is only known when an event is read, so a branch that the reader has
    /// no place for is refused then; if that is all of them, no event can be read.
    fn writer_union(
        &mut self,
        w: NodeId,
        branches: &[NodeId],
        r: NodeId,
        depth: usize,
    ) -> Resolved<Op> {
        let to_union = matches!(self.reader.node(r), Node::Union(_));
        let mut resolved = Vec::with_capacity(branches.len());
        let mut refused = None;
        for branch in branches {
            resolved.push(self.resolve(*branch, r, depth).map_err(|mismatch| {
                let why = match self.writer.node(*branch) {
                    Node::Null => "the writer left it null and it is required here".into(),
                    _ => mismatch.why.clone().into_boxed_str(),
                };
                refused = Some(mismatch);
                why
            }));
        }
        if resolved.iter().all(Result::is_err) {
            return Err(refused.unwrap_or_else(|| Mismatch::new("the writer's union is empty")));
        }
        let same = |(index, op): (usize, &Result<OpId, Box<str>>)| match op {
            Ok(op) => match self.ops[*op] {
                Op::Branch { branch, op } => branch == index as i64 && self.is_copy(op),
                _ => false,
            },
            Err(_) => false,
        };
        if to_union && resolved.iter().enumerate().all(same) {
            return Ok(Op::Copy(w));
        }
        Ok(Op::Union(resolved.into()))
    }

    /// The first branch of the writer's own type, or else the first that its type converts to.
    fn reader_union(&mut self, w: NodeId, branches: &[NodeId], depth: usize) -> Resolved<Op> {
        let writer = self.writer.node(w);
        let same_type = |reader: &Node| writer.type_name() == reader.type_name();
        let same_full_name = |reader: &Node| match (writer.name(), reader.name()) {
            (Some(w_name), Some(name)) => same_type(reader) && w_name.full == name.full,
            _ => false,
        };
        let any_type = |_: &Node| true;
        let choices: [&dyn Fn(&Node) -> bool; 3] = [&same_full_name, &same_type, &any_type];
        let mut refused = None;
        for choice in choices {
            for (index, branch) in branches.iter().enumerate() {
                if !choice(self.reader.node(*branch)) {
                    continue;
                }
                match self.resolve(w, *branch, depth) {
                    Ok(op) => {
                        return Ok(Op::Branch {
                            branch: index as i64,
                            op,
                        });
                    }
                    // Of a nullable type the other branch is the one to name.
                    Err(_) if matches!(self.reader.node(*branch), Node::Null) => {}
                    Err(mismatch) => refused = refused.or(Some(mismatch)),
                }
            }
        }
        Err(refused.unwrap_or_else(|| {
            Mismatch::new(format!(
                "{} is in no branch of the reader's union",
                writer.a_type()
            ))
        }))
    }

    fn record(
        &mut self,
        w: NodeId,
        w_fields: &'s [Field],
        r_fields: &'s [Field],
        depth: usize,
    ) -> Resolved<Op> {
        let sources = match_fields(w_fields, r_fields);
        let mut reads = Vec::with_capacity(r_fields.len());
        for (field, source) in r_fields.iter().zip(&sources) {
            reads.push(match source {
                Some(index) => {
                    let op = self.resolve(w_fields[*index].node, field.node, depth);
                    Some(op.map_err(|mismatch| mismatch.within(&field.name))?)
                }
                None => None,
            });
        }

        let mut steps = Vec::new();
        let mut next = 0;
        let in_order = sources.iter().flatten().is_sorted();
        for (index, field) in r_fields.iter().enumerate() {
            let name = || field.name.as_str().into();
            match (sources[index], reads[index]) {
                (Some(source), Some(op)) if in_order => {
                    steps.extend(w_fields[next..source].iter().map(skip_field));
                    next = source + 1;
                    steps.push(match self.ops[op] {
                        Op::Copy(skip) => Step::Copy {
                            field: name(),
                            skip,
                        },
                        _ => Step::Read { field: name(), op },
                    });
                }
                (Some(source), Some(op)) => steps.push(Step::Fetch {
                    field: name(),
                    source,
                    op,
                }),
                _ => steps.push(Step::Insert(self.default_of(field)?)),
            }
        }
        if !in_order {
            let passes = w_fields
                .iter()
                .map(|field| (field.name.as_str().into(), field.node));
            return Ok(Op::Shuffled(Shuffled {
                passes: passes.collect(),
                steps: steps.into(),
            }));
        }
        steps.extend(w_fields[next..].iter().map(skip_field));
        if steps.iter().all(|step| matches!(step, Step::Copy { .. })) {
            return Ok(Op::Copy(w));
        }
        Ok(Op::Record(steps.into()))
    }

    fn default_of(&self, field: &Field) -> Resolved<Box<[u8]>> {
        let why = match &field.default {
            None => "the writer does not have it and it has no default",
            Some(value) => match default::encode(self.reader, field.node, value) {
                Some(bytes) => return Ok(bytes.into()),
                None => "the writer does not have it and its default is not of its type",
            },
        };
        Err(Mismatch::new(why).within(&field.name))
    }
}

/// Which of the writer's fields each of the reader's reads: that of its name, or else one of a
/// former name, as far as no other field of the reader's takes that one.
fn match_fields(w_fields: &[Field], r_fields: &[Field]) -> Vec<Option<usize>> {
    let by_name: HashMap<&str, usize> = w_fields
        .iter()
        .enumerate()
        .map(|(index, field)| (field.name.as_str(), index))
        .collect();
    let mut taken = vec![false; w_fields.len()];
    let mut sources: Vec<_> = r_fields
        .iter()
        .map(|field| by_name.get(field.name.as_str()).copied())
        .collect();
    for source in sources.iter().flatten() {
        taken[*source] = true;
    }
    for (field, source) in r_fields.iter().zip(&mut sources) {
        if source.is_none() {
            let formers = field
                .aliases
                .iter()
                .filter_map(|alias| by_name.get(alias.as_str()));
            *source = formers
                .copied()
                .find(|index| !std::mem::replace(&mut taken[*index], true));
        }
    }
    sources
}

fn same_name(writer: &Node, w_name: &Name, name: &Name) -> Resolved<()> {
    if name.reads(w_name) {
        return Ok(());
    }
    let (kind, full, expected) = (writer.type_name(), &w_name.full, &name.full);
    Err(Mismatch::new(format!(
        "its {kind} is {full}, which is not {expected}"
    )))
}

fn skip_field(field: &Field) -> Step {
    Step::Skip {
        field: field.name.as_str().into(),
        skip: field.node,
    }
}

fn skip(node: &Node) -> Skip {
    match node {
        Node::Null => Skip::Nothing,
        Node::Boolean => Skip::Boolean,
        Node::Int => Skip::Int,
        Node::Long(_) => Skip::Long,
        Node::Float => Skip::Raw(4),
        Node::Double => Skip::Raw(8),
        Node::Bytes | Node::String => Skip::Length,
        Node::Fixed { size, .. } => Skip::Raw(*size),
        Node::Enum { symbols, .. } => Skip::Enum(symbols.len()),
        Node::Array(items) => Skip::Array(*items),
        Node::Map(values) => Skip::Map(*values),
        Node::Union(branches) => Skip::Union(branches.as_slice().into()),
        Node::Record { fields, .. } => Skip::Record(fields.iter().map(|f| f.node).collect()),
    }
}

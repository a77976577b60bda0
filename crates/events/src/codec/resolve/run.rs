//! Running a plan over one body: no decision is left but those that the body itself makes.

use super::Plan;
use crate::Result;
use crate::avro::{Reader, put_long};

/// The place of an operation in its plan.
pub(super) type OpId = usize;

/// How one type of the writer's becomes one of the reader's.
#[derive(Debug)]
pub(super) enum Op {
    /// The same bytes: pass over the writer's type of that place and copy them.
    Copy(usize),
    LongToFloat,
    LongToDouble,
    FloatToDouble,
    /// Bytes that must be UTF-8, which the reader's decoder would only find out field by field.
    Text,
    /// A timestamp in another unit, both as units in a second.
    Time {
        from: i64,
        to: i64,
    },
    /// The reader's symbol for each of the writer's, or why it has none.
    Enum(Box<[Result<i64, Box<str>>]>),
    Array(OpId),
    Map(OpId),
    /// The reader has a union where the writer has one of its types.
    Branch {
        branch: i64,
        op: OpId,
    },
    /// How to read each branch of the writer's union, or why it cannot be read.
    Union(Box<[Result<OpId, Box<str>>]>),
    /// The writer's fields in their order, which is the reader's too.
    Record(Box<[Step]>),
    Shuffled(Shuffled),
    Refuse(Box<str>),
}

/// One field of a record.
#[derive(Debug)]
pub(super) enum Step {
    Copy {
        field: Box<str>,
        skip: usize,
    },
    Read {
        field: Box<str>,
        op: OpId,
    },
    /// A field that the reader does not have.
    Skip {
        field: Box<str>,
        skip: usize,
    },
    /// A field that the writer does not have: the reader's default.
    Insert(Box<[u8]>),
    /// A field of a record in another order, by its place in the writer's.
    Fetch {
        field: Box<str>,
        source: usize,
        op: OpId,
    },
}

/// A record whose fields the writer has in another order than the reader.
#[derive(Debug)]
pub(super) struct Shuffled {
    /// The writer's fields, to find where each starts.
    pub(super) passes: Box<[(Box<str>, usize)]>,
    /// The reader's fields, in its order.
    pub(super) steps: Box<[Step]>,
}

/// How to pass over one type of the writer's.
#[derive(Debug)]
pub(super) enum Skip {
    Nothing,
    Boolean,
    Int,
    Long,
    Raw(usize),
    /// Text or bytes behind their length.
    Length,
    /// With so many symbols.
    Enum(usize),
    Array(usize),
    Map(usize),
    Union(Box<[usize]>),
    Record(Box<[usize]>),
}

/// How deep values may be nested in each other; only a schema that contains itself gets there.
const MAX_DEPTH: usize = 128;

/// How many items and records of a body may take no bytes at all, as nulls do. Their number is
/// all that stands in the body, so it could be any.
const MAX_EMPTY: usize = 1 << 16;

/// How many bytes a body may grow to: what each input byte may become, and what any body may.
/// The widest promotion makes eight bytes of one; more than that comes of defaults in items.
const GROWTH: usize = 64;
const HEADROOM: usize = 1 << 20;

/// Up to so many of a shuffled record's fields are found without allocating.
const INLINE_FIELDS: usize = 64;

/// One run over one body.
struct Run<'p, 'i, 'o> {
    plan: &'p Plan,
    reader: Reader<'i>,
    out: &'o mut Vec<u8>,
    out_limit: usize,
    /// How many more values may take no bytes.
    empty_left: usize,
    depth_left: usize,
}

pub(super) fn transcode(plan: &Plan, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let growth = input.len().saturating_mul(GROWTH).saturating_add(HEADROOM);
    let mut run = Run {
        plan,
        reader: Reader::new(&plan.event, input),
        out_limit: out.len().saturating_add(growth),
        out,
        empty_left: MAX_EMPTY,
        depth_left: MAX_DEPTH,
    };
    run.op(plan.root, "")?;
    run.reader.finish()
}

impl<'p, 'i> Run<'p, 'i, '_> {
    fn op(&mut self, op: OpId, field: &'p str) -> Result<()> {
        let plan = self.plan;
        match &plan.ops[op] {
            Op::Copy(skip) => {
                let start = self.reader.rest();
                self.skip(*skip, field)?;
                self.copy(start);
            }
            Op::LongToFloat => {
                let value = self.reader.long(field)? as f32;
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Op::LongToDouble => {
                let value = self.reader.long(field)? as f64;
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Op::FloatToDouble => {
                let value = f64::from(self.reader.float(field)?);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Op::Text => {
                let start = self.reader.rest();
                self.reader.string(field)?;
                self.copy(start);
            }
            Op::Time { from, to } => {
                let value = i128::from(self.reader.long(field)?) * i128::from(*to);
                // Rounded down, so that what comes before stays before; before 1970 too.
                let Ok(value) = i64::try_from(value.div_euclid(i128::from(*from))) else {
                    return Err(self
                        .reader
                        .fault(field, "the time is beyond the reader's unit"));
                };
                put_long(self.out, value);
            }
            Op::Enum(symbols) => {
                let place = self.place(symbols.len(), field, "the enum has no such symbol")?;
                match &symbols[place] {
                    Ok(symbol) => put_long(self.out, *symbol),
                    Err(why) => return Err(self.reader.fault(field, why)),
                }
            }
            Op::Array(items) => self.nested(field, |run| {
                run.blocks(field, true, |run| run.op(*items, field))
            })?,
            Op::Map(values) => self.nested(field, |run| {
                run.blocks(field, true, |run| {
                    let start = run.reader.rest();
                    run.reader.bytes(field)?;
                    run.copy(start);
                    run.op(*values, field)
                })
            })?,
            Op::Branch { branch, op } => {
                put_long(self.out, *branch);
                self.op(*op, field)?;
            }
            Op::Union(branches) => {
                let place = self.place(branches.len(), field, "the union has no such branch")?;
                match &branches[place] {
                    Ok(op) => self.nested(field, |run| run.op(*op, field))?,
                    Err(why) => return Err(self.reader.fault(field, why)),
                }
            }
            Op::Record(steps) => self.nested(field, |run| run.record(steps))?,
            Op::Shuffled(record) => self.nested(field, |run| run.shuffled(record))?,
            Op::Refuse(why) => return Err(self.reader.fault(field, why)),
        }
        Ok(())
    }

    /// The fields in the writer's order. What is copied is copied when something else follows it.
    fn record(&mut self, steps: &'p [Step]) -> Result<()> {
        let mut start = self.reader.rest();
        for step in steps {
            match step {
                Step::Copy { field, skip } => {
                    self.skip(*skip, field)?;
                    continue;
                }
                Step::Read { field, op } | Step::Fetch { field, op, .. } => {
                    self.copy(start);
                    self.op(*op, field)?;
                }
                Step::Skip { field, skip } => {
                    self.copy(start);
                    self.skip(*skip, field)?;
                }
                Step::Insert(default) => {
                    self.copy(start);
                    self.out.extend_from_slice(default);
                }
            }
            start = self.reader.rest();
        }
        self.copy(start);
        Ok(())
    }

    /// Finds where each of the writer's fields starts, then reads them in the reader's order.
    fn shuffled(&mut self, record: &'p Shuffled) -> Result<()> {
        let mut inline = [0; INLINE_FIELDS];
        let mut spilled = Vec::new();
        let starts = match inline.get_mut(..record.passes.len()) {
            Some(starts) => starts,
            None => {
                spilled.resize(record.passes.len(), 0);
                &mut spilled[..]
            }
        };
        let first = self.reader.clone();
        for ((field, skip), start) in record.passes.iter().zip(&mut *starts) {
            *start = self.reader.offset() - first.offset();
            self.skip(*skip, field)?;
        }
        let end = self.reader.clone();
        for step in &record.steps {
            match step {
                Step::Insert(default) => self.out.extend_from_slice(default),
                Step::Fetch { field, source, op } => {
                    self.reader = first.clone();
                    self.reader.raw(field, starts[*source])?;
                    self.op(*op, field)?;
                }
                Step::Copy { .. } | Step::Read { .. } | Step::Skip { .. } => {}
            }
        }
        self.reader = end;
        Ok(())
    }

    /// Passes over one of the writer's types. Text is not checked to be UTF-8.
    fn skip(&mut self, skip: usize, field: &str) -> Result<()> {
        let plan = self.plan;
        match &plan.skips[skip] {
            Skip::Nothing => {}
            Skip::Boolean => drop(self.reader.boolean(field)?),
            Skip::Int => drop(self.reader.int(field)?),
            Skip::Long => drop(self.reader.long(field)?),
            Skip::Raw(len) => drop(self.reader.raw(field, *len)?),
            Skip::Length => drop(self.reader.bytes(field)?),
            Skip::Enum(symbols) => {
                self.place(*symbols, field, "the enum has no such symbol")?;
            }
            Skip::Array(items) => self.nested(field, |run| {
                run.blocks(field, false, |run| run.skip(*items, field))
            })?,
            Skip::Map(values) => self.nested(field, |run| {
                run.blocks(field, false, |run| {
                    run.reader.bytes(field)?;
                    run.skip(*values, field)
                })
            })?,
            Skip::Union(branches) => {
                let place = self.place(branches.len(), field, "the union has no such branch")?;
                self.nested(field, |run| run.skip(branches[place], field))?;
            }
            Skip::Record(fields) => self.nested(field, |run| {
                fields.iter().try_for_each(|skip| run.skip(*skip, field))
            })?,
        }
        Ok(())
    }

    /// Walks over the blocks of an array or a map, and opens the same ones in the output.
    ///
    /// Unlike [`Reader::items`] this takes items without bytes, which other writers' schemas have.
    fn blocks(
        &mut self,
        field: &str,
        write: bool,
        mut item: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        loop {
            let before = self.reader.clone();
            let count = self.reader.long(field)?;
            let size = if count < 0 {
                Some(self.reader.long(field)?)
            } else {
                None
            };
            let count = count.unsigned_abs();
            if count > (self.reader.rest().len() + self.empty_left) as u64 {
                return Err(before.fault(field, "a block has more items than bytes are left"));
            }
            if write {
                put_long(self.out, count as i64);
            }
            if count == 0 {
                return Ok(());
            }
            let start = self.reader.rest().len();
            for _ in 0..count {
                let rest = self.reader.rest().len();
                item(self)?;
                if self.reader.rest().len() == rest {
                    self.count_empty(field)?;
                }
            }
            if size.is_some_and(|size| size != (start - self.reader.rest().len()) as i64) {
                return Err(before.fault(field, "a block is not of the size that it says"));
            }
        }
    }

    /// Goes one level down.
    fn nested(&mut self, field: &str, inner: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let rest = self.reader.rest().len();
        self.depth_left = match self.depth_left.checked_sub(1) {
            Some(left) => left,
            None => return Err(self.reader.fault(field, "values are nested too deep")),
        };
        inner(self)?;
        self.depth_left += 1;
        if self.reader.rest().len() == rest {
            self.count_empty(field)?;
        }
        if self.out.len() > self.out_limit {
            return Err(self
                .reader
                .fault(field, "the event grows out of proportion"));
        }
        Ok(())
    }

    /// Without it, records of records without fields could be walked through for ever.
    fn count_empty(&mut self, field: &str) -> Result<()> {
        match self.empty_left.checked_sub(1) {
            Some(left) => {
                self.empty_left = left;
                Ok(())
            }
            None => Err(self.reader.fault(field, "too many values take no bytes")),
        }
    }

    /// The place of a symbol or a branch, of which there are `len`.
    fn place(&mut self, len: usize, field: &str, why: &str) -> Result<usize> {
        let before = self.reader.clone();
        match usize::try_from(self.reader.long(field)?) {
            Ok(place) if place < len => Ok(place),
            _ => Err(before.fault(field, why)),
        }
    }

    /// Copies what has been read since `start`.
    fn copy(&mut self, start: &'i [u8]) {
        let len = start.len() - self.reader.rest().len();
        self.out.extend_from_slice(&start[..len]);
    }
}

//! The body while it is being written: fields and entries as they were met, then as the schema
//! wants them.

use std::collections::{HashMap, HashSet, hash_map};
use std::fmt;
use std::ops::Range;

use super::shape::{Field, Filled, Record, Shape};
use super::value::{Read, Why};
use super::{Fill, Leniency, Rules};
use crate::avro::{put_bytes, put_long};

/// Up to so many entries of a map are compared with each other to find a key that comes twice.
const FEW: usize = 16;

/// Where one event's reading stands.
pub(super) struct Draft<'a, 'o> {
    pub(super) rules: Rules,
    pub(super) fill: &'a Fill<'a>,
    /// Values are appended as they are met.
    pub(super) out: &'o mut Vec<u8>,
    /// Where in `out` the values of the open records' fields are.
    pub(super) fields: Vec<Option<Range<usize>>>,
    /// Where in `out` the keys and the values of the open maps' entries are.
    pub(super) entries: Vec<(Range<usize>, Range<usize>)>,
    pub(super) leniency: Leniency,
    pub(super) refused: Option<Refused>,
}

/// Why the event is refused. It travels beside the error of serde_json, which could not hold it.
pub(super) struct Refused {
    pub(super) path: String,
    pub(super) why: String,
}

impl Draft<'_, '_> {
    pub(super) fn lenient(&self) -> bool {
        self.rules == Rules::Lenient
    }

    /// A value that was understood although it is not as the schema has it.
    pub(super) fn mended(&mut self) {
        self.leniency.mended_fields += 1;
    }

    /// Keeps the reason until the error has reached the top.
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.refused = Some(Refused {
            path: String::new(),
            why: why.into(),
        });
    }

    /// Says where a refused value stands.
    pub(super) fn within(&mut self, place: fmt::Arguments<'_>) {
        if let Some(refused) = &mut self.refused {
            let dot = match refused.path.as_bytes().first() {
                None | Some(b'[') => "",
                Some(_) => ".",
            };
            refused.path = format!("{place}{dot}{}", refused.path);
        }
    }

    /// Puts a record's fields, which were met in any order, into the schema's. Those that were not
    /// met are filled.
    pub(super) fn finish_record(
        &mut self,
        record: &Record,
        first: usize,
        start: usize,
    ) -> Read<()> {
        for (place, field) in record.fields.iter().enumerate() {
            if let Some(legacy) = field.legacy
                && self.fields[first + place].is_none()
            {
                self.fields[first + place] = self.fields[first + legacy].take();
            }
        }
        let mut next = start;
        let in_order = self.fields[first..].iter().all(|field| match field {
            Some(range) if range.start == next => {
                next = range.end;
                true
            }
            _ => false,
        });
        if !in_order || next != self.out.len() {
            let end = self.out.len();
            for (place, field) in record.fields.iter().enumerate() {
                match self.fields[first + place].clone() {
                    Some(range) => self.out.extend_from_within(range),
                    None => self.fill(record, field)?,
                }
            }
            self.out.drain(start..end);
        }
        self.fields.truncate(first);
        Ok(())
    }

    fn fill(&mut self, record: &Record, field: &Field) -> Read {
        if let Some(default) = &field.default {
            self.out.extend_from_slice(default);
            return Ok(());
        }
        match (field.fill, &field.shape) {
            (Some(Filled::EventId), _) => put_bytes(self.out, self.fill.event_id.as_bytes()),
            (Some(Filled::EventType), _) => put_bytes(self.out, record.name.as_bytes()),
            (Some(Filled::Timestamp), _) => put_long(self.out, self.fill.timestamp_ms),
            (Some(Filled::Source), _) => put_bytes(self.out, self.fill.source.as_bytes()),
            (None, Shape::Int | Shape::Long) if self.lenient() => put_long(self.out, 0),
            _ => {
                self.refuse("is required");
                self.within(format_args!("{}", field.name));
                return Err(Why::WrongType);
            }
        }
        self.mended();
        Ok(())
    }

    /// Whether null stands for a field as if it were not there.
    pub(super) fn may_be_filled(&self, field: &Field) -> bool {
        let nullable = matches!(field.shape, Shape::Nullable { .. });
        self.lenient() && !nullable && (field.default.is_some() || field.fill.is_some())
    }

    /// Puts the count before the items and the end behind them.
    pub(super) fn finish_collection(&mut self, start: usize, count: usize) {
        if count > 0 {
            let end = self.out.len();
            put_long(self.out, count as i64);
            let count_len = self.out.len() - end;
            self.out[start..].rotate_right(count_len);
        }
        put_long(self.out, 0);
    }

    pub(super) fn finish_map(&mut self, first: usize, start: usize) {
        let mut count = self.entries.len() - first;
        if self.has_key_twice(first) {
            count = self.drop_earlier_values(first, start);
        }
        self.entries.truncate(first);
        self.finish_collection(start, count);
    }

    fn has_key_twice(&self, first: usize) -> bool {
        let entries = &self.entries[first..];
        let mut keys = entries.iter().map(|(key, _)| &self.out[key.clone()]);
        if entries.len() > FEW {
            let mut seen = HashSet::with_capacity(entries.len());
            return !keys.all(|key| seen.insert(key));
        }
        while let Some(key) = keys.next() {
            if keys.clone().any(|other| other == key) {
                return true;
            }
        }
        false
    }

    /// Of a key that comes twice the last value counts, in the first one's place, as in the
    /// dictionaries of Python and JavaScript. Returns how many entries are left.
    fn drop_earlier_values(&mut self, first: usize, start: usize) -> usize {
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut kept: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        for (key, value) in &self.entries[first..] {
            match places.entry(&self.out[key.clone()]) {
                hash_map::Entry::Occupied(place) => kept[*place.get()].1 = value.clone(),
                hash_map::Entry::Vacant(place) => {
                    place.insert(kept.len());
                    kept.push((key.clone(), value.clone()));
                }
            }
        }
        let end = self.out.len();
        for (key, value) in &kept {
            self.out.extend_from_within(key.clone());
            self.out.extend_from_within(value.clone());
        }
        self.out.drain(start..end);
        kept.len()
    }
}

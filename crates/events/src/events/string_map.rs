//! The value of an Avro map of strings.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Serialize, Serializer};

use super::items::{Items, Iter};
use crate::avro::{Reader, Writer};
use crate::error::Result;

type Entry<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A map from string to string that keeps the order of its entries, on the wire too.
///
/// It is made from a `HashMap`, a `BTreeMap`, a `Vec` or array of pairs, or an iterator over pairs.
/// In a decoded event it borrows the bytes that it was read from and decodes them when it is
/// asked. Where a key stands twice, the later value counts, as for every reader of Avro.
///
/// ```
/// # extern crate carbon_events_types as carbon_events;
/// use carbon_events::StringMap;
///
/// let metadata: StringMap = [("market", "eex"), ("hub", "ttf")].into();
/// assert_eq!(metadata.get("hub"), Some("ttf"));
/// assert_eq!(metadata.iter().next(), Some(("market", "eex")));
/// ```
#[derive(Clone, Default)]
pub struct StringMap<'a>(Items<'a, Entry<'a>>);

impl<'a> StringMap<'a> {
    /// An empty map.
    pub fn new() -> Self {
        StringMap::default()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in order.
    pub fn iter(&self) -> Entries<'_> {
        Entries(self.0.iter())
    }

    /// The value of a key. Looks at every entry: for many look-ups collect into a map of std.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .filter(|(candidate, _)| *candidate == key)
            .last()
            .map(|(_, value)| value)
    }

    /// Sets the value of a key, at its place if it is there and at the end if not. Looks at every
    /// entry: a large map is better made from an iterator.
    pub fn insert(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        if let Items::Encoded { .. } = self.0 {
            *self = std::mem::take(self).into_iter_owned().collect();
        }
        if let Items::Values(entries) = &mut self.0 {
            let (key, value) = (key.into(), value.into());
            match entries
                .iter_mut()
                .rev()
                .find(|(candidate, _)| *candidate == key)
            {
                Some((_, old)) => *old = value,
                None => entries.push((key, value)),
            }
        }
    }

    /// The same map without what it borrows: a decoded one copies its bytes at once.
    pub fn into_owned(self) -> StringMap<'static> {
        StringMap(self.0.into_owned())
    }

    fn into_iter_owned(self) -> impl Iterator<Item = (String, String)> {
        let entries: Vec<_> = self
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        entries.into_iter()
    }

    #[inline(always)]
    pub(crate) fn bound(&self) -> usize {
        self.0.bound()
    }

    #[inline(always)]
    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        self.0.write(writer);
    }

    #[inline(always)]
    pub(crate) fn read(reader: &mut Reader<'a>, field: &str) -> Result<Self> {
        Items::read(reader, field).map(StringMap)
    }
}

/// Iterates over a [`StringMap`]'s entries.
#[derive(Clone)]
pub struct Entries<'s>(Iter<'s, Entry<'s>>);

impl<'s> Iterator for Entries<'s> {
    type Item = (&'s str, &'s str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// Equal if each key has the same value in both, whatever the order.
impl PartialEq for StringMap<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.len() == other.len() && self.iter().eq(other.iter()))
            || self.iter().collect::<BTreeMap<_, _>>() == other.iter().collect::<BTreeMap<_, _>>()
    }
}

impl Eq for StringMap<'_> {}

impl fmt::Debug for StringMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for StringMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'s> IntoIterator for &'s StringMap<'_> {
    type Item = (&'s str, &'s str);
    type IntoIter = Entries<'s>;

    fn into_iter(self) -> Entries<'s> {
        self.iter()
    }
}

impl<'a, K, V> FromIterator<(K, V)> for StringMap<'a>
where
    K: Into<Cow<'a, str>>,
    V: Into<Cow<'a, str>>,
{
    fn from_iter<C: IntoIterator<Item = (K, V)>>(entries: C) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()));
        StringMap(Items::Values(entries.collect()))
    }
}

macro_rules! from_collection {
    ([$($generics:tt)*] $collection:ty) => {
        impl<'a, K, V, $($generics)*> From<$collection> for StringMap<'a>
        where
            K: Into<Cow<'a, str>>,
            V: Into<Cow<'a, str>>,
        {
            fn from(entries: $collection) -> Self {
                entries.into_iter().collect()
            }
        }
    };
}

from_collection!([] Vec<(K, V)>);
from_collection!([] BTreeMap<K, V>);
from_collection!([S] HashMap<K, V, S>);
from_collection!([const N: usize] [(K, V); N]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::avro::append_with;

    fn encoded(map: &StringMap<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        append_with(&mut out, map.bound(), |writer| map.write(writer));
        assert!(out.len() <= map.bound());
        out
    }

    fn decoded(bytes: &[u8]) -> StringMap<'_> {
        StringMap::read(&mut Reader::new("E", bytes), "f").unwrap()
    }

    #[test]
    fn a_map_reads_back_equal_and_in_order() {
        let map: StringMap<'_> = (0..300)
            .map(|n| (format!("key-{n}"), "v".repeat(n)))
            .collect();
        let bytes = encoded(&map);
        let read = decoded(&bytes);
        assert_eq!(read, map);
        assert!(read.iter().eq(map.iter()));
        assert_eq!(read.get("key-3"), Some("vvv"));
        assert_eq!(read.get("absent"), None);
        assert_eq!(read.clone().into_owned(), map);
        assert_eq!(encoded(&read), bytes);
        assert_eq!(encoded(&StringMap::new()), [0]);
    }

    #[test]
    fn equality_asks_for_the_same_values_not_the_same_order() {
        let map = StringMap::from([("a", "1"), ("b", "2")]);
        assert_eq!(map, StringMap::from([("b", "2"), ("a", "1")]));
        assert_eq!(map, StringMap::from([("a", "0"), ("b", "2"), ("a", "1")]));
        assert_ne!(map, StringMap::from([("a", "1"), ("b", "3")]));
        assert_ne!(map, StringMap::from([("a", "1")]));
    }

    #[test]
    fn the_later_of_two_values_counts() {
        let map = StringMap::from([("a", "1"), ("a", "2")]);
        assert_eq!(map.get("a"), Some("2"));
        assert_eq!(decoded(&encoded(&map)).get("a"), Some("2"));
    }

    #[test]
    fn an_entry_is_replaced_or_added_in_a_decoded_map_too() {
        let bytes = encoded(&StringMap::from([("a", "1"), ("b", "2")]));
        let mut map = decoded(&bytes);
        map.insert("a", "one");
        map.insert("c", "3".to_owned());
        assert!(map.iter().eq([("a", "one"), ("b", "2"), ("c", "3")]));
    }
}

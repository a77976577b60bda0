//! The value of an Avro array.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use super::items::{Element, Items, Iter};
use crate::avro::{Reader, Writer};
use crate::error::Result;

/// An array's items in order, such as `List<'a, Cow<'a, str>>`.
///
/// It is made from a `Vec`, an array or an iterator. In a decoded event it borrows the bytes that
/// it was read from and decodes them when [`iter`](List::iter) is called.
///
/// ```
/// use std::borrow::Cow;
/// # extern crate carbon_events_types as carbon_events;
/// use carbon_events::List;
///
/// let columns: List<Cow<str>> = ["price", "volume"].into();
/// assert_eq!(columns.len(), 2);
/// assert_eq!(columns.iter().next(), Some("price"));
/// ```
#[derive(Clone)]
pub struct List<'a, T>(Items<'a, T>);

impl<'a, T: Element> List<'a, T> {
    /// An empty list.
    pub fn new() -> Self {
        List(Items::default())
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items in order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.0.iter()
    }

    /// The same list without what it borrows: a decoded one copies its bytes at once.
    pub fn into_owned(self) -> List<'static, T::Owned> {
        List(self.0.into_owned())
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
    pub(crate) fn read(reader: &mut Reader<'a>, field: &str) -> Result<Self>
    where
        T: 'a,
    {
        Items::read(reader, field).map(List)
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        List(Items::default())
    }
}

impl<T: Element> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Element> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Element> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'s, T: Element> IntoIterator for &'s List<'_, T> {
    type Item = T::Ref<'s>;
    type IntoIter = Iter<'s, T>;

    fn into_iter(self) -> Iter<'s, T> {
        self.iter()
    }
}

impl<T, I: Into<T>> FromIterator<I> for List<'_, T> {
    fn from_iter<C: IntoIterator<Item = I>>(items: C) -> Self {
        List(Items::Values(items.into_iter().map(Into::into).collect()))
    }
}

impl<T, I: Into<T>> From<Vec<I>> for List<'_, T> {
    fn from(items: Vec<I>) -> Self {
        items.into_iter().collect()
    }
}

impl<T, I: Into<T>, const N: usize> From<[I; N]> for List<'_, T> {
    fn from(items: [I; N]) -> Self {
        items.into_iter().collect()
    }
}

impl<'a, I> From<&'a [I]> for List<'a, Cow<'a, str>>
where
    &'a I: Into<Cow<'a, str>>,
{
    fn from(items: &'a [I]) -> Self {
        items.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::avro::append_with;

    type Strings<'a> = List<'a, Cow<'a, str>>;

    fn encoded(list: &Strings<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        append_with(&mut out, list.bound(), |writer| list.write(writer));
        assert!(out.len() <= list.bound());
        out
    }

    #[test]
    fn a_list_reads_back_equal_however_it_is_held() {
        for items in [
            vec![],
            vec!["a"],
            vec!["", "é", "a long text of more than sixteen bytes"],
        ] {
            let list: Strings<'_> = items.clone().into();
            let bytes = encoded(&list);
            let read = Strings::read(&mut Reader::new("E", &bytes), "f").unwrap();
            assert_eq!(read, list);
            assert_eq!(read.iter().collect::<Vec<_>>(), items);
            assert_eq!(read.clone().into_owned(), list);
            assert_eq!(encoded(&read), bytes);
            assert_eq!(format!("{read:?}"), format!("{items:?}"));
        }
    }

    #[test]
    fn blocks_of_another_writer_are_written_as_one() {
        // Two blocks, the second with its size in bytes before it.
        let bytes = [2, 2, b'a', 3, 8, 2, b'b', 2, b'c', 0];
        let read = Strings::read(&mut Reader::new("E", &bytes), "f").unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(read.iter().len(), 3);
        assert_eq!(encoded(&read), [6, 2, b'a', 2, b'b', 2, b'c', 0]);
    }
}

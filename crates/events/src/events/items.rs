//! What [`List`](super::List) and [`StringMap`](super::StringMap) have in common: items that are
//! either values or still the bytes that they were read from.
//!
//! Decoding checks a collection's bytes once and keeps them. Iteration decodes each item; encoding
//! the event again copies the bytes.

use std::borrow::Cow;
use std::fmt;
use std::slice;

use serde::Serialize;

use crate::avro::{EncodedItems, MAX_VARINT_LEN, Reader, Writer};
use crate::error::Result;

/// What a collection can hold.
pub trait Element: Sized {
    /// An item as iteration gives it: borrowed from the collection.
    type Ref<'s>: Clone + PartialEq + fmt::Debug + Serialize
    where
        Self: 's;
    /// An item that borrows nothing.
    type Owned: 'static;

    /// The item as iteration gives it.
    fn borrow(&self) -> Self::Ref<'_>;
    /// The item without what it borrows.
    fn into_owned(self) -> Self::Owned;
    /// At least as many bytes as `write` writes.
    fn bound(item: &Self::Ref<'_>) -> usize;
    /// Writes the item.
    fn write(item: &Self::Ref<'_>, writer: &mut Writer<'_>);
    /// Reads an item; `field` is the collection's name.
    fn read<'s>(reader: &mut Reader<'s>, field: &str) -> Result<Self::Ref<'s>>
    where
        Self: 's;
}

/// The items of a collection.
#[derive(Clone)]
pub(super) enum Items<'a, T> {
    /// Values, in order.
    Values(Vec<T>),
    /// Checked bytes: one or more blocks and the final zero.
    Encoded {
        bytes: Cow<'a, [u8]>,
        len: usize,
        one_block: bool,
    },
}

impl<T> Default for Items<'_, T> {
    fn default() -> Self {
        Items::Values(Vec::new())
    }
}

impl<'a, T: Element> Items<'a, T> {
    pub(super) fn len(&self) -> usize {
        match self {
            Items::Values(values) => values.len(),
            Items::Encoded { len, .. } => *len,
        }
    }

    pub(super) fn iter(&self) -> Iter<'_, T> {
        match self {
            Items::Values(values) => Iter {
                left: values.len(),
                source: Source::Values(values.iter()),
            },
            Items::Encoded { bytes, len, .. } => Iter {
                left: *len,
                source: Source::Encoded {
                    reader: Reader::new("", bytes),
                    block: 0,
                },
            },
        }
    }

    pub(super) fn into_owned(self) -> Items<'static, T::Owned> {
        match self {
            Items::Values(values) => {
                Items::Values(values.into_iter().map(Element::into_owned).collect())
            }
            Items::Encoded {
                bytes,
                len,
                one_block,
            } => Items::Encoded {
                bytes: Cow::Owned(bytes.into_owned()),
                len,
                one_block,
            },
        }
    }

    /// At least as many bytes as [`write`](Items::write) writes.
    #[inline]
    pub(super) fn bound(&self) -> usize {
        // The count and the final zero.
        const AROUND: usize = 2 * MAX_VARINT_LEN;
        AROUND
            + match self {
                Items::Values(values) => values.iter().map(|item| T::bound(&item.borrow())).sum(),
                // Written anew, an item takes no more bytes than it was read from.
                Items::Encoded { bytes, .. } => bytes.len(),
            }
    }

    /// Writes one block with a positive count and then zero; zero alone if there are no items.
    #[inline]
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        if let Items::Encoded {
            bytes,
            one_block: true,
            ..
        } = self
        {
            return writer.raw(bytes);
        }
        if self.len() > 0 {
            writer.length(self.len());
            for item in self.iter() {
                T::write(&item, writer);
            }
        }
        writer.length(0);
    }

    /// Checks the items that come next and keeps their bytes.
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>, field: &str) -> Result<Self>
    where
        T: 'a,
    {
        let items = reader.items(field, |reader| T::read(reader, field).map(drop))?;
        let EncodedItems {
            bytes,
            len,
            one_block,
        } = items;
        Ok(Items::Encoded {
            bytes: Cow::Borrowed(bytes),
            len,
            one_block,
        })
    }
}

/// Iterates over a collection's items, borrowing from it.
pub struct Iter<'s, T> {
    left: usize,
    source: Source<'s, T>,
}

enum Source<'s, T> {
    Values(slice::Iter<'s, T>),
    Encoded {
        reader: Reader<'s>,
        /// Items left in the block that is being read.
        block: usize,
    },
}

impl<'s, T: Element> Iterator for Iter<'s, T> {
    type Item = T::Ref<'s>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Values(values) => values.next().map(Element::borrow),
            // The bytes were checked by the same reader before, so that no error can come.
            Source::Encoded { reader, block } => {
                if *block == 0 {
                    *block = reader.block("").ok()?.0;
                }
                *block = block.checked_sub(1)?;
                T::read(reader, "").ok()
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Element> ExactSizeIterator for Iter<'_, T> {}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Values(values) => Source::Values(values.clone()),
            Source::Encoded { reader, block } => Source::Encoded {
                reader: reader.clone(),
                block: *block,
            },
        };
        Iter {
            left: self.left,
            source,
        }
    }
}

impl<'a> Element for Cow<'a, str> {
    type Ref<'s>
        = &'s str
    where
        Self: 's;
    type Owned = Cow<'static, str>;

    #[inline(always)]
    fn borrow(&self) -> &str {
        self
    }

    fn into_owned(self) -> Cow<'static, str> {
        Cow::Owned(Cow::into_owned(self))
    }

    #[inline(always)]
    fn bound(item: &&str) -> usize {
        MAX_VARINT_LEN + item.len()
    }

    #[inline(always)]
    fn write(item: &&str, writer: &mut Writer<'_>) {
        writer.string(item);
    }

    #[inline(always)]
    fn read<'s>(reader: &mut Reader<'s>, field: &str) -> Result<&'s str>
    where
        Self: 's,
    {
        reader.string(field)
    }
}

/// An entry of a map.
impl<'a> Element for (Cow<'a, str>, Cow<'a, str>) {
    type Ref<'s>
        = (&'s str, &'s str)
    where
        Self: 's;
    type Owned = (Cow<'static, str>, Cow<'static, str>);

    #[inline(always)]
    fn borrow(&self) -> (&str, &str) {
        (&self.0, &self.1)
    }

    fn into_owned(self) -> Self::Owned {
        (Element::into_owned(self.0), Element::into_owned(self.1))
    }

    #[inline(always)]
    fn bound((key, value): &(&str, &str)) -> usize {
        2 * MAX_VARINT_LEN + key.len() + value.len()
    }

    #[inline(always)]
    fn write((key, value): &(&str, &str), writer: &mut Writer<'_>) {
        writer.string(key);
        writer.string(value);
    }

    #[inline(always)]
    fn read<'s>(reader: &mut Reader<'s>, field: &str) -> Result<(&'s str, &'s str)>
    where
        Self: 's,
    {
        Ok((reader.string(field)?, reader.string(field)?))
    }
}

/// A union of null and something.
impl<T: Element> Element for Option<T> {
    type Ref<'s>
        = Option<T::Ref<'s>>
    where
        Self: 's;
    type Owned = Option<T::Owned>;

    fn borrow(&self) -> Option<T::Ref<'_>> {
        self.as_ref().map(T::borrow)
    }

    fn into_owned(self) -> Option<T::Owned> {
        self.map(T::into_owned)
    }

    fn bound(item: &Option<T::Ref<'_>>) -> usize {
        MAX_VARINT_LEN + item.as_ref().map_or(0, T::bound)
    }

    fn write(item: &Option<T::Ref<'_>>, writer: &mut Writer<'_>) {
        writer.length(usize::from(item.is_some()));
        if let Some(item) = item {
            T::write(item, writer);
        }
    }

    fn read<'s>(reader: &mut Reader<'s>, field: &str) -> Result<Option<T::Ref<'s>>>
    where
        Self: 's,
    {
        if reader.is_present(field)? {
            T::read(reader, field).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Makes an element of a plain type, whose values are copied and never borrowed.
macro_rules! plain_element {
    ($type:ty, $write:expr, $read:expr) => {
        impl $crate::events::items::Element for $type {
            type Ref<'s> = $type;
            type Owned = $type;

            fn borrow(&self) -> $type {
                *self
            }

            fn into_owned(self) -> $type {
                self
            }

            fn bound(_: &$type) -> usize {
                $crate::avro::MAX_VARINT_LEN
            }

            fn write(item: &$type, writer: &mut $crate::avro::Writer<'_>) {
                $write(writer, *item);
            }

            fn read<'s>(reader: &mut $crate::avro::Reader<'s>, field: &str) -> $crate::Result<$type>
            where
                Self: 's,
            {
                $read(reader, field)
            }
        }
    };
}

pub(super) use plain_element;

plain_element!(bool, Writer::boolean, Reader::boolean);
plain_element!(i32, Writer::int, Reader::int);
plain_element!(i64, Writer::long, Reader::long);
plain_element!(f64, Writer::double, Reader::double);

//! Reading values one after the other from a slice.

use std::borrow::Cow;

use super::{text, varint};
use crate::error::{Error, ErrorKind, Result};

/// Reads Avro values one after the other, borrowing text from the input.
///
/// Each method takes the name of the field it reads, for the error alone. An error is of kind
/// [`ErrorKind::Undecodable`] and names the event, the field and the offset of the value in the
/// input; it never holds any of the input.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    input_len: usize,
    event: &'a str,
}

/// The items of an array or a map as the bytes of the input, checked but not decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncodedItems<'a> {
    /// All blocks with their counts, up to and with the final zero.
    pub(crate) bytes: &'a [u8],
    /// How many items they hold.
    pub(crate) len: usize,
    /// Whether they are as we write them: one block with a positive count, then zero.
    pub(crate) one_block: bool,
}

impl<'a> Reader<'a> {
    /// Reads from `input`, which is to be an `event`.
    #[inline(always)]
    pub(crate) fn new(event: &'a str, input: &'a [u8]) -> Self {
        Reader {
            rest: input,
            input_len: input.len(),
            event,
        }
    }

    /// What has not been read yet.
    #[inline(always)]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have been read.
    #[inline(always)]
    pub(crate) fn offset(&self) -> usize {
        self.input_len - self.rest.len()
    }

    /// An error about the value at the reader's place.
    pub(crate) fn fault(&self, field: &str, why: &str) -> Error {
        fault(self.event, self.offset(), field, why)
    }

    /// An error about the value that began when `left` bytes were left.
    ///
    /// Its arguments are passed by value: a reader whose address is taken, even on a path that is
    /// never run, stays in memory instead of registers.
    #[inline(always)]
    pub(crate) fn fault_at(&self, left: usize, field: &str, why: &str) -> Error {
        fault(self.event, self.input_len - left, field, why)
    }

    /// A `long`.
    #[inline(always)]
    pub(crate) fn long(&mut self, field: &str) -> Result<i64> {
        match varint_at(self.rest) {
            Ok((value, rest)) => {
                self.rest = rest;
                Ok(varint::unzigzag(value))
            }
            Err(why) => Err(self.fault_at(self.rest.len(), field, why)),
        }
    }

    /// An `int`.
    #[inline(always)]
    pub(crate) fn int(&mut self, field: &str) -> Result<i32> {
        let left = self.rest.len();
        match i32::try_from(self.long(field)?) {
            Ok(value) => Ok(value),
            Err(_) => Err(self.fault_at(left, field, "an int has more than 32 bits")),
        }
    }

    /// A `boolean`.
    #[inline(always)]
    pub(crate) fn boolean(&mut self, field: &str) -> Result<bool> {
        match self.rest.split_first() {
            Some((&byte @ (0 | 1), rest)) => {
                self.rest = rest;
                Ok(byte == 1)
            }
            Some(_) => Err(self.fault_at(self.rest.len(), field, "a boolean is neither 0 nor 1")),
            None => Err(self.fault_at(self.rest.len(), field, "the input ends before a boolean")),
        }
    }

    /// A `double`.
    #[inline(always)]
    pub(crate) fn double(&mut self, field: &str) -> Result<f64> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(f64::from_le_bytes(*bytes))
            }
            None => Err(self.fault_at(self.rest.len(), field, "the input ends in a double")),
        }
    }

    /// A `float`.
    pub(crate) fn float(&mut self, field: &str) -> Result<f32> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(f32::from_le_bytes(*bytes))
            }
            None => Err(self.fault_at(self.rest.len(), field, "the input ends in a float")),
        }
    }

    /// `len` bytes without a length before them, such as a `fixed`.
    #[inline(always)]
    pub(crate) fn raw(&mut self, field: &str, len: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.fault_at(
                self.rest.len(),
                field,
                "the input ends before the value does",
            )),
        }
    }

    /// A `bytes`: its length, then that many bytes.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, field: &str) -> Result<&'a [u8]> {
        let left = self.rest.len();
        let len = self.long(field)?;
        // A negative length is a huge one here, and found to be longer than the input.
        match usize::try_from(len as u64)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len))
        {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.fault_at(left, field, "the length is negative or exceeds the input")),
        }
    }

    /// A `string`.
    #[inline(always)]
    pub(crate) fn string(&mut self, field: &str) -> Result<&'a str> {
        let left = self.rest.len();
        match text::from_utf8(self.bytes(field)?) {
            Some(text) => Ok(text),
            None => Err(self.fault_at(left, field, "the text is not UTF-8")),
        }
    }

    /// A `string`, as an event holds it.
    #[inline(always)]
    pub(crate) fn text(&mut self, field: &str) -> Result<Cow<'a, str>> {
        self.string(field).map(Cow::Borrowed)
    }

    /// The branch of a union of null and something: whether there is something.
    #[inline(always)]
    pub(crate) fn is_present(&mut self, field: &str) -> Result<bool> {
        let left = self.rest.len();
        match self.long(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.fault_at(left, field, "the union has no such branch")),
        }
    }

    /// A union of null and `string`, as an event holds it.
    #[inline(always)]
    pub(crate) fn optional_text(&mut self, field: &str) -> Result<Option<Cow<'a, str>>> {
        if self.is_present(field)? {
            self.text(field).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The count of a collection's next block, and its size in bytes if that stands before it.
    /// A count of zero ends the collection.
    ///
    /// Each item takes a byte at least, so a count may not exceed the bytes that are left.
    #[inline(always)]
    pub(crate) fn block(&mut self, field: &str) -> Result<(usize, Option<usize>)> {
        let left = self.rest.len();
        let count = self.long(field)?;
        let size = if count < 0 {
            match usize::try_from(self.long(field)?) {
                Ok(size) if size <= self.rest.len() => Some(size),
                _ => return Err(self.fault_at(left, field, "a block's size exceeds the input")),
            }
        } else {
            None
        };
        match usize::try_from(count.unsigned_abs()) {
            Ok(count) if count <= self.rest.len() => Ok((count, size)),
            _ => Err(self.fault_at(left, field, "a block has more items than bytes are left")),
        }
    }

    /// Walks over an array or a map, reading each item with `item`.
    #[inline]
    pub(crate) fn items(
        &mut self,
        field: &str,
        mut item: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<EncodedItems<'a>> {
        let input = self.rest;
        let (mut len, mut blocks, mut one_block) = (0, 0, true);
        loop {
            let left = self.rest.len();
            let (count, size) = self.block(field)?;
            if count == 0 {
                break;
            }
            let start = self.rest.len();
            for _ in 0..count {
                item(self)?;
            }
            if size.is_some_and(|size| size != start - self.rest.len()) {
                return Err(self.fault_at(left, field, "a block is not of the size that it says"));
            }
            len += count;
            blocks += 1;
            one_block &= blocks == 1 && size.is_none();
        }
        Ok(EncodedItems {
            bytes: &input[..input.len() - self.rest.len()],
            len,
            one_block,
        })
    }

    /// Refuses bytes after the last value.
    #[inline(always)]
    pub(crate) fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(trailing(self.event, self.offset(), self.rest.len()))
        }
    }
}

/// The integer at the start of `input`, and what follows it.
#[inline(always)]
fn varint_at(input: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    match input.split_first() {
        Some((&byte, rest)) if byte < 0x80 => Ok((u64::from(byte), rest)),
        _ => match input
            .first_chunk()
            .map(|word| varint::gather(u64::from_le_bytes(*word)))
        {
            Some(Some((value, len))) => Ok((value, &input[len..])),
            _ => varint_at_the_end(input),
        },
    }
}

/// [`varint_at`] where fewer than eight bytes are left, or the integer takes more.
#[inline(never)]
fn varint_at_the_end(input: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    match varint::decode(input) {
        Ok((value, len)) => Ok((value, &input[len..])),
        Err(varint::BadVarint::Cut) => Err("the input ends in an integer"),
        Err(varint::BadVarint::TooLong) => Err("an integer has more than 64 bits"),
    }
}

#[cold]
#[inline(never)]
fn fault(event: &str, offset: usize, field: &str, why: &str) -> Error {
    let message = format!("{event}.{field} cannot be decoded at byte {offset}: {why}");
    Error::new(ErrorKind::Undecodable, message)
        .with("event", event)
        .with("field", field)
        .with("byte", offset)
}

#[cold]
#[inline(never)]
fn trailing(event: &str, offset: usize, left: usize) -> Error {
    let message = format!("{event} ends at byte {offset}, but {left} bytes follow");
    Error::new(ErrorKind::Undecodable, message)
        .with("event", event)
        .with("byte", offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(input: &[u8]) -> Reader<'_> {
        Reader::new("E", input)
    }

    #[test]
    fn an_error_names_event_field_and_offset() {
        let mut reader = reader(&[2, b'a', 20, b'b']);
        assert_eq!(reader.string("first").unwrap(), "a");
        let error = reader.string("second").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Undecodable: E.second cannot be decoded at byte 2: the length is negative or exceeds \
             the input (event=E, field=second, byte=2)"
        );
    }

    #[test]
    fn values_that_do_not_fit_their_type_are_refused() {
        assert!(reader(&[1]).bytes("f").is_err(), "a length of -1");
        assert!(reader(&[2, 0xff]).string("f").is_err());
        assert!(reader(&[2]).boolean("f").is_err());
        assert!(reader(&[4]).is_present("f").is_err());
        assert!(reader(&[0; 7]).double("f").is_err());
        assert!(reader(&[]).long("f").is_err());
        assert!(reader(&[0x80, 0x80, 0x80, 0x80, 0x10]).int("f").is_err());
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).int("f").unwrap(),
            i32::MIN
        );
    }

    #[test]
    fn a_padded_integer_is_read_as_java_reads_it() {
        assert!(reader(&[0x82, 0x00]).is_present("f").unwrap());
        assert_eq!(reader(&[0x82, 0x80, 0x80, 0x00]).long("f").unwrap(), 1);
    }

    fn strings(input: &[u8]) -> Result<EncodedItems<'_>> {
        reader(input).items("f", |reader| reader.string("f").map(drop))
    }

    #[test]
    fn both_kinds_of_block_are_read() {
        let empty = strings(&[0]).unwrap();
        assert_eq!(
            (empty.len, empty.one_block, empty.bytes),
            (0, true, &[0][..])
        );
        let one = strings(&[4, 2, b'a', 2, b'b', 0, 99]).unwrap();
        assert_eq!((one.len, one.one_block, one.bytes.len()), (2, true, 6));
        let two = strings(&[2, 2, b'a', 2, 2, b'b', 0]).unwrap();
        assert_eq!((two.len, two.one_block), (2, false));
        let sized = strings(&[3, 8, 2, b'a', 2, b'b', 0]).unwrap();
        assert_eq!((sized.len, sized.one_block), (2, false));
    }

    #[test]
    fn counts_and_sizes_beyond_the_input_are_refused() {
        let bytes = |values: &[i64]| {
            let mut out = Vec::new();
            for value in values {
                let (bytes, len) = varint::encode(varint::zigzag(*value));
                out.extend_from_slice(&bytes[..len]);
            }
            out
        };
        for values in [
            &[i64::MAX][..],
            &[i64::MIN, 0],
            &[1000],
            &[-2, 1000],
            &[-2, -1],
            &[-1, 1],
        ] {
            assert!(strings(&bytes(values)).is_err(), "{values:?}");
        }
        assert!(
            strings(&[3, 6, 2, b'a', 2, b'b', 0]).is_err(),
            "a size of 3, but 4 bytes"
        );
    }
}

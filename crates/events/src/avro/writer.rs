//! Writing into the spare capacity of a `Vec<u8>`.

use std::mem::{MaybeUninit, take};

use super::varint;
pub(crate) use super::varint::MAX_VARINT_LEN;

/// Appends what `write` writes to `out`, after one reserve of `bound` bytes.
///
/// `bound` should be at least what is written. If it is not, the capacity is doubled and `write` is
/// called again from the start, so `write` must have no other effect.
#[inline(always)]
pub(crate) fn append_with(out: &mut Vec<u8>, bound: usize, write: impl Fn(&mut Writer<'_>)) {
    let mut bound = bound;
    while !try_append(out, bound, &write) {
        bound = bound.saturating_mul(2).max(64);
    }
}

/// Appends what `write` writes, or nothing if the capacity was too small.
///
/// Never inlined: within the loop above, the compiler would compute everything that could be
/// written before it began to write.
#[inline(never)]
fn try_append(out: &mut Vec<u8>, bound: usize, write: &impl Fn(&mut Writer<'_>)) -> bool {
    out.reserve(bound);
    let spare = out.spare_capacity_mut();
    let room = spare.len();
    let mut writer = Writer {
        rest: spare,
        overrun: false,
    };
    write(&mut writer);
    if writer.overrun {
        return false;
    }
    let len = room - writer.rest.len() + out.len();
    // SAFETY: `rest` began as the spare capacity, and a writer only ever shortens it from its start
    // by bytes that it has just initialised (see `Writer`), so what is missing of it now is
    // initialised and follows the old length. `write` cannot have put another writer's `rest` in
    // its place: it must work for a writer of every lifetime, and so has no second one of this.
    unsafe { out.set_len(len) };
    true
}

/// Appends a `long`, a length, a count or a branch.
pub(crate) fn put_long(out: &mut Vec<u8>, value: i64) {
    append_with(out, MAX_VARINT_LEN, |writer| writer.long(value));
}

/// Appends a `string` or a `bytes`.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    append_with(out, MAX_VARINT_LEN + bytes.len(), |writer| {
        writer.long(bytes.len() as i64);
        writer.raw(bytes);
    });
}

/// Writes Avro values one after the other.
///
/// Invariant: `rest` is what is left of the capacity that the writer began with, and all bytes
/// before it are initialised. Only [`advance`](Writer::advance) shortens it.
pub struct Writer<'a> {
    rest: &'a mut [MaybeUninit<u8>],
    /// A value did not fit: the whole output is discarded.
    overrun: bool,
}

impl<'a> Writer<'a> {
    /// Moves past the first `len` bytes of the capacity.
    ///
    /// # Safety
    ///
    /// They must be initialised, and `len` at most the capacity.
    #[inline(always)]
    unsafe fn advance(&mut self, len: usize) {
        let rest = take(&mut self.rest);
        debug_assert!(len <= rest.len());
        // SAFETY: the caller says that `len` is at most the length.
        self.rest = unsafe { rest.get_unchecked_mut(len..) };
    }

    /// Bytes as they are, without a length before them.
    #[inline(always)]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        match self.rest.get_mut(..bytes.len()) {
            Some(room) => {
                copy(room, bytes);
                // SAFETY: `copy` filled `room`, which is that long.
                unsafe { self.advance(bytes.len()) };
            }
            None => self.overrun = true,
        }
    }

    /// A `boolean`: one byte.
    #[inline(always)]
    pub(crate) fn boolean(&mut self, value: bool) {
        self.raw(&[u8::from(value)]);
    }

    /// A `double`: eight bytes, little-endian.
    #[inline(always)]
    pub(crate) fn double(&mut self, value: f64) {
        self.raw(&value.to_le_bytes());
    }

    /// An `int`, an enum's index or a union's branch.
    #[inline(always)]
    pub(crate) fn int(&mut self, value: i32) {
        self.long(i64::from(value));
    }

    /// A `long`.
    #[inline(always)]
    pub(crate) fn long(&mut self, value: i64) {
        self.varint(varint::zigzag(value));
    }

    /// A length or a count.
    #[inline(always)]
    pub(crate) fn length(&mut self, len: usize) {
        // What is in memory is never so long that its sign were lost.
        self.varint((len as u64) << 1);
    }

    #[inline(always)]
    fn varint(&mut self, value: u64) {
        // The bounds count ten bytes for each integer, so that only a wrong bound lacks them.
        let Some(room) = self.rest.first_chunk_mut::<MAX_VARINT_LEN>() else {
            self.overrun = true;
            return;
        };
        let len = if value < 0x80 {
            room[0].write(value as u8);
            1
        } else if value < 1 << 56 {
            let (word, len) = varint::spread(value);
            copy(&mut room[..8], &word.to_le_bytes());
            len
        } else {
            let (bytes, len) = varint::encode(value);
            copy(room, &bytes);
            len
        };
        // SAFETY: each branch initialised at least `len` bytes, of a room of ten.
        unsafe { self.advance(len) };
    }

    /// A `string`: its length in bytes, then its UTF-8.
    #[inline(always)]
    pub(crate) fn string(&mut self, text: &str) {
        self.length(text.len());
        self.raw(text.as_bytes());
    }

    /// A union of null and `string`.
    #[inline(always)]
    pub(crate) fn optional_string(&mut self, text: Option<&str>) {
        self.length(usize::from(text.is_some()));
        if let Some(text) = text {
            self.string(text);
        }
    }
}

/// Fills `room` with `bytes`, which are as long as it is.
///
/// A call of `memcpy` costs more than the few bytes of a typical field: up to 64 bytes are copied
/// as two pieces from either end, which overlap or meet.
#[inline(always)]
fn copy(room: &mut [MaybeUninit<u8>], bytes: &[u8]) {
    match bytes.len() {
        0..=3 => {
            for (to, from) in room.iter_mut().zip(bytes) {
                to.write(*from);
            }
        }
        4..=7 => copy_ends::<4>(room, bytes),
        8..=16 => copy_ends::<8>(room, bytes),
        17..=32 => copy_ends::<16>(room, bytes),
        33..=64 => copy_ends::<32>(room, bytes),
        _ => {
            room.write_copy_of_slice(bytes);
        }
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(room: &mut [MaybeUninit<u8>], bytes: &[u8]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>())
        && room.len() == bytes.len()
    {
        if let Some(to) = room.first_chunk_mut::<N>() {
            to.write_copy_of_slice(first);
        }
        if let Some(to) = room.last_chunk_mut::<N>() {
            to.write_copy_of_slice(last);
        }
    } else {
        room.write_copy_of_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bound: usize, write: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        append_with(&mut out, bound, write);
        assert_eq!(&out[..6], b"before");
        out.split_off(6)
    }

    #[test]
    fn a_bound_that_is_too_small_costs_a_second_try_and_nothing_else() {
        let text = "0123456789".repeat(20);
        let write = |writer: &mut Writer<'_>| {
            writer.long(i64::MIN);
            writer.string(&text);
            writer.double(1.5);
            writer.long(300);
            writer.optional_string(Some("x"));
        };
        let whole = written(1000, write);
        for bound in 0..300 {
            assert_eq!(written(bound, write), whole, "{bound}");
        }
    }

    #[test]
    fn text_of_every_length_is_copied_whole() {
        let text: String = (0..200_u8).map(|n| char::from(b'!' + n % 90)).collect();
        for len in 0..text.len() {
            let out = written(len, |writer| writer.raw(&text.as_bytes()[..len]));
            assert_eq!(out, &text.as_bytes()[..len]);
        }
    }

    #[test]
    fn values_have_the_bytes_of_the_specification() {
        assert_eq!(written(10, |w| w.long(0)), [0]);
        assert_eq!(written(10, |w| w.long(-1)), [1]);
        assert_eq!(written(10, |w| w.long(64)), [0x80, 0x01]);
        assert_eq!(written(10, |w| w.long(-64)), [0x7f]);
        assert_eq!(written(16, |w| w.string("foo")), [6, b'f', b'o', b'o']);
        assert_eq!(written(16, |w| w.optional_string(None)), [0]);
        assert_eq!(written(16, |w| w.optional_string(Some("a"))), [2, 2, b'a']);
        assert_eq!(written(1, |w| w.boolean(true)), [1]);
        assert_eq!(
            written(8, |w| w.double(1.0)),
            [0, 0, 0, 0, 0, 0, 0xf0, 0x3f]
        );
    }
}

//! Variable-length zig-zag integers, seven bits a byte, least significant first.
//!
//! The general case moves eight bytes at once: the seven-bit groups are spread or gathered in three
//! steps instead of one step a byte.

/// The most bytes that one integer takes.
pub(crate) const MAX_VARINT_LEN: usize = 10;

/// The high bit of each of eight bytes: set in all bytes of an integer but its last.
const CONTINUATION: u64 = 0x8080_8080_8080_8080;

/// Maps small magnitudes of either sign to small unsigned numbers.
#[inline(always)]
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline(always)]
pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The encoding of an integer below 2^56 in the low bytes of a word, and how many bytes it takes.
#[inline(always)]
pub(super) const fn spread(value: u64) -> (u64, usize) {
    debug_assert!(value < 1 << 56);
    let mut word = (value & 0x0000_0000_0fff_ffff) | ((value & 0x00ff_ffff_f000_0000) << 4);
    word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x0fff_c000_0fff_c000) << 2);
    word = (word & 0x007f_007f_007f_007f) | ((word & 0x3f80_3f80_3f80_3f80) << 1);
    let len = 8 - ((word | 1).leading_zeros() / 8) as usize;
    // Every byte below the last one announces another.
    (word | (CONTINUATION & ((1 << (8 * (len - 1))) - 1)), len)
}

/// The integer at the start of a word and how many bytes it takes, if it ends within the word.
#[inline(always)]
pub(super) const fn gather(word: u64) -> Option<(u64, usize)> {
    let ends = !word & CONTINUATION;
    if ends == 0 {
        return None;
    }
    let len = (ends.trailing_zeros() / 8 + 1) as usize;
    let mut value = word & (u64::MAX >> (64 - 8 * len)) & !CONTINUATION;
    value = (value & 0x007f_007f_007f_007f) | ((value & 0x7f00_7f00_7f00_7f00) >> 1);
    value = (value & 0x0000_3fff_0000_3fff) | ((value & 0x3fff_0000_3fff_0000) >> 2);
    value = (value & 0x0000_0000_0fff_ffff) | ((value & 0x0fff_ffff_0000_0000) >> 4);
    Some((value, len))
}

/// The general encoder: the bytes and how many of them are used.
#[inline]
pub(super) const fn encode(mut value: u64) -> ([u8; MAX_VARINT_LEN], usize) {
    let mut bytes = [0; MAX_VARINT_LEN];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}

/// Why bytes are no integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadVarint {
    /// The input ends within it.
    Cut,
    /// It has more than 64 bits.
    TooLong,
}

/// The general decoder: the integer at the start of `bytes` and how many bytes it takes.
#[inline]
pub(super) fn decode(bytes: &[u8]) -> Result<(u64, usize), BadVarint> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(MAX_VARINT_LEN).enumerate() {
        // The tenth byte holds bit 63 alone.
        if index == MAX_VARINT_LEN - 1 && byte > 1 {
            return Err(BadVarint::TooLong);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err(if bytes.len() < MAX_VARINT_LEN {
        BadVarint::Cut
    } else {
        BadVarint::TooLong
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interesting() -> impl Iterator<Item = u64> {
        (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1, power ^ 0x5555_5555_5555_5555]
        })
    }

    #[test]
    fn the_word_at_a_time_forms_agree_with_the_general_ones() {
        for value in interesting() {
            let (bytes, len) = encode(value);
            assert_eq!(decode(&bytes[..len]), Ok((value, len)));
            let word = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            if value < 1 << 56 {
                assert_eq!(spread(value), (word, len), "{value:#x}");
                // Whatever follows the integer does not change it.
                let followed = word | u64::MAX.checked_shl(8 * len as u32).unwrap_or(0);
                assert_eq!(gather(followed), Some((value, len)), "{value:#x}");
            } else {
                assert_eq!(gather(word), None);
            }
        }
    }

    #[test]
    fn zigzag_keeps_every_sign_and_limit() {
        for value in interesting()
            .map(|value| value as i64)
            .chain([i64::MIN, i64::MAX, 0, -1])
        {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!([zigzag(0), zigzag(-1), zigzag(1), zigzag(-2)], [0, 1, 2, 3]);
    }

    #[test]
    fn an_integer_of_more_than_64_bits_is_refused() {
        assert_eq!(decode(&[0x80; 9]), Err(BadVarint::Cut));
        assert_eq!(decode(&[0xff; 10]), Err(BadVarint::TooLong));
        assert_eq!(decode(&[0x80; 20]), Err(BadVarint::TooLong));
        let mut widest = [0xff; 10];
        widest[9] = 1;
        assert_eq!(decode(&widest), Ok((u64::MAX, 10)));
        widest[9] = 2;
        assert_eq!(decode(&widest), Err(BadVarint::TooLong));
    }
}

//! Bytes to `&str`: checks whole words for a byte above 0x7f, and validates only text that has one
//! as UTF-8.

/// The bytes as text, if they are UTF-8.
#[inline(always)]
pub(super) fn from_utf8(bytes: &[u8]) -> Option<&str> {
    if is_ascii(bytes) {
        // SAFETY: every byte is below 0x80, and ASCII is UTF-8.
        Some(unsafe { str::from_utf8_unchecked(bytes) })
    } else {
        from_non_ascii(bytes)
    }
}

#[cold]
#[inline(never)]
fn from_non_ascii(bytes: &[u8]) -> Option<&str> {
    // Below this the set-up of the vectors costs more than it saves.
    const WORTH_SIMD: usize = 64;
    if cfg!(miri) || bytes.len() < WORTH_SIMD {
        str::from_utf8(bytes).ok()
    } else {
        simdutf8::basic::from_utf8(bytes).ok()
    }
}

/// Whether no byte is above 0x7f.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    match bytes.len() {
        0..=3 => bytes.iter().fold(0, |seen, byte| seen | byte) < 0x80,
        4..=7 => ends_are_ascii::<4>(bytes),
        8..=16 => ends_are_ascii::<8>(bytes),
        17..=32 => ends_are_ascii::<16>(bytes),
        33..=64 => ends_are_ascii::<32>(bytes),
        _ => long_is_ascii(bytes),
    }
}

/// Looks at the first and the last `N` bytes, which overlap or meet: together they are all of it.
#[inline(always)]
fn ends_are_ascii<const N: usize>(bytes: &[u8]) -> bool {
    match (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        (Some(first), Some(last)) => (bits(first) | bits(last)) & HIGH_BITS == 0,
        _ => bytes.is_ascii(),
    }
}

/// The high bit of each of eight bytes.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// All bits that are set in any of a chunk's words; `N` is four or a multiple of eight.
#[inline(always)]
fn bits<const N: usize>(chunk: &[u8; N]) -> u64 {
    let (words, rest) = chunk.as_chunks::<8>();
    let words = words
        .iter()
        .fold(0, |seen, word| seen | u64::from_ne_bytes(*word));
    let (halves, _) = rest.as_chunks::<4>();
    halves.iter().fold(words, |seen, half| {
        seen | u64::from(u32::from_ne_bytes(*half))
    })
}

#[inline(never)]
fn long_is_ascii(bytes: &[u8]) -> bool {
    // Below this the wider registers gain less than it costs to ask for them.
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= 256 && is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { long_is_ascii_avx2(bytes) };
    }
    chunks_are_ascii(bytes)
}

/// [`chunks_are_ascii`] compiled for 32-byte registers, twice as fast.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn long_is_ascii_avx2(bytes: &[u8]) -> bool {
    chunks_are_ascii(bytes)
}

/// Looks at 128 bytes at a time, then at 32, and at last at the 32 bytes before the end, which
/// overlap what came before. There must be 32 bytes.
#[inline(always)]
fn chunks_are_ascii(bytes: &[u8]) -> bool {
    let (large, rest) = bytes.as_chunks::<128>();
    let (small, _) = rest.as_chunks::<32>();
    let is_ascii = |bits: u64| bits & HIGH_BITS == 0;
    large.iter().all(|chunk| is_ascii(bits(chunk)))
        && small.iter().all(|chunk| is_ascii(bits(chunk)))
        && bytes
            .last_chunk::<32>()
            .is_some_and(|chunk| is_ascii(bits(chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_std_wherever_the_odd_byte_stands() {
        let lengths = if cfg!(miri) { 0..80 } else { 0..300 };
        for len in lengths {
            let ascii = vec![b'a'; len];
            assert_eq!(from_utf8(&ascii), str::from_utf8(&ascii).ok());
            for at in 0..len {
                for odd in [&b"\x80"[..], b"\xff", "é".as_bytes(), "€".as_bytes()] {
                    let mut bytes = ascii.clone();
                    let end = len.min(at + odd.len());
                    bytes[at..end].copy_from_slice(&odd[..end - at]);
                    assert_eq!(from_utf8(&bytes), str::from_utf8(&bytes).ok(), "{len} {at}");
                }
            }
        }
    }
}

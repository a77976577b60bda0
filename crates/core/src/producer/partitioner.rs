//! Java's default partitioner, so that one key lands in one partition whoever produced it.

/// The partition of a key: `murmur2_random` of librdkafka, which is the Java client's
/// `Utils.toPositive(Utils.murmur2(key)) % partitions`.
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> i32 {
    // toPositive drops the sign bit, so the remainder fits.
    ((murmur2(key) & 0x7fff_ffff) % partitions.max(1)) as i32
}

/// MurmurHash2 (Austin Appleby, public domain) with the seed that Apache Kafka uses, over
/// little-endian words; the 32-bit result of `org.apache.kafka.common.utils.Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Kafka keys are far below 4 GiB; the algorithm mixes in the low 32 bits of the length.
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (shift, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * shift);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Apache Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn keys_hash_as_the_java_client_hashes_them() {
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58897971,
            ),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_within_the_topic() {
        for key in ["", "a", "datasets/power-prices", "\u{1f600}"] {
            for partitions in [1, 3, 12, 1000] {
                assert!((0..partitions as i32).contains(&partition_of(key.as_bytes(), partitions)));
            }
        }
    }
}

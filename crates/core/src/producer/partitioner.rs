//! From keys to partitions: Java's default partitioner, so that one key lands in one partition in
//! every language, and librdkafka's others for callers that ask for one by name.

/// How a record's key becomes its partition, by librdkafka's names. Those that end in `Random` leave
/// a record without a key to the producer, which sends it where records without a key go for now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Partitioner {
    /// `murmur2_random`, which is the Java client's `Utils.toPositive(Utils.murmur2(key)) %
    /// partitions`: what every producer of the platform uses.
    #[default]
    Murmur2Random,
    /// `murmur2`: the same, with no key as an empty one.
    Murmur2,
    /// `consistent_random`: CRC-32, librdkafka's own default; an empty key counts as none.
    ConsistentRandom,
    /// `consistent`: the same, with no key as an empty one.
    Consistent,
    /// `fnv1a_random`: FNV-1a as Sarama has it.
    Fnv1aRandom,
    /// `fnv1a`: the same, with no key as an empty one.
    Fnv1a,
    /// `random`: the key does not count.
    Random,
}

impl Partitioner {
    /// The partitioner that librdkafka calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "murmur2_random" => Partitioner::Murmur2Random,
            "murmur2" => Partitioner::Murmur2,
            "consistent_random" => Partitioner::ConsistentRandom,
            "consistent" => Partitioner::Consistent,
            "fnv1a_random" => Partitioner::Fnv1aRandom,
            "fnv1a" => Partitioner::Fnv1a,
            "random" => Partitioner::Random,
            _ => return None,
        })
    }

    /// The partition of a record with this key; `None` for any.
    pub(crate) fn partition(self, key: Option<&[u8]>, partitions: u32) -> Option<i32> {
        use Partitioner as By;
        let hash = match (self, key) {
            (By::Murmur2Random, Some(key)) => positive(murmur2(key)),
            (By::Murmur2, key) => positive(murmur2(key.unwrap_or_default())),
            (By::ConsistentRandom, Some(key)) if !key.is_empty() => crc32(key),
            (By::Consistent, key) => crc32(key.unwrap_or_default()),
            (By::Fnv1aRandom, Some(key)) => fnv1a(key),
            (By::Fnv1a, key) => fnv1a(key.unwrap_or_default()),
            _ => return None,
        };
        Some((hash % partitions.max(1)) as i32)
    }
}

/// Java's `Utils.toPositive`, which drops the sign bit.
fn positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// The CRC-32 of zlib and Ethernet (IEEE 802.3).
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// FNV-1a of 32 bits, as a signed number without its sign: what Sarama's hash partitioner takes.
fn fnv1a(data: &[u8]) -> u32 {
    let hash = data.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash as i32).unsigned_abs()
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
    fn the_other_hashes_are_the_published_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        // The 32-bit vectors of the FNV reference code, made positive.
        assert_eq!(fnv1a(b""), 0x811c_9dc5_u32.wrapping_neg());
        assert_eq!(fnv1a(b"a"), 0xe40c_292c_u32.wrapping_neg());
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968_u32.wrapping_neg());
    }

    #[test]
    fn a_record_without_a_key_goes_anywhere_or_to_the_partition_of_the_empty_key() {
        for (name, without, empty) in [
            ("murmur2_random", false, true),
            ("murmur2", true, true),
            ("consistent_random", false, false),
            ("consistent", true, true),
            ("fnv1a_random", false, true),
            ("fnv1a", true, true),
            ("random", false, false),
        ] {
            let by = Partitioner::from_name(name).unwrap();
            assert_eq!(by.partition(None, 12).is_some(), without, "{name}");
            assert_eq!(by.partition(Some(b""), 12).is_some(), empty, "{name}");
        }
        assert_eq!(Partitioner::from_name("sticky"), None);
    }

    #[test]
    fn a_partition_is_within_the_topic() {
        for key in ["", "a", "datasets/power-prices", "\u{1f600}"] {
            for partitions in [1, 3, 12, 1000] {
                let partition = Partitioner::default().partition(Some(key.as_bytes()), partitions);
                assert!((0..partitions as i32).contains(&partition.unwrap()));
            }
        }
    }
}

//! Which partition a record goes to: by the hash of its key, or, without a key, to one partition at a time.
//!
//! Owns the hash (the Java client's murmur2, so that Java, librdkafka's `murmur2_random` and this client agree on the
//! partition of a key) and the sticky choice for records without a key (KIP-480, KIP-794). Knows no batches and no
//! brokers. Invariant: the partition of a key depends on the key and the number of partitions alone.

use rand::RngExt;

/// Bytes that go to one partition before records without a key move on to another.
///
/// Java's default `batch.size`: large enough to fill a batch, small enough that a short run reaches every partition.
pub(crate) const STICKY_BYTES: usize = 16 * 1024;

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The 32-bit murmur2 hash with the seed that Kafka's Java client uses.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of `key` in a topic of `partitions` partitions, as Java's default partitioner chooses it.
///
/// # Panics
///
/// When `partitions` is 0.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: usize) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    (positive as usize % partitions) as i32
}

/// The sticky choice of one topic.
#[derive(Debug, Default)]
pub(crate) struct StickyPartition {
    current: Option<i32>,
    bytes: usize,
}

impl StickyPartition {
    /// The partition for a record of `size` bytes without a key. `available` are the partitions that have a leader,
    /// or all of them where none has.
    pub(crate) fn next(&mut self, size: usize, limit: usize, available: &[i32]) -> i32 {
        let usable = self.current.filter(|current| self.bytes < limit && available.contains(current));
        let partition = usable.unwrap_or_else(|| self.choose(available));
        self.current = Some(partition);
        self.bytes += size;
        partition
    }

    /// Any partition but the present one, each as likely as the next.
    fn choose(&mut self, available: &[i32]) -> i32 {
        self.bytes = 0;
        let others = match self.current.and_then(|current| available.iter().position(|p| *p == current)) {
            Some(current) if available.len() > 1 => {
                let step = rand::rng().random_range(1..available.len());
                return available[(current + step) % available.len()];
            }
            _ => available,
        };
        others[rand::rng().random_range(0..others.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `org.apache.kafka.common.utils.Utils.murmur2` of Apache Kafka 4.3, and `toPositive(hash) % 6`.
    const GOLDEN: &[(&[u8], i32, i32)] = &[
        (b"", 275_646_681, 3),
        (b"a", -1_563_381_124, 4),
        (b"ab", 316_155_434, 2),
        (b"abc", 479_470_107, 3),
        (b"abcd", -1_323_649_548, 2),
        (b"21", -973_932_308, 0),
        (b"foobar", -790_332_482, 0),
        (b"a-little-bit-long-string", -985_981_536, 2),
        (b"a-little-bit-longer-string", -1_486_304_829, 5),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 5),
        (b"N14228", -1_499_626_080, 2),
        (b"N24211", -1_221_318_767, 3),
        (b"N619AA", 758_189_377, 1),
        (b"N804JB", 1_201_665_193, 1),
        ("überraschung".as_bytes(), 441_430_644, 0),
        ("日本語".as_bytes(), 1_431_860_170, 4),
        (b"\x00", 375_494_588, 2),
        (b"\x00\x01\x02\x03\x04", -1_916_494_074, 2),
        (b"\xff", -311_467_685, 3),
        (b"\xff\xfe", 1_717_632_651, 3),
        (b"\xff\xfe\xfd", 998_637_092, 2),
        (b"\xff\xfe\xfd\xfc", 2_136_149_935, 1),
    ];

    #[test]
    fn hashes_and_partitions_are_those_of_the_java_client() {
        for (key, hash, partition) in GOLDEN {
            assert_eq!(murmur2(key) as i32, *hash, "{key:?}");
            assert_eq!(partition_for_key(key, 6), *partition, "{key:?}");
        }
        let every_byte: Vec<u8> = (0..=255).collect();
        assert_eq!(murmur2(&every_byte) as i32, -1_948_347_274);
    }

    #[test]
    fn stays_with_one_partition_until_it_has_its_bytes() {
        let mut sticky = StickyPartition::default();
        let available = [0, 1, 2];
        let first = sticky.next(600, 1000, &available);
        assert_eq!(sticky.next(600, 1000, &available), first, "600 bytes are under the limit");
        assert_ne!(sticky.next(600, 1000, &available), first, "1200 bytes are over it");
    }

    #[test]
    fn leaves_a_partition_that_lost_its_leader() {
        let mut sticky = StickyPartition { current: Some(1), bytes: 0 };
        assert_ne!(sticky.next(1, 1000, &[0, 2]), 1);
        assert_eq!(sticky.next(1, 1000, &[5]), 5);
    }

    #[test]
    fn spreads_evenly() {
        let mut sticky = StickyPartition::default();
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[sticky.next(10, 10, &[0, 1, 2, 3]) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}

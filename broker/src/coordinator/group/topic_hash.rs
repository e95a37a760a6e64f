//! A number that changes whenever the topics that a group subscribes to change: created, deleted, made again, or more partitions.
//!
//! It stands in the group's record beside its epoch, so that a coordinator that comes back knows whether to assign anew. FNV-1a
//! of 64 bits, since the number must be the same in every run and only honest change has to change it.

use std::collections::BTreeSet;

use crate::metadata::MetadataImage;

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The hash of those of `names` that exist; 0 when none does.
pub(crate) fn hash_topics(names: &BTreeSet<&str>, image: &MetadataImage) -> u64 {
    let mut hash = 0;
    for topic in names.iter().filter_map(|name| image.topic(name)) {
        if hash == 0 {
            hash = OFFSET_BASIS;
        }
        // The id is of fixed length and belongs to one name, so nothing that follows can be taken for another topic.
        hash = fnv(hash, &topic.id.0);
        hash = fnv(hash, &topic.partition_count.to_be_bytes());
    }
    hash
}

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

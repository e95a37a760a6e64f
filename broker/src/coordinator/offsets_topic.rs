//! `__consumer_offsets`: which of its partitions a group belongs to, and how it comes into being.

use crate::config::BrokerConfig;
use crate::metadata::NewTopic;

/// The topic that groups are kept in.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The topic as it is created at the first need (`offsets.topic.*`). The controller adds what every internal topic must have: that
/// it is compacted, and that what is acknowledged is on disk, whatever is the default of other topics.
pub(crate) fn internal_topic_of(config: &BrokerConfig) -> NewTopic {
    let configs = [
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
    ];
    NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        num_partitions: config.offsets_topic_num_partitions,
        replication_factor: -1,
        configs: configs.into_iter().map(|(key, value)| (key.to_owned(), Some(value))).collect(),
        ..NewTopic::default()
    }
}

/// The partition that a group belongs to: the hash of Java's strings, so that the same group is in the same partition as with
/// Kafka.
pub(super) fn partition_of(group_id: &str, partitions: usize) -> usize {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let hash = hash.checked_abs().unwrap_or(0);
    usize::try_from(hash).unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_kafka_puts_them() {
        // From Apache Kafka 4.3: the folders in which it kept groups of these names.
        assert_eq!(partition_of("g1", 50), 42);
        assert_eq!(partition_of("", 50), 0);
        // This text hashes to -2^31, of which there is no absolute value.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
    }
}

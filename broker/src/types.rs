//! Newtypes for every number that can be confused: offsets, epochs, producer ids, partitions.
//!
//! Owns nothing but the types and their arithmetic. An `Offset` is a position in one partition's log, never a byte
//! position in a file (that is a plain `u64`) and never a count of records.

use std::fmt;
use std::sync::Arc;

/// The id of a topic: other than its name, it is never given to a second topic.
pub use ottla_protocol::Uuid as TopicId;

/// The position of a record in the log of one partition. Dense, rising, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of a partition that was never trimmed.
    pub const ZERO: Offset = Offset(0);

    /// The offset `records` further on. Saturates, so that a hostile count cannot wrap round to a valid offset.
    #[must_use]
    pub fn plus(self, records: i64) -> Offset {
        Offset(self.0.saturating_add(records))
    }

    /// The offset that follows this one.
    #[must_use]
    pub fn next(self) -> Offset {
        self.plus(1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<i64> for Offset {
    fn from(offset: i64) -> Self {
        Offset(offset)
    }
}

/// The term of a partition's leader; written into every batch, so that logs can be compared after a change of leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// No epoch known (Kafka's -1).
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an idempotent or transactional producer, handed out by InitProducerId.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// A batch without a producer id (Kafka's -1): neither idempotent nor transactional.
    pub const NONE: ProducerId = ProducerId(-1);

    /// Whether the batch carries an id at all.
    #[must_use]
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition by the name of its topic. Cheap to clone: the name is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name, already checked against Kafka's rules for names.
    pub topic: Arc<str>,
    /// The partition's index within the topic, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

/// `TOPIC-PARTITION`, which is also the name of the partition's folder.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_never_wraps() {
        assert_eq!(Offset(41).next(), Offset(42));
        assert_eq!(Offset(i64::MAX).next(), Offset(i64::MAX));
    }

    #[test]
    fn a_partition_is_named_as_its_folder() {
        assert_eq!(TopicPartition::new("a-b.c", 7).to_string(), "a-b.c-7");
    }
}

//! Records of a consumer group: what of it changes, without the group's id, which the group's shard adds.
//!
//! The values are those of Kafka's records, so that its tools read what is written here. A record without a value removes
//! what it names.

use std::sync::Arc;

use ottla_protocol::messages::group_records::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue, TopicPartition,
};

use super::assignment::Assignment;

/// One change of a consumer group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ConsumerGroupRecord {
    /// The group's epoch; without a value the group is gone.
    Epoch(Option<ConsumerGroupMetadataValue>),
    /// What a member asks for; without a value the member is gone.
    Member(Arc<str>, Option<ConsumerGroupMemberMetadataValue>),
    /// The epoch of the target assignment.
    TargetEpoch(Option<ConsumerGroupTargetAssignmentMetadataValue>),
    /// What a member is to own.
    TargetMember(Arc<str>, Option<ConsumerGroupTargetAssignmentMemberValue>),
    /// What a member owns.
    CurrentAssignment(Arc<str>, Option<ConsumerGroupCurrentMemberAssignmentValue>),
    /// The topics that a pattern stands for.
    Regex(String, Option<ConsumerGroupRegularExpressionValue>),
}

/// A target assignment as its record.
pub(crate) fn target_to_record(target: &Assignment) -> ConsumerGroupTargetAssignmentMemberValue {
    let topic_partitions = target
        .topics()
        .map(|(topic, partitions)| TopicPartition { topic_id: *topic, partitions: partitions.iter().copied().collect() })
        .collect();
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions }
}

/// The target assignment in a record.
pub(crate) fn target_from_record(record: &ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
    let topics = record.topic_partitions.iter();
    topics.flat_map(|topic| topic.partitions.iter().map(move |partition| (topic.topic_id, *partition))).collect()
}

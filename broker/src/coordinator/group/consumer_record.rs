//! Records of a consumer group: what of it changes, without the group's id, which the group's shard adds.
//!
//! The values are those of Kafka's records, so that its tools read what is written here. A record without a value removes
//! what it names.

use std::sync::Arc;

use ottla_protocol::messages::group_records::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue, TopicPartition,
};

use super::assignment::Assignment;
use super::group_record::GroupRecord;

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

impl ConsumerGroupRecord {
    /// The record as it stands in the log.
    pub(crate) fn into_group_record(self, group_id: &str) -> GroupRecord {
        let group_id = group_id.to_owned();
        match self {
            Self::Epoch(value) => {
                GroupRecord::ConsumerGroupMetadata { key: ConsumerGroupMetadataKey { group_id }, value }
            }
            Self::Member(member_id, value) => GroupRecord::ConsumerGroupMemberMetadata {
                key: ConsumerGroupMemberMetadataKey { group_id, member_id: member_id.to_string() },
                value,
            },
            Self::TargetEpoch(value) => GroupRecord::ConsumerGroupTargetAssignmentMetadata {
                key: ConsumerGroupTargetAssignmentMetadataKey { group_id },
                value,
            },
            Self::TargetMember(member_id, value) => GroupRecord::ConsumerGroupTargetAssignmentMember {
                key: ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: member_id.to_string() },
                value,
            },
            Self::CurrentAssignment(member_id, value) => GroupRecord::ConsumerGroupCurrentMemberAssignment {
                key: ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: member_id.to_string() },
                value,
            },
            Self::Regex(regular_expression, value) => GroupRecord::ConsumerGroupRegularExpression {
                key: ConsumerGroupRegularExpressionKey { group_id, regular_expression },
                value,
            },
        }
    }

    /// What a record of the log changes of which consumer group; `None` for a record of anything else.
    pub(crate) fn from_group_record(record: &GroupRecord) -> Option<(&str, Self)> {
        let (group_id, record) = match record {
            GroupRecord::ConsumerGroupMetadata { key, value } => (&key.group_id, Self::Epoch(value.clone())),
            GroupRecord::ConsumerGroupMemberMetadata { key, value } => {
                (&key.group_id, Self::Member(key.member_id.as_str().into(), value.clone()))
            }
            GroupRecord::ConsumerGroupTargetAssignmentMetadata { key, value } => {
                (&key.group_id, Self::TargetEpoch(value.clone()))
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember { key, value } => {
                (&key.group_id, Self::TargetMember(key.member_id.as_str().into(), value.clone()))
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment { key, value } => {
                (&key.group_id, Self::CurrentAssignment(key.member_id.as_str().into(), value.clone()))
            }
            GroupRecord::ConsumerGroupRegularExpression { key, value } => {
                (&key.group_id, Self::Regex(key.regular_expression.clone(), value.clone()))
            }
            GroupRecord::OffsetCommit { .. }
            | GroupRecord::GroupMetadata { .. }
            | GroupRecord::ConsumerGroupPartitionMetadata { .. } => return None,
        };
        Some((group_id, record))
    }

    /// Whether the record removes what it names.
    pub(crate) fn is_removal(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::TargetMember(_, value) => value.is_none(),
            Self::CurrentAssignment(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }
}

/// A target assignment as its record.
pub(crate) fn target_to_record(target: &Assignment) -> ConsumerGroupTargetAssignmentMemberValue {
    let topic_partitions = target
        .topics()
        .map(|(topic, partitions)| TopicPartition {
            topic_id: *topic,
            partitions: partitions.iter().copied().collect(),
        })
        .collect();
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions }
}

/// The target assignment in a record.
pub(crate) fn target_from_record(record: &ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
    let topics = record.topic_partitions.iter();
    topics.flat_map(|topic| topic.partitions.iter().map(move |partition| (topic.topic_id, *partition))).collect()
}

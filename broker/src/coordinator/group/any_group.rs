//! A group of either protocol: what can be asked of one without knowing which.
//!
//! Owns the choice between the kinds, and nothing of what either does (`classic.rs`, `consumer.rs`).

use ottla_protocol::messages::group_records::GroupMetadataKey;

use super::classic::{CONSUMER_PROTOCOL_TYPE, ClassicGroup};
use super::consumer::ConsumerGroup;
use super::consumer_draft::ConsumerDraft;
use super::error::GroupError;
use super::group_record::GroupRecord;
use super::listing::GroupKind;

/// A group of any kind.
#[derive(Debug)]
pub(super) enum Group {
    /// Members that join and sync, or none and only offsets.
    Classic(ClassicGroup),
    /// Members that send heartbeats and are assigned to by the group (KIP-848).
    Consumer(ConsumerGroup),
}

impl Group {
    pub(super) fn kind(&self) -> GroupKind {
        match self {
            Self::Classic(_) => GroupKind::Classic,
            Self::Consumer(_) => GroupKind::Consumer,
        }
    }

    pub(super) fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state().name(),
            Self::Consumer(group) => group.state().name(),
        }
    }

    pub(super) fn protocol_type(&self) -> Option<&str> {
        match self {
            Self::Classic(group) => group.protocol_type(),
            Self::Consumer(_) => Some(CONSUMER_PROTOCOL_TYPE),
        }
    }

    /// Whether it has no members and is in no rebalance.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.member_count() == 0,
        }
    }

    /// Whether a member reads the topic.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed_to(topic),
            Self::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    /// Whether offsets may be forgotten at all while it is as it is.
    pub(super) fn validate_offset_delete(&self) -> Result<(), GroupError> {
        match self {
            Self::Classic(group) if !group.is_empty() && !group.uses_consumer_protocol() => {
                Err(GroupError::NonEmptyGroup)
            }
            Self::Classic(_) | Self::Consumer(_) => Ok(()),
        }
    }

    /// The records that delete it.
    pub(super) fn tombstones(&self, id: &str) -> Vec<GroupRecord> {
        match self {
            Self::Classic(_) => {
                vec![GroupRecord::GroupMetadata { key: GroupMetadataKey { group: id.to_owned() }, value: None }]
            }
            Self::Consumer(group) => {
                let mut draft = ConsumerDraft::of(group);
                draft.remove_group();
                draft.into_records().into_iter().map(|record| record.into_group_record(id)).collect()
            }
        }
    }
}

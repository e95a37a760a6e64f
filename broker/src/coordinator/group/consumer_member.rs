//! A member of a consumer group: what it asks for, and how far it is on the way to what it is to own.
//!
//! Owns the member's fields and their records; who may change them stands in `consumer_reconcile` and `consumer_heartbeat`.
//! Members are immutable: a change is another value, so that groups can share them.
//!
//! Invariant: `subscribed_topics` is sorted, each name once; no partition is both assigned and pending revocation.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::group_records::{
    AssignedTopicPartitions, ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue,
};

use super::assignment::OwnedPartitions;

/// What the name of a topic takes in a subscription beside its text.
const TOPIC_BYTES: usize = 40;

/// The epoch of a member that joins.
pub(crate) const JOIN_EPOCH: i32 = 0;

/// The epoch of a member that leaves.
pub(crate) const LEAVE_EPOCH: i32 = -1;

/// The epoch of a static member that is gone and may come back.
pub(crate) const STATIC_LEAVE_EPOCH: i32 = -2;

/// Where a member stands on the way to its target assignment.
///
/// `Stable` -> `UnrevokedPartitions` (it has to give up partitions) or `UnreleasedPartitions` (others have yet to give up what
/// it is to get) or `Stable` in a newer epoch; from each of the two the same three ways go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It owns what it is to own in its epoch.
    Stable,
    /// It was told to give up partitions, and has not said that it did.
    UnrevokedPartitions,
    /// It owns what is free of its target; the rest belongs to others still.
    UnreleasedPartitions,
    /// Written by another version: the member has to give up everything and join again.
    Unknown,
}

impl MemberState {
    /// The number in the member's record.
    pub(crate) fn to_i8(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => 127,
        }
    }

    /// The state with this number.
    pub(crate) fn from_i8(number: i8) -> Self {
        match number {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }
}

/// What a member of the classic protocol said in its JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassicMember {
    /// How long it may be silent.
    pub(crate) session_timeout_ms: i32,
    /// The protocols that it supports with their embedded subscription, the preferred one first.
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// A member. See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerMember {
    /// Its id, unique in the group.
    pub(crate) member_id: Arc<str>,
    /// The name by which a static member comes back (KIP-345).
    pub(crate) instance_id: Option<String>,
    /// Its rack.
    pub(crate) rack_id: Option<String>,
    /// The client id of its last request that changed anything.
    pub(crate) client_id: String,
    /// The address that request came from, as Kafka writes it.
    pub(crate) client_host: String,
    /// How long it may take to give up partitions, in milliseconds.
    pub(crate) rebalance_timeout_ms: i32,
    /// The topics that it subscribes to by name.
    pub(crate) subscribed_topics: Vec<String>,
    /// The pattern that it subscribes to; empty for none.
    pub(crate) subscribed_regex: String,
    /// The assignor that it prefers.
    pub(crate) server_assignor: Option<String>,
    /// What makes it a member of the classic protocol; `None` for one of the consumer protocol.
    pub(crate) classic: Option<ClassicMember>,
    /// Its epoch: that of the assignment that it has reached.
    pub(crate) epoch: i32,
    /// The epoch before: the answer that told it the newer one may have been lost.
    pub(crate) previous_epoch: i32,
    /// Where it stands.
    pub(crate) state: MemberState,
    /// What it owns, or may own as soon as it hears of it.
    pub(crate) assigned: OwnedPartitions,
    /// What it owns and has to give up.
    pub(crate) pending_revocation: OwnedPartitions,
}

impl ConsumerMember {
    /// A member that nothing is known of.
    pub(crate) fn new(member_id: Arc<str>) -> Self {
        ConsumerMember {
            member_id,
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            subscribed_topics: Vec::new(),
            subscribed_regex: String::new(),
            server_assignor: None,
            classic: None,
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: OwnedPartitions::default(),
            pending_revocation: OwnedPartitions::default(),
        }
    }

    /// Whether it owns what it is to own in `target_epoch`.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Whether both ask for the same: whatever else changes needs no other target.
    pub(crate) fn subscribes_like(&self, other: &ConsumerMember) -> bool {
        self.subscribed_topics == other.subscribed_topics && self.subscribed_regex == other.subscribed_regex
    }

    /// What it says about itself takes in memory, more or less.
    pub(crate) fn metadata_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let classic = self.classic.iter().flat_map(|classic| &classic.protocols);
        self.member_id.len()
            + text(&self.instance_id)
            + text(&self.rack_id)
            + text(&self.server_assignor)
            + self.client_id.len()
            + self.client_host.len()
            + self.subscribed_topics.iter().map(|topic| TOPIC_BYTES + topic.len()).sum::<usize>()
            + self.subscribed_regex.len()
            + classic.map(|(name, metadata)| name.len() + metadata.len()).sum::<usize>()
    }

    /// Everything that the member owns, given up soon or not.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (crate::types::TopicId, i32)> {
        let both = self.assigned.iter().chain(self.pending_revocation.iter());
        both.map(|(topic, partition, _)| (topic, partition))
    }

    /// Moves to `epoch`; the one before stays known.
    pub(crate) fn move_to_epoch(&mut self, epoch: i32) {
        if epoch != self.epoch {
            self.previous_epoch = self.epoch;
            self.epoch = epoch;
        }
    }

    /// What it asks for, as its record.
    pub(crate) fn to_metadata(&self) -> ConsumerGroupMemberMetadataValue {
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.subscribed_topics.clone(),
            subscribed_topic_regex: Some(self.subscribed_regex.clone()),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.server_assignor.clone(),
            classic_member_metadata: self.classic.as_ref().map(|classic| ClassicMemberMetadata {
                session_timeout_ms: classic.session_timeout_ms,
                supported_protocols: classic
                    .protocols
                    .iter()
                    .map(|(name, metadata)| ClassicProtocol { name: name.clone(), metadata: metadata.clone() })
                    .collect(),
            }),
        }
    }

    /// The same member as it asks in `value`.
    pub(crate) fn with_metadata(&self, value: &ConsumerGroupMemberMetadataValue) -> Self {
        ConsumerMember {
            instance_id: value.instance_id.clone(),
            rack_id: value.rack_id.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            subscribed_topics: sorted_names(value.subscribed_topic_names.clone()),
            subscribed_regex: value.subscribed_topic_regex.clone().unwrap_or_default(),
            server_assignor: value.server_assignor.clone(),
            classic: value.classic_member_metadata.as_ref().map(|classic| ClassicMember {
                session_timeout_ms: classic.session_timeout_ms,
                protocols: classic
                    .supported_protocols
                    .iter()
                    // A copy: the record is a part of a whole request.
                    .map(|protocol| (protocol.name.clone(), Bytes::copy_from_slice(&protocol.metadata)))
                    .collect(),
            }),
            ..self.clone()
        }
    }

    /// What it owns, as its record.
    pub(crate) fn to_current_assignment(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.to_i8(),
            assigned_partitions: owned_to_record(&self.assigned),
            partitions_pending_revocation: owned_to_record(&self.pending_revocation),
        }
    }

    /// The same member as it owns in `value`; as one that owns nothing where there is no value.
    pub(crate) fn with_current_assignment(&self, value: Option<&ConsumerGroupCurrentMemberAssignmentValue>) -> Self {
        let mut member = self.clone();
        match value {
            Some(value) => {
                member.epoch = value.member_epoch;
                member.previous_epoch = value.previous_member_epoch;
                member.state = MemberState::from_i8(value.state);
                member.assigned = owned_from_record(&value.assigned_partitions, value.member_epoch);
                member.pending_revocation = owned_from_record(&value.partitions_pending_revocation, value.member_epoch);
            }
            None => {
                member.epoch = LEAVE_EPOCH;
                member.previous_epoch = LEAVE_EPOCH;
                member.state = MemberState::Stable;
                member.assigned = OwnedPartitions::default();
                member.pending_revocation = OwnedPartitions::default();
            }
        }
        member
    }
}

/// Names in order, each once.
pub(crate) fn sorted_names(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

fn owned_to_record(owned: &OwnedPartitions) -> Vec<AssignedTopicPartitions> {
    owned
        .topics()
        .map(|(topic, partitions)| AssignedTopicPartitions {
            topic_id: *topic,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        })
        .collect()
}

/// A record from before KIP-1251 has no epochs: what it names counts as got in the member's own.
fn owned_from_record(record: &[AssignedTopicPartitions], member_epoch: i32) -> OwnedPartitions {
    record
        .iter()
        .flat_map(|topic| {
            let epochs = topic.assignment_epochs.as_ref().filter(|epochs| epochs.len() == topic.partitions.len());
            topic.partitions.iter().enumerate().map(move |(at, partition)| {
                (topic.topic_id, *partition, epochs.map_or(member_epoch, |epochs| epochs[at]))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_survives_its_records() {
        let topic = ottla_protocol::Uuid([7; 16]);
        let member = ConsumerMember {
            instance_id: Some("one".to_owned()),
            rack_id: Some("rack".to_owned()),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout_ms: 5_000,
            subscribed_topics: vec!["a".to_owned(), "b".to_owned()],
            subscribed_regex: "c.*".to_owned(),
            server_assignor: Some("range".to_owned()),
            classic: Some(ClassicMember {
                session_timeout_ms: 45_000,
                protocols: vec![("range".to_owned(), Bytes::from_static(b"subscription"))],
            }),
            epoch: 7,
            previous_epoch: 6,
            state: MemberState::UnrevokedPartitions,
            assigned: [(topic, 0, 5), (topic, 1, 7)].into_iter().collect(),
            pending_revocation: [(topic, 2, 5)].into_iter().collect(),
            ..ConsumerMember::new("member".into())
        };
        let replayed = ConsumerMember::new("member".into())
            .with_metadata(&member.to_metadata())
            .with_current_assignment(Some(&member.to_current_assignment()));
        assert_eq!(replayed, member);
        assert_eq!(MemberState::from_i8(5), MemberState::Unknown);
    }

    #[test]
    fn partitions_without_epochs_count_as_got_in_the_members_own() {
        let topic = ottla_protocol::Uuid([7; 16]);
        for assignment_epochs in [None, Some(vec![1])] {
            let record = [AssignedTopicPartitions { topic_id: topic, partitions: vec![0, 3], assignment_epochs }];
            assert_eq!(owned_from_record(&record, 9), [(topic, 0, 9), (topic, 3, 9)].into_iter().collect());
        }
    }
}

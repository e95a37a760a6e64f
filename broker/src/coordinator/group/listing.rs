//! ListGroups, DescribeGroups and DeleteGroups: the groups as operators see them.

use bytes::Bytes;

use super::any_group::Group;
use super::classic::{ClassicGroup, ClassicState};
use super::error::GroupError;
use super::group_shard::GroupShard;
use super::offset_store::{CHANGE_BYTES_MAX, record_bytes, tombstones};
use super::outcome::{Effects, Outcome};

/// Which protocol a group speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupKind {
    /// JoinGroup and SyncGroup.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

impl GroupKind {
    /// The kind as clients read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }

    /// The kind that a client means, in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Classic, Self::Consumer].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// Which groups are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupFilter {
    /// Names of states in lower case; none for all.
    pub(crate) states: Vec<String>,
    /// Kinds; `None` for all, and nothing matches a name that is no kind.
    pub(crate) kinds: Option<Vec<GroupKind>>,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedGroup {
    /// Its id.
    pub(crate) group_id: String,
    /// Its protocol type; empty for one that only keeps offsets.
    pub(crate) protocol_type: String,
    /// The name of its state.
    pub(crate) state: &'static str,
    /// Its kind.
    pub(crate) kind: GroupKind,
}

/// A classic group, told in full.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DescribedGroup {
    /// The name of its state.
    pub(crate) state: &'static str,
    /// Since when it is in that state, in milliseconds since 1970; -1 if nobody knows.
    pub(crate) state_since_ms: i64,
    /// Its protocol type; empty for one that only keeps offsets.
    pub(crate) protocol_type: String,
    /// What its members speak, while it is stable.
    pub(crate) protocol: String,
    /// Its members.
    pub(crate) members: Vec<DescribedMember>,
}

/// A member of a described group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DescribedMember {
    /// Its id.
    pub(crate) member_id: String,
    /// Of a static member.
    pub(crate) instance_id: Option<String>,
    /// Who the client says it is.
    pub(crate) client_id: String,
    /// Where it calls from.
    pub(crate) client_host: String,
    /// What it says in the group's protocol, while the group is stable.
    pub(crate) metadata: Bytes,
    /// What it has to do.
    pub(crate) assignment: Bytes,
    /// When it was last heard of, in milliseconds since 1970; -1 if it was not since the broker's start.
    pub(crate) last_heard_ms: i64,
    /// The rebalance that is under way waits for it.
    pub(crate) is_awaited: bool,
}

impl GroupShard {
    /// The groups that pass the filter, in no order.
    pub(crate) fn list(&self, filter: &GroupFilter) -> Vec<ListedGroup> {
        let state_passes =
            |state: &str| filter.states.is_empty() || filter.states.contains(&state.to_ascii_lowercase());
        let kind_passes = |kind: GroupKind| filter.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        self.groups()
            .filter(|(_, group)| kind_passes(group.kind()) && state_passes(group.state_name()))
            .map(|(id, group)| ListedGroup {
                group_id: id.to_string(),
                protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
                state: group.state_name(),
                kind: group.kind(),
            })
            .collect()
    }

    /// A classic group in full.
    ///
    /// # Errors
    /// There is none of that id.
    pub(crate) fn describe_classic(&self, group_id: &str) -> Result<DescribedGroup, GroupError> {
        match self.group(group_id) {
            Some(Group::Classic(group)) => Ok(describe(group)),
            Some(Group::Consumer(_)) | None => Err(GroupError::GroupIdNotFound),
        }
    }

    /// Deletes a group without members, with its offsets.
    ///
    /// # Errors
    /// There is no such group, or it has members.
    pub(crate) fn delete_group(&mut self, group_id: &str) -> Outcome<Result<(), GroupError>> {
        let Some(group) = self.group(group_id) else { return Outcome::of(Err(GroupError::GroupIdNotFound)) };
        if !group.is_empty() {
            return Outcome::of(Err(GroupError::NonEmptyGroup));
        }
        let offsets = self.offsets_of(group_id).into_iter().flatten();
        let sizes = offsets.map(|(topic, partitions)| record_bytes(group_id, topic, "") * partitions.len());
        if sizes.sum::<usize>() > CHANGE_BYTES_MAX {
            return Outcome::of(Err(GroupError::ChangeTooLarge));
        }
        let mut records: Vec<_> =
            self.offsets_of(group_id).into_iter().flat_map(|offsets| tombstones(group_id, offsets)).collect();
        records.extend(group.tombstones(group_id));
        Outcome { answer: Ok(()), effects: Effects { records, ..Effects::default() } }
    }
}

fn describe(group: &ClassicGroup) -> DescribedGroup {
    let protocol = group.protocol().filter(|_| group.state() == ClassicState::Stable);
    let members = group.members().map(|(id, member)| DescribedMember {
        member_id: id.to_string(),
        instance_id: member.instance_id.clone(),
        client_id: member.client.client_id.clone(),
        client_host: member.client.client_host.clone(),
        metadata: protocol.and_then(|protocol| member.metadata(protocol)).unwrap_or_default(),
        assignment: member.assignment.clone(),
        last_heard_ms: member.last_heard_ms,
        is_awaited: group.awaits(id, member),
    });
    DescribedGroup {
        state: group.state().name(),
        state_since_ms: group.state_since_ms(),
        protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
        protocol: protocol.unwrap_or_default().to_owned(),
        members: members.collect(),
    }
}

//! OffsetCommit and OffsetDelete: who may move a group's offsets, and the records that do.

use std::sync::Arc;

use ottla_protocol::Uuid;

use super::any_group::Group;
use super::classic::{ClassicGroup, Context};
use super::consumer_offsets::check_commit;
use super::error::GroupError;
use super::group_shard::GroupShard;
use super::offset_store::{CHANGE_BYTES_MAX, CommittedOffset, record_bytes, tombstone};
use super::outcome::{Effects, Outcome};
use super::timers::Moment;

/// In whose name offsets are committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committer {
    /// Empty for a client that belongs to no group.
    pub(crate) member_id: String,
    /// Of a static member.
    pub(crate) instance_id: Option<String>,
    /// The generation, or the epoch of a member of a consumer group; -1 for a client that belongs to no group.
    pub(crate) generation: i32,
}

/// An offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetToCommit {
    /// The topic's name; the topic exists.
    pub(crate) topic: Arc<str>,
    /// The topic's id.
    pub(crate) topic_id: Uuid,
    /// The partition; it exists.
    pub(crate) partition: i32,
    /// The next offset that the group wants to read.
    pub(crate) offset: i64,
    /// The leader epoch of the last record that was read, or -1.
    pub(crate) leader_epoch: i32,
    /// What the client wants to find beside it.
    pub(crate) metadata: String,
}

impl GroupShard {
    /// Commits offsets; says of each, in their order, whether it was. `expires_in_ms` is the time after which they expire
    /// whatever else is so; only clients of before KIP-211 have one. A group that does not exist comes into being for a client that
    /// belongs to none; `unknown_group` is the refusal for all others.
    ///
    /// # Errors
    /// Nothing was committed: the group, the member or the generation is not the right one, no batch could hold it all, or the
    /// offsets of all groups take as much memory as they may.
    pub(crate) fn commit_offsets(
        &mut self,
        group_id: &str,
        committer: &Committer,
        offsets: Vec<OffsetToCommit>,
        expires_in_ms: Option<i64>,
        unknown_group: GroupError,
        now: Moment,
    ) -> Outcome<Result<Vec<Result<(), GroupError>>, GroupError>> {
        let mut effects = Effects::default();
        let valid = self.validate_commit(group_id, committer, &offsets, unknown_group, now, &mut effects);
        if let Err(error) = valid {
            return Outcome { answer: Err(error), effects };
        }
        let sizes = offsets.iter().map(|offset| record_bytes(group_id, &offset.topic, &offset.metadata));
        if sizes.sum::<usize>() > CHANGE_BYTES_MAX {
            return Outcome { answer: Err(GroupError::ChangeTooLarge), effects };
        }
        let to_keep = offsets.iter().map(|offset| (&*offset.topic, offset.partition, offset.metadata.as_str()));
        if !self.offsets.has_room_for(group_id, to_keep) {
            // Clients try again: offsets expire, and an operator may delete some.
            return Outcome { answer: Err(GroupError::CoordinatorNotAvailable), effects };
        }
        let metadata_max = self.config().offset_metadata_max_bytes;
        let mut results = Vec::with_capacity(offsets.len());
        for to_commit in offsets {
            // Java counts characters of UTF-16.
            if to_commit.metadata.encode_utf16().count() > metadata_max {
                results.push(Err(GroupError::OffsetMetadataTooLarge));
                continue;
            }
            let offset = CommittedOffset {
                offset: to_commit.offset,
                leader_epoch: to_commit.leader_epoch,
                metadata: to_commit.metadata.into(),
                commit_timestamp_ms: now.wall_ms,
                expire_timestamp_ms: expires_in_ms.map_or(-1, |ms| now.wall_ms.saturating_add(ms)),
                topic_id: to_commit.topic_id,
            };
            effects.records.push(offset.to_record(group_id, &to_commit.topic, to_commit.partition));
            results.push(Ok(()));
        }
        Outcome { answer: Ok(results), effects }
    }

    fn validate_commit(
        &mut self,
        group_id: &str,
        committer: &Committer,
        offsets: &[OffsetToCommit],
        unknown_group: GroupError,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        let mut parts = self.parts(now, effects);
        match parts.groups.get_mut(group_id) {
            // The group comes into being with the replay of the first offset.
            None if committer.generation < 0 => parts.room_for_group(),
            None => Err(unknown_group),
            Some(Group::Classic(group)) => commit_as_classic_member(group, committer, &mut parts.context),
            Some(Group::Consumer(group)) => {
                let partitions = offsets.iter().map(|offset| (offset.topic_id, offset.partition));
                check_commit(group, &committer.member_id, committer.generation, partitions)
            }
        }
    }

    /// Forgets committed offsets of partitions that exist; says of each topic whether its offsets may be forgotten.
    ///
    /// # Errors
    /// Nothing was forgotten: there is no such group, it has members that are no consumers, or no batch could hold it all.
    pub(crate) fn delete_offsets(
        &mut self,
        group_id: &str,
        topics: &[(Arc<str>, Vec<i32>)],
    ) -> Outcome<Result<Vec<Result<(), GroupError>>, GroupError>> {
        let Some(group) = self.group(group_id) else { return Outcome::of(Err(GroupError::GroupIdNotFound)) };
        if let Err(error) = group.validate_offset_delete() {
            return Outcome::of(Err(error));
        }
        let sizes = topics.iter().map(|(topic, partitions)| record_bytes(group_id, topic, "") * partitions.len());
        if sizes.sum::<usize>() > CHANGE_BYTES_MAX {
            return Outcome::of(Err(GroupError::ChangeTooLarge));
        }
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(topics.len());
        for (topic, partitions) in topics {
            if group.is_subscribed_to(topic) {
                results.push(Err(GroupError::GroupSubscribedToTopic));
                continue;
            }
            let committed = partitions.iter().filter(|&&partition| self.offset(group_id, topic, partition).is_some());
            records.extend(committed.map(|&partition| tombstone(group_id, topic, partition)));
            results.push(Ok(()));
        }
        Outcome { answer: Ok(results), effects: Effects { records, ..Effects::default() } }
    }
}

fn commit_as_classic_member(
    group: &mut ClassicGroup,
    committer: &Committer,
    context: &mut Context<'_>,
) -> Result<(), GroupError> {
    group.validate_commit(committer)?;
    group.on_commit(&committer.member_id, context);
    Ok(())
}

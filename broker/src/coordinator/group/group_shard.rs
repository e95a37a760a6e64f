//! The groups of one partition of `__consumer_offsets`, of either protocol, in one name space.
//!
//! # How to work with it
//! A request handler is a method that takes the request and the [`Moment`] and returns an [`Outcome`]: the answer, records,
//! and answers for others who wait. It may change memory of the live coordinator at once; what a restart brings back it
//! changes by records only. The runtime appends them as one batch, feeds each to [`GroupShard::replay`] and lets the answers
//! go when the batch is durable. When the append fails it refuses all answers, and the handler must have left things such that
//! the same can be asked again. Deadlines are timers with a [`TimerKey`]; [`GroupShard::on_time`] handles one that is due.
//! Reading methods take `&self`; the runtime holds their answers back until everything that was replayed is durable.
//!
//! # Two kinds of groups
//! [`Group`] is the one place where they meet: whoever adds a kind adds a variant, its arms (`any_group.rs`), and its records in
//! `replay`. A group changes its kind online by records that delete the one and make the other.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;

use super::any_group::Group;
use super::classic::{ClassicGroup, Context, JoinAnswer, JoinGroup, LeaveGroup, SyncAnswer, SyncGroup};
use super::config::GroupConfig;
use super::consumer_context::KnownTopics;
use super::consumer_record::ConsumerGroupRecord;
use super::consumer_shard::ConsumerMemories;
use super::error::GroupError;
use super::group_record::GroupRecord;
use super::members_bytes::MembersBudget;
use super::offset_store::{CommittedOffset, GroupOffsets, OffsetStore};
use super::offsets_bytes::OffsetsBudget;
use super::outcome::{Effects, FollowUp, Outcome, Token};
use super::pending_members::PendingMembers;
use super::timers::{Moment, Timers};

/// How many groups one shard keeps: with 50 shards, a million.
const GROUPS_MAX: usize = 20_000;

/// What the names of groups may take in one shard of which nothing is on record: anybody can begin to join a group that is never
/// heard of again, and a name may have 32 KB. It is enough for as many groups as a shard keeps, with names of 50 bytes.
const UNRECORDED_NAMES_BYTES_MAX: usize = 1 << 20;

/// What a deadline is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimerKey {
    /// The session of a classic member, or the time to use an id that was handed out.
    Session {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// The time to join of a classic group.
    ClassicJoin {
        /// The group.
        group: Arc<str>,
    },
    /// The time to sync of a classic group.
    ClassicSync {
        /// The group.
        group: Arc<str>,
    },
    /// The earliest deadline of any member of a consumer group.
    Consumer {
        /// The group.
        group: Arc<str>,
    },
}

/// The groups of one partition. See the module's text.
#[derive(Debug)]
pub(crate) struct GroupShard {
    pub(super) config: Arc<GroupConfig>,
    pub(super) groups: HashMap<Arc<str>, Group>,
    /// What the names of groups take of which nothing is on record.
    pub(super) unrecorded_names_bytes: usize,
    /// What members may say in all shards.
    pub(super) members_budget: MembersBudget,
    /// The ids of all classic groups that nobody has joined with.
    pub(super) pending_members: PendingMembers,
    pub(super) offsets: OffsetStore,
    pub(super) timers: Timers<TimerKey>,
    pub(super) random: StdRng,
    /// The topics that consumer groups assign.
    pub(super) topics: KnownTopics,
    pub(super) memories: ConsumerMemories,
}

/// The shard taken apart, so that a group can be changed while timers are armed and effects noted.
pub(super) struct Parts<'a> {
    pub(super) groups: &'a mut HashMap<Arc<str>, Group>,
    pub(super) random: &'a mut StdRng,
    pub(super) context: Context<'a>,
}

fn has_room(groups: &HashMap<Arc<str>, Group>) -> bool {
    groups.len() < GROUPS_MAX
}

impl Parts<'_> {
    /// Refuses when there are as many groups as there may be.
    pub(super) fn room_for_group(&self) -> Result<(), GroupError> {
        if has_room(self.groups) { Ok(()) } else { Err(GroupError::CoordinatorNotAvailable) }
    }
}

impl GroupShard {
    /// A shard without groups. Member ids come from `random`.
    pub(crate) fn new(config: Arc<GroupConfig>, budgets: (MembersBudget, OffsetsBudget), random: StdRng) -> Self {
        let (members_budget, offsets_budget) = budgets;
        Self {
            config,
            groups: HashMap::new(),
            unrecorded_names_bytes: 0,
            members_budget,
            pending_members: PendingMembers::default(),
            offsets: OffsetStore::of_budget(offsets_budget),
            timers: Timers::default(),
            random,
            topics: KnownTopics::default(),
            memories: ConsumerMemories::default(),
        }
    }

    /// Applies a record of the log. The only way in which anything changes that a restart brings back.
    pub(crate) fn replay(&mut self, record: &GroupRecord, now: Moment) {
        match record {
            GroupRecord::OffsetCommit { key, value } => {
                if value.is_some() {
                    // Whoever belongs to no group has one nevertheless, which keeps the offsets.
                    self.put_recorded(&key.group, now);
                }
                self.offsets.replay(key, value.as_ref());
            }
            GroupRecord::GroupMetadata { key, value: Some(value) } => {
                if let Some(Group::Consumer(_)) = self.groups.get(key.group.as_str()) {
                    self.forget(&key.group);
                }
                self.put_recorded(&key.group, now);
                let Self { groups, timers, .. } = self;
                if let Some(Group::Classic(group)) = groups.get_mut(key.group.as_str()) {
                    group.replay(value, timers);
                }
            }
            GroupRecord::GroupMetadata { key, value: None } => {
                if let Some(Group::Classic(_)) = self.groups.get(key.group.as_str()) {
                    self.forget(&key.group);
                }
            }
            GroupRecord::ConsumerGroupMetadata { .. }
            | GroupRecord::ConsumerGroupPartitionMetadata { .. }
            | GroupRecord::ConsumerGroupMemberMetadata { .. }
            | GroupRecord::ConsumerGroupTargetAssignmentMetadata { .. }
            | GroupRecord::ConsumerGroupTargetAssignmentMember { .. }
            | GroupRecord::ConsumerGroupCurrentMemberAssignment { .. }
            | GroupRecord::ConsumerGroupRegularExpression { .. } => {
                if let Some((group_id, record)) = ConsumerGroupRecord::from_group_record(record) {
                    self.replay_consumer(group_id, &record);
                }
            }
        }
    }

    /// Begins all sessions, once the whole log was replayed.
    pub(crate) fn on_loaded(&mut self, now: Moment) -> Effects {
        self.keep_offsets_without_group(now);
        let mut effects = Effects::default();
        let mut parts = self.parts(now, &mut effects);
        for group in parts.groups.values_mut() {
            match group {
                Group::Classic(group) => group.on_loaded(&mut parts.context),
                Group::Consumer(_) => {}
            }
        }
        self.on_consumer_groups_loaded(now);
        effects
    }

    /// Gives offsets whose group was deleted a group that only keeps them, so that they are seen and can be deleted and expire.
    /// An empty consumer group goes when a classic member joins, and its offsets stay for that one's group.
    fn keep_offsets_without_group(&mut self, now: Moment) {
        let ids: Vec<Arc<str>> =
            self.offsets.group_ids().filter(|id| !self.groups.contains_key(*id)).cloned().collect();
        ids.iter().for_each(|id| self.put_recorded(id, now));
    }

    /// When a deadline is next due, in monotonic milliseconds.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.timers.next_due_ms()
    }

    /// Handles one deadline that is due; `None` if there is none.
    pub(crate) fn on_time(&mut self, now: Moment) -> Option<Effects> {
        let key = self.timers.pop_due(now.monotonic_ms)?;
        let mut effects = Effects::default();
        if let TimerKey::Consumer { group: id } = &key {
            self.expire_consumer_members(id, now, &mut effects);
            return Some(effects);
        }
        let mut parts = self.parts(now, &mut effects);
        let (TimerKey::Session { group: id, .. }
        | TimerKey::ClassicJoin { group: id }
        | TimerKey::Consumer { group: id }
        | TimerKey::ClassicSync { group: id }) = &key;
        if let Some(Group::Classic(group)) = parts.groups.get_mut(id) {
            match &key {
                TimerKey::Session { member, .. } => group.on_session_timer(member, &mut parts.context),
                TimerKey::ClassicJoin { .. } => group.on_join_timer(&mut parts.context),
                TimerKey::ClassicSync { .. } => group.on_sync_timer(&mut parts.context),
                TimerKey::Consumer { .. } => {}
            }
        }
        self.forget_if_unused(id);
        Some(effects)
    }

    /// Goes on after an outcome whose records were `written` and replayed, or could not be appended.
    pub(crate) fn follow_up(&mut self, follow_up: FollowUp, written: Result<(), GroupError>, now: Moment) -> Effects {
        let mut effects = Effects::default();
        match (follow_up, written) {
            (FollowUp::Downgraded(group_id), Ok(())) => return self.on_downgraded(&group_id, now),
            (FollowUp::Join(request, token), Ok(())) => return self.join(*request, token, now).effects,
            (FollowUp::Join(request, token), Err(error)) => {
                effects.answer_join(token, JoinAnswer::error(error, &request.member_id));
            }
            (FollowUp::Remembered { group, member }, Err(_)) => self.forget_stranger(&group, &member),
            (FollowUp::Assigned(group_id), Err(_)) => {
                let mut parts = self.parts(now, &mut effects);
                if let Some(Group::Classic(group)) = parts.groups.get_mut(&group_id) {
                    group.on_assignment_refused(&mut parts.context);
                }
            }
            (FollowUp::Remembered { .. } | FollowUp::Assigned(_), Ok(())) | (FollowUp::Downgraded(_), Err(_)) => {}
        }
        effects
    }

    /// Asks the members of a group to join that was a consumer group until now.
    fn on_downgraded(&mut self, group_id: &str, now: Moment) -> Effects {
        let mut effects = Effects::default();
        let mut parts = self.parts(now, &mut effects);
        if let Some(Group::Classic(group)) = parts.groups.get_mut(group_id) {
            group.on_downgraded(&mut parts.context);
        }
        effects
    }

    /// JoinGroup; `token` is answered now or later.
    pub(crate) fn join(&mut self, request: JoinGroup, token: Token, now: Moment) -> Outcome<()> {
        let mut effects = Effects::default();
        let group_id = request.group_id.clone();
        if let Err((error, member_id)) = self.try_join(request, token, now, &mut effects) {
            effects.answer_join(token, JoinAnswer::error(error, &member_id));
        }
        self.forget_if_unused(&group_id);
        self.take_back_pending_members(now, &mut effects);
        Outcome { answer: (), effects }
    }

    fn try_join(
        &mut self,
        request: JoinGroup,
        token: Token,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), (GroupError, String)> {
        if request.group_id.is_empty() {
            return Err((GroupError::InvalidGroupId, request.member_id));
        }
        let allowed = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err((GroupError::InvalidSessionTimeout, request.member_id));
        }
        match self.groups.get(request.group_id.as_str()) {
            Some(Group::Classic(_)) => {}
            Some(Group::Consumer(group)) if group.member_count() > 0 => {
                let answer =
                    self.join_consumer_group(&request, now, effects).map_err(|error| (error, String::new()))?;
                effects.answer_join(token, answer);
                return Ok(());
            }
            Some(Group::Consumer(_)) | None if !request.member_id.is_empty() => {
                return Err((GroupError::UnknownMemberId, request.member_id));
            }
            // Nobody is in it: when that is on record it is gone, and a classic group takes its place and its offsets.
            Some(group @ Group::Consumer(_)) => {
                effects.records.extend(group.tombstones(&request.group_id));
                effects.follow_up = Some(FollowUp::Join(Box::new(request), token));
                return Ok(());
            }
            None => {
                self.make_group_to_join(&request.group_id, now).map_err(|error| (error, request.member_id.clone()))?
            }
        }
        let mut parts = self.parts(now, effects);
        match parts.groups.get_mut(request.group_id.as_str()) {
            Some(Group::Classic(group)) => group.join(request, token, parts.random, &mut parts.context),
            Some(Group::Consumer(_)) | None => unreachable!("it was just looked up or made"),
        }
        Ok(())
    }

    /// Makes a group that somebody wants to join; it is on record if there are offsets of that name.
    fn make_group_to_join(&mut self, group_id: &str, now: Moment) -> Result<(), GroupError> {
        let is_recorded = self.offsets.of_group(group_id).is_some();
        let has_room_for_name =
            is_recorded || self.unrecorded_names_bytes + group_id.len() <= UNRECORDED_NAMES_BYTES_MAX;
        if !self.has_room_for_group() || !has_room_for_name {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.put_if_missing(group_id, now);
        if is_recorded {
            self.set_recorded(group_id);
        }
        Ok(())
    }

    /// Takes back ids that were handed out, the oldest ones first, while all of them take more than they may.
    fn take_back_pending_members(&mut self, now: Moment, effects: &mut Effects) {
        while let Some((group_id, member_id)) = self.pending_members.one_too_many() {
            let mut parts = self.parts(now, effects);
            if let Some(Group::Classic(group)) = parts.groups.get_mut(&group_id) {
                group.take_back(&member_id, &mut parts.context);
            }
            self.forget_if_unused(&group_id);
        }
    }

    /// SyncGroup; `token` is answered now or later.
    pub(crate) fn sync(&mut self, request: &SyncGroup, token: Token, now: Moment) -> Outcome<()> {
        let mut effects = Effects::default();
        let refusal = if request.group_id.is_empty() {
            Some(GroupError::InvalidGroupId)
        } else {
            let mut parts = self.parts(now, &mut effects);
            match parts.groups.get_mut(request.group_id.as_str()) {
                Some(Group::Classic(group)) => {
                    group.sync(request, token, &mut parts.context);
                    None
                }
                Some(Group::Consumer(_)) => match self.sync_consumer_group(request, now, &mut effects) {
                    Ok(answer) => {
                        effects.answer_sync(token, answer);
                        None
                    }
                    Err(error) => Some(error),
                },
                None => Some(GroupError::UnknownMemberId),
            }
        };
        if let Some(error) = refusal {
            effects.answer_sync(token, SyncAnswer::error(error));
        }
        Outcome { answer: (), effects }
    }

    /// Heartbeat of a classic member.
    pub(crate) fn heartbeat(
        &mut self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Moment,
    ) -> Outcome<Result<(), GroupError>> {
        if group_id.is_empty() {
            return Outcome::of(Err(GroupError::InvalidGroupId));
        }
        let mut effects = Effects::default();
        let mut parts = self.parts(now, &mut effects);
        let answer = match parts.groups.get_mut(group_id) {
            Some(Group::Classic(group)) => group.heartbeat(member_id, instance_id, generation, &mut parts.context),
            Some(Group::Consumer(_)) => {
                self.heartbeat_consumer_group(group_id, (member_id, instance_id), generation, now, &mut effects)
            }
            None => Err(GroupError::UnknownMemberId),
        };
        Outcome { answer, effects }
    }

    /// LeaveGroup: says of each member whether it left.
    ///
    /// # Errors
    /// The group's id is none.
    pub(crate) fn leave(
        &mut self,
        request: &LeaveGroup,
        now: Moment,
    ) -> Outcome<Result<Vec<Result<(), GroupError>>, GroupError>> {
        if request.group_id.is_empty() {
            return Outcome::of(Err(GroupError::InvalidGroupId));
        }
        let mut effects = Effects::default();
        let mut parts = self.parts(now, &mut effects);
        let results = match parts.groups.get_mut(request.group_id.as_str()) {
            Some(Group::Classic(group)) => {
                let results = group.leave(&request.members, &mut parts.context);
                self.forget_if_unused(&request.group_id);
                results
            }
            Some(Group::Consumer(_)) => {
                let left = self.leave_consumer_group(&request.group_id, &request.members, now, &mut effects);
                return Outcome { answer: left, effects };
            }
            None => vec![Err(GroupError::UnknownMemberId); request.members.len()],
        };
        Outcome { answer: Ok(results), effects }
    }

    /// What a group has committed for a partition.
    pub(crate) fn offset(&self, group_id: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.offsets.get(group_id, topic, partition)
    }

    /// All that a group has committed, by topic and partition.
    pub(crate) fn offsets_of(&self, group_id: &str) -> Option<&GroupOffsets> {
        self.offsets.of_group(group_id)
    }

    /// How many groups there are.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether there may be another group.
    pub(super) fn has_room_for_group(&self) -> bool {
        has_room(&self.groups)
    }

    pub(super) fn config(&self) -> &GroupConfig {
        &self.config
    }

    pub(super) fn group(&self, group_id: &str) -> Option<&Group> {
        self.groups.get(group_id)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    pub(super) fn parts<'a>(&'a mut self, now: Moment, effects: &'a mut Effects) -> Parts<'a> {
        let Self { config, groups, members_budget, pending_members, timers, random, .. } = self;
        Parts { groups, random, context: Context { config, timers, members_budget, pending_members, effects, now } }
    }

    /// Removes a group from memory.
    pub(super) fn forget(&mut self, group_id: &str) {
        match self.groups.remove(group_id) {
            Some(Group::Classic(mut group)) => {
                if !group.is_recorded() {
                    self.unrecorded_names_bytes -= group_id.len();
                }
                group.on_removed(&mut self.timers, &mut self.pending_members);
            }
            Some(Group::Consumer(_)) => self.forget_memory(group_id),
            None => {}
        }
    }

    /// Removes a group that somebody wanted to join, and nobody can any more with the ids that were handed out.
    fn forget_if_unused(&mut self, group_id: &str) {
        if let Some(Group::Classic(group)) = self.groups.get(group_id)
            && group.is_empty()
            && !group.is_recorded()
            && group.pending_member_count() == 0
        {
            self.forget(group_id);
        }
    }

    /// Makes a group that has nothing yet, if there is none of that id.
    fn put_if_missing(&mut self, group_id: &str, now: Moment) {
        if !self.groups.contains_key(group_id) {
            let id: Arc<str> = group_id.into();
            let group = ClassicGroup::new(Arc::clone(&id), &self.members_budget, now);
            self.groups.insert(id, Group::Classic(group));
            self.unrecorded_names_bytes += group_id.len();
        }
    }

    /// Something of a group stands in the log: it is there, and noted as one on record.
    fn put_recorded(&mut self, group_id: &str, now: Moment) {
        self.put_if_missing(group_id, now);
        self.set_recorded(group_id);
    }

    /// Notes that something of a group stands in the log.
    fn set_recorded(&mut self, group_id: &str) {
        if let Some(Group::Classic(group)) = self.groups.get_mut(group_id)
            && !group.is_recorded()
        {
            group.set_recorded();
            self.unrecorded_names_bytes -= group_id.len();
        }
    }
}

#[cfg(test)]
#[path = "group_shard_test.rs"]
mod tests;

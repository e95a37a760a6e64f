//! Consumer groups in their shard: which requests find, make and change one, and when a group changes its protocol.
//!
//! Owns what ties the pure parts to the shard: the group is looked up, a draft of it worked on, and its records become the
//! outcome's. Invariant: a group and what is remembered of it change together: the memory of members goes with the replay of
//! their removal.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::messages::group_records::GroupMetadataKey;
use rand::RngExt;
use rand::rngs::StdRng;

use super::any_group::Group;
use super::classic::{Departure, JoinAnswer, JoinGroup, SyncAnswer, SyncGroup};
use super::commit::Committer;
use super::consumer::ConsumerGroup;
use super::consumer_classic;
use super::consumer_context::ConsumerContext;
use super::consumer_describe::{DescribedConsumerGroup, describe};
use super::consumer_draft::ConsumerDraft;
use super::consumer_error::ConsumerGroupError;
use super::consumer_heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, heartbeat};
use super::consumer_leave::{expire_members, start_sessions};
use super::consumer_memory::ConsumerMemory;
use super::consumer_migration::{downgrade, upgrade};
use super::consumer_offsets::{check_fetch, check_old_commit};
use super::consumer_record::ConsumerGroupRecord;
use super::consumer_size::removed_at_once_max;
use super::error::GroupError;
use super::group_record::GroupRecord;
use super::group_shard::{GroupShard, TimerKey};
use super::members_bytes::MembersBytes;
use super::offset_store::CHANGE_BYTES_MAX;
use super::outcome::{Effects, FollowUp, Outcome};
use super::timers::{Moment, Timer, Timers};
use crate::metadata::MetadataImage;

/// What the live coordinator remembers of the shard's consumer groups, those included that are about to be.
#[derive(Debug, Default)]
pub(super) struct ConsumerMemories {
    groups: HashMap<Arc<str>, (ConsumerMemory, Timer)>,
}

impl ConsumerMemories {
    fn get(&self, group_id: &str) -> Option<&ConsumerMemory> {
        self.groups.get(group_id).map(|(memory, _)| memory)
    }

    /// Lets `change` work on what is remembered of a group, and sets the group's deadline anew.
    fn alter<R>(
        &mut self,
        group_id: &str,
        timers: &mut Timers<TimerKey>,
        change: impl FnOnce(&mut ConsumerMemory) -> R,
    ) -> R {
        if !self.groups.contains_key(group_id) {
            self.groups.insert(group_id.into(), Default::default());
        }
        let (memory, timer) = self.groups.get_mut(group_id).expect("it was just put there");
        let result = change(memory);
        match memory.next_deadline_ms() {
            Some(deadline_ms) if timer.due_ms() == Some(deadline_ms) => {}
            Some(deadline_ms) => timers.arm(timer, deadline_ms, || TimerKey::Consumer { group: group_id.into() }),
            None => timers.disarm(timer),
        }
        result
    }

    /// The deadline of a group has come, and is in the queue no more.
    fn timer_fired(&mut self, group_id: &str) {
        if let Some((_, timer)) = self.groups.get_mut(group_id) {
            *timer = Timer::default();
        }
    }

    fn forget(&mut self, group_id: &str, timers: &mut Timers<TimerKey>) {
        if let Some((_, mut timer)) = self.groups.remove(group_id) {
            timers.disarm(&mut timer);
        }
    }
}

impl GroupShard {
    /// Takes note of the topics that there are.
    pub(crate) fn observe_topics(&mut self, image: Arc<MetadataImage>) {
        self.topics.observe(image);
    }

    /// ConsumerGroupHeartbeat. `makes_member_id` says that the broker makes the id of a member that joins without.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        group_id: &str,
        mut request: ConsumerHeartbeat,
        makes_member_id: bool,
        now: Moment,
    ) -> Outcome<Result<HeartbeatAnswer, ConsumerGroupError>> {
        if makes_member_id && request.is_join() && request.member_id.is_empty() {
            request.member_id = new_member_id(&mut self.random).into();
        }
        let mut effects = Effects::default();
        let answer = self.try_consumer_heartbeat(group_id, &request, now, &mut effects);
        if answer.is_err() {
            self.forget_stranger(group_id, &request.member_id);
        }
        Outcome { answer, effects }
    }

    fn try_consumer_heartbeat(
        &mut self,
        group_id: &str,
        request: &ConsumerHeartbeat,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<HeartbeatAnswer, ConsumerGroupError> {
        let context = self.topics.context(group_id, &self.config.consumer, &self.members_budget, now);
        request.check(group_id, &context)?;
        let mut draft = match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => ConsumerDraft::of(group),
            Some(Group::Classic(_)) if !request.is_join() => {
                return Err(ConsumerGroupError::GroupIdNotFound("the group is a classic one"));
            }
            Some(Group::Classic(group)) if group.is_empty() => ConsumerDraft::of_new_group(),
            Some(Group::Classic(group)) => upgrade(group, &context)?,
            None if !request.is_join() => return Err(ConsumerGroupError::GroupIdNotFound("there is no such group")),
            None if !self.has_room_for_group() => return Err(ConsumerGroupError::TooManyGroups),
            None => ConsumerDraft::of_new_group(),
        };
        let epoch_before = draft.group().epoch();
        let answer = self.memories.alter(group_id, &mut self.timers, |memory| {
            if !draft.is_unchanged() {
                // The members of a group that changes its protocol have been heard of until now.
                start_sessions(draft.group(), memory, &context);
            }
            let answer = heartbeat(&mut draft, memory, &context, request)?;
            observe_state(&draft, memory, now);
            Ok(answer)
        })?;
        let records = finish(group_id, draft, epoch_before, &context, self.config.max_size, effects);
        if let Some(Group::Classic(group)) = self.groups.get_mut(group_id) {
            // Whoever waits in the classic group joins again, and finds the other one.
            group.refuse_waiting(GroupError::RebalanceInProgress, effects);
            let key = GroupMetadataKey { group: group_id.to_owned() };
            effects.records.push(GroupRecord::GroupMetadata { key, value: None });
        }
        effects.records.extend(records);
        if request.is_join() {
            let member = Arc::clone(&answer.member_id);
            effects.follow_up = Some(FollowUp::Remembered { group: group_id.into(), member });
        }
        Ok(answer)
    }

    /// JoinGroup in a consumer group with members.
    ///
    /// # Errors
    /// The member is refused.
    pub(super) fn join_consumer_group(
        &mut self,
        request: &JoinGroup,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<JoinAnswer, GroupError> {
        let id = new_member_id(&mut self.random);
        let joined = self.change_consumer_group(&request.group_id, now, effects, |draft, memory, context| {
            consumer_classic::join(draft, memory, context, request, id.clone())
        });
        let member: Arc<str> = if request.member_id.is_empty() { id.into() } else { request.member_id.as_str().into() };
        match &joined {
            // A group that becomes a classic one has other things to do then.
            Ok(_) => {
                let group = request.group_id.as_str().into();
                effects.follow_up.get_or_insert(FollowUp::Remembered { group, member });
            }
            Err(_) => self.forget_stranger(&request.group_id, &member),
        }
        joined
    }

    /// SyncGroup in a consumer group.
    ///
    /// # Errors
    /// The member is refused, or has to join again.
    pub(super) fn sync_consumer_group(
        &mut self,
        request: &SyncGroup,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<SyncAnswer, GroupError> {
        self.change_consumer_group(&request.group_id, now, effects, |draft, memory, context| {
            consumer_classic::sync(draft.group(), memory, context, request)
        })
    }

    /// Heartbeat of a classic member of a consumer group.
    ///
    /// # Errors
    /// The member is refused, or has to join again.
    pub(super) fn heartbeat_consumer_group(
        &mut self,
        group_id: &str,
        member: (&str, Option<&str>),
        generation: i32,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        self.change_consumer_group(group_id, now, effects, |draft, memory, context| {
            consumer_classic::classic_heartbeat(draft.group(), memory, context, member, generation)
        })
    }

    /// LeaveGroup in a consumer group: says of each member whether it left.
    ///
    /// # Errors
    /// There is no such group.
    pub(super) fn leave_consumer_group(
        &mut self,
        group_id: &str,
        departures: &[Departure],
        now: Moment,
        effects: &mut Effects,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        self.change_consumer_group(group_id, now, effects, |draft, _, context| {
            Ok(consumer_classic::leave(draft, context, departures))
        })
    }

    /// Removes the members of a consumer group whose time is over.
    pub(super) fn expire_consumer_members(&mut self, group_id: &str, now: Moment, effects: &mut Effects) {
        self.memories.timer_fired(group_id);
        let expired = self.change_consumer_group(group_id, now, effects, |draft, memory, context| {
            let count_max = removed_at_once_max(group_id, draft.group());
            expire_members(draft, memory, context, count_max);
            Ok(())
        });
        if expired.is_err() {
            self.forget_memory(group_id);
        }
    }

    /// Works on a consumer group; what that comes to is added to `effects`.
    fn change_consumer_group<R>(
        &mut self,
        group_id: &str,
        now: Moment,
        effects: &mut Effects,
        act: impl FnOnce(&mut ConsumerDraft<'_>, &mut ConsumerMemory, &ConsumerContext<'_>) -> Result<R, GroupError>,
    ) -> Result<R, GroupError> {
        let Some(Group::Consumer(group)) = self.groups.get(group_id) else { return Err(GroupError::UnknownMemberId) };
        let context = self.topics.context(group_id, &self.config.consumer, &self.members_budget, now);
        let mut draft = ConsumerDraft::of(group);
        let result = self.memories.alter(group_id, &mut self.timers, |memory| {
            let result = act(&mut draft, memory, &context)?;
            observe_state(&draft, memory, now);
            Ok(result)
        })?;
        let records = finish(group_id, draft, group.epoch(), &context, self.config.max_size, effects);
        effects.records.extend(records);
        Ok(result)
    }

    /// A consumer group in full.
    ///
    /// # Errors
    /// There is none of that id.
    pub(crate) fn describe_consumer(&self, group_id: &str) -> Result<DescribedConsumerGroup, GroupError> {
        let Some(Group::Consumer(group)) = self.groups.get(group_id) else { return Err(GroupError::GroupIdNotFound) };
        let unknown = ConsumerMemory::default();
        let memory = self.memories.get(group_id).unwrap_or(&unknown);
        Ok(describe(group, memory, self.topics.image(), &self.config.consumer))
    }

    /// Checks that a commit by a request without member epochs does not come from a member of the consumer protocol.
    ///
    /// # Errors
    /// It does.
    pub(crate) fn check_old_commit(&self, group_id: &str, committer: &Committer) -> Result<(), GroupError> {
        match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => check_old_commit(group, &committer.member_id),
            Some(Group::Classic(_)) | None => Ok(()),
        }
    }

    /// Checks whether the offsets of a group may be told to a member, in an epoch; `None` for who names no member. Classic groups
    /// tell everybody.
    ///
    /// # Errors
    /// They may not.
    pub(crate) fn check_offset_fetch(
        &self,
        group_id: &str,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), GroupError> {
        match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => check_fetch(group, member_id, epoch),
            Some(Group::Classic(_)) | None => Ok(()),
        }
    }

    /// Gives the members of all consumer groups their sessions, once the whole log was replayed.
    pub(super) fn on_consumer_groups_loaded(&mut self, now: Moment) {
        for (group_id, group) in &self.groups {
            if let Group::Consumer(group) = group {
                let context = self.topics.context(group_id, &self.config.consumer, &self.members_budget, now);
                self.memories.alter(group_id, &mut self.timers, |memory| start_sessions(group, memory, &context));
            }
        }
    }

    /// Applies a record of a consumer group.
    pub(super) fn replay_consumer(&mut self, group_id: &str, record: &ConsumerGroupRecord) {
        if !record.is_removal() {
            if !matches!(self.groups.get(group_id), Some(Group::Consumer(_))) {
                // What is there was made for offsets alone, which are kept elsewhere.
                self.forget(group_id);
                let members_bytes = MembersBytes::of_budget(self.members_budget.clone());
                self.groups.insert(group_id.into(), Group::Consumer(ConsumerGroup::new(members_bytes)));
            }
            if let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) {
                group.replay(record);
            }
            return;
        }
        let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) else { return };
        match record {
            ConsumerGroupRecord::Epoch(_) => {
                self.groups.remove(group_id);
                self.forget_memory(group_id);
            }
            ConsumerGroupRecord::Member(member_id, _) => {
                group.replay(record);
                if self.memories.get(group_id).is_some() {
                    self.memories.alter(group_id, &mut self.timers, |memory| memory.forget(member_id));
                }
            }
            _ => group.replay(record),
        }
    }

    /// Forgets what is remembered of a member that the group does not have; of a group that is none, everything.
    pub(super) fn forget_stranger(&mut self, group_id: &str, member_id: &str) {
        match self.groups.get(group_id) {
            Some(Group::Consumer(group)) if group.member(member_id).is_some() => {}
            Some(Group::Consumer(_)) => {
                if self.memories.get(group_id).is_some() {
                    self.memories.alter(group_id, &mut self.timers, |memory| memory.forget(member_id));
                }
            }
            Some(Group::Classic(_)) | None => self.forget_memory(group_id),
        }
    }

    /// Forgets what is remembered of a consumer group.
    pub(super) fn forget_memory(&mut self, group_id: &str) {
        self.memories.forget(group_id, &mut self.timers);
    }
}

/// The records of a draft; with those that make the group a classic one, when only members of that protocol are left and it may
/// become one.
fn finish(
    group_id: &str,
    draft: ConsumerDraft<'_>,
    epoch_before: i32,
    context: &ConsumerContext<'_>,
    classic_max_size: usize,
    effects: &mut Effects,
) -> Vec<GroupRecord> {
    let may_be_classic = !draft.is_unchanged()
        && draft.group().is_all_classic()
        && context.config.migration_policy.downgrades()
        && draft.group().member_count() <= classic_max_size;
    let classic = may_be_classic.then(|| downgrade(group_id, draft.group(), epoch_before, context)).flatten();
    let mut records: Vec<GroupRecord> =
        draft.into_records().into_iter().map(|record| record.into_group_record(group_id)).collect();
    // What does not fit stays as it is until it does: other changes of the group must go on.
    let size_bytes = |records: &[GroupRecord]| records.iter().map(GroupRecord::size_bytes).sum::<usize>();
    if let Some(classic) = classic.filter(|classic| size_bytes(classic) + size_bytes(&records) <= CHANGE_BYTES_MAX) {
        tracing::info!(group = group_id, "a consumer group becomes a classic one: only such members are left");
        records.extend(classic);
        effects.follow_up = Some(FollowUp::Downgraded(group_id.into()));
    }
    records
}

fn observe_state(draft: &ConsumerDraft<'_>, memory: &mut ConsumerMemory, now: Moment) {
    if !draft.is_unchanged() {
        memory.observe_state(draft.group().state(), now.wall_ms);
    }
}

/// An id as Kafka makes them for members of consumer groups.
fn new_member_id(random: &mut StdRng) -> String {
    let bits: u128 = random.random();
    // Version 4, variant 1.
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    Uuid(bits.to_be_bytes()).to_string()
}

#[cfg(test)]
#[path = "consumer_shard_test.rs"]
mod tests;

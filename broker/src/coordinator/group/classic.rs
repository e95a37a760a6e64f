//! A group of the classic protocol: members who join, one of whom assigns the partitions for all of them.
//!
//! Owns the group's members and state. Its phases are files of their own: `classic/join.rs`, `classic/rebalance.rs`,
//! `classic/sync.rs`, `classic/leave.rs`, `classic/heartbeat.rs`; `classic/member.rs` is a member.
//!
//! A group has two halves. What the log keeps (generation, protocol, leader, members with their assignments) is changed by
//! [`ClassicGroup::replay`] alone, which leads to `Stable` or, without members, to `Empty`; that is also all that a restart
//! brings back. In between lies memory of the live coordinator: a rebalance under way, who waits for an answer, who was
//! heard when. During a rebalance the members and the generation of the group run ahead of the log; they are on record once the
//! leader's assignment is, and until then a restart goes back to the generation before, whose members join again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Message;
use ottla_protocol::messages::consumer_protocol::ConsumerProtocolSubscription;
use ottla_protocol::messages::group_records::{GroupMetadataKey, GroupMetadataValue, MemberMetadata};
use ottla_protocol::wire::Reader;

use super::commit::Committer;
use super::config::GroupConfig;
use super::error::GroupError;
use super::group_record::GroupRecord;
use super::group_shard::TimerKey;
use super::outcome::Effects;
use super::pending_members::{PendingMembers, PendingPlace};
use super::timers::{Moment, Timer, Timers};

mod heartbeat;
mod join;
mod leave;
mod member;
mod rebalance;
mod sync;

pub(crate) use join::{JoinAnswer, JoinGroup, JoinedMember};
pub(crate) use leave::{Departure, LeaveGroup};
pub(crate) use member::ClientIdentity;
pub(crate) use sync::{GROUP_RECORD_BYTES_MAX, SyncAnswer, SyncGroup};

use member::ClassicMember;

/// The protocol type of consumers, whose metadata names the topics that they read.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group stands. Who may move it where:
///
/// | from | to | when |
/// |---|---|---|
/// | `Empty` | `PreparingRebalance` | the first member joins |
/// | `PreparingRebalance` | `CompletingRebalance` | all members have joined, or the time to join is over |
/// | `PreparingRebalance` | `Empty` | the time to join is over and nobody is left |
/// | `CompletingRebalance` | `Stable` | the leader's assignment is on record |
/// | `CompletingRebalance` | `PreparingRebalance` | a member joins, leaves, falls silent, or does not sync in time |
/// | `Stable` | `PreparingRebalance` | a member joins, leaves or falls silent, or one changes what it wants |
///
/// The moves to `Empty` and `Stable` are replayed records, the others memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClassicState {
    /// No members; offsets may be committed by whoever belongs to no group.
    Empty,
    /// Members are to join again.
    PreparingRebalance,
    /// The members have joined and wait for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl ClassicState {
    /// The state as clients read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What a group works with while it handles a request or a deadline.
pub(super) struct Context<'a> {
    pub(super) config: &'a GroupConfig,
    pub(super) timers: &'a mut Timers<TimerKey>,
    pub(super) pending_members: &'a mut PendingMembers,
    pub(super) effects: &'a mut Effects,
    pub(super) now: Moment,
}

/// A group of the classic protocol. Also what keeps the offsets of those who belong to no group: then it has neither a
/// protocol type nor members, ever.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    id: Arc<str>,
    state: ClassicState,
    /// In milliseconds since 1970; -1 in records of old brokers.
    state_since_ms: i64,
    protocol_type: Option<String>,
    protocol: Option<String>,
    generation: i32,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, ClassicMember>,
    /// The members with an instance id, by that.
    static_members: HashMap<String, Arc<str>>,
    /// The topics of all members; `None` when their metadata do not say.
    subscribed_topics: Option<BTreeSet<String>>,
    /// Something of it stands in the log.
    is_recorded: bool,
    rebalance: Rebalance,
}

/// Memory of the live coordinator: what a restart forgets.
#[derive(Debug, Default)]
struct Rebalance {
    /// It began with the group being empty: it goes on for a while, so that members who start together join together.
    is_initial: bool,
    /// A member came since the initial rebalance was last prolonged.
    has_new_member: bool,
    /// How long the initial rebalance may still be prolonged beyond its timer.
    initial_remaining_ms: i32,
    /// What the initial rebalance's timer was set to.
    initial_delay_ms: i32,
    /// The end of the time to join.
    join_timer: Timer,
    /// The end of the time to sync.
    sync_timer: Timer,
    /// Ids that were handed out and with which nobody has joined yet (KIP-394).
    pending_members: BTreeMap<Arc<str>, PendingMember>,
    /// A static member under a new id, for which a record was asked that puts it in place of the one before. Whether it was
    /// written, the record's replay tells.
    replacement: Option<Box<(Arc<str>, ClassicMember)>>,
    /// Members of the new generation that have not sent SyncGroup.
    pending_sync: BTreeSet<Arc<str>>,
    /// How many members wait for JoinGroup.
    awaiting_join: usize,
    /// How many members can speak each protocol.
    supported: HashMap<String, usize>,
    /// What all members take.
    members_bytes: usize,
}

/// An id that is out.
#[derive(Debug)]
struct PendingMember {
    /// The end of the time to join with it.
    session: Timer,
    place: PendingPlace,
}

impl ClassicGroup {
    /// A group without members, of which nothing is on record.
    pub(super) fn new(id: Arc<str>, now: Moment) -> Self {
        Self {
            id,
            state: ClassicState::Empty,
            state_since_ms: now.wall_ms,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            subscribed_topics: None,
            is_recorded: false,
            rebalance: Rebalance::default(),
        }
    }

    /// Makes the group what a record says, and keeps what the live coordinator knows beside it of members that stay.
    pub(super) fn replay(&mut self, value: &GroupMetadataValue, timers: &mut Timers<TimerKey>) {
        assert!(
            !self.is_live() || value.generation >= self.generation,
            "the generation of group {} goes from {} to {}",
            self.id,
            self.generation,
            value.generation
        );
        let gone: Vec<Arc<str>> = {
            let recorded: BTreeSet<&str> = value.members.iter().map(|member| member.member_id.as_str()).collect();
            self.members.keys().filter(|id| !recorded.contains(&***id)).cloned().collect()
        };
        for id in gone {
            let member = self.take_member(&id, timers);
            assert!(member.is_none_or(|member| !member.is_waiting()), "who waits is answered before its member goes");
        }
        for recorded in &value.members {
            self.replay_member(recorded, value);
        }
        self.set_replacement(None, timers);
        self.generation = value.generation;
        self.protocol_type = Some(value.protocol_type.clone()).filter(|text| !text.is_empty());
        self.protocol.clone_from(&value.protocol);
        self.leader = value.leader.as_deref().map(Arc::from);
        self.state = if value.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
        self.state_since_ms = value.current_state_timestamp;
        timers.disarm(&mut self.rebalance.join_timer);
        self.subscribed_topics = self.topics_of_members();
    }

    fn replay_member(&mut self, recorded: &MemberMetadata, value: &GroupMetadataValue) {
        let protocol = value.protocol.as_deref().unwrap_or_default();
        let mut member = ClassicMember::from_record(recorded, protocol);
        let id = match self.members.get_key_value(recorded.member_id.as_str()) {
            Some((id, _)) => Arc::clone(id),
            None => recorded.member_id.as_str().into(),
        };
        let replacement = self.rebalance.replacement.take_if(|replacement| replacement.0 == id);
        if let Some(known) = self.detach_member(&id).or(replacement.map(|replacement| replacement.1)) {
            member.keep_memory_of(known, protocol);
        }
        self.put_member(id, member);
    }

    /// The record of the group as it is now, with these assignments.
    fn to_record(&self, assignments: &HashMap<&str, Bytes>, now: Moment) -> GroupRecord {
        let protocol = self.protocol.as_deref();
        let member = |(id, member): (&Arc<str>, &ClassicMember)| MemberMetadata {
            member_id: id.to_string(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client.client_id.clone(),
            client_host: member.client.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: protocol.and_then(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: assignments.get(&**id).cloned().unwrap_or_default(),
        };
        GroupRecord::GroupMetadata {
            key: GroupMetadataKey { group: self.id.to_string() },
            value: Some(GroupMetadataValue {
                protocol_type: self.protocol_type.clone().unwrap_or_default(),
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.as_deref().map(str::to_owned),
                current_state_timestamp: now.wall_ms,
                members: self.members.iter().map(member).collect(),
            }),
        }
    }

    /// Begins the sessions of members that were loaded: they have as long as ever to be heard of.
    pub(super) fn on_loaded(&mut self, context: &mut Context<'_>) {
        for (id, member) in &mut self.members {
            member.arm_session(&self.id, id, member.session_timeout_ms, context);
        }
        if self.members.len() > context.config.max_size {
            self.prepare_rebalance(context, "the group is larger than group.max.size after a restart");
        }
    }

    /// Ends everything that the live coordinator knows of the group before it is removed. Whoever waits was answered.
    pub(super) fn on_removed(&mut self, timers: &mut Timers<TimerKey>, pending_members: &mut PendingMembers) {
        for member in self.members.values_mut() {
            assert!(!member.is_waiting(), "who waits is answered before the group goes");
            timers.disarm(&mut member.session);
        }
        self.set_replacement(None, timers);
        timers.disarm(&mut self.rebalance.join_timer);
        timers.disarm(&mut self.rebalance.sync_timer);
        for (_, mut pending) in std::mem::take(&mut self.rebalance.pending_members) {
            timers.disarm(&mut pending.session);
            pending_members.remove(pending.place);
        }
    }

    /// Refuses all who wait, since the group becomes one of the other protocol.
    pub(super) fn refuse_waiting(&mut self, error: GroupError, effects: &mut Effects) {
        for (id, member) in &mut self.members {
            rebalance::answer_waiting(id, member, error, effects);
        }
        self.rebalance.awaiting_join = 0;
    }

    /// The group was a consumer group until now: sessions begin, and its members are asked to join.
    pub(super) fn on_downgraded(&mut self, context: &mut Context<'_>) {
        self.on_loaded(context);
        if self.state == ClassicState::Stable {
            self.prepare_rebalance(context, "the last member of the consumer protocol has left");
        }
    }

    /// Whether the live coordinator has begun something that is not on record.
    fn is_live(&self) -> bool {
        matches!(self.state, ClassicState::PreparingRebalance | ClassicState::CompletingRebalance)
    }

    pub(super) fn state(&self) -> ClassicState {
        self.state
    }

    /// Whether a rebalance goes on as soon as this member does: it is to join again, or to hand in the assignment.
    pub(super) fn awaits(&self, id: &Arc<str>, member: &ClassicMember) -> bool {
        match self.state {
            ClassicState::PreparingRebalance => member.awaiting_join.is_none(),
            ClassicState::CompletingRebalance => self.leader.as_ref() == Some(id),
            ClassicState::Empty | ClassicState::Stable => false,
        }
    }

    pub(super) fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }

    pub(super) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&Arc<str>, &ClassicMember)> {
        self.members.iter()
    }

    /// Whether it has no members and is in no rebalance.
    pub(super) fn is_empty(&self) -> bool {
        self.state == ClassicState::Empty
    }

    /// How many ids are out with which somebody may still join.
    pub(super) fn pending_member_count(&self) -> usize {
        self.rebalance.pending_members.len()
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Says that something of it stands in the log: a record of the group, or offsets at least.
    pub(super) fn set_recorded(&mut self) {
        self.is_recorded = true;
    }

    pub(super) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Whether members read topics that are known, and none is on its way in or out.
    pub(super) fn is_stable_with_known_topics(&self) -> bool {
        self.state() == ClassicState::Stable && self.uses_consumer_protocol() && self.knows_subscriptions()
    }

    /// Whether the topics that the members read are known.
    pub(super) fn knows_subscriptions(&self) -> bool {
        self.subscribed_topics.is_some()
    }

    /// Whether members read the topic. A group of consumers whose topics are not known may read any.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Whether this member may commit offsets now, in the order of Kafka's checks.
    pub(super) fn validate_commit(&self, committer: &Committer) -> Result<(), GroupError> {
        let Committer { member_id, instance_id, generation } = committer;
        if *generation < 0 && self.state == ClassicState::Empty {
            return Ok(());
        }
        if *generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.validate_member(member_id, instance_id.as_deref())?;
            if *generation != self.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else if self.state != ClassicState::Empty {
            return Err(GroupError::UnknownMemberId);
        }
        match self.state {
            // The member has the generation, and with it the right; what it is to read is being decided.
            ClassicState::CompletingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A commit keeps a member's session alive, as a heartbeat does.
    pub(super) fn on_commit(&mut self, member_id: &str, context: &mut Context<'_>) {
        if matches!(self.state, ClassicState::Stable | ClassicState::PreparingRebalance) {
            self.hear(member_id, context);
        }
    }

    /// Refuses a member id that is not the group's, or whose instance id is another member's by now.
    fn validate_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(owner) if &**owner != member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn put_member(&mut self, id: Arc<str>, member: ClassicMember) {
        for (protocol, _) in &member.protocols {
            *self.rebalance.supported.entry(protocol.clone()).or_default() += 1;
        }
        self.rebalance.members_bytes += member.size_bytes();
        self.rebalance.awaiting_join += usize::from(member.awaiting_join.is_some());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), Arc::clone(&id));
        }
        let replaced = self.members.insert(id, member);
        assert!(replaced.is_none(), "a member is put where there is none of its id");
    }

    /// Takes a member out for good, whoever leads next left open.
    fn take_member(&mut self, id: &str, timers: &mut Timers<TimerKey>) -> Option<ClassicMember> {
        let mut member = self.detach_member(id)?;
        timers.disarm(&mut member.session);
        self.rebalance.pending_sync.remove(id);
        Some(member)
    }

    /// Takes a member out of what is counted over all of them; its session goes on.
    fn detach_member(&mut self, id: &str) -> Option<ClassicMember> {
        let member = self.members.remove(id)?;
        for (protocol, _) in &member.protocols {
            match self.rebalance.supported.get_mut(protocol) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.rebalance.supported.remove(protocol);
                }
            }
        }
        self.rebalance.members_bytes -= member.size_bytes();
        self.rebalance.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id).is_some_and(|owner| &**owner == id)
        {
            self.static_members.remove(instance_id);
        }
        Some(member)
    }

    /// The topics that the members' metadata name: the beginning of a subscription is the same in all its versions.
    fn topics_of_members(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let mut reader = Reader::new(member.metadata(protocol)?);
            reader.i16().ok()?;
            topics.extend(ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?.topics);
        }
        Some(topics)
    }
}

#[cfg(test)]
#[path = "classic_test.rs"]
mod tests;

#[cfg(test)]
#[path = "classic_walk_test.rs"]
mod walk_tests;

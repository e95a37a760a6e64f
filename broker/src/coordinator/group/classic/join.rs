//! JoinGroup: how a member gets its id, enters, and finds out about the next generation.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;

use super::member::{ClassicMember, ClientIdentity, protocols_bytes};
use super::{ClassicGroup, ClassicState, Context, PendingMember};
use crate::coordinator::group::error::GroupError;
use crate::coordinator::group::group_shard::TimerKey;
use crate::coordinator::group::member_id::new_member_id;
use crate::coordinator::group::outcome::Token;
use crate::coordinator::group::timers::{Timer, Timers};

/// A member that has not been told its id cannot send heartbeats, and its broken connection may go unnoticed: it is given up
/// after this time unless it has asked again (Kafka's figure).
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;
/// The most that the members of a group may take: every record of the group repeats what they say.
const MEMBERS_BYTES_MAX: usize = 12 << 20;

/// A request to enter a group, or to go on in its next generation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinGroup {
    /// The group.
    pub(crate) group_id: String,
    /// Empty for a member that has none yet.
    pub(crate) member_id: String,
    /// Of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    /// Who asks.
    pub(crate) client: ClientIdentity,
    /// How long the member may be silent.
    pub(crate) session_timeout_ms: i32,
    /// How long a rebalance waits for the member.
    pub(crate) rebalance_timeout_ms: i32,
    /// What kind of group it wants.
    pub(crate) protocol_type: String,
    /// What it can speak, the best first, and what it says in each.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// A new member is to ask again with the id that it gets (KIP-394).
    pub(crate) needs_member_id: bool,
    /// The client knows what to do with [`JoinAnswer::skip_assignment`] (KIP-814).
    pub(crate) can_skip_assignment: bool,
}

/// Answers [`JoinGroup`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinAnswer {
    /// The refusal, if it is one.
    pub(crate) error: Option<GroupError>,
    /// -1 beside an error.
    pub(crate) generation: i32,
    /// The kind of the group.
    pub(crate) protocol_type: Option<String>,
    /// What all members speak in this generation.
    pub(crate) protocol: Option<String>,
    /// Who assigns.
    pub(crate) leader: String,
    /// The assignment stands, the leader need not make one.
    pub(crate) skip_assignment: bool,
    /// The member's id.
    pub(crate) member_id: String,
    /// All members, for the leader only.
    pub(crate) members: Vec<JoinedMember>,
}

/// A member as the leader gets to know it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinedMember {
    /// Its id.
    pub(crate) member_id: String,
    /// Its instance id.
    pub(crate) instance_id: Option<String>,
    /// What it says in the generation's protocol.
    pub(crate) metadata: Bytes,
}

impl JoinAnswer {
    /// A refusal.
    pub(crate) fn error(error: GroupError, member_id: &str) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

impl ClassicGroup {
    /// Handles a join, and answers `token` now or when the generation begins.
    pub(in crate::coordinator::group) fn join(
        &mut self,
        request: JoinGroup,
        token: Token,
        random: &mut StdRng,
        context: &mut Context<'_>,
    ) {
        if let Err((error, member_id)) = self.try_join(request, token, random, context) {
            context.effects.answer_join(token, JoinAnswer::error(error, &member_id));
        }
    }

    /// The refusals, each with the member id that comes with it.
    fn try_join(
        &mut self,
        request: JoinGroup,
        token: Token,
        random: &mut StdRng,
        context: &mut Context<'_>,
    ) -> Result<(), (GroupError, String)> {
        if !self.has_bytes_for(&request) {
            // A member that asks for too much at once stays what it was; an id that nobody joins with any more goes.
            self.take_back(&request.member_id, context);
            return Err((GroupError::GroupMaxSizeReached, String::new()));
        }
        if !self.has_place_for(&request, context) {
            self.drop_pending(&request.member_id, context);
            if self.members.contains_key(request.member_id.as_str()) {
                self.remove_member(&request.member_id, GroupError::UnknownMemberId, context);
            }
            self.complete_join_if_all_are_there(context);
            return Err((GroupError::GroupMaxSizeReached, String::new()));
        }
        if !self.supports(&request) {
            return Err((GroupError::InconsistentGroupProtocol, request.member_id));
        }
        if request.member_id.is_empty() {
            self.join_new(request, token, random, context);
            Ok(())
        } else {
            let member_id = request.member_id.clone();
            self.join_known(request, token, context).map_err(|error| (error, member_id))
        }
    }

    /// Whether the member fits in. While members join, those count who have joined: with a limit that was lowered, the last
    /// ones to come back stay out.
    fn has_place_for(&self, request: &JoinGroup, context: &Context<'_>) -> bool {
        let limit = context.config.max_size;
        let member = self.members.get(request.member_id.as_str());
        match self.state {
            ClassicState::Empty => true,
            ClassicState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || self.rebalance.awaiting_join < limit
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => member.is_some() || self.members.len() < limit,
        }
    }

    /// Whether what the member says fits in beside what the others do.
    fn has_bytes_for(&self, request: &JoinGroup) -> bool {
        let said_before = self.members.get(request.member_id.as_str()).map_or(0, ClassicMember::size_bytes);
        self.rebalance.members_bytes - said_before + protocols_bytes(&request.protocols) <= MEMBERS_BYTES_MAX
    }

    /// Whether the member wants what the group is, and speaks something that all others speak.
    fn supports(&self, request: &JoinGroup) -> bool {
        if self.state == ClassicState::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        let all = self.members.len();
        let speak = |name: &str| self.rebalance.supported.get(name).copied().unwrap_or(0);
        self.protocol_type.as_deref() == Some(request.protocol_type.as_str())
            && request.protocols.iter().any(|(name, _)| speak(name) == all)
    }

    fn join_new(&mut self, request: JoinGroup, token: Token, random: &mut StdRng, context: &mut Context<'_>) {
        let prefix = request.instance_id.as_deref().unwrap_or(&request.client.client_id);
        let id: Arc<str> = new_member_id(prefix, random).into();
        let before = request.instance_id.as_ref().and_then(|instance_id| self.static_members.get(instance_id)).cloned();
        if let Some(before) = before {
            self.replace_static_member(&before, id, request, token, context);
        } else if request.instance_id.is_none() && request.needs_member_id {
            self.add_pending(&id, request.session_timeout_ms, context);
            context.effects.answer_join(token, JoinAnswer::error(GroupError::MemberIdRequired, &id));
        } else {
            self.add_member(id, request, token, context);
        }
    }

    fn add_pending(&mut self, id: &Arc<str>, session_timeout_ms: i32, context: &mut Context<'_>) {
        let mut session = Timer::default();
        let key = || TimerKey::Session { group: Arc::clone(&self.id), member: Arc::clone(id) };
        context.timers.arm(&mut session, context.now.in_ms(session_timeout_ms), key);
        let place = context.pending_members.add(&self.id, id);
        self.rebalance.pending_members.insert(Arc::clone(id), PendingMember { session, place });
    }

    /// Takes an id back that was handed out; whether it was one.
    pub(super) fn drop_pending(&mut self, id: &str, context: &mut Context<'_>) -> bool {
        let Some(mut pending) = self.rebalance.pending_members.remove(id) else { return false };
        context.timers.disarm(&mut pending.session);
        context.pending_members.remove(pending.place);
        true
    }

    /// Takes an id back that was handed out, and goes on without whoever has it.
    pub(in crate::coordinator::group) fn take_back(&mut self, id: &str, context: &mut Context<'_>) {
        if self.drop_pending(id, context) {
            self.complete_join_if_all_are_there(context);
        }
    }

    fn join_known(&mut self, request: JoinGroup, token: Token, context: &mut Context<'_>) -> Result<(), GroupError> {
        let id = request.member_id.as_str();
        // An id that waits to be used is never a static member's: those join at once.
        if request.instance_id.is_none() && self.drop_pending(id, context) {
            self.add_member(id.into(), request, token, context);
            return Ok(());
        }
        self.validate_member(id, request.instance_id.as_deref())?;
        let member = &self.members[id];
        let says_the_same = member.protocols == request.protocols;
        match self.state {
            // Its answer was lost, or it has nothing new: the generation goes on, and SyncGroup tells it the assignment.
            ClassicState::CompletingRebalance if says_the_same => {
                let answer = self.generation_for(id, self.is_leader(id));
                context.effects.answer_join(token, answer);
                Ok(())
            }
            ClassicState::Stable if says_the_same && !self.is_leader(id) => {
                context.effects.answer_join(token, self.generation_for(id, false));
                Ok(())
            }
            // The leader may want to assign anew, after a change of topics for example.
            ClassicState::PreparingRebalance | ClassicState::CompletingRebalance | ClassicState::Stable => {
                let id: Arc<str> = id.into();
                self.update_member(&id, request, token, context);
                self.rebalance_or_complete(context, "a member joins again");
                Ok(())
            }
            ClassicState::Empty => Err(GroupError::UnknownMemberId),
        }
    }

    fn add_member(&mut self, id: Arc<str>, request: JoinGroup, token: Token, context: &mut Context<'_>) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        let mut member = ClassicMember {
            instance_id: request.instance_id,
            client: request.client,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: kept(request.protocols),
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
            session: Timer::default(),
            last_heard_ms: context.now.wall_ms,
        };
        member.arm_session(&self.id, &id, NEW_MEMBER_JOIN_TIMEOUT_MS, context);
        self.leader.get_or_insert_with(|| Arc::clone(&id));
        self.put_member(id, member);
        self.rebalance.has_new_member |= self.state == ClassicState::PreparingRebalance && self.rebalance.is_initial;
        self.rebalance_or_complete(context, "a member joins");
    }

    /// Takes over what a member says now, and lets `token` wait instead of whoever waited for it before.
    fn update_member(&mut self, id: &Arc<str>, request: JoinGroup, token: Token, context: &mut Context<'_>) {
        let mut member = self.detach_member(id).expect("the caller has just looked it up");
        if let Some(earlier) = member.awaiting_join.take() {
            // The member has given up that request: to whoever still reads the answer it says to ask again.
            context.effects.answer_join(earlier, JoinAnswer::error(GroupError::RebalanceInProgress, id));
        }
        member.protocols = kept(request.protocols);
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.last_heard_ms = context.now.wall_ms;
        member.awaiting_join = Some(token);
        self.put_member(Arc::clone(id), member);
    }

    /// The generation as a member is to hear of it.
    pub(super) fn generation_for(&self, id: &str, with_members: bool) -> JoinAnswer {
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            skip_assignment: false,
            member_id: id.to_owned(),
            members: if with_members { self.joined_members() } else { Vec::new() },
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&Arc<str>, &ClassicMember)| JoinedMember {
            member_id: id.to_string(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol).unwrap_or_default(),
        };
        self.members.iter().map(member).collect()
    }

    /// A static member comes back under a new id (KIP-345): it takes the place of the old one, which is fenced. A stable
    /// group stays so unless its protocol would change.
    fn replace_static_member(
        &mut self,
        before: &Arc<str>,
        id: Arc<str>,
        request: JoinGroup,
        token: Token,
        context: &mut Context<'_>,
    ) {
        let leader_before = self.leader.clone();
        let can_skip = request.can_skip_assignment;
        let mut old = self.detach_member(before).expect("the list of static members names members");
        let mut member = ClassicMember {
            instance_id: old.instance_id.clone(),
            client: old.client.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: kept(request.protocols),
            assignment: old.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: old.is_new,
            session: Timer::default(),
            last_heard_ms: context.now.wall_ms,
        };
        member.arm_session(&self.id, &id, member.session_timeout_ms, context);
        self.put_member(Arc::clone(&id), member);
        if self.is_leader(before) {
            self.leader = Some(Arc::clone(&id));
        }
        if self.state == ClassicState::Stable && self.select_protocol() == self.protocol {
            let is_leader = self.is_leader(&id);
            let mut answer = self.generation_for(&id, can_skip && is_leader);
            answer.skip_assignment = can_skip && is_leader;
            if !can_skip {
                // An old client that reads its own id here would assign anew, and nobody would wait for it.
                answer.leader = leader_before.as_deref().unwrap_or_default().to_owned();
            }
            let assignments = self.members.iter().map(|(id, member)| (&**id, member.assignment.clone())).collect();
            context.effects.records.push(self.to_record(&assignments, context.now));
            context.effects.answer_join(token, answer);
            // Until the record is replayed nothing has happened: should it not be written, the old one is still the member.
            let member = self.detach_member(&id).expect("it was just put there");
            self.put_member(Arc::clone(before), old);
            self.leader = leader_before;
            self.set_replacement(Some(Box::new((id, member))), context.timers);
            return;
        }
        context.timers.disarm(&mut old.session);
        self.rebalance.pending_sync.remove(before);
        super::rebalance::answer_waiting(before, &mut old, GroupError::FencedInstanceId, context.effects);
        self.members.get_mut(&id).expect("it was just put there").awaiting_join = Some(token);
        self.rebalance.awaiting_join += 1;
        match self.state {
            ClassicState::Stable => self.rebalance_or_complete(context, "a static member speaks something else"),
            // The leader may assign for the old id.
            ClassicState::CompletingRebalance => self.prepare_rebalance(context, "a static member comes back"),
            ClassicState::PreparingRebalance => self.complete_join_if_all_are_there(context),
            ClassicState::Empty => unreachable!("an empty group has no static member to replace"),
        }
    }

    /// Keeps a member for the record that puts it in place of another; the one that was kept before is given up.
    pub(super) fn set_replacement(
        &mut self,
        replacement: Option<Box<(Arc<str>, ClassicMember)>>,
        timers: &mut Timers<TimerKey>,
    ) {
        if let Some(mut given_up) = std::mem::replace(&mut self.rebalance.replacement, replacement) {
            timers.disarm(&mut given_up.1.session);
        }
    }
}

/// Copies of what a request said, each protocol once: the request itself is not kept alive for them.
fn kept(protocols: Vec<(String, Bytes)>) -> Vec<(String, Bytes)> {
    let mut seen = HashSet::new();
    let first = protocols.into_iter().filter(|(name, _)| seen.insert(name.clone()));
    first.map(|(name, metadata)| (name, Bytes::copy_from_slice(&metadata))).collect()
}

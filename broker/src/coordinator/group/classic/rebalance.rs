//! From one generation to the next: members are asked to join again, those who have not in time are left out, the others
//! begin the new generation.

use std::collections::HashMap;
use std::sync::Arc;

use super::join::JoinAnswer;
use super::member::ClassicMember;
use super::sync::SyncAnswer;
use super::{ClassicGroup, ClassicState, Context, Rebalance};
use crate::coordinator::group::error::GroupError;
use crate::coordinator::group::group_shard::TimerKey;
use crate::coordinator::group::outcome::Effects;

/// After how many milliseconds an empty generation is written again that could not be written.
const RETRY_MS: i32 = 1_000;

impl ClassicGroup {
    /// Begins a rebalance, or ends the time to join of the one that goes on if all are there.
    pub(super) fn rebalance_or_complete(&mut self, context: &mut Context<'_>, reason: &str) {
        match self.state {
            ClassicState::PreparingRebalance => self.complete_join_if_all_are_there(context),
            _ => self.prepare_rebalance(context, reason),
        }
    }

    /// Asks all members to join again. Whoever waits for an assignment is told so.
    pub(super) fn prepare_rebalance(&mut self, context: &mut Context<'_>, reason: &str) {
        if self.state == ClassicState::CompletingRebalance {
            self.fail_sync(GroupError::RebalanceInProgress, context);
        }
        self.end_sync_phase(context);
        let is_initial = self.state == ClassicState::Empty;
        self.rebalance.is_initial = is_initial;
        self.move_to(ClassicState::PreparingRebalance, context);
        tracing::info!(group = %self.id, generation = self.generation, reason, "a group begins to rebalance");
        if is_initial {
            // Members that start together are to join together.
            let delay_ms = context.config.initial_rebalance_delay_ms;
            self.rebalance.initial_remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.rebalance.has_new_member = false;
            self.arm_initial_delay(delay_ms, context);
        } else if self.has_all_joined() {
            self.complete_join(context);
        } else {
            self.arm_join(self.rebalance_timeout_ms(), context);
        }
    }

    fn arm_initial_delay(&mut self, delay_ms: i32, context: &mut Context<'_>) {
        self.rebalance.initial_delay_ms = delay_ms;
        self.arm_join(delay_ms, context);
    }

    /// The time to join is over.
    pub(in crate::coordinator::group) fn on_join_timer(&mut self, context: &mut Context<'_>) {
        if self.state != ClassicState::PreparingRebalance {
            return;
        }
        let Rebalance { is_initial, has_new_member, initial_remaining_ms: remaining_ms, .. } = *self.rebalance;
        if is_initial && has_new_member && remaining_ms > 0 {
            self.rebalance.has_new_member = false;
            self.rebalance.initial_remaining_ms = (remaining_ms - self.rebalance.initial_delay_ms).max(0);
            self.arm_initial_delay(context.config.initial_rebalance_delay_ms.min(remaining_ms), context);
        } else {
            self.complete_join(context);
        }
    }

    /// Ends the time to join if all members have joined and nobody else is expected. An initial rebalance waits for its end.
    pub(super) fn complete_join_if_all_are_there(&mut self, context: &mut Context<'_>) {
        if self.state == ClassicState::PreparingRebalance && !self.rebalance.is_initial && self.has_all_joined() {
            self.complete_join(context);
        }
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.members.len() == self.rebalance.awaiting_join && self.rebalance.pending_members.is_empty()
    }

    /// Begins the next generation with those who have joined, and with static members, who are missed only when their session ends.
    pub(super) fn complete_join(&mut self, context: &mut Context<'_>) {
        context.timers.disarm(&mut self.rebalance.join_timer);
        let missing = |member: &ClassicMember| member.awaiting_join.is_none() && !member.is_static();
        let gone: Vec<Arc<str>> =
            self.members.iter().filter(|(_, member)| missing(member)).map(|(id, _)| Arc::clone(id)).collect();
        for id in gone {
            tracing::info!(group = %self.id, member = %id, "a member did not join again in time");
            self.remove_member(&id, GroupError::UnknownMemberId, context);
        }
        if self.members.is_empty() {
            self.begin_empty_generation(context);
        } else if self.elect_leader() {
            self.begin_generation(context);
        } else {
            // Only static members, none of whom has come back: their sessions decide.
            self.arm_join(self.rebalance_timeout_ms(), context);
        }
    }

    /// Asks for the record of a generation without members; its replay makes the group empty.
    fn begin_empty_generation(&mut self, context: &mut Context<'_>) {
        // Until the record is replayed nothing has happened: should it not be written, this is tried again.
        self.arm_join(RETRY_MS, context);
        let (protocol, leader) = (self.protocol.take(), self.leader.take());
        self.generation += 1;
        context.effects.records.push(self.to_record(&HashMap::new(), context.now));
        self.generation -= 1;
        (self.protocol, self.leader) = (protocol, leader);
    }

    fn begin_generation(&mut self, context: &mut Context<'_>) {
        self.generation += 1;
        self.protocol = self.select_protocol();
        self.subscribed_topics = self.topics_of_members();
        self.move_to(ClassicState::CompletingRebalance, context);
        self.end_sync_phase(context);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.generation_for(&id, self.is_leader(&id));
            let member = self.members.get_mut(&id).expect("nobody leaves in between");
            if let Some(token) = member.awaiting_join.take() {
                self.rebalance.awaiting_join -= 1;
                context.effects.answer_join(token, answer);
            }
            member.is_new = false;
            member.arm_session(&self.id, &id, member.session_timeout_ms, context);
            self.rebalance.pending_sync.insert(id);
        }
        let due_ms = context.now.in_ms(self.rebalance_timeout_ms());
        let key = || TimerKey::ClassicSync { group: Arc::clone(&self.id) };
        context.timers.arm(&mut self.rebalance.sync_timer, due_ms, key);
    }

    /// The time to sync is over: whoever has not sent SyncGroup is gone, and the others join again.
    pub(in crate::coordinator::group) fn on_sync_timer(&mut self, context: &mut Context<'_>) {
        if !matches!(self.state, ClassicState::CompletingRebalance | ClassicState::Stable) {
            return;
        }
        let gone = std::mem::take(&mut self.rebalance.pending_sync);
        if gone.is_empty() {
            return;
        }
        for id in gone {
            tracing::info!(group = %self.id, member = %id, "a member did not ask for its assignment in time");
            self.remove_member(&id, GroupError::UnknownMemberId, context);
        }
        self.prepare_rebalance(context, "members did not ask for their assignment in time");
    }

    /// Nobody is expected to send SyncGroup any more.
    fn end_sync_phase(&mut self, context: &mut Context<'_>) {
        self.rebalance.pending_sync.clear();
        context.timers.disarm(&mut self.rebalance.sync_timer);
    }

    /// This member has sent SyncGroup.
    pub(super) fn has_synced(&mut self, id: &str, context: &mut Context<'_>) {
        self.rebalance.pending_sync.remove(id);
        if self.rebalance.pending_sync.is_empty() {
            context.timers.disarm(&mut self.rebalance.sync_timer);
        }
    }

    /// Takes back the assignments, and answers all who wait for one.
    fn fail_sync(&mut self, error: GroupError, context: &mut Context<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("nobody leaves in between");
            self.assigned_bytes.remove(std::mem::take(&mut member.assignment).len());
            if let Some(token) = member.awaiting_sync.take() {
                context.effects.answer_sync(token, SyncAnswer::error(error));
                // Its session may have ended meanwhile, which waiting excuses.
                member.arm_session(&self.id, &id, member.session_timeout_ms, context);
            }
        }
    }

    /// Removes a member; another one leads if it did. Whoever waits under its id gets `error`.
    pub(super) fn remove_member(&mut self, id: &str, error: GroupError, context: &mut Context<'_>) {
        let Some(mut member) = self.take_member(id, context.timers) else { return };
        answer_waiting("", &mut member, error, context.effects);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Sees to it that somebody leads who has joined; false when nobody has.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        match self.members.iter().find(|(_, member)| member.awaiting_join.is_some()) {
            Some((id, _)) => {
                self.leader = Some(Arc::clone(id));
                true
            }
            None => false,
        }
    }

    /// The protocol that all members speak and most like best; of two alike, the one that the leader likes better.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let all = self.members.len();
        let is_candidate = |name: &str| self.rebalance.supported.get(name) == Some(&all);
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for member in self.members.values() {
            *votes.entry(member.vote(is_candidate)?).or_default() += 1;
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let mut best: Option<(&str, usize)> = None;
        for (name, _) in &leader.protocols {
            let count = votes.get(name.as_str()).copied().unwrap_or(0);
            if count > best.map_or(0, |(_, most)| most) {
                best = Some((name, count));
            }
        }
        best.map(|(name, _)| name.to_owned())
    }

    /// The longest time that any member wants to be waited for.
    fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    fn arm_join(&mut self, in_ms: i32, context: &mut Context<'_>) {
        let key = || TimerKey::ClassicJoin { group: Arc::clone(&self.id) };
        context.timers.arm(&mut self.rebalance.join_timer, context.now.in_ms(in_ms), key);
    }

    pub(super) fn move_to(&mut self, state: ClassicState, context: &Context<'_>) {
        self.state = state;
        self.state_since_ms = context.now.wall_ms;
    }
}

/// Answers whoever waits under a member's id that is not to be used any more.
pub(super) fn answer_waiting(id: &str, member: &mut ClassicMember, error: GroupError, effects: &mut Effects) {
    if let Some(token) = member.awaiting_join.take() {
        effects.answer_join(token, JoinAnswer::error(error, id));
    }
    if let Some(token) = member.awaiting_sync.take() {
        effects.answer_sync(token, SyncAnswer::error(error));
    }
}

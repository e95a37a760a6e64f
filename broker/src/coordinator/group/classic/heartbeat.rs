//! Sessions: a member that is heard of stays, one that falls silent goes.

use std::sync::Arc;

use super::{ClassicGroup, ClassicState, Context};
use crate::coordinator::group::error::GroupError;

impl ClassicGroup {
    /// Notes that a member is there, and tells it when it has to join again.
    pub(in crate::coordinator::group) fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        context: &mut Context<'_>,
    ) -> Result<(), GroupError> {
        self.validate_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        match self.state {
            ClassicState::Empty => Err(GroupError::UnknownMemberId),
            ClassicState::PreparingRebalance => {
                self.hear(member_id, context);
                Err(GroupError::RebalanceInProgress)
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.hear(member_id, context);
                Ok(())
            }
        }
    }

    /// Begins a member's session anew.
    pub(super) fn hear(&mut self, member_id: &str, context: &mut Context<'_>) {
        let group = &self.id;
        // By entry, for the id as it is shared.
        if let Some((id, _)) = self.members.get_key_value(member_id) {
            let id = Arc::clone(id);
            let member = self.members.get_mut(&id).expect("it was just found");
            member.last_heard_ms = context.now.wall_ms;
            member.arm_session(group, &id, member.session_timeout_ms, context);
        }
    }

    /// The session of a member is over, or the time in which an id could be used.
    pub(in crate::coordinator::group) fn on_session_timer(&mut self, member_id: &str, context: &mut Context<'_>) {
        if self.drop_pending(member_id, context) {
            if self.state == ClassicState::PreparingRebalance && self.has_all_joined() {
                self.complete_join(context);
            }
            return;
        }
        let Some(member) = self.members.get(member_id) else { return };
        // Whoever waits for an answer cannot send heartbeats, and is heard of through the connection; but a new member that
        // has gone has nobody to miss it.
        if !member.is_new && member.is_waiting() {
            return;
        }
        tracing::info!(group = %self.id, member = member_id, "a member was silent for too long");
        self.remove_member(member_id, GroupError::UnknownMemberId, context);
        match self.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => {
                self.prepare_rebalance(context, "a member was silent for too long");
            }
            ClassicState::PreparingRebalance if self.has_all_joined() => self.complete_join(context),
            ClassicState::PreparingRebalance | ClassicState::Empty => {}
        }
    }
}

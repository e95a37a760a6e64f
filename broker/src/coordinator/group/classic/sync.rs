//! SyncGroup: the leader hands in the assignment of a generation, every member gets its own.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{ClassicGroup, ClassicState, Context};
use crate::coordinator::group::error::GroupError;
use crate::coordinator::group::outcome::{FollowUp, Token};

/// The most that the record of a group may take: what its members say, and what they are assigned.
pub(crate) const GROUP_RECORD_BYTES_MAX: usize = 15 << 20;

/// A request for an assignment, with everybody's from the leader.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SyncGroup {
    /// The group.
    pub(crate) group_id: String,
    /// The generation that the member joined.
    pub(crate) generation: i32,
    /// The member.
    pub(crate) member_id: String,
    /// Of a static member.
    pub(crate) instance_id: Option<String>,
    /// What the member takes the group for; `None` from clients that do not say.
    pub(crate) protocol_type: Option<String>,
    /// What the member speaks in it; `None` from clients that do not say.
    pub(crate) protocol: Option<String>,
    /// From the leader: what each member is to have.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// Answers [`SyncGroup`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SyncAnswer {
    /// The refusal, if it is one.
    pub(crate) error: Option<GroupError>,
    /// The kind of the group.
    pub(crate) protocol_type: Option<String>,
    /// What its members speak.
    pub(crate) protocol: Option<String>,
    /// What the member has to do.
    pub(crate) assignment: Bytes,
}

impl SyncAnswer {
    /// A refusal.
    pub(crate) fn error(error: GroupError) -> Self {
        Self { error: Some(error), protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

impl ClassicGroup {
    /// Handles a sync, and answers `token` now or when the leader's assignment is on record.
    pub(in crate::coordinator::group) fn sync(&mut self, request: &SyncGroup, token: Token, context: &mut Context<'_>) {
        if let Err(error) = self.try_sync(request, token, context) {
            context.effects.answer_sync(token, SyncAnswer::error(error));
        }
    }

    fn try_sync(&mut self, request: &SyncGroup, token: Token, context: &mut Context<'_>) -> Result<(), GroupError> {
        if self.state == ClassicState::Empty {
            return Err(GroupError::UnknownMemberId);
        }
        let id = request.member_id.as_str();
        self.validate_member(id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let contradicts = |said: &Option<String>, is: &Option<String>| said.is_some() && is.is_some() && said != is;
        if contradicts(&request.protocol_type, &self.protocol_type) || contradicts(&request.protocol, &self.protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.state {
            ClassicState::Empty => unreachable!("an empty group has no member that was just validated"),
            ClassicState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            ClassicState::Stable => {
                self.has_synced(id, context);
                let assignment = self.members[id].assignment.clone();
                context.effects.answer_sync(token, self.assignment_answer(assignment));
                Ok(())
            }
            ClassicState::CompletingRebalance => {
                if self.is_leader(id) && !self.has_bytes_for_assignment(request) {
                    return Err(GroupError::ChangeTooLarge);
                }
                let member = self.members.get_mut(id).expect("it was just validated");
                if let Some(earlier) = member.awaiting_sync.replace(token) {
                    // The member has given up that request: to whoever still reads the answer it says to join again.
                    context.effects.answer_sync(earlier, SyncAnswer::error(GroupError::RebalanceInProgress));
                }
                self.has_synced(id, context);
                if self.is_leader(id) {
                    self.take_assignment(request, context);
                }
                Ok(())
            }
        }
    }

    /// Whether the assignments fit into a record beside what the members say. Those for strangers are not in it.
    fn has_bytes_for_assignment(&self, request: &SyncGroup) -> bool {
        let of_members = request.assignments.iter().filter(|(id, _)| self.members.contains_key(id.as_str()));
        let assigned_bytes: usize = of_members.map(|(_, assignment)| assignment.len()).sum();
        self.rebalance.members_bytes + assigned_bytes <= GROUP_RECORD_BYTES_MAX
    }

    /// Asks for the record of the assignment, whose replay makes the group stable, and answers all who wait for it.
    fn take_assignment(&mut self, request: &SyncGroup, context: &mut Context<'_>) {
        let mut assignments: HashMap<&str, Bytes> = HashMap::with_capacity(self.members.len());
        for (id, assignment) in &request.assignments {
            if self.members.contains_key(id.as_str()) {
                assignments.insert(id, assignment.clone());
            }
        }
        context.effects.records.push(self.to_record(&assignments, context.now));
        context.effects.follow_up = Some(FollowUp::Assigned(Arc::clone(&self.id)));
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.assignment_answer(assignments.get(&*id).cloned().unwrap_or_default());
            let member = self.members.get_mut(&id).expect("nobody leaves in between");
            if let Some(token) = member.awaiting_sync.take() {
                context.effects.answer_sync(token, answer);
                // Its session may have ended meanwhile, which waiting excuses.
                member.arm_session(&self.id, &id, member.session_timeout_ms, context);
            }
        }
    }

    /// The record of the assignment could not be written, and everybody was told so: all join again, as with Kafka, since nobody has
    /// to ask for this assignment once more.
    pub(in crate::coordinator::group) fn on_assignment_refused(&mut self, context: &mut Context<'_>) {
        if self.state == ClassicState::CompletingRebalance {
            self.prepare_rebalance(context, "its assignment could not be put on record");
        }
    }

    fn assignment_answer(&self, assignment: Bytes) -> SyncAnswer {
        SyncAnswer {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }
}

//! LeaveGroup: members go, by their ids or, by an operator's hand, by their instance ids (KIP-345).

use super::{ClassicGroup, ClassicState, Context};
use crate::coordinator::group::error::GroupError;

/// A request to take members out of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LeaveGroup {
    /// The group.
    pub(crate) group_id: String,
    /// Who goes.
    pub(crate) members: Vec<Departure>,
}

/// A member that goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Departure {
    /// Its id; empty where the instance id alone counts.
    pub(crate) member_id: String,
    /// Its instance id.
    pub(crate) instance_id: Option<String>,
    /// Why, for people.
    pub(crate) reason: Option<String>,
}

impl ClassicGroup {
    /// Takes members out; says of each whether it could.
    pub(in crate::coordinator::group) fn leave(
        &mut self,
        members: &[Departure],
        context: &mut Context<'_>,
    ) -> Vec<Result<(), GroupError>> {
        let results: Vec<_> = members.iter().map(|member| self.leave_one(member, context)).collect();
        if results.iter().any(Result::is_ok) {
            match self.state {
                ClassicState::Stable | ClassicState::CompletingRebalance => {
                    self.prepare_rebalance(context, "members leave");
                }
                ClassicState::PreparingRebalance => self.complete_join_if_all_are_there(context),
                ClassicState::Empty => {}
            }
        }
        results
    }

    fn leave_one(&mut self, departure: &Departure, context: &mut Context<'_>) -> Result<(), GroupError> {
        let Departure { member_id, instance_id, reason } = departure;
        let id = if member_id.is_empty() {
            let named = instance_id.as_ref().and_then(|instance_id| self.static_members.get(instance_id));
            named.cloned().ok_or(GroupError::UnknownMemberId)?
        } else if self.drop_pending(member_id, context) {
            return Ok(());
        } else {
            self.validate_member(member_id, instance_id.as_deref())?;
            member_id.as_str().into()
        };
        tracing::info!(group = %self.id, member = %id, ?reason, "a member leaves");
        self.remove_member(&id, GroupError::UnknownMemberId, context);
        Ok(())
    }
}

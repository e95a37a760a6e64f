//! Members of a consumer group that leave, are removed, or give their place to another.

use std::sync::Arc;

use super::assignment::OwnedPartitions;
use super::consumer::ConsumerGroup;
use super::consumer_context::ConsumerContext;
use super::consumer_draft::ConsumerDraft;
use super::consumer_error::ConsumerGroupError;
use super::consumer_heartbeat::{ConsumerHeartbeat, HeartbeatAnswer, check_instance, remember_revocation};
use super::consumer_member::{ConsumerMember, MemberState, STATIC_LEAVE_EPOCH};
use super::consumer_memory::{ConsumerMemory, ExpiryReason};

/// After how many milliseconds the removal of a member is tried again that could not be written.
const RETRY_MS: i32 = 1_000;

/// Handles the heartbeat of a member that leaves, for good or, if it is static, for a while.
///
/// # Errors
/// It is not a member; the draft is to be dropped.
pub(super) fn leave(
    draft: &mut ConsumerDraft<'_>,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    request: &ConsumerHeartbeat,
) -> Result<HeartbeatAnswer, ConsumerGroupError> {
    let member = match &request.instance_id {
        None => draft
            .group()
            .member(&request.member_id)
            .cloned()
            .ok_or_else(|| ConsumerGroupError::UnknownMember { member_id: request.member_id.to_string() })?,
        Some(instance_id) => {
            check_instance(draft.group().static_member(instance_id).cloned(), &request.member_id, instance_id)?
        }
    };
    if request.member_epoch == STATIC_LEAVE_EPOCH {
        leave_for_a_while(draft, memory, &member);
    } else {
        remove_members(draft, context, [&member.member_id]);
    }
    Ok(HeartbeatAnswer {
        member_id: member.member_id.clone(),
        member_epoch: request.member_epoch,
        heartbeat_interval_ms: 0,
        assignment: None,
    })
}

/// A static member keeps what it owns until its session is over; what it had to give up is free.
fn leave_for_a_while(draft: &mut ConsumerDraft<'_>, memory: &mut ConsumerMemory, member: &ConsumerMember) {
    let mut gone = member.clone();
    gone.epoch = STATIC_LEAVE_EPOCH;
    gone.pending_revocation = OwnedPartitions::default();
    draft.write_current_assignment(&gone);
    memory.revoked(&member.member_id);
}

/// Removes members, and raises the group's epoch so that others get what they had. They are remembered until the records are
/// replayed.
pub(super) fn remove_members<'m>(
    draft: &mut ConsumerDraft<'_>,
    context: &ConsumerContext<'_>,
    member_ids: impl IntoIterator<Item = &'m Arc<str>>,
) {
    for member_id in member_ids {
        draft.remove_member(member_id);
    }
    draft.resolve_regexes(context, false);
    draft.raise_epoch(context, true);
}

/// Lets a member under a new id take the place of a static member, with everything that one owned and is to own.
pub(super) fn replace_static_member(
    draft: &mut ConsumerDraft<'_>,
    owner: &ConsumerMember,
    member_id: &Arc<str>,
) -> Arc<ConsumerMember> {
    let target = draft.group().target(&owner.member_id).cloned();
    let is_same_id = owner.member_id == *member_id;
    if !is_same_id {
        draft.remove_member(&owner.member_id);
    }

    let mut member = owner.clone();
    member.member_id = member_id.clone();
    member.epoch = 0;
    member.previous_epoch = 0;
    member.state = MemberState::Stable;
    if !is_same_id {
        draft.write_metadata(&member);
        if let Some(target) = target {
            draft.write_target(member_id, &target);
        }
    }
    draft.write_current_assignment(&member);
    Arc::new(member)
}

/// Removes the members whose time is over, at most so many at once: the others' turn is next.
pub(crate) fn expire_members(
    draft: &mut ConsumerDraft<'_>,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    count_max: usize,
) {
    let mut expired = Vec::new();
    while expired.len() < count_max
        && let Some((member_id, reason)) = memory.take_expired(context.now.monotonic_ms)
    {
        let member = draft.group().member(&member_id);
        match (member, reason) {
            (None, _) => memory.forget(&member_id),
            // It has moved on since: nothing is waited for any more.
            (Some(member), ExpiryReason::Rebalance { epoch }) if member.epoch != epoch => memory.revoked(&member_id),
            (Some(_), reason) => {
                tracing::info!(member = %member_id, ?reason, "a member of a consumer group is removed");
                // It is forgotten with the replay of its removal. Should that not be written, this is tried again.
                memory.expire_again(&member_id, context.now.in_ms(RETRY_MS));
                expired.push(member_id);
            }
        }
    }
    if !expired.is_empty() {
        remove_members(draft, context, &expired);
    }
}

/// Gives every member of a group that was loaded a session of its own: who is silent for that long is gone.
pub(crate) fn start_sessions(group: &ConsumerGroup, memory: &mut ConsumerMemory, context: &ConsumerContext<'_>) {
    for member in group.members() {
        memory.start_session(&member.member_id, context.session_deadline_ms(member));
        if member.classic.is_none() {
            remember_revocation(memory, context, member);
        }
    }
}

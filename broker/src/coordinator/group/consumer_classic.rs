//! Members of the classic protocol in a consumer group (KIP-848): JoinGroup, SyncGroup, Heartbeat and LeaveGroup there.
//!
//! The group assigns for them as for all others: a join is answered at once, without a leader, and the assignment comes with
//! SyncGroup. What the other protocol does in heartbeats, giving up partitions and taking more, such a member does by joining
//! again, which Heartbeat tells it to. Its epoch is its generation.
//!
//! Invariant: whoever was told to join again and does not, or joined and does not sync, is removed after its rebalance timeout.

use std::sync::Arc;

use super::classic::{CONSUMER_PROTOCOL_TYPE, Departure, JoinAnswer, JoinGroup, SyncAnswer, SyncGroup};
use super::consumer::ConsumerGroup;
use super::consumer_context::ConsumerContext;
use super::consumer_draft::{ConsumerDraft, is_assignment_due};
use super::consumer_error::ConsumerGroupError;
use super::consumer_heartbeat::write_request;
use super::consumer_leave::{remove_members, replace_static_member};
use super::consumer_member::{ClassicMember, ConsumerMember, MemberState, sorted_names};
use super::consumer_memory::ConsumerMemory;
use super::embedded_protocol::{decode_subscription, encode_assignment, to_assignment};
use super::error::GroupError;

/// Handles JoinGroup. What it changes is in `draft` afterwards.
///
/// # Errors
/// The member is refused; the draft is to be dropped.
pub(crate) fn join(
    draft: &mut ConsumerDraft<'_>,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    request: &JoinGroup,
    new_member_id: String,
) -> Result<JoinAnswer, GroupError> {
    let is_new = request.member_id.is_empty();
    let is_member = draft.group().member(&request.member_id).is_some();
    if draft.group().member_count() >= context.config.max_size && !is_member {
        return Err(GroupError::GroupMaxSizeReached);
    }
    if !supports(draft.group(), request) {
        return Err(GroupError::InconsistentGroupProtocol);
    }
    let member_id: Arc<str> = if is_new { new_member_id.into() } else { request.member_id.as_str().into() };
    if is_new && request.needs_member_id && request.instance_id.is_none() {
        return Ok(JoinAnswer::error(GroupError::MemberIdRequired, &member_id));
    }
    // All its protocols have the same subscription.
    let (protocol, metadata) = request.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
    let subscription = decode_subscription(metadata).map_err(|_| GroupError::InconsistentGroupProtocol)?;
    let owned = to_assignment(&subscription.owned_partitions, context.image);

    let before = joining_member(draft, request, &member_id)?;
    let mut asks = ConsumerMember::clone(&before);
    asks.instance_id.clone_from(&request.instance_id);
    if subscription.rack_id.is_some() {
        asks.rack_id.clone_from(&subscription.rack_id);
    }
    asks.rebalance_timeout_ms = request.rebalance_timeout_ms;
    asks.subscribed_topics = sorted_names(subscription.topics);
    asks.subscribed_regex = String::new();
    asks.client_id.clone_from(&request.client.client_id);
    asks.client_host.clone_from(&request.client.client_host);
    asks.classic =
        Some(ClassicMember { session_timeout_ms: request.session_timeout_ms, protocols: request.protocols.clone() });

    let subscription_changed = write_request(draft, memory, context, &before, &asks).map_err(|error| match error {
        ConsumerGroupError::NoRoomForMember => GroupError::CoordinatorNotAvailable,
        _ => GroupError::GroupMaxSizeReached,
    })?;
    draft.assign(context);
    let mut member = Arc::new(asks);
    let must_move = subscription_changed || !member.is_reconciled_to(draft.group().assignment_epoch());
    if must_move
        && let Some(next) = draft.reconcile(&member, Some(&owned), context).map_err(|_| GroupError::UnknownMemberId)?
    {
        member = next;
    }

    memory.heard(&member_id, context.now.wall_ms, context.session_deadline_ms(&member));
    memory.revoked(&member_id);
    memory.joined(&member_id, context.rebalance_deadline_ms(&member));
    Ok(JoinAnswer {
        error: None,
        generation: member.epoch,
        protocol_type: Some(CONSUMER_PROTOCOL_TYPE.to_owned()),
        protocol: Some(protocol.clone()),
        leader: String::new(),
        skip_assignment: false,
        member_id: member_id.to_string(),
        members: Vec::new(),
    })
}

/// Whether the member speaks the consumers' protocol, and in it what all members of the classic protocol speak.
fn supports(group: &ConsumerGroup, request: &JoinGroup) -> bool {
    let all_speak = |name: &str| {
        let mut classic = group.members().filter_map(|member| member.classic.as_ref());
        classic.all(|classic| classic.protocols.iter().any(|(known, _)| known == name))
    };
    request.protocol_type == CONSUMER_PROTOCOL_TYPE && request.protocols.iter().any(|(name, _)| all_speak(name))
}

/// The member as it is before it joins. A static one takes the place of whoever had its name.
fn joining_member(
    draft: &mut ConsumerDraft<'_>,
    request: &JoinGroup,
    member_id: &Arc<str>,
) -> Result<Arc<ConsumerMember>, GroupError> {
    let group = draft.group();
    let Some(instance_id) = &request.instance_id else {
        let known = group.member(member_id).cloned();
        return Ok(known.unwrap_or_else(|| Arc::new(ConsumerMember::new(member_id.clone()))));
    };
    match group.static_member(instance_id).cloned() {
        None if request.member_id.is_empty() => Ok(Arc::new(ConsumerMember::new(member_id.clone()))),
        None => Err(GroupError::UnknownMemberId),
        Some(owner) if request.member_id.is_empty() => Ok(replace_static_member(draft, &owner, member_id)),
        Some(owner) if owner.member_id == *member_id => Ok(owner),
        Some(_) => Err(GroupError::FencedInstanceId),
    }
}

/// Handles SyncGroup. It changes nothing that is recorded.
///
/// # Errors
/// The member is refused, or has to join again.
pub(crate) fn sync(
    group: &ConsumerGroup,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    request: &SyncGroup,
) -> Result<SyncAnswer, GroupError> {
    let (member, classic) = classic_member(group, &request.member_id, request.instance_id.as_deref())?;
    if request.generation != member.epoch {
        return Err(GroupError::IllegalGeneration);
    }
    let (protocol, subscription) = classic.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
    let contradicts = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
    if contradicts(&request.protocol_type, CONSUMER_PROTOCOL_TYPE) || contradicts(&request.protocol, protocol) {
        return Err(GroupError::InconsistentGroupProtocol);
    }
    // One that gives up partitions has joined again already, and does so once more when it has.
    if is_behind(group, member, context) && member.state != MemberState::UnrevokedPartitions {
        memory.expect_join(&member.member_id, context.rebalance_deadline_ms(member));
        return Err(GroupError::RebalanceInProgress);
    }
    memory.synced(&member.member_id);
    memory.heard(&member.member_id, context.now.wall_ms, context.session_deadline_ms(member));
    Ok(SyncAnswer {
        error: None,
        protocol_type: request.protocol_type.clone(),
        protocol: request.protocol.clone(),
        assignment: encode_assignment(&member.assigned.to_assignment(), subscription, context.image),
    })
}

/// Handles Heartbeat of a member by its id and, if it is static, its name. It changes nothing that is recorded.
///
/// # Errors
/// The member is refused, or has to join again.
pub(crate) fn classic_heartbeat(
    group: &ConsumerGroup,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    (member_id, instance_id): (&str, Option<&str>),
    generation: i32,
) -> Result<(), GroupError> {
    let (member, _) = classic_member(group, member_id, instance_id)?;
    if generation != member.epoch {
        return Err(GroupError::IllegalGeneration);
    }
    memory.heard(&member.member_id, context.now.wall_ms, context.session_deadline_ms(member));
    let must_join = match member.state {
        _ if is_behind(group, member, context) => true,
        MemberState::UnrevokedPartitions => true,
        MemberState::UnreleasedPartitions => !waits_for_others(group, member),
        MemberState::Stable | MemberState::Unknown => false,
    };
    if must_join {
        memory.expect_join(&member.member_id, context.rebalance_deadline_ms(member));
        return Err(GroupError::RebalanceInProgress);
    }
    Ok(())
}

/// Whether a join would bring the member on: there is a newer assignment, or it would make one.
fn is_behind(group: &ConsumerGroup, member: &ConsumerMember, context: &ConsumerContext<'_>) -> bool {
    member.epoch < group.assignment_epoch() || is_assignment_due(group, context)
}

/// Whether any of what the member is to own belongs to others still.
fn waits_for_others(group: &ConsumerGroup, member: &ConsumerMember) -> bool {
    let Some(target) = group.target(&member.member_id) else { return false };
    target.iter().any(|(topic, partition)| group.owned_by_other(&topic, partition, &member.member_id))
}

/// Handles LeaveGroup, which takes members of either protocol out. Says of each, in their order, whether it left.
pub(crate) fn leave(
    draft: &mut ConsumerDraft<'_>,
    context: &ConsumerContext<'_>,
    departures: &[Departure],
) -> Vec<Result<(), GroupError>> {
    let mut leaving: Vec<Arc<str>> = Vec::new();
    let mut results = Vec::with_capacity(departures.len());
    for departure in departures {
        let member = find_member(draft.group(), &departure.member_id, departure.instance_id.as_deref());
        let member = member.and_then(|member| match leaving.contains(&member.member_id) {
            true => Err(GroupError::UnknownMemberId),
            false => Ok(member.member_id.clone()),
        });
        results.push(member.map(|member_id| leaving.push(member_id)));
    }
    if !leaving.is_empty() {
        remove_members(draft, context, &leaving);
    }
    results
}

/// The member of a request that has to be one of the classic protocol.
fn classic_member<'g>(
    group: &'g ConsumerGroup,
    member_id: &str,
    instance_id: Option<&str>,
) -> Result<(&'g ConsumerMember, &'g ClassicMember), GroupError> {
    if instance_id.is_some() && member_id.is_empty() {
        return Err(GroupError::FencedInstanceId);
    }
    let member = find_member(group, member_id, instance_id)?;
    let classic = member.classic.as_ref().ok_or(GroupError::UnknownMemberId)?;
    Ok((member, classic))
}

/// A member by its id; by its name, where it has one, and then the id must be its own or missing.
fn find_member<'g>(
    group: &'g ConsumerGroup,
    member_id: &str,
    instance_id: Option<&str>,
) -> Result<&'g Arc<ConsumerMember>, GroupError> {
    let Some(instance_id) = instance_id else { return group.member(member_id).ok_or(GroupError::UnknownMemberId) };
    let owner = group.static_member(instance_id).ok_or(GroupError::UnknownMemberId)?;
    if member_id.is_empty() || *owner.member_id == *member_id { Ok(owner) } else { Err(GroupError::FencedInstanceId) }
}

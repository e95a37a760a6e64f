//! ConsumerGroupHeartbeat (KIP-848): a member joins, keeps up, or leaves.
//!
//! Refusals first, in Kafka's order; then the member's fields, the group's epoch, the target assignment, and one step of the
//! member towards it, each only where something changed. A heartbeat that changes nothing writes nothing.
//!
//! Does not know whether the group exists, or speaks the classic protocol: that is the shard's.

use std::sync::Arc;

use super::assignment::Assignment;
use super::assignor::Assignor;
use super::consumer::ConsumerGroup;
use super::consumer_context::ConsumerContext;
use super::consumer_draft::ConsumerDraft;
use super::consumer_error::ConsumerGroupError;
use super::consumer_leave::{leave, replace_static_member};
use super::consumer_member::{ConsumerMember, JOIN_EPOCH, LEAVE_EPOCH, MemberState, STATIC_LEAVE_EPOCH, sorted_names};
use super::consumer_memory::ConsumerMemory;
use super::consumer_size::{NAMES_BYTES_MAX, fits_into_change};
use super::subscription_regex::SubscriptionRegex;

/// How many milliseconds lie between two look-ups of a group's patterns at least: with many topics one is not free.
const REGEX_REFRESH_INTERVAL_MIN_MS: u64 = 1_000;

/// The most that all members of a group may say about themselves: it is kept as long as they are.
const METADATA_BYTES_MAX: usize = 8 << 20;

/// How many different patterns a group may subscribe to: each is matched with every topic, and what it stands for is recorded.
const REGEXES_MAX: usize = 32;

/// What a member says. `None` stands for "as before".
#[derive(Debug, Clone, Default)]
pub(crate) struct ConsumerHeartbeat {
    /// Its id; the broker makes one for a member that joins without, before version 1 (KIP-1082).
    pub(crate) member_id: Arc<str>,
    /// The epoch that it is in, or one of those that stand for joining and leaving.
    pub(crate) member_epoch: i32,
    /// The name by which it comes back.
    pub(crate) instance_id: Option<String>,
    /// Its rack.
    pub(crate) rack_id: Option<String>,
    /// How long it may take to give up partitions, in milliseconds; -1 for as before.
    pub(crate) rebalance_timeout_ms: i32,
    /// Its client id.
    pub(crate) client_id: String,
    /// Where it is, as Kafka writes it.
    pub(crate) client_host: String,
    /// The topics that it subscribes to by name.
    pub(crate) subscribed_topics: Option<Vec<String>>,
    /// The pattern that it subscribes to; empty for none.
    pub(crate) subscribed_regex: Option<String>,
    /// The assignor that it prefers.
    pub(crate) server_assignor: Option<String>,
    /// What it owns.
    pub(crate) owned: Option<Assignment>,
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeartbeatAnswer {
    /// Its id.
    pub(crate) member_id: Arc<str>,
    /// The epoch that it is in now.
    pub(crate) member_epoch: i32,
    /// When to send the next heartbeat, in milliseconds; 0 for never.
    pub(crate) heartbeat_interval_ms: i32,
    /// What it may own; `None` for as before.
    pub(crate) assignment: Option<Assignment>,
}

impl ConsumerHeartbeat {
    /// Whether it needs no group: one that joins makes it.
    pub(crate) fn is_join(&self) -> bool {
        self.member_epoch == JOIN_EPOCH
    }

    /// Checks what needs no group.
    ///
    /// # Errors
    /// The request can be no member's.
    pub(crate) fn check(&self, group_id: &str, context: &ConsumerContext<'_>) -> Result<(), ConsumerGroupError> {
        let is_empty = |text: &Option<String>| text.as_deref() == Some("");
        let invalid = |reason| Err(ConsumerGroupError::InvalidRequest(reason));
        if self.member_id.is_empty() {
            return invalid("the member id is empty");
        }
        if group_id.is_empty() {
            return invalid("the group id is empty");
        }
        if is_empty(&self.instance_id) {
            return invalid("the instance id is empty");
        }
        if is_empty(&self.rack_id) {
            return invalid("the rack id is empty");
        }
        match self.member_epoch {
            JOIN_EPOCH if self.rebalance_timeout_ms == -1 => {
                return invalid("a member that joins must say its rebalance timeout");
            }
            JOIN_EPOCH if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
                return invalid("a member that joins must say that it owns no partitions");
            }
            JOIN_EPOCH if self.subscribed_topics.is_none() && self.subscribed_regex.is_none() => {
                return invalid("a member that joins must subscribe to topics by name or by a pattern");
            }
            STATIC_LEAVE_EPOCH if self.instance_id.is_none() => {
                return invalid("epoch -2 is for static members: the instance id is missing");
            }
            STATIC_LEAVE_EPOCH | LEAVE_EPOCH | JOIN_EPOCH.. => {}
            _ => return invalid("the member epoch is below -2"),
        }
        self.check_assignor(context)
    }

    fn check_assignor(&self, context: &ConsumerContext<'_>) -> Result<(), ConsumerGroupError> {
        let Some(name) = &self.server_assignor else { return Ok(()) };
        let assignors = &context.config.assignors;
        if Assignor::from_name(name).is_some_and(|assignor| assignors.contains(&assignor)) {
            return Ok(());
        }
        let supported: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
        Err(ConsumerGroupError::UnsupportedAssignor { name: name.clone(), supported: supported.join(", ") })
    }

    /// The member as it asks now.
    fn apply_to(&self, member: &ConsumerMember) -> ConsumerMember {
        let mut updated = member.clone();
        let keep = |new: &Option<String>, old: &mut Option<String>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        keep(&self.instance_id, &mut updated.instance_id);
        keep(&self.rack_id, &mut updated.rack_id);
        keep(&self.server_assignor, &mut updated.server_assignor);
        if self.rebalance_timeout_ms != -1 {
            updated.rebalance_timeout_ms = self.rebalance_timeout_ms;
        }
        if let Some(topics) = &self.subscribed_topics {
            updated.subscribed_topics = sorted_names(topics.clone());
        }
        if let Some(regex) = &self.subscribed_regex {
            updated.subscribed_regex.clone_from(regex);
        }
        updated.client_id.clone_from(&self.client_id);
        updated.client_host.clone_from(&self.client_host);
        updated.classic = None;
        updated
    }

    /// Whether the member says everything about itself, which it does when it does not know what the broker knows.
    fn is_full(&self) -> bool {
        let subscribes = self.subscribed_topics.is_some() || self.subscribed_regex.is_some();
        self.is_join() || (self.rebalance_timeout_ms != -1 && subscribes && self.owned.is_some())
    }

    /// Whether nothing that the member says differs from what is known of it.
    fn says_nothing_new(&self, member: &ConsumerMember) -> bool {
        let same = |new: &Option<String>, old: &Option<String>| new.is_none() || new == old;
        self.subscribed_topics.is_none()
            && self.subscribed_regex.as_ref().is_none_or(|regex| *regex == member.subscribed_regex)
            && same(&self.instance_id, &member.instance_id)
            && same(&self.rack_id, &member.rack_id)
            && same(&self.server_assignor, &member.server_assignor)
            && (self.rebalance_timeout_ms == -1 || self.rebalance_timeout_ms == member.rebalance_timeout_ms)
            && self.client_id == member.client_id
            && self.client_host == member.client_host
            && member.classic.is_none()
    }
}

/// Handles a heartbeat that was checked. What it changes is in `draft` afterwards.
///
/// # Errors
/// The member is refused; the draft is to be dropped.
pub(crate) fn heartbeat(
    draft: &mut ConsumerDraft<'_>,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    request: &ConsumerHeartbeat,
) -> Result<HeartbeatAnswer, ConsumerGroupError> {
    if request.member_epoch < JOIN_EPOCH {
        return leave(draft, memory, context, request);
    }
    if let Some(answer) = unchanged(draft.group(), memory, context, request) {
        return Ok(answer);
    }

    let max = context.config.max_size;
    if draft.group().member_count() >= max && draft.group().member(&request.member_id).is_none() {
        return Err(ConsumerGroupError::GroupMaxSizeReached { max });
    }
    let before = match &request.instance_id {
        None => dynamic_member(draft.group(), request)?,
        Some(instance_id) => static_member(draft, request, instance_id)?,
    };

    let asks = request.apply_to(&before);
    if asks.subscribed_regex != before.subscribed_regex && !asks.subscribed_regex.is_empty() {
        SubscriptionRegex::parse(&asks.subscribed_regex).map_err(|error| {
            ConsumerGroupError::InvalidRegularExpression { pattern: asks.subscribed_regex.clone(), error }
        })?;
    }
    let subscription_changed = write_request(draft, memory, context, &before, &asks)?;
    draft.assign(context);

    let mut member = Arc::new(asks);
    let must_move = subscription_changed || !member.is_reconciled_to(draft.group().assignment_epoch());
    if must_move && let Some(next) = draft.reconcile(&member, request.owned.as_ref(), context)? {
        member = next;
        remember_revocation(memory, context, &member);
    }

    memory.heard(&member.member_id, context.now.wall_ms, context.session_deadline_ms(&member));
    if before.classic.is_some() {
        memory.speaks_consumer_protocol(&member.member_id);
    }
    let assignment = member.assigned.to_assignment();
    let is_told = request.is_full() || assignment != before.assigned.to_assignment();
    Ok(HeartbeatAnswer {
        member_id: member.member_id.clone(),
        member_epoch: member.epoch,
        heartbeat_interval_ms: context.times.heartbeat_interval_ms,
        assignment: is_told.then_some(assignment),
    })
}

/// The answer to a heartbeat of a member that says nothing new and has nothing to do: nearly all of them.
fn unchanged(
    group: &ConsumerGroup,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    request: &ConsumerHeartbeat,
) -> Option<HeartbeatAnswer> {
    let member = group.member(&request.member_id)?;
    let is_settled = group.epoch() == group.assignment_epoch()
        && member.is_reconciled_to(group.assignment_epoch())
        && memory.compared_version == Some(context.image_version);
    let is_expected = request.member_epoch == member.epoch && !request.is_full() && request.says_nothing_new(member);
    if !is_settled || !is_expected {
        return None;
    }
    memory.heard(&member.member_id, context.now.wall_ms, context.session_deadline_ms(member));
    Some(HeartbeatAnswer {
        member_id: member.member_id.clone(),
        member_epoch: member.epoch,
        heartbeat_interval_ms: context.times.heartbeat_interval_ms,
        assignment: None,
    })
}

/// The member that a request without an instance id comes from; a new one if it joins.
fn dynamic_member(
    group: &ConsumerGroup,
    request: &ConsumerHeartbeat,
) -> Result<Arc<ConsumerMember>, ConsumerGroupError> {
    match group.member(&request.member_id) {
        // A member that lost its epoch joins again under its id: it says that it owns nothing.
        Some(member) if request.is_join() => Ok(member.clone()),
        Some(member) => check_epoch(member, request).map(|()| member.clone()),
        None if request.is_join() => Ok(Arc::new(ConsumerMember::new(request.member_id.clone()))),
        None => Err(ConsumerGroupError::UnknownMember { member_id: request.member_id.to_string() }),
    }
}

/// The member that a request with an instance id comes from. One that joins takes the place of the member that left under it.
fn static_member(
    draft: &mut ConsumerDraft<'_>,
    request: &ConsumerHeartbeat,
    instance_id: &str,
) -> Result<Arc<ConsumerMember>, ConsumerGroupError> {
    let owner = draft.group().static_member(instance_id).cloned();
    if request.is_join() {
        let Some(owner) = owner else { return dynamic_member(draft.group(), request) };
        if owner.classic.is_none() && owner.epoch != STATIC_LEAVE_EPOCH {
            return Err(ConsumerGroupError::UnreleasedInstance {
                member_id: request.member_id.to_string(),
                instance_id: instance_id.to_owned(),
                owner: owner.member_id.to_string(),
            });
        }
        return Ok(replace_static_member(draft, &owner, &request.member_id));
    }
    let owner = check_instance(owner, &request.member_id, instance_id)?;
    check_epoch(&owner, request)?;
    Ok(owner)
}

/// The static member `owner` of this name, if it is the one that asks.
pub(super) fn check_instance(
    owner: Option<Arc<ConsumerMember>>,
    member_id: &str,
    instance_id: &str,
) -> Result<Arc<ConsumerMember>, ConsumerGroupError> {
    let Some(owner) = owner else {
        return Err(ConsumerGroupError::UnknownInstance { instance_id: instance_id.to_owned() });
    };
    if *owner.member_id != *member_id {
        return Err(ConsumerGroupError::FencedInstance {
            member_id: member_id.to_owned(),
            instance_id: instance_id.to_owned(),
            owner: owner.member_id.to_string(),
        });
    }
    Ok(owner)
}

/// A member may be one epoch behind: the answer that told it the newer one may have been lost. Then it must not own more than it may.
fn check_epoch(member: &ConsumerMember, request: &ConsumerHeartbeat) -> Result<(), ConsumerGroupError> {
    let received = request.member_epoch;
    if received == member.epoch {
        return Ok(());
    }
    let owns_no_more = request
        .owned
        .as_ref()
        .is_some_and(|owned| owned.iter().all(|(topic, partition)| member.assigned.contains(&topic, partition)));
    if received < member.epoch && received == member.previous_epoch && owns_no_more {
        return Ok(());
    }
    Err(ConsumerGroupError::FencedEpoch { received, epoch: member.epoch })
}

/// Writes what a member asks for now, and raises the group's epoch if that is other topics than before, or the topics have
/// changed since they were last looked at. Whether the member subscribes to other topics.
///
/// # Errors
/// The members say more than a group, or all groups, can keep; nothing was remembered of the request.
pub(super) fn write_request(
    draft: &mut ConsumerDraft<'_>,
    memory: &mut ConsumerMemory,
    context: &ConsumerContext<'_>,
    before: &ConsumerMember,
    asks: &ConsumerMember,
) -> Result<bool, ConsumerGroupError> {
    let stood_for = draft.group().resolved_regexes().get(&before.subscribed_regex).cloned().unwrap_or_default();
    if asks != before {
        draft.write_metadata(asks);
        if draft.group().members_bytes() > METADATA_BYTES_MAX && asks.metadata_bytes() > before.metadata_bytes() {
            return Err(ConsumerGroupError::TooMuchMetadata { max: METADATA_BYTES_MAX });
        }
        let has_new_regex = asks.subscribed_regex != before.subscribed_regex && !asks.subscribed_regex.is_empty();
        if has_new_regex && draft.group().subscribed_regexes().len() > REGEXES_MAX {
            return Err(ConsumerGroupError::TooManyRegexes { max: REGEXES_MAX });
        }
    }
    // One that takes the place of another under a longer id says more too.
    let more_bytes = draft.more_members_bytes();
    if more_bytes > 0 && !fits_into_change(context.group_id, draft.group()) {
        return Err(ConsumerGroupError::NamesTooLong { max: NAMES_BYTES_MAX });
    }
    if !context.members_budget.has_room_for(more_bytes) {
        return Err(ConsumerGroupError::NoRoomForMember);
    }
    let asks_for_others = !asks.subscribes_like(before);
    let topics_changed = memory.compared_version != Some(context.image_version);
    if !topics_changed && !asks_for_others && draft.group().epoch() > 0 {
        return Ok(false);
    }
    let has_regexes = draft.group().members().any(|member| !member.subscribed_regex.is_empty());
    let is_due = memory
        .regexes_resolved_at_ms
        .is_none_or(|at| context.now.monotonic_ms.saturating_sub(at) >= REGEX_REFRESH_INTERVAL_MIN_MS);
    let again = topics_changed && has_regexes && is_due;
    draft.resolve_regexes(context, again);
    let stands_for = draft.group().resolved_regexes().get(&asks.subscribed_regex).cloned().unwrap_or_default();
    let subscription_changed = asks.subscribed_topics != before.subscribed_topics || stands_for != stood_for;
    draft.raise_epoch(context, subscription_changed);
    if again {
        memory.regexes_resolved_at_ms = Some(context.now.monotonic_ms);
    }
    // Patterns that have to wait are looked up at a later heartbeat.
    if again || !has_regexes {
        memory.compared_version = Some(context.image_version);
    }
    Ok(subscription_changed)
}

/// Starts or ends the time that a member has to give up partitions.
pub(super) fn remember_revocation(memory: &mut ConsumerMemory, context: &ConsumerContext<'_>, member: &ConsumerMember) {
    if member.state == MemberState::UnrevokedPartitions {
        memory.expect_revocation(&member.member_id, member.epoch, context.rebalance_deadline_ms(member));
    } else {
        memory.revoked(&member.member_id);
    }
}

#[cfg(test)]
#[path = "consumer_heartbeat_test.rs"]
mod tests;

//! Online migration (KIP-848): a group changes its protocol while its members go on.
//!
//! A classic group of consumers becomes a consumer group when a member of that protocol joins: its members stay with what they
//! were assigned, as members of the classic protocol. A consumer group becomes classic again when only such members are left;
//! they are then asked to join for a generation of their own. Records remove the one group and make the other in one batch.
//!
//! Owns the translation of one kind into the other; who asks for it is the shard's.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::group_records::{
    ConsumerGroupMetadataValue, ConsumerGroupTargetAssignmentMetadataValue, GroupMetadataKey, GroupMetadataValue,
    MemberMetadata,
};

use super::assignment::Assignment;
use super::classic::{CONSUMER_PROTOCOL_TYPE, ClassicGroup};
use super::consumer::ConsumerGroup;
use super::consumer_context::ConsumerContext;
use super::consumer_draft::ConsumerDraft;
use super::consumer_error::ConsumerGroupError;
use super::consumer_member::{ClassicMember, ConsumerMember, sorted_names};
use super::consumer_record::ConsumerGroupRecord;
use super::embedded_protocol::{decode_assignment, decode_subscription, encode_assignment, to_assignment};
use super::group_record::GroupRecord;
use crate::types::TopicId;

/// The consumer group that a classic group with members becomes. Its epoch is the generation.
///
/// # Errors
/// It may not become one, or cannot: it is no group of consumers, or says something that would be lost.
pub(crate) fn upgrade(
    classic: &ClassicGroup,
    context: &ConsumerContext<'_>,
) -> Result<ConsumerDraft<'static>, ConsumerGroupError> {
    let refuse = |reason| Err(ConsumerGroupError::GroupIdNotFound(reason));
    if !context.config.migration_policy.upgrades() {
        return refuse("the group is a classic one, and group.consumer.migration.policy does not let it change");
    }
    if !classic.uses_consumer_protocol() {
        return refuse("the group is a classic one, and its members are no consumers");
    }
    if classic.members().count() > context.config.max_size {
        return refuse("the group is a classic one, and has more members than a consumer group may have");
    }

    let generation = classic.generation();
    let mut members = Vec::new();
    for (member_id, member) in classic.members() {
        members.push(upgrade_member(member_id, member.to_upgrade(classic.protocol()), generation, context)?);
    }
    let mut claimed: HashSet<(TopicId, i32)> = members.iter().flat_map(|(member, _)| member.owned()).collect();
    let mut draft = ConsumerDraft::in_place_of(classic.members_bytes());
    let members: Vec<ConsumerMember> = members
        .into_iter()
        .map(|(mut member, claims)| {
            // A cooperative member that has not heard of its assignment yet goes on with what it said that it owns when it
            // joined. Nobody else may get that before it joins again.
            for (topic, partition) in claims.iter().filter(|partition| claimed.insert(*partition)) {
                member.assigned.insert(topic, partition, generation);
            }
            member
        })
        .collect();
    members.iter().for_each(|member| draft.write_metadata(member));
    draft.write(ConsumerGroupRecord::Epoch(Some(ConsumerGroupMetadataValue { epoch: generation, metadata_hash: 0 })));
    for member in &members {
        draft.write_target(&member.member_id, &member.assigned.to_assignment());
    }
    let value = ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: generation, assignment_timestamp: 0 };
    draft.write(ConsumerGroupRecord::TargetEpoch(Some(value)));
    for member in &members {
        draft.write_current_assignment(member);
    }
    Ok(draft)
}

/// What of a member of a classic group goes on in a consumer group.
#[derive(Debug)]
pub(crate) struct UpgradedMember<'a> {
    /// Of a static member.
    pub(crate) instance_id: Option<&'a str>,
    /// Who the client says it is.
    pub(crate) client_id: &'a str,
    /// Where it calls from.
    pub(crate) client_host: &'a str,
    /// How long a rebalance waits for it, in milliseconds.
    pub(crate) rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub(crate) session_timeout_ms: i32,
    /// What it can speak, that of the generation first, and what it says in each.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// What it was assigned.
    pub(crate) assignment: &'a Bytes,
}

/// The member, and what else it said that it owns.
fn upgrade_member(
    member_id: &Arc<str>,
    member: UpgradedMember<'_>,
    generation: i32,
    context: &ConsumerContext<'_>,
) -> Result<(ConsumerMember, Assignment), ConsumerGroupError> {
    const MALFORMED: ConsumerGroupError = ConsumerGroupError::GroupIdNotFound(
        "the group is a classic one, and what its members say cannot be understood",
    );
    let (_, metadata) = member.protocols.first().ok_or(MALFORMED)?;
    let subscription = decode_subscription(metadata).map_err(|_| MALFORMED)?;
    let assignment = decode_assignment(member.assignment).map_err(|_| MALFORMED)?;
    if assignment.user_data.is_some_and(|data| !data.is_empty()) {
        return Err(ConsumerGroupError::GroupIdNotFound(
            "the group is a classic one, and its assignor gives members data that would be lost",
        ));
    }
    let owned = to_assignment(&assignment.assigned_partitions, context.image);
    let claims = to_assignment(&subscription.owned_partitions, context.image);
    let member = ConsumerMember {
        instance_id: member.instance_id.map(str::to_owned),
        rack_id: subscription.rack_id,
        client_id: member.client_id.to_owned(),
        client_host: member.client_host.to_owned(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        subscribed_topics: sorted_names(subscription.topics),
        classic: Some(ClassicMember { session_timeout_ms: member.session_timeout_ms, protocols: member.protocols }),
        epoch: generation,
        previous_epoch: generation,
        assigned: owned.iter().map(|(topic, partition)| (topic, partition, generation)).collect(),
        ..ConsumerMember::new(member_id.clone())
    };
    Ok((member, claims))
}

/// The records that make a classic group of a consumer group in which all members speak that protocol. `None` if there is no
/// protocol that all of them speak. The generation is the highest epoch that a member may know of, `epoch_before` at least.
pub(crate) fn downgrade(
    group_id: &str,
    group: &ConsumerGroup,
    epoch_before: i32,
    context: &ConsumerContext<'_>,
) -> Option<Vec<GroupRecord>> {
    let staying: Vec<(&ConsumerMember, &ClassicMember)> =
        group.members().map(|member| Some((&**member, member.classic.as_ref()?))).collect::<Option<_>>()?;
    let generation = staying.iter().map(|(member, _)| member.epoch).fold(epoch_before, i32::max);
    let (leader, first) = staying.first()?;
    let speaks = |classic: &ClassicMember, name: &str| classic.protocols.iter().any(|(known, _)| known == name);
    let (protocol, _) =
        first.protocols.iter().find(|(name, _)| staying.iter().all(|(_, classic)| speaks(classic, name)))?;

    let mut draft = ConsumerDraft::of(group);
    group.members().for_each(|member| draft.remove_member(&member.member_id));
    draft.remove_group();
    let mut records: Vec<GroupRecord> =
        draft.into_records().into_iter().map(|record| record.into_group_record(group_id)).collect();

    let member = |(member, classic): &(&ConsumerMember, &ClassicMember)| {
        let said = classic.protocols.iter().find(|(name, _)| name == protocol);
        let subscription = said.map(|(_, metadata)| metadata.clone()).unwrap_or_default();
        let assignment: Assignment = member.assigned.to_assignment();
        MemberMetadata {
            member_id: member.member_id.to_string(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: classic.session_timeout_ms,
            assignment: encode_assignment(&assignment, &subscription, context.image),
            subscription,
        }
    };
    records.push(GroupRecord::GroupMetadata {
        key: GroupMetadataKey { group: group_id.to_owned() },
        value: Some(GroupMetadataValue {
            protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
            generation,
            protocol: Some(protocol.clone()),
            leader: Some(leader.member_id.to_string()),
            current_state_timestamp: context.now.wall_ms,
            members: staying.iter().map(member).collect(),
        }),
    });
    Some(records)
}

//! Groups with their members: who they are, what they subscribe to and what they have.
//!
//! A group is asked for as one of the consumer protocol first, and as a classic one where it is none. What members of a
//! classic group tell each other is bytes to the coordinator, and is read here.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::consumer_group_describe::{self, Assignment, ConsumerGroupDescribeRequest};
use ottla_protocol::messages::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::messages::describe_groups::{self, DescribeGroupsRequest};
use ottla_protocol::wire::Reader;
use ottla_protocol::{ApiKey, ErrorCode, Message};

use super::Admin;
use super::group_listing::{GroupState, GroupType, known};
use crate::connection::Connection;
use crate::coordinator_calls::{ByGroup, by_coordinator};
use crate::{Error, TopicPartition};

/// What members of groups that share out partitions call their protocol.
const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The newest version of the consumer protocol's subscription and assignment; later ones only add fields at the end.
const CONSUMER_PROTOCOL_NEWEST: i16 = 3;

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// Which protocol its members speak with the coordinator.
    pub group_type: GroupType,
    /// Its state.
    pub state: GroupState,
    /// Since when it is in this state, in milliseconds since 1970. Only Ottla says.
    pub state_since_ms: Option<i64>,
    /// What its members are: `consumer`, `connect` or another word of theirs; empty for a group that only holds offsets.
    pub protocol_type: String,
    /// What assigns the partitions, such as `range`; empty where there is no assignment.
    pub assignor: String,
    /// Consumer groups: the number of the latest change of members, subscriptions or topics.
    pub group_epoch: Option<i32>,
    /// Consumer groups: the epoch that the target assignment was made for.
    pub assignment_epoch: Option<i32>,
    /// Its members, by client id and member id.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The id that it has from the coordinator, or chose for itself.
    pub member_id: String,
    /// The id that it keeps over restarts, if it has one (KIP-345).
    pub group_instance_id: Option<String>,
    /// The name that the client gave itself.
    pub client_id: String,
    /// Where its connection comes from, as the broker saw it.
    pub client_host: String,
    /// Its rack, if it told.
    pub rack: Option<String>,
    /// When it was last heard of, in milliseconds since 1970. Only Ottla says.
    pub last_heard_ms: Option<i64>,
    /// Whether the rebalance of its group waits for it to join again, or to hand in the assignment. Only Ottla says, and of
    /// classic groups only.
    pub is_awaited: Option<bool>,
    /// The topics that it names. `None` where the broker does not say (a rebalance is under way) or it is no consumer.
    pub topics: Option<Vec<String>>,
    /// The regular expression that it subscribes to at the coordinator.
    pub topic_regex: Option<String>,
    /// The partitions that it has. `None` where the broker does not say (a rebalance is under way) or it is no consumer.
    pub assignment: Option<Vec<TopicPartition>>,
    /// Consumer groups: the partitions that it is to have.
    pub target_assignment: Option<Vec<TopicPartition>>,
    /// Consumer groups: the group epoch up to which it has followed.
    pub epoch: Option<i32>,
    /// Whether it speaks the classic protocol. `None` where the broker does not say (before Kafka 4.0).
    pub is_classic: Option<bool>,
}

impl Admin {
    /// Groups with their members. One result for each group: [`Error::Broker`] with GROUP_ID_NOT_FOUND for one that does
    /// not exist, those of reaching its coordinator.
    pub async fn describe_groups(&self, groups: &[&str]) -> ByGroup<GroupDescription> {
        let timeout = self.timeout();
        let call = |connection: Connection, groups: Vec<String>| async move {
            let mut described = ByGroup::new();
            let mut classic = groups.clone();
            if connection.version(ApiKey::ConsumerGroupDescribe).is_ok() {
                let request = ConsumerGroupDescribeRequest { group_ids: groups, ..Default::default() };
                let response = connection.request(&request, timeout).await?;
                let found = response.groups.into_iter().map(|group| consumer_group(&connection, group));
                described.extend(found.filter(|(_, group)| !is_for_the_other_api(group)));
                classic.retain(|group| !described.contains_key(group));
            }
            if !classic.is_empty() {
                let request = DescribeGroupsRequest { groups: classic, ..Default::default() };
                let response = connection.request(&request, timeout).await?;
                described.extend(response.groups.into_iter().map(|group| classic_group(&connection, group)));
            }
            Ok(described)
        };
        by_coordinator(&self.cluster, groups.iter().map(ToString::to_string).collect(), call).await
    }
}

/// A classic group, or none, is not found; Kafka 3.7 to 3.9 may have the API and refuse it all the same.
fn is_for_the_other_api(described: &Result<GroupDescription, Error>) -> bool {
    let code = described.as_ref().err().and_then(Error::code);
    matches!(code, Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion))
}

fn consumer_group(
    connection: &Connection,
    group: consumer_group_describe::DescribedGroup,
) -> (String, Result<GroupDescription, Error>) {
    let group_id = group.group_id;
    if group.error_code != 0 {
        let (code, message) = (group.error_code, group.error_message);
        let api = ApiKey::ConsumerGroupDescribe;
        return (group_id.clone(), Err(Error::broker(api, code, connection.address(), group_id, message)));
    }
    let description = GroupDescription {
        group_id: group_id.clone(),
        group_type: GroupType::Consumer,
        state: known(&group.group_state),
        state_since_ms: time(group.state_since_ms),
        protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
        assignor: group.assignor_name,
        group_epoch: Some(group.group_epoch),
        assignment_epoch: Some(group.assignment_epoch),
        members: sorted(group.members.into_iter().map(consumer_member)),
    };
    (group_id, Ok(description))
}

fn consumer_member(member: consumer_group_describe::Member) -> MemberDescription {
    MemberDescription {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rack: member.rack_id,
        last_heard_ms: time(member.last_heard_ms),
        is_awaited: None,
        topics: Some(member.subscribed_topic_names),
        topic_regex: member.subscribed_topic_regex.filter(|regex| !regex.is_empty()),
        assignment: Some(partitions_by_id(member.assignment)),
        target_assignment: Some(partitions_by_id(member.target_assignment)),
        epoch: Some(member.member_epoch),
        is_classic: (member.member_type >= 0).then_some(member.member_type == 0),
    }
}

fn partitions_by_id(assignment: Assignment) -> Vec<TopicPartition> {
    partitions(assignment.topic_partitions.into_iter().map(|topic| (topic.topic_name, topic.partitions)))
}

/// Before version 6 a group that does not exist is one that is Dead.
fn classic_group(
    connection: &Connection,
    group: describe_groups::DescribedGroup,
) -> (String, Result<GroupDescription, Error>) {
    let group_id = group.group_id;
    let state: GroupState = known(&group.group_state);
    let code = match group.error_code {
        0 if state == GroupState::Dead => ErrorCode::GroupIdNotFound.code(),
        code => code,
    };
    if code != 0 {
        let error = Error::broker(ApiKey::DescribeGroups, code, connection.address(), &group_id, group.error_message);
        return (group_id, Err(error));
    }
    let is_consumer = group.protocol_type == CONSUMER_PROTOCOL_TYPE;
    let description = GroupDescription {
        group_id: group_id.clone(),
        group_type: GroupType::Classic,
        state,
        state_since_ms: time(group.state_since_ms),
        protocol_type: group.protocol_type,
        assignor: group.protocol_data,
        group_epoch: None,
        assignment_epoch: None,
        members: sorted(group.members.into_iter().map(|member| classic_member(member, is_consumer))),
    };
    (group_id, Ok(description))
}

fn classic_member(member: describe_groups::DescribedGroupMember, is_consumer: bool) -> MemberDescription {
    let subscription: Option<ConsumerProtocolSubscription> =
        is_consumer.then(|| embedded(member.member_metadata)).flatten();
    let assignment: Option<ConsumerProtocolAssignment> =
        is_consumer.then(|| embedded(member.member_assignment)).flatten();
    let assigned = assignment.map(|assignment| assignment.assigned_partitions.into_iter());
    MemberDescription {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rack: subscription.as_ref().and_then(|subscription| subscription.rack_id.clone()),
        last_heard_ms: time(member.last_heard_ms),
        is_awaited: (member.is_awaited >= 0).then_some(member.is_awaited != 0),
        topics: subscription.map(|subscription| subscription.topics),
        topic_regex: None,
        assignment: assigned.map(|topics| partitions(topics.map(|topic| (topic.topic, topic.partitions)))),
        target_assignment: None,
        epoch: None,
        is_classic: Some(true),
    }
}

/// What a member wrote for other members: a version, and fields of which later versions have more. `None` where there is
/// nothing, or something else: the members are free to write what they like.
fn embedded<M: Message>(bytes: Bytes) -> Option<M> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16().ok().filter(|version| *version >= 0)?;
    M::decode(&mut reader, version.min(CONSUMER_PROTOCOL_NEWEST)).ok()
}

fn partitions(topics: impl Iterator<Item = (String, Vec<i32>)>) -> Vec<TopicPartition> {
    let of_topic = |(topic, partitions): (String, Vec<i32>)| {
        let topic: Arc<str> = topic.into();
        partitions.into_iter().map(move |partition| TopicPartition::new(topic.clone(), partition))
    };
    let mut partitions: Vec<TopicPartition> = topics.flat_map(of_topic).collect();
    partitions.sort_unstable();
    partitions
}

fn sorted(members: impl Iterator<Item = MemberDescription>) -> Vec<MemberDescription> {
    let mut members: Vec<MemberDescription> = members.collect();
    members.sort_by(|one, other| (&one.client_id, &one.member_id).cmp(&(&other.client_id, &other.member_id)));
    members
}

fn time(milliseconds: i64) -> Option<i64> {
    (milliseconds >= 0).then_some(milliseconds)
}

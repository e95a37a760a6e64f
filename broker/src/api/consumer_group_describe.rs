//! ConsumerGroupDescribe (69), versions 0 to 1: groups of the consumer protocol with their members (KIP-848).
//!
//! Version 1 tells which protocol a member speaks (KIP-1099). Two tagged fields of our own tell since when the group is in its
//! state and when each member was last heard of. What a member has to give up counts as its own until it has.

use std::sync::Arc;

use ottla_protocol::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};

use super::answer_bytes::AnswerBytes;
use super::authorized_operations::{GROUP, or_unasked};
use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::Handled;
use crate::coordinator::group::{DescribedConsumerGroup, DescribedConsumerMember, DescribedTopic, GroupError};

/// The type of a member of the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
/// The type of a member of the consumer protocol.
const CONSUMER_MEMBER: i8 = 1;

/// Reads each group by itself.
pub(super) fn dispatch(api: &Arc<Api>, request: ConsumerGroupDescribeRequest, call: Call) -> Dispatched {
    let operations = or_unasked(GROUP, request.include_authorized_operations);
    let bytes = AnswerBytes::new();
    let read = |group_id: String| {
        let read = api.groups.read(&group_id, |shard| {
            bytes.take(group_id.len())?;
            let described = shard.describe_consumer(&group_id)?;
            described.members.iter().try_for_each(|member| take_member(&bytes, member))?;
            Ok(described)
        });
        read.map(move |described| answer(group_id, described, operations))
    };
    let groups = request.group_ids.into_iter().map(read).collect();
    Handled::all(groups)
        .map(move |groups| respond(&call, &ConsumerGroupDescribeResponse { groups, ..Default::default() }))
        .into()
}

fn answer(
    group_id: String,
    described: Result<DescribedConsumerGroup, GroupError>,
    authorized_operations: i32,
) -> DescribedGroup {
    match described {
        Ok(group) => DescribedGroup {
            group_id,
            group_state: group.state.to_owned(),
            group_epoch: group.epoch,
            assignment_epoch: group.assignment_epoch,
            assignor_name: group.assignor.to_owned(),
            members: group.members.into_iter().map(member).collect(),
            authorized_operations,
            state_since_ms: group.state_since_ms,
            ..Default::default()
        },
        Err(error) => DescribedGroup {
            error_code: error.to_error_code().into(),
            // In Kafka's words, since its tools show them.
            error_message: match error {
                GroupError::GroupIdNotFound => Some(format!("Group {group_id} not found.")),
                GroupError::AnswerTooLarge => Some(error.to_string()),
                _ => None,
            },
            group_id,
            ..Default::default()
        },
    }
}

fn take_member(bytes: &AnswerBytes, member: &DescribedConsumerMember) -> Result<(), GroupError> {
    let names = member.subscribed_topics.iter();
    let texts = member.member_id.len() + member.client_id.len() + member.client_host.len();
    let options = [&member.instance_id, &member.rack_id].map(|text| text.as_ref().map_or(0, String::len));
    bytes.take(texts + options.iter().sum::<usize>() + member.subscribed_regex.len())?;
    names.map(String::len).try_for_each(|name_bytes| bytes.take(name_bytes))?;
    let topics = member.assignment.iter().chain(&member.target_assignment);
    let partition_bytes = size_of::<i32>();
    topics
        .map(|topic| topic.topic_name.len() + topic.partitions.len() * partition_bytes)
        .try_for_each(|topic_bytes| bytes.take(topic_bytes))
}

fn member(member: DescribedConsumerMember) -> Member {
    Member {
        member_id: member.member_id,
        instance_id: member.instance_id,
        rack_id: member.rack_id,
        member_epoch: member.epoch,
        client_id: member.client_id,
        client_host: member.client_host,
        subscribed_topic_names: member.subscribed_topics,
        subscribed_topic_regex: Some(member.subscribed_regex),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target_assignment),
        member_type: if member.is_classic { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
        last_heard_ms: member.last_heard_ms,
    }
}

fn assignment(topics: Vec<DescribedTopic>) -> Assignment {
    let topic = |topic: DescribedTopic| TopicPartitions {
        topic_id: topic.topic_id,
        topic_name: topic.topic_name,
        partitions: topic.partitions,
    };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect() }
}

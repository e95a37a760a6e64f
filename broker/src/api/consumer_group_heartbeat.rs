//! ConsumerGroupHeartbeat (68), versions 0 to 1: a member joins, keeps up with or leaves a group of the consumer protocol (KIP-848).
//! What changed is durable when it is answered.
//!
//! In version 0 the broker makes the id of a member that joins without; since version 1 members make their own (KIP-1082) and
//! subscribe by a pattern, too. A pattern that is new is looked up at once, where Kafka does it behind the answer.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};

use super::client_identity::client_identity;
use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::{self, ClientIdentity, ConsumerHeartbeat, HeartbeatAnswer, Outcome};

/// The first version in which members make their own ids.
const OWN_MEMBER_ID_SINCE: i16 = 1;

/// Handles the heartbeat; only the answer waits for the disk.
pub(super) fn dispatch(api: &Arc<Api>, request: ConsumerGroupHeartbeatRequest, call: Call) -> Dispatched {
    let makes_member_id = call.version < OWN_MEMBER_ID_SINCE;
    let ClientIdentity { client_id, client_host } = client_identity(&call);
    let group_id = request.group_id;
    let heartbeat = ConsumerHeartbeat {
        member_id: request.member_id.into(),
        member_epoch: request.member_epoch,
        instance_id: request.instance_id,
        rack_id: request.rack_id,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        client_id,
        client_host,
        subscribed_topics: request.subscribed_topic_names,
        subscribed_regex: request.subscribed_topic_regex,
        server_assignor: request.server_assignor,
        owned: request.topic_partitions.map(owned),
    };
    let handled = api.groups.submit(&group_id, |shard, now| {
        let Outcome { answer, effects } = shard.consumer_heartbeat(&group_id, heartbeat, makes_member_id, now);
        Outcome { answer: Ok(answer), effects }
    });
    handled
        .map(move |answer| {
            let response = match answer {
                Ok(Ok(answer)) => accepted(answer),
                Ok(Err(error)) => refused(error.to_error_code(), Some(error.to_string())),
                Err(error) => refused(error.to_error_code(), Some(error.to_string())),
            };
            respond(&call, &response)
        })
        .into()
}

fn owned(topics: Vec<TopicPartitions>) -> group::Assignment {
    let partitions = |topic: TopicPartitions| topic.partitions.into_iter().map(move |at| (topic.topic_id, at));
    topics.into_iter().flat_map(partitions).collect()
}

fn accepted(answer: HeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let assignment = answer.assignment.map(|assignment| Assignment {
        topic_partitions: assignment
            .topics()
            .map(|(topic_id, partitions)| TopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.iter().copied().collect(),
            })
            .collect(),
    });
    ConsumerGroupHeartbeatResponse {
        member_id: Some(answer.member_id.to_string()),
        member_epoch: answer.member_epoch,
        heartbeat_interval_ms: answer.heartbeat_interval_ms,
        assignment,
        ..Default::default()
    }
}

fn refused(code: ErrorCode, error_message: Option<String>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: code.into(), error_message, ..Default::default() }
}

//! JoinGroup (11), versions 0 to 9: enters a group of the classic protocol, or goes on in its next generation. The answer waits
//! until the generation begins.
//!
//! Version 1 has a rebalance timeout of its own (KIP-62), 4 has a new member ask again with the id that it gets (KIP-394), 5
//! has static members (KIP-345), 7 tells the protocol's type (KIP-559), 8 gives a reason (KIP-800), 9 can tell a leader to
//! leave the assignment alone (KIP-814).

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use super::client_identity::client_identity;
use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::{JoinAnswer, JoinGroup, WaitingAnswer};

/// The first version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// The first version in which a new member asks again with its id.
const MEMBER_ID_SINCE: i16 = 4;
/// The first version in which there need not be a protocol.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// The first version that can tell the leader to leave the assignment alone.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// Joins; the answer comes when all have.
pub(super) fn dispatch(api: &Arc<Api>, request: JoinGroupRequest, call: Call) -> Dispatched {
    let member_id = request.member_id.clone();
    let rebalance_timeout_ms = match call.version >= REBALANCE_TIMEOUT_SINCE {
        true => request.rebalance_timeout_ms,
        false => request.session_timeout_ms,
    };
    let join = JoinGroup {
        group_id: request.group_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        client: client_identity(&call),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request.protocols.into_iter().map(|protocol| (protocol.name, protocol.metadata)).collect(),
        needs_member_id: call.version >= MEMBER_ID_SINCE,
        can_skip_assignment: call.version >= SKIP_ASSIGNMENT_SINCE,
    };
    let group_id = join.group_id.clone();
    let handled = api.groups.submit_waiting(&group_id, |shard, token, now| shard.join(join, token, now));
    handled
        .map(move |answer| {
            let answer = match answer {
                Ok(WaitingAnswer::Join(answer)) => answer,
                Ok(WaitingAnswer::Sync(_)) => unreachable!("a token is answered in kind"),
                Err(error) => JoinAnswer::error(error, &member_id),
            };
            respond(&call, &response(answer, call.version))
        })
        .into()
}

fn response(answer: JoinAnswer, version: i16) -> JoinGroupResponse {
    let protocol_name = match version >= NULL_PROTOCOL_SINCE {
        true => answer.protocol,
        false => Some(answer.protocol.unwrap_or_default()),
    };
    let member = |member: crate::coordinator::group::JoinedMember| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata,
    };
    JoinGroupResponse {
        error_code: answer.error.map_or(ErrorCode::None, |error| error.to_error_code()).into(),
        generation_id: answer.generation,
        protocol_type: answer.protocol_type,
        protocol_name,
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members: answer.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

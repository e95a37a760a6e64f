//! SyncGroup (14), versions 0 to 5: the leader hands in the assignment of a generation, every member gets its own. The answer
//! waits for the leader's, which is durable when it goes out.
//!
//! Version 3 has static members (KIP-345), 5 says what the member takes the group for, and must (KIP-559).

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::{GroupError, SyncAnswer, SyncGroup, WaitingAnswer};

/// The first version that must name the protocol.
const PROTOCOL_SINCE: i16 = 5;

/// Hands in and asks for an assignment.
pub(super) fn dispatch(api: &Arc<Api>, request: SyncGroupRequest, call: Call) -> Dispatched {
    if call.version >= PROTOCOL_SINCE && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        let answer = SyncAnswer::error(GroupError::InconsistentGroupProtocol);
        return Dispatched::Ready(respond(&call, &response(answer)));
    }
    let sync = SyncGroup {
        group_id: request.group_id,
        generation: request.generation_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request.assignments.into_iter().map(|given| (given.member_id, given.assignment)).collect(),
    };
    let handled = api.groups.submit_waiting(&sync.group_id, |shard, token, now| shard.sync(&sync, token, now));
    handled
        .map(move |answer| {
            let answer = match answer {
                Ok(WaitingAnswer::Sync(answer)) => answer,
                Ok(WaitingAnswer::Join(_)) => unreachable!("a token is answered in kind"),
                Err(error) => SyncAnswer::error(error),
            };
            respond(&call, &response(answer))
        })
        .into()
}

fn response(answer: SyncAnswer) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: answer.error.map_or(ErrorCode::None, |error| error.to_error_code()).into(),
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol,
        assignment: answer.assignment,
        ..Default::default()
    }
}

//! LeaveGroup (13), versions 0 to 5: takes members out of a group.
//!
//! Version 3 names several members, by instance id too (KIP-345), 5 gives a reason (KIP-800).

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::{Departure, GroupError, LeaveGroup};

/// The first version that names several members.
const MEMBERS_SINCE: i16 = 3;

/// Takes members out, and answers for each.
pub(super) fn dispatch(api: &Arc<Api>, request: LeaveGroupRequest, call: Call) -> Dispatched {
    let members = match call.version >= MEMBERS_SINCE {
        false => vec![Departure { member_id: request.member_id, instance_id: None, reason: None }],
        true => request
            .members
            .into_iter()
            .map(|member| Departure {
                member_id: member.member_id,
                instance_id: member.group_instance_id,
                reason: member.reason,
            })
            .collect(),
    };
    let leave = LeaveGroup { group_id: request.group_id, members };
    let handled = api.groups.submit(&leave.group_id, |shard, now| shard.leave(&leave, now));
    handled.map(move |results| respond(&call, &response(leave.members, results, call.version))).into()
}

fn response(
    members: Vec<Departure>,
    results: Result<Vec<Result<(), GroupError>>, GroupError>,
    version: i16,
) -> LeaveGroupResponse {
    let code = |result: Result<(), GroupError>| i16::from(result.err().map_or(ErrorCode::None, |e| e.to_error_code()));
    let results = match results {
        Ok(results) => results,
        Err(error) => {
            return LeaveGroupResponse { error_code: error.to_error_code().into(), ..Default::default() };
        }
    };
    if version < MEMBERS_SINCE {
        let error_code = results.into_iter().next().map_or(0, code);
        return LeaveGroupResponse { error_code, ..Default::default() };
    }
    let member = |(member, result): (Departure, Result<(), GroupError>)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        error_code: code(result),
    };
    LeaveGroupResponse { members: members.into_iter().zip(results).map(member).collect(), ..Default::default() }
}

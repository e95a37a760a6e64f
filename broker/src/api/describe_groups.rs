//! DescribeGroups (15), versions 0 to 6: groups of the classic protocol with their members.
//!
//! Version 3 tells what may be done with a group (KIP-430), 4 has static members (KIP-345), 6 says GROUP_ID_NOT_FOUND with a
//! message (KIP-1043): before, a group that is not there is one in state `Dead`. Since version 5 three tagged fields of our
//! own tell since when the group is in its state, when each member was last heard of and whether a rebalance waits for it.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use super::answer_bytes::AnswerBytes;
use super::authorized_operations::{GROUP, or_unasked};
use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::Handled;
use crate::coordinator::group::{self, GroupError};

/// The first version that says that there is no such group, and has messages.
const NOT_FOUND_SINCE: i16 = 6;
/// The state of a group that is not there.
const DEAD: &str = "Dead";

/// Reads each group by itself.
pub(super) fn dispatch(api: &Arc<Api>, request: DescribeGroupsRequest, call: Call) -> Dispatched {
    let operations = or_unasked(GROUP, call.version >= 3 && request.include_authorized_operations);
    let version = call.version;
    let bytes = AnswerBytes::new();
    let read = |group_id: String| {
        let read = api.groups.read(&group_id, |shard| {
            bytes.take(group_id.len())?;
            let described = shard.describe_classic(&group_id)?;
            described.members.iter().try_for_each(|member| bytes.take(text_bytes(member)))?;
            Ok(described)
        });
        read.map(move |described| answer(group_id, described, operations, version))
    };
    let groups = request.groups.into_iter().map(read).collect();
    Handled::all(groups)
        .map(move |groups| respond(&call, &DescribeGroupsResponse { groups, ..Default::default() }))
        .into()
}

fn answer(
    group_id: String,
    described: Result<group::DescribedGroup, GroupError>,
    authorized_operations: i32,
    version: i16,
) -> DescribedGroup {
    match described {
        Ok(group) => DescribedGroup {
            group_id,
            group_state: group.state.to_owned(),
            protocol_type: group.protocol_type,
            protocol_data: group.protocol,
            members: group.members.into_iter().map(member).collect(),
            authorized_operations,
            state_since_ms: group.state_since_ms,
            ..Default::default()
        },
        Err(GroupError::GroupIdNotFound) if version < NOT_FOUND_SINCE => {
            DescribedGroup { group_id, group_state: DEAD.to_owned(), authorized_operations, ..Default::default() }
        }
        Err(GroupError::GroupIdNotFound) => DescribedGroup {
            error_code: ErrorCode::GroupIdNotFound.into(),
            error_message: Some(format!("Group {group_id} not found.")),
            group_id,
            group_state: DEAD.to_owned(),
            ..Default::default()
        },
        Err(error) => DescribedGroup {
            error_code: error.to_error_code().into(),
            error_message: (error == GroupError::AnswerTooLarge && version >= NOT_FOUND_SINCE)
                .then(|| error.to_string()),
            group_id,
            ..Default::default()
        },
    }
}

fn text_bytes(member: &group::DescribedMember) -> usize {
    let texts = member.member_id.len() + member.client_id.len() + member.client_host.len();
    let instance_id = member.instance_id.as_ref().map_or(0, String::len);
    texts + instance_id + member.metadata.len() + member.assignment.len()
}

fn member(member: group::DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
        last_heard_ms: member.last_heard_ms,
        is_awaited: member.is_awaited.into(),
    }
}

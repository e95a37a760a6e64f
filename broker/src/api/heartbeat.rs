//! Heartbeat (12), versions 0 to 4: keeps a member in its group, and tells it when to join again.
//!
//! Version 3 has static members (KIP-345). While groups are being loaded every heartbeat is good.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::GroupError;

/// Notes the heartbeat.
pub(super) fn dispatch(api: &Arc<Api>, request: HeartbeatRequest, call: Call) -> Dispatched {
    let HeartbeatRequest { group_id, generation_id, member_id, group_instance_id } = request;
    let handled = api.groups.submit(&group_id, |shard, now| {
        shard.heartbeat(&group_id, &member_id, group_instance_id.as_deref(), generation_id, now)
    });
    handled
        .map(move |answer| {
            let error_code = match answer {
                Ok(()) | Err(GroupError::CoordinatorLoadInProgress) => ErrorCode::None,
                Err(error) => error.to_error_code(),
            };
            respond(&call, &HeartbeatResponse { error_code: error_code.into(), ..Default::default() })
        })
        .into()
}

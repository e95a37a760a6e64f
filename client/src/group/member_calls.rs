//! A member's requests on their way to the coordinator and back.

use std::time::Duration;

use ottla_protocol::ApiKey;

use super::coordinator::Coordinator;
use super::step::{MemberRequest, MemberResponse, is_coordinator_gone};
use crate::Error;
use crate::cluster::Lane;
use crate::connection::Connection;
use crate::metadata::error_of;

/// What a coordinator may take beyond a rebalance's own time to answer those who wait for it.
const REBALANCE_GRACE: Duration = Duration::from_secs(5);
/// The first version of LeaveGroup that takes several members.
const LEAVE_SEVERAL: i16 = 3;

/// How long answers may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) request: Duration,
    /// The longest that a rebalance may take: JoinGroup and SyncGroup are answered when it goes on.
    pub(crate) rebalance: Duration,
}

/// Sends one request. A coordinator that says it is none is asked for anew the next time.
pub(crate) async fn send(coordinator: Coordinator, request: MemberRequest, timeouts: Timeouts) -> MemberResponse {
    let patient = timeouts.request.max(timeouts.rebalance + REBALANCE_GRACE);
    // Joining may block a connection until all others have joined; who leaves does not wait for that.
    let lane = if matches!(request, MemberRequest::Leave(_)) { Lane::Control } else { Lane::Group };
    let connection = coordinator.connection(lane).await;
    let outcome = match (connection, request) {
        (Err(error), request) => return failed(&request, error),
        (Ok(connection), MemberRequest::Join(request)) => {
            MemberResponse::Join(coordinator.call(&connection, &request, i16::MAX, patient).await)
        }
        (Ok(connection), MemberRequest::Sync(request)) => {
            MemberResponse::Sync(coordinator.call(&connection, &request, i16::MAX, patient).await)
        }
        (Ok(connection), MemberRequest::Heartbeat(request)) => {
            MemberResponse::Heartbeat(coordinator.call(&connection, &request, i16::MAX, timeouts.request).await)
        }
        (Ok(connection), MemberRequest::ConsumerHeartbeat(request)) => {
            MemberResponse::ConsumerHeartbeat(coordinator.call(&connection, &request, i16::MAX, timeouts.request).await)
        }
        (Ok(connection), MemberRequest::Leave(mut request)) => {
            if leaves_singly(&connection)
                && let Some(member) = request.members.pop()
            {
                request.member_id = member.member_id;
            }
            MemberResponse::Leave(coordinator.call(&connection, &request, i16::MAX, timeouts.request).await)
        }
    };
    if code_of(&outcome).and_then(error_of).is_some_and(is_coordinator_gone) {
        coordinator.lost();
    }
    outcome
}

fn leaves_singly(connection: &Connection) -> bool {
    connection.version(ApiKey::LeaveGroup).is_ok_and(|version| version < LEAVE_SEVERAL)
}

fn failed(request: &MemberRequest, error: Error) -> MemberResponse {
    match request {
        MemberRequest::Join(_) => MemberResponse::Join(Err(error)),
        MemberRequest::Sync(_) => MemberResponse::Sync(Err(error)),
        MemberRequest::Heartbeat(_) => MemberResponse::Heartbeat(Err(error)),
        MemberRequest::Leave(_) => MemberResponse::Leave(Err(error)),
        MemberRequest::ConsumerHeartbeat(_) => MemberResponse::ConsumerHeartbeat(Err(error)),
    }
}

fn code_of(response: &MemberResponse) -> Option<i16> {
    match response {
        MemberResponse::Join(response) => response.as_ref().ok().map(|response| response.error_code),
        MemberResponse::Sync(response) => response.as_ref().ok().map(|response| response.error_code),
        MemberResponse::Heartbeat(response) => response.as_ref().ok().map(|response| response.error_code),
        MemberResponse::Leave(response) => response.as_ref().ok().map(|response| response.error_code),
        MemberResponse::ConsumerHeartbeat(response) => response.as_ref().ok().map(|response| response.error_code),
    }
}

//! Groups of the classic protocol, for the scenarios of their APIs: requests with the usual fields, and groups that are ready.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::messages::heartbeat::HeartbeatRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use crate::reference::Play;
use crate::wait::{PATIENCE, wait_for};

/// The version in which groups are made ready.
const NEWEST_JOIN: i16 = 9;
const NEWEST_SYNC: i16 = 5;

/// What a consumer says of itself: version 0 of its subscription.
pub(super) fn subscription(topics: &[String]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// A join of a consumer of the topic `t` that speaks one protocol.
pub(super) fn join(play: &Play, group: &str, member_id: &str) -> JoinGroupRequest {
    let metadata = subscription(&[play.name("t")]);
    JoinGroupRequest {
        group_id: play.name(group),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata }],
        ..Default::default()
    }
}

/// A sync with an assignment for each of these members; none from a follower.
pub(super) fn sync(
    play: &Play,
    group: &str,
    member_id: &str,
    generation_id: i32,
    members: &[&str],
) -> SyncGroupRequest {
    let assignment = |(index, id): (usize, &&str)| SyncGroupRequestAssignment {
        member_id: (*id).to_owned(),
        assignment: Bytes::from(format!("share {index}")),
    };
    SyncGroupRequest {
        group_id: play.name(group),
        generation_id,
        member_id: member_id.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: members.iter().enumerate().map(assignment).collect(),
        ..Default::default()
    }
}

pub(super) fn heartbeat(play: &Play, group: &str, member_id: &str, generation_id: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: play.name(group),
        generation_id,
        member_id: member_id.to_owned(),
        ..Default::default()
    }
}

/// A leave in the form of `version`.
pub(super) fn leave(play: &Play, version: i16, group: &str, member_id: &str) -> LeaveGroupRequest {
    match version >= 3 {
        true => LeaveGroupRequest {
            group_id: play.name(group),
            members: vec![MemberIdentity { member_id: member_id.to_owned(), ..Default::default() }],
            ..Default::default()
        },
        false => {
            LeaveGroupRequest { group_id: play.name(group), member_id: member_id.to_owned(), ..Default::default() }
        }
    }
}

/// Lets the member join by itself, without writing anything down; the answer when it is in.
pub(super) fn join_ready(play: &mut Play, mut request: JoinGroupRequest) -> Result<JoinGroupResponse> {
    if request.member_id.is_empty() && request.group_instance_id.is_none() {
        request.member_id = play.ask(NEWEST_JOIN, &request)?.member_id;
    }
    let joined = play.ask(NEWEST_JOIN, &request)?;
    ensure!(joined.error_code == 0, "join {}: error {}", request.group_id, joined.error_code);
    Ok(joined)
}

/// A stable group of one member, made by the client that speaks now; the member's id.
pub(super) fn stable(play: &mut Play, group: &str) -> Result<String> {
    let request = join(play, group, "");
    stable_of(play, group, request)
}

/// The same of a member that joins like this.
pub(super) fn stable_of(play: &mut Play, group: &str, request: JoinGroupRequest) -> Result<String> {
    let (protocol_type, protocol) = (request.protocol_type.clone(), request.protocols[0].name.clone());
    let instance_id = request.group_instance_id.clone();
    let joined = join_ready(play, request)?;
    let id = joined.member_id;
    play.know_member(&id);
    let request = SyncGroupRequest {
        protocol_type: Some(protocol_type),
        protocol_name: Some(protocol),
        group_instance_id: instance_id,
        ..sync(play, group, &id, joined.generation_id, &[&id])
    };
    let synced = play.ask(NEWEST_SYNC, &request)?;
    ensure!(synced.error_code == 0, "sync {group}: error {}", synced.error_code);
    Ok(id)
}

/// Takes the member out.
pub(super) fn empty(play: &mut Play, group: &str, member_id: &str) -> Result<()> {
    let request = leave(play, 3, group, member_id);
    let left = play.ask(3, &request)?;
    let member = left.members.first().context("an answer for the member")?;
    ensure!((left.error_code, member.error_code) == (0, 0), "leave {group}: {left:?}");
    Ok(())
}

/// Waits until a heartbeat is answered with this code.
pub(super) fn await_code(play: &mut Play, request: &HeartbeatRequest, code: i16) -> Result<()> {
    wait_for(&format!("a heartbeat gets {code}"), PATIENCE, || {
        Ok((play.ask(4, request)?.error_code == code).then_some(()))
    })
}

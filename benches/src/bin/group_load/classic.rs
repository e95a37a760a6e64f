//! Members of classic groups: join, let the leader assign, and heartbeat.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use ottla_protocol::messages::heartbeat::HeartbeatRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use crate::member::Connection;
use crate::progress::Progress;

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const MEMBER_ID_REQUIRED: i16 = 79;
const REBALANCE_IN_PROGRESS: i16 = 27;
/// The coordinator's log is being loaded: Kafka does that behind its answer to FindCoordinator.
const LOAD_IN_PROGRESS: i16 = 14;
const NOT_COORDINATOR: i16 = 16;
const LOAD_LOOK: Duration = Duration::from_millis(100);
const SESSION_TIMEOUT_MS: i32 = 45_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
/// As long as a real subscription to a topic or two with the partitions that are owned.
const METADATA: &[u8] = &[0; 100];

/// A member until `progress` ends it: after its first assignment it heartbeats, and joins again when it is told to.
pub(crate) async fn run(address: SocketAddr, group_id: String, number: usize, progress: Progress) -> Result<()> {
    let mut connection = Connection::open(address, format!("member-{number}")).await?;
    let mut member_id = String::new();
    loop {
        let joined = join(&mut connection, &group_id, &mut member_id).await?;
        if !sync(&mut connection, &group_id, &joined).await? {
            continue;
        }
        progress.assigned(number);
        let heartbeat = HeartbeatRequest {
            group_id: group_id.clone(),
            generation_id: joined.generation_id,
            member_id: member_id.clone(),
            group_instance_id: None,
        };
        loop {
            if !progress.next_heartbeat(number).await {
                return Ok(());
            }
            let answer = connection.ask(HEARTBEAT_VERSION, &heartbeat).await?;
            progress.heard();
            match answer.error_code {
                0 => {}
                REBALANCE_IN_PROGRESS => break,
                code => anyhow::bail!("a heartbeat was answered with error {code}"),
            }
        }
    }
}

async fn join(connection: &mut Connection, group_id: &str, member_id: &mut String) -> Result<JoinGroupResponse> {
    loop {
        let request = JoinGroupRequest {
            group_id: group_id.to_owned(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: member_id.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".to_owned(),
                metadata: Bytes::from_static(METADATA),
            }],
            ..Default::default()
        };
        let answer = connection.ask(JOIN_VERSION, &request).await?;
        member_id.clone_from(&answer.member_id);
        match answer.error_code {
            0 => return Ok(answer),
            LOAD_IN_PROGRESS | NOT_COORDINATOR => tokio::time::sleep(LOAD_LOOK).await,
            MEMBER_ID_REQUIRED | REBALANCE_IN_PROGRESS => {}
            code => anyhow::bail!("a join was answered with error {code}"),
        }
    }
}

/// False when the group has moved on meanwhile.
async fn sync(connection: &mut Connection, group_id: &str, joined: &JoinGroupResponse) -> Result<bool> {
    let assignment = |member_id: &str| SyncGroupRequestAssignment {
        member_id: member_id.to_owned(),
        assignment: Bytes::from_static(METADATA),
    };
    // Only the leader was told the members.
    let assignments = joined.members.iter().map(|member| assignment(&member.member_id)).collect();
    let request = SyncGroupRequest {
        group_id: group_id.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments,
        ..Default::default()
    };
    let answer = connection.ask(SYNC_VERSION, &request).await?;
    if answer.error_code == REBALANCE_IN_PROGRESS {
        return Ok(false);
    }
    ensure!(answer.error_code == 0, "a sync was answered with error {}", answer.error_code);
    ensure!(answer.assignment == METADATA, "another assignment than the leader's");
    Ok(true)
}

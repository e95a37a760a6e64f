//! Groups of a real process that is killed or stopped while groups are in every state, and of one whose topics go away.
//!
//! Goal: members go on where they were, without a rebalance, whenever their generation was on record; what was under way begins
//! again from the generation before; every acknowledged offset is there. Method: requests by hand, so that each group stands
//! exactly where it should when the process ends.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla_protocol::messages::heartbeat::HeartbeatRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_tests::connection::RawConnection;
use ottla_tests::process::{OttlaOptions, OttlaProcess};
use ottla_tests::wait::{PATIENCE, wait_for};

const TOPIC: &str = "flights";
const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER_ID: i16 = 25;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;

fn start(data_dir: &Path) -> OttlaProcess {
    let settings = vec![("group.initial.rebalance.delay.ms".to_owned(), "0".to_owned())];
    let options = OttlaOptions { data_dir: Some(data_dir.to_owned()), settings, ..Default::default() };
    OttlaProcess::start(options).expect("the process starts")
}

/// A client of groups.
struct Client(RawConnection);

impl Client {
    fn connect(process: &OttlaProcess) -> Self {
        Self(RawConnection::open(process.address()).expect("it listens"))
    }

    /// Makes the topic, and that of groups.
    fn prepare(&mut self) -> Result<()> {
        let topic =
            CreatableTopic { name: TOPIC.to_owned(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        self.0.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
        let find = FindCoordinatorRequest { coordinator_keys: vec!["any".to_owned()], ..Default::default() };
        let found = self.0.ask(6, &find)?.coordinators;
        ensure!(found[0].error_code == 0, "{found:?}");
        Ok(())
    }

    fn joining(group: &str, member_id: &str) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::from_static(b"any") };
        JoinGroupRequest {
            group_id: group.to_owned(),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            member_id: member_id.to_owned(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        }
    }

    fn join(&mut self, group: &str, member_id: &str) -> Result<JoinGroupResponse> {
        self.0.ask(3, &Self::joining(group, member_id))
    }

    fn sync(&mut self, group: &str, joined: &JoinGroupResponse) -> Result<Bytes> {
        let share = |member_id: &String| SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: Bytes::from(format!("share of {member_id}")),
        };
        let request = SyncGroupRequest {
            group_id: group.to_owned(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            assignments: joined.members.iter().map(|member| share(&member.member_id)).collect(),
            ..Default::default()
        };
        let answer = self.0.ask(3, &request)?;
        ensure!(answer.error_code == 0, "sync {group}: {}", answer.error_code);
        Ok(answer.assignment)
    }

    /// A stable group of one.
    fn stable(&mut self, group: &str) -> Result<JoinGroupResponse> {
        let joined = self.join(group, "")?;
        ensure!((joined.error_code, joined.generation_id) == (0, 1), "join {group}: {joined:?}");
        self.sync(group, &joined)?;
        Ok(joined)
    }

    fn heartbeat(&mut self, group: &str, member_id: &str, generation_id: i32) -> Result<i16> {
        let request = HeartbeatRequest {
            group_id: group.to_owned(),
            generation_id,
            member_id: member_id.to_owned(),
            ..Default::default()
        };
        Ok(self.0.ask(3, &request)?.error_code)
    }

    fn leave(&mut self, group: &str, member_id: &str) -> Result<()> {
        let member = MemberIdentity { member_id: member_id.to_owned(), ..Default::default() };
        let request = LeaveGroupRequest { group_id: group.to_owned(), members: vec![member], ..Default::default() };
        let left = self.0.ask(3, &request)?;
        ensure!(left.members[0].error_code == 0, "leave {group}: {left:?}");
        Ok(())
    }

    fn commit(&mut self, group: &str, member_id: &str, generation: i32, offset: i64) -> Result<i16> {
        let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic =
            OffsetCommitRequestTopic { name: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: generation,
            member_id: member_id.to_owned(),
            topics: vec![topic],
            ..Default::default()
        };
        Ok(self.0.ask(7, &request)?.topics[0].partitions[0].error_code)
    }

    /// What is committed, once the group is loaded.
    fn committed(&mut self, group: &str) -> Result<Option<i64>> {
        let group = OffsetFetchRequestGroup { group_id: group.to_owned(), topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        wait_for("the group is loaded", PATIENCE, || {
            let group = self.0.ask(8, &request)?.groups.pop().context("the group")?;
            match group.error_code {
                0 => Ok(Some(group.topics.first().map(|topic| topic.partitions[0].committed_offset))),
                COORDINATOR_LOAD_IN_PROGRESS => Ok(None),
                other => anyhow::bail!("OffsetFetch: {other}"),
            }
        })
    }

    fn state(&mut self, group: &str) -> Result<String> {
        let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
        Ok(self.0.ask(5, &request)?.groups.pop().context("the group")?.group_state)
    }
}

fn groups_survive(end: fn(OttlaProcess)) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let process = start(directory.path());
    let mut client = Client::connect(&process);
    client.prepare()?;
    ensure!(client.commit("simple", "", -1, 3)? == 0);
    let stable = client.stable("stable")?;
    ensure!(client.commit("stable", &stable.member_id, 1, 5)? == 0);
    let left = client.stable("empty")?;
    ensure!(client.commit("empty", &left.member_id, 1, 7)? == 0);
    client.leave("empty", &left.member_id)?;
    let preparing = client.stable("preparing")?;
    let mut newcomer = RawConnection::open(process.address())?;
    newcomer.send(3, &Client::joining("preparing", ""))?;
    wait_for(
        "the newcomer waits",
        PATIENCE,
        || Ok((client.state("preparing")? == "PreparingRebalance").then_some(())),
    )?;
    let completing = client.stable("completing")?;
    let again = client.join("completing", &completing.member_id)?;
    ensure!((again.generation_id, client.state("completing")?.as_str()) == (2, "CompletingRebalance"));
    let pending = client.0.ask(9, &Client::joining("pending", ""))?.member_id;

    end(process);
    let process = start(directory.path());
    let mut client = Client::connect(&process);
    for (group, offset) in [("simple", Some(3)), ("stable", Some(5)), ("empty", Some(7)), ("preparing", None)] {
        assert_eq!(client.committed(group)?, offset, "{group}");
    }
    for group in ["completing", "pending"] {
        assert_eq!(client.committed(group)?, None, "{group}");
    }
    assert_eq!(client.heartbeat("stable", &stable.member_id, 1)?, 0, "the member goes on");
    let share = client.sync("stable", &stable)?;
    assert_eq!(share, format!("share of {}", stable.member_id));
    assert_eq!(client.commit("stable", &stable.member_id, 1, 6)?, 0);
    assert_eq!(client.committed("stable")?, Some(6));
    assert_eq!(client.heartbeat("preparing", &preparing.member_id, 1)?, 0, "back in the generation before");
    assert_eq!(client.heartbeat("completing", &completing.member_id, 2)?, ILLEGAL_GENERATION);
    assert_eq!(client.heartbeat("completing", &completing.member_id, 1)?, 0);
    assert_eq!(client.join("pending", &pending)?.error_code, UNKNOWN_MEMBER_ID);
    assert_eq!(client.state("empty")?, "Empty");
    assert_eq!(client.join("empty", "")?.generation_id, 3, "generations go on");
    ensure!(process.terminate()?.success(), "SIGTERM is a clean stop");
    Ok(())
}

#[test]
fn groups_in_every_state_survive_a_kill() {
    groups_survive(|process| assert!(!process.kill().expect("it was alive").success())).unwrap();
}

#[test]
fn groups_in_every_state_survive_a_stop() {
    groups_survive(|process| assert!(process.terminate().expect("it ends").success())).unwrap();
}

#[test]
fn offsets_of_a_topic_that_is_deleted_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(directory.path());
    let mut client = Client::connect(&process);
    client.prepare().unwrap();
    assert_eq!(client.commit("simple", "", -1, 3).unwrap(), 0);
    let topics = vec![DeleteTopicState { name: Some(TOPIC.to_owned()), ..Default::default() }];
    let deleted = client.0.ask(6, &DeleteTopicsRequest { topics, ..Default::default() }).unwrap();
    assert_eq!(deleted.responses[0].error_code, 0);
    let forgotten = || Ok(client.committed("simple")?.is_none().then_some(()));
    wait_for("the offset is forgotten", PATIENCE, forgotten).unwrap();
    // A topic of the same name begins without it.
    client.prepare().unwrap();
    assert_eq!(client.committed("simple").unwrap(), None);
}

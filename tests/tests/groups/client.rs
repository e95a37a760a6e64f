//! A process with groups, and a client that speaks to them request by request.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_protocol::Uuid;
use ottla_protocol::messages::consumer_group_describe::{ConsumerGroupDescribeRequest, DescribedGroup};
use ottla_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla_protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla_protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla_protocol::messages::heartbeat::HeartbeatRequest;
use ottla_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_tests::connection::RawConnection;
use ottla_tests::process::{OttlaOptions, OttlaProcess};
use ottla_tests::wait::{PATIENCE, wait_for};

pub(crate) const TOPIC: &str = "flights";
pub(crate) const ILLEGAL_GENERATION: i16 = 22;
pub(crate) const UNKNOWN_MEMBER_ID: i16 = 25;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;

/// A process whose groups begin at once, with further settings.
pub(crate) fn start(data_dir: &Path, settings: &[(&str, &str)]) -> OttlaProcess {
    let quick = [("group.initial.rebalance.delay.ms", "0"), ("group.min.session.timeout.ms", "1")];
    let settings = quick.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = OttlaOptions { data_dir: Some(data_dir.to_owned()), settings, ..Default::default() };
    OttlaProcess::start(options).expect("the process starts")
}

pub(crate) fn kill(process: OttlaProcess) {
    assert!(!process.kill().expect("it was alive").success());
}

pub(crate) fn stop(process: OttlaProcess) {
    assert!(process.terminate().expect("it ends").success(), "SIGTERM is a clean stop");
}

/// A client of groups.
pub(crate) struct Client(pub(crate) RawConnection);

impl Client {
    pub(crate) fn connect(process: &OttlaProcess) -> Self {
        Self(RawConnection::open(process.address()).expect("it listens"))
    }

    /// Makes the topic, and that of groups.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        let topic =
            CreatableTopic { name: TOPIC.to_owned(), num_partitions: 2, replication_factor: 1, ..Default::default() };
        self.0.ask(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() })?;
        let find = FindCoordinatorRequest { coordinator_keys: vec!["any".to_owned()], ..Default::default() };
        let found = self.0.ask(6, &find)?.coordinators;
        ensure!(found[0].error_code == 0, "{found:?}");
        Ok(())
    }

    pub(crate) fn joining(group: &str, member_id: &str) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: subscription() };
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

    pub(crate) fn join(&mut self, group: &str, member_id: &str) -> Result<JoinGroupResponse> {
        self.0.ask(3, &Self::joining(group, member_id))
    }

    pub(crate) fn sync(&mut self, group: &str, joined: &JoinGroupResponse) -> Result<Bytes> {
        let share =
            |member_id: &String| SyncGroupRequestAssignment { member_id: member_id.clone(), assignment: assignment() };
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
    pub(crate) fn stable(&mut self, group: &str) -> Result<JoinGroupResponse> {
        let joined = self.join(group, "")?;
        ensure!((joined.error_code, joined.generation_id) == (0, 1), "join {group}: {joined:?}");
        self.sync(group, &joined)?;
        Ok(joined)
    }

    pub(crate) fn heartbeat(&mut self, group: &str, member_id: &str, generation_id: i32) -> Result<i16> {
        let request = HeartbeatRequest {
            group_id: group.to_owned(),
            generation_id,
            member_id: member_id.to_owned(),
            ..Default::default()
        };
        Ok(self.0.ask(3, &request)?.error_code)
    }

    pub(crate) fn leave(&mut self, group: &str, member_id: &str) -> Result<()> {
        let member = MemberIdentity { member_id: member_id.to_owned(), ..Default::default() };
        let request = LeaveGroupRequest { group_id: group.to_owned(), members: vec![member], ..Default::default() };
        let left = self.0.ask(3, &request)?;
        ensure!(left.members[0].error_code == 0, "leave {group}: {left:?}");
        Ok(())
    }

    pub(crate) fn commit(&mut self, group: &str, member_id: &str, generation: i32, offset: i64) -> Result<i16> {
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
        Ok(self.0.ask(9, &request)?.topics[0].partitions[0].error_code)
    }

    /// What is committed, once the group is loaded.
    pub(crate) fn committed(&mut self, group: &str) -> Result<Option<i64>> {
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

    pub(crate) fn state(&mut self, group: &str) -> Result<String> {
        let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
        Ok(self.0.ask(5, &request)?.groups.pop().context("the group")?.group_state)
    }

    pub(crate) fn delete(&mut self, group: &str) -> Result<i16> {
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        Ok(self.0.ask(2, &request)?.results[0].error_code)
    }

    /// A heartbeat of the consumer protocol that only says that the member is there.
    pub(crate) fn beating(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: group.to_owned(),
            member_id: member.to_owned(),
            member_epoch: epoch,
            ..Default::default()
        }
    }

    pub(crate) fn beat(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<ConsumerGroupHeartbeatResponse> {
        let answer = self.0.ask(1, request)?;
        ensure!(answer.error_code == 0, "{request:?} gets {answer:?}");
        Ok(answer)
    }

    /// Joins by the consumer protocol; returns the member's epoch and its partitions.
    pub(crate) fn enter(&mut self, group: &str, member: &str) -> Result<(i32, Vec<i32>)> {
        let request = ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
            topic_partitions: Some(Vec::new()),
            ..Self::beating(group, member, 0)
        };
        let answer = self.beat(&request)?;
        Ok((answer.member_epoch, assigned(&answer).unwrap_or_default()))
    }

    /// Says what the member owns; returns its epoch and, when it was told any, its partitions.
    pub(crate) fn report(
        &mut self,
        group: &str,
        member: &str,
        epoch: i32,
        owned: &[i32],
    ) -> Result<(i32, Option<Vec<i32>>)> {
        let topic_id = self.topic_id()?;
        let owned = TopicPartitions { topic_id, partitions: owned.to_vec() };
        let request = ConsumerGroupHeartbeatRequest {
            topic_partitions: Some(vec![owned]),
            ..Self::beating(group, member, epoch)
        };
        let answer = self.beat(&request)?;
        Ok((answer.member_epoch, assigned(&answer)))
    }

    pub(crate) fn describe_consumer(&mut self, group: &str) -> Result<DescribedGroup> {
        let request = ConsumerGroupDescribeRequest { group_ids: vec![group.to_owned()], ..Default::default() };
        self.0.ask(1, &request)?.groups.pop().context("the group")
    }

    /// State of a group of the consumer protocol.
    pub(crate) fn consumer_state(&mut self, group: &str) -> Result<String> {
        let described = self.describe_consumer(group)?;
        ensure!(described.error_code == 0, "{group}: {described:?}");
        Ok(described.group_state)
    }

    fn topic_id(&mut self) -> Result<Uuid> {
        let topic = MetadataRequestTopic { name: Some(TOPIC.to_owned()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        Ok(self.0.ask(12, &request)?.topics[0].topic_id)
    }
}

/// Version 0 of the subscription to the topic.
fn subscription() -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, TOPIC.len() as u8];
    bytes.extend(TOPIC.as_bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// Version 0 of the assignment of both partitions.
pub(crate) fn assignment() -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, TOPIC.len() as u8];
    bytes.extend(TOPIC.as_bytes());
    for number in [2, 0, 1, -1_i32] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.into()
}

/// The partitions that an answer names.
fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let topics = &answer.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().flat_map(|topic| topic.partitions.iter().copied()).collect())
}

//! A group as it is shown: the same to people and, as JSON, to programs.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use ottla_client::{GroupDescription, GroupState, MemberDescription, TopicPartition};

use super::partition_set::PartitionSet;
use super::progress::Progress;

/// A group. Times are in milliseconds since 1970; `null` is what the broker does not say.
#[derive(Debug, Clone, Serialize)]
pub(super) struct GroupView {
    pub(super) group: String,
    #[serde(rename = "type")]
    pub(super) group_type: String,
    #[serde(serialize_with = "by_name")]
    pub(super) state: GroupState,
    pub(super) state_since_ms: Option<i64>,
    pub(super) protocol_type: String,
    pub(super) assignor: String,
    pub(super) group_epoch: Option<i32>,
    pub(super) assignment_epoch: Option<i32>,
    /// What it has of its own, and not from the broker.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) lag: i64,
    pub(super) members: Vec<MemberView>,
    pub(super) partitions: Vec<PartitionView>,
    /// Why it may not move.
    pub(super) reasons: Vec<String>,
}

/// A member.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct MemberView {
    pub(super) member_id: String,
    pub(super) group_instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) host: String,
    pub(super) rack: Option<String>,
    pub(super) topics: Option<Vec<String>>,
    pub(super) topic_regex: Option<String>,
    pub(super) partitions: Option<PartitionSet>,
    pub(super) target_partitions: Option<PartitionSet>,
    pub(super) epoch: Option<i32>,
    pub(super) last_heard_ms: Option<i64>,
    pub(super) is_awaited: Option<bool>,
}

/// A partition that the group has read, or is to read.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct PartitionView {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) committed_offset: Option<i64>,
    /// It is known that the group has committed nothing here; the lag counts from the start of the log then.
    pub(super) is_never_committed: bool,
    pub(super) log_start_offset: Option<i64>,
    pub(super) log_end_offset: Option<i64>,
    pub(super) lag: Option<i64>,
    pub(super) lag_seconds: Option<f64>,
    pub(super) waiting_seconds: Option<f64>,
    /// The member that has it.
    pub(super) owner: Option<String>,
    /// Why something of it is not known.
    pub(super) problem: Option<String>,
}

fn by_name<S: Serializer>(state: &GroupState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(state)
}

impl GroupView {
    /// Without reasons yet.
    pub(super) fn new(
        group: GroupDescription,
        progress: &BTreeMap<TopicPartition, Progress>,
        now_ms: i64,
    ) -> GroupView {
        let members: Vec<MemberView> = group.members.into_iter().map(MemberView::from).collect();
        let partition = |(at, progress): (&TopicPartition, &Progress)| PartitionView {
            topic: at.topic.to_string(),
            partition: at.partition,
            committed_offset: progress.committed,
            is_never_committed: progress.is_never_committed(),
            log_start_offset: progress.log_start,
            log_end_offset: progress.log_end,
            lag: progress.lag(),
            lag_seconds: progress.lag_ms().map(seconds),
            waiting_seconds: progress.waiting_ms(now_ms).map(seconds),
            owner: members.iter().find(|member| member.owns(&at.topic, at.partition)).map(|one| one.member_id.clone()),
            problem: progress.problem.clone(),
        };
        GroupView {
            group: group.group_id,
            group_type: group.group_type.to_string(),
            state: group.state,
            state_since_ms: group.state_since_ms,
            protocol_type: group.protocol_type,
            assignor: group.assignor,
            group_epoch: group.group_epoch,
            assignment_epoch: group.assignment_epoch,
            settings: BTreeMap::new(),
            lag: progress.values().filter_map(Progress::lag).sum(),
            partitions: progress.iter().map(partition).collect(),
            members,
            reasons: Vec::new(),
        }
    }
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

impl MemberView {
    pub(super) fn owns(&self, topic: &str, partition: i32) -> bool {
        self.partitions.as_ref().is_some_and(|partitions| partitions.contains(topic, partition))
    }

    /// For people: who it is and where it runs.
    pub(super) fn name(&self) -> String {
        match &self.group_instance_id {
            Some(instance) => {
                format!("{} (instance {instance}, client {} at {})", self.member_id, self.client_id, self.host)
            }
            None => format!("{} (client {} at {})", self.member_id, self.client_id, self.host),
        }
    }
}

impl From<MemberDescription> for MemberView {
    fn from(member: MemberDescription) -> Self {
        MemberView {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            client_id: member.client_id,
            host: member.client_host,
            rack: member.rack,
            topics: member.topics,
            topic_regex: member.topic_regex,
            partitions: member.assignment.map(PartitionSet::from_iter),
            target_partitions: member.target_assignment.map(PartitionSet::from_iter),
            epoch: member.epoch,
            last_heard_ms: member.last_heard_ms,
            is_awaited: member.is_awaited,
        }
    }
}

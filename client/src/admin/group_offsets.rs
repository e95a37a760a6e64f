//! How far groups have read: asking for committed offsets, putting others in their place, and deleting them.
//!
//! Topics go by name here: the versions that name them by id (KIP-848) would refuse offsets of a topic that was deleted,
//! and these are just what an operator may want to see and remove.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_protocol::{ApiKey, ErrorCode};

use super::Admin;
use super::topics::refused;
use crate::connection::Connection;
use crate::coordinator_calls::{ByGroup, by_coordinator};
use crate::{Error, TopicPartition};

/// The first version of OffsetFetch that takes several groups (KIP-709).
const FETCH_BATCHED: i16 = 8;

/// The last version of OffsetFetch and of OffsetCommit that names topics.
const BY_NAME_MAX: i16 = 9;

/// Where a group goes on in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record that the group is to read.
    pub offset: i64,
    /// The leader's term in which the record before it was written, if known (KIP-320).
    pub leader_epoch: Option<i32>,
    /// What the member wrote beside it.
    pub metadata: String,
}

impl CommittedOffset {
    /// An offset, with nothing beside it.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        CommittedOffset { offset, leader_epoch: None, metadata: String::new() }
    }
}

/// The partitions in which a group has committed, with one result each.
pub type GroupOffsets = BTreeMap<TopicPartition, Result<CommittedOffset, Error>>;

/// The partitions of a change with one result each.
type ByPartition = BTreeMap<TopicPartition, Result<(), Error>>;

impl Admin {
    /// All the offsets that groups have committed. One result for each group; a group that does not exist has none.
    pub async fn group_offsets(&self, groups: &[&str]) -> ByGroup<GroupOffsets> {
        let timeout = self.timeout();
        let call = |connection, groups| fetch_offsets(connection, groups, timeout);
        by_coordinator(&self.cluster, groups.iter().map(ToString::to_string).collect(), call).await
    }

    /// Commits offsets on behalf of a group that has no members; the group comes to be if it does not exist. The offsets
    /// are durable when this returns. One result for each partition.
    ///
    /// # Errors
    /// Those of reaching the coordinator. A group with members refuses each partition with UNKNOWN_MEMBER_ID.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<ByPartition, Error> {
        let wire = |partition: i32, committed: &CommittedOffset| OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
            committed_metadata: Some(committed.metadata.clone()),
        };
        let by_topic = by_topic(offsets.iter().map(|(at, committed)| (at, wire(at.partition, committed))));
        let topic = |(name, partitions)| OffsetCommitRequestTopic { name, partitions, ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            topics: by_topic.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let timeout = self.timeout();
        let call = |connection: Connection, _| {
            let request = request.clone();
            async move {
                let version = connection.version(ApiKey::OffsetCommit)?.min(BY_NAME_MAX);
                let response = connection.request_version(&request, version, timeout).await?;
                let topics = response.topics.into_iter().map(|topic| {
                    let codes = topic.partitions.into_iter().map(|one| (one.partition_index, one.error_code));
                    (topic.name, codes.collect())
                });
                let outcome = outcome(&connection, ApiKey::OffsetCommit, topics.collect());
                Ok(ByGroup::from([(request.group_id, outcome)]))
            }
        };
        self.ask_about(group, call).await
    }

    /// Forgets the offsets that a group has committed in some partitions (KIP-496). One result for each partition:
    /// GROUP_SUBSCRIBED_TO_TOPIC where a member subscribes to its topic.
    ///
    /// # Errors
    /// [`Error::Broker`] with GROUP_ID_NOT_FOUND where there is no such group, with NON_EMPTY_GROUP where its members are
    /// no consumers; those of reaching the coordinator.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<ByPartition, Error> {
        let wire = |at: &TopicPartition| OffsetDeleteRequestPartition { partition_index: at.partition };
        let by_topic = by_topic(partitions.iter().map(|at| (at, wire(at))));
        let topics = by_topic.into_iter().map(|(name, partitions)| OffsetDeleteRequestTopic { name, partitions });
        let request = OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.collect() };
        let timeout = self.timeout();
        let call = |connection: Connection, _| {
            let request = request.clone();
            async move {
                let response = connection.request(&request, timeout).await?;
                let topics = response.topics.into_iter().map(|topic| {
                    let codes = topic.partitions.into_iter().map(|one| (one.partition_index, one.error_code));
                    (topic.name, codes.collect())
                });
                let outcome = match response.error_code {
                    0 => outcome(&connection, ApiKey::OffsetDelete, topics.collect()),
                    code => {
                        let (api, address) = (ApiKey::OffsetDelete, connection.address());
                        Err(Error::broker(api, code, address, &request.group_id, None))
                    }
                };
                Ok(ByGroup::from([(request.group_id, outcome)]))
            }
        };
        self.ask_about(group, call).await
    }

    /// Asks the coordinator of a single group.
    async fn ask_about<T, F>(&self, group: &str, call: impl Fn(Connection, Vec<String>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<ByGroup<T>, Error>> + Send + 'static,
    {
        let mut answers = by_coordinator(&self.cluster, BTreeSet::from([group.to_owned()]), call).await;
        answers.remove(group).expect("there is one answer for each group that is asked about")
    }
}

async fn fetch_offsets(
    connection: Connection,
    groups: Vec<String>,
    timeout: Duration,
) -> Result<ByGroup<GroupOffsets>, Error> {
    let version = connection.version(ApiKey::OffsetFetch)?.min(BY_NAME_MAX);
    if version >= FETCH_BATCHED {
        let group = |group_id| OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: groups.into_iter().map(group).collect(), ..Default::default() };
        let response = connection.request_version(&request, version, timeout).await?;
        return Ok(response.groups.into_iter().map(|group| offsets_of_one(&connection, group)).collect());
    }
    // Before Kafka 3.0.
    let mut found = ByGroup::new();
    for group_id in groups {
        let request = OffsetFetchRequest { group_id: group_id.clone(), topics: None, ..Default::default() };
        let response = connection.request_version(&request, version, timeout).await?;
        let (group_id, offsets) = offsets_of_one(&connection, as_batched(group_id, response));
        found.insert(group_id, offsets);
    }
    Ok(found)
}

/// The answer about the only group, in the form of later versions.
fn as_batched(group_id: String, response: OffsetFetchResponse) -> OffsetFetchResponseGroup {
    let partition = |one: OffsetFetchResponsePartition| OffsetFetchResponsePartitions {
        partition_index: one.partition_index,
        committed_offset: one.committed_offset,
        committed_leader_epoch: one.committed_leader_epoch,
        metadata: one.metadata,
        error_code: one.error_code,
    };
    let topics = response.topics.into_iter().map(|topic| OffsetFetchResponseTopics {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    });
    OffsetFetchResponseGroup { group_id, topics: topics.collect(), error_code: response.error_code }
}

fn offsets_of_one(connection: &Connection, group: OffsetFetchResponseGroup) -> (String, Result<GroupOffsets, Error>) {
    let api = ApiKey::OffsetFetch;
    if group.error_code != 0 {
        let error = Error::broker(api, group.error_code, connection.address(), &group.group_id, None);
        return (group.group_id, Err(error));
    }
    let mut offsets = GroupOffsets::new();
    for topic in group.topics {
        for found in topic.partitions {
            let partition = TopicPartition::new(topic.name.as_str(), found.partition_index);
            let committed = match found.error_code {
                // A partition without an offset.
                0 if found.committed_offset < 0 => continue,
                0 => Ok(CommittedOffset {
                    offset: found.committed_offset,
                    leader_epoch: (found.committed_leader_epoch >= 0).then_some(found.committed_leader_epoch),
                    metadata: found.metadata.unwrap_or_default(),
                }),
                code => Err(Error::broker(api, code, connection.address(), &partition, None)),
            };
            offsets.insert(partition, committed);
        }
    }
    (group.group_id, Ok(offsets))
}

/// Gathers what belongs to one topic, as requests want it.
fn by_topic<'a, P>(partitions: impl Iterator<Item = (&'a TopicPartition, P)>) -> BTreeMap<String, Vec<P>> {
    let mut topics: BTreeMap<String, Vec<P>> = BTreeMap::new();
    for (at, partition) in partitions {
        topics.entry(at.topic.to_string()).or_default().push(partition);
    }
    topics
}

/// One result for each partition; or the error of the coordinator itself, which some APIs repeat for each partition.
fn outcome(connection: &Connection, api: ApiKey, topics: Vec<(String, Vec<(i32, i16)>)>) -> Result<ByPartition, Error> {
    let mut outcome = ByPartition::new();
    for (topic, codes) in topics {
        for (partition, code) in codes {
            let partition = TopicPartition::new(topic.as_str(), partition);
            let refused = refused(connection, api, code, &partition, None);
            if let Some(error) = refused.as_ref().filter(|error| is_about_the_coordinator(error)) {
                return Err(error.clone());
            }
            outcome.insert(partition, refused.map_or(Ok(()), Err));
        }
    }
    Ok(outcome)
}

fn is_about_the_coordinator(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::RequestTimedOut
        )
    )
}

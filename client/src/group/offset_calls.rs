//! The two requests about committed offsets: OffsetCommit and OffsetFetch.
//!
//! Owns their forms over the versions, and what follows from each code; when to ask, and what to do about a member that
//! is told to go, is the driver's. Invariant: every partition asked for has exactly one entry in what is returned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponsePartitions,
};
use ottla_protocol::{ApiKey, ErrorCode};

use super::coordinator::Coordinator;
use super::step::{Identity, is_coordinator_gone};
use crate::cluster::Lane;
use crate::connection::Connection;
use crate::metadata::error_of;
use crate::{Error, OffsetAndMetadata, TopicPartition};

/// The last version of both that names topics (KIP-848 brought their ids).
const BY_NAME_MAX: i16 = 9;
/// The first version of OffsetCommit that checks members of the consumer protocol.
const COMMIT_BY_EPOCH: i16 = 9;
/// The first version of OffsetFetch that asks for several groups.
const FETCH_BY_GROUP: i16 = 8;
/// The first version of OffsetFetch that can be told to wait for open transactions.
const FETCH_STABLE: i16 = 7;

/// Commits offsets. `Ok` has the refusals by partition; what is not in it was committed.
///
/// # Errors
/// Those of reaching the coordinator: nothing is known then of any partition.
pub(crate) async fn commit_offsets(
    coordinator: &Coordinator,
    group: &str,
    identity: &Identity,
    offsets: &[(TopicPartition, OffsetAndMetadata)],
    timeout: Duration,
) -> Result<BTreeMap<TopicPartition, Error>, Error> {
    let connection = coordinator.connection(Lane::Control).await?;
    if identity.is_consumer_protocol && connection.version(ApiKey::OffsetCommit)? < COMMIT_BY_EPOCH {
        return Err(too_old(&connection, ApiKey::OffsetCommit, COMMIT_BY_EPOCH));
    }
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (partition, committed) in offsets {
        topics.entry(&partition.topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            committed_metadata: Some(committed.metadata.clone()),
        });
    }
    let topic = |(name, partitions): (&str, _)| OffsetCommitRequestTopic {
        name: name.to_owned(),
        partitions,
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: identity.epoch,
        member_id: identity.member_id.clone(),
        group_instance_id: identity.instance_id.clone(),
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    let response = coordinator.call(&connection, &request, BY_NAME_MAX, timeout).await?;
    let mut answered = BTreeMap::new();
    for topic in response.topics {
        for partition in topic.partitions {
            answered.insert(TopicPartition::new(topic.name.as_str(), partition.partition_index), partition.error_code);
        }
    }
    let mut refusals = BTreeMap::new();
    for (partition, _) in offsets {
        let refusal = match answered.get(partition) {
            Some(0) => continue,
            Some(code) => {
                if error_of(*code).is_some_and(is_coordinator_gone) {
                    coordinator.lost();
                }
                Error::broker(ApiKey::OffsetCommit, *code, connection.address(), partition, None)
            }
            None => left_out(&connection, ApiKey::OffsetCommit, partition),
        };
        refusals.insert(partition.clone(), refusal);
    }
    Ok(refusals)
}

/// The committed offsets of these partitions, in one request; `None` where there is none.
///
/// # Errors
/// Those of reaching the coordinator, its refusals, and the first of those about a partition.
pub(crate) async fn fetch_offsets(
    coordinator: &Coordinator,
    group: &str,
    identity: Option<&Identity>,
    partitions: &BTreeSet<TopicPartition>,
    require_stable: bool,
    timeout: Duration,
) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
    let connection = coordinator.connection(Lane::Control).await?;
    let version = connection.version(ApiKey::OffsetFetch)?.min(BY_NAME_MAX);
    if require_stable && version < FETCH_STABLE {
        return Err(too_old(&connection, ApiKey::OffsetFetch, FETCH_STABLE));
    }
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let member = identity.filter(|identity| identity.is_consumer_protocol);
    let request = match version >= FETCH_BY_GROUP {
        true => OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.to_owned(),
                member_id: member.map(|member| member.member_id.clone()),
                member_epoch: member.map_or(-1, |member| member.epoch),
                topics: Some(topics.into_iter().map(by_group).collect()),
            }],
            require_stable,
            ..Default::default()
        },
        false => OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Some(topics.into_iter().map(by_name).collect()),
            require_stable,
            ..Default::default()
        },
    };
    let mut response = coordinator.call(&connection, &request, BY_NAME_MAX, timeout).await?;
    let group_answer = response.groups.pop().unwrap_or_default();
    let code = if version >= FETCH_BY_GROUP { group_answer.error_code } else { response.error_code };
    if let Some(code) = error_of(code) {
        if is_coordinator_gone(code) {
            coordinator.lost();
        }
        let resource = format_args!("group {group}");
        return Err(Error::broker(ApiKey::OffsetFetch, code.code(), connection.address(), resource, None));
    }
    let named = |name: String, partitions: Vec<OffsetFetchResponsePartitions>| {
        let name: Arc<str> = name.into();
        partitions.into_iter().map(move |found| (TopicPartition::new(name.clone(), found.partition_index), found))
    };
    let single = response.topics.into_iter().flat_map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| OffsetFetchResponsePartitions {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        });
        named(topic.name, partitions.collect())
    });
    let grouped = group_answer.topics.into_iter().flat_map(|topic| named(topic.name, topic.partitions));
    let mut found: BTreeMap<TopicPartition, OffsetFetchResponsePartitions> = single.chain(grouped).collect();
    let mut offsets = BTreeMap::new();
    for partition in partitions {
        let answer = found.remove(partition);
        let answer = answer.ok_or_else(|| left_out(&connection, ApiKey::OffsetFetch, partition))?;
        if answer.error_code != 0 {
            return Err(Error::broker(ApiKey::OffsetFetch, answer.error_code, connection.address(), partition, None));
        }
        let committed = (answer.committed_offset >= 0).then(|| OffsetAndMetadata {
            offset: answer.committed_offset,
            leader_epoch: answer.committed_leader_epoch,
            metadata: answer.metadata.unwrap_or_default(),
        });
        offsets.insert(partition.clone(), committed);
    }
    Ok(offsets)
}

/// Whether asking for committed offsets again may help.
pub(crate) fn may_pass(error: &Error) -> bool {
    // A member whose epoch moved on meanwhile asks again with the new one; one that is unknown is soon told so.
    let of_member = [ErrorCode::StaleMemberEpoch, ErrorCode::UnknownMemberId];
    error.is_retriable() || error.code().is_some_and(|code| of_member.contains(&code))
}

fn by_group((name, partition_indexes): (&str, Vec<i32>)) -> OffsetFetchRequestTopics {
    OffsetFetchRequestTopics { name: name.to_owned(), partition_indexes, ..Default::default() }
}

fn by_name((name, partition_indexes): (&str, Vec<i32>)) -> OffsetFetchRequestTopic {
    OffsetFetchRequestTopic { name: name.to_owned(), partition_indexes }
}

fn too_old(connection: &Connection, api: ApiKey, needed: i16) -> Error {
    Error::UnsupportedVersion {
        address: connection.address().clone(),
        api,
        served: "older versions".to_owned(),
        spoken: format!("version {needed}, which this needs"),
    }
}

fn left_out(connection: &Connection, api: ApiKey, partition: &TopicPartition) -> Error {
    let reason = format!("it leaves out {partition}").into();
    Error::MalformedResponse { address: connection.address().clone(), api, reason }
}

//! OffsetFetch (9), versions 1 to 10: tells how far groups have read. Nothing is told that a power cut could take back.
//!
//! Version 2 asks for all topics by null and has an error for the group, 5 tells leader epochs (KIP-320), 7 asks for offsets of
//! ended transactions only (KIP-447), 8 asks for several groups (KIP-709), 9 names the member, 10 names topics by id (both
//! KIP-848). An offset of -1 says that there is none: of a partition or topic or group that is not there, too.

use std::sync::Arc;

use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::answer_bytes::AnswerBytes;
use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::Handled;
use crate::coordinator::group::{CommittedOffset, GroupError, GroupShard};
use crate::metadata::MetadataImage;

/// The first version that asks for several groups.
const GROUPS_SINCE: i16 = 8;
/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 10;
/// The first version that can say what is wrong with the group at all, other than for each partition.
const GROUP_ERROR_SINCE: i16 = 2;

/// Reads each group; the answer waits while anything in it is on its way to the disk.
pub(super) fn dispatch(api: &Arc<Api>, request: OffsetFetchRequest, call: Call) -> Dispatched {
    let image = api.image();
    let groups = if call.version >= GROUPS_SINCE { request.groups } else { vec![only_group(request)] };
    let bytes = AnswerBytes::new();
    let answers = groups.into_iter().map(|group| read(api, &image, group, call.version, &bytes)).collect();
    Handled::all(answers).map(move |groups| respond(&call, &response(groups, call.version))).into()
}

/// The group of a request that asks for one.
fn only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topic = |topic: ottla_protocol::messages::offset_fetch::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        };
        topics.into_iter().map(topic).collect()
    });
    OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }
}

fn read(
    api: &Api,
    image: &Arc<MetadataImage>,
    group: OffsetFetchRequestGroup,
    version: i16,
    bytes: &AnswerBytes,
) -> Handled<OffsetFetchResponseGroup> {
    let OffsetFetchRequestGroup { group_id, topics, member_id, member_epoch } = group;
    let read = api.groups.read(&group_id, |shard| {
        bytes.take(group_id.len())?;
        shard.check_offset_fetch(&group_id, member_id.as_deref(), member_epoch)?;
        match &topics {
            None => every_offset(shard, &group_id, image, version, bytes),
            Some(topics) => {
                topics.iter().map(|topic| offsets_of(shard, &group_id, image, topic, version, bytes)).collect()
            }
        }
    });
    read.map(move |read| match read {
        Ok(topics) => OffsetFetchResponseGroup { group_id, topics, error_code: ErrorCode::None.into() },
        Err(error) => {
            let error_code = error.to_error_code();
            let topics = match version >= GROUP_ERROR_SINCE {
                true => Vec::new(),
                false => topics.into_iter().flatten().map(|topic| refused(topic, error_code)).collect(),
            };
            OffsetFetchResponseGroup { group_id, topics, error_code: error_code.into() }
        }
    })
}

fn every_offset(
    shard: &GroupShard,
    group_id: &str,
    image: &MetadataImage,
    version: i16,
    bytes: &AnswerBytes,
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let offsets = shard.offsets_of(group_id).into_iter().flatten();
    let topic = |(name, partitions): (&Arc<str>, &std::collections::BTreeMap<i32, CommittedOffset>)| {
        let topic_id = image.topic(name).map(|topic| topic.id);
        // A topic that is gone has no id to tell it by.
        if version >= TOPIC_IDS_SINCE && topic_id.is_none() {
            return None;
        }
        let topic_id = if version >= TOPIC_IDS_SINCE { topic_id.unwrap_or_default() } else { Uuid::ZERO };
        let partitions = partitions
            .iter()
            .filter(|(_, offset)| is_of_topic(offset, topic_id))
            .map(|(&partition, offset)| take(bytes, told(partition, Some(offset))))
            .collect::<Result<_, _>>();
        Some(partitions.map(|partitions| OffsetFetchResponseTopics { name: name.to_string(), topic_id, partitions }))
    };
    offsets.filter_map(topic).collect()
}

fn offsets_of(
    shard: &GroupShard,
    group_id: &str,
    image: &MetadataImage,
    topic: &OffsetFetchRequestTopics,
    version: i16,
    bytes: &AnswerBytes,
) -> Result<OffsetFetchResponseTopics, GroupError> {
    bytes.take(topic.name.len())?;
    let OffsetFetchRequestTopics { name, topic_id, partition_indexes } = topic;
    let by_id = version >= TOPIC_IDS_SINCE;
    let found = if by_id { image.topic_by_id(topic_id).map(|topic| topic.name.as_str()) } else { Some(name.as_str()) };
    let partition = |&partition: &i32| match found {
        None => OffsetFetchResponsePartitions { error_code: ErrorCode::UnknownTopicId.into(), ..told(partition, None) },
        Some(name) => {
            let offset = shard.offset(group_id, name, partition);
            told(partition, offset.filter(|offset| !by_id || is_of_topic(offset, *topic_id)))
        }
    };
    let partitions = partition_indexes.iter().map(|index| take(bytes, partition(index))).collect::<Result<_, _>>()?;
    Ok(OffsetFetchResponseTopics { name: name.clone(), topic_id: *topic_id, partitions })
}

/// What is told, if there is room for it.
fn take(bytes: &AnswerBytes, told: OffsetFetchResponsePartitions) -> Result<OffsetFetchResponsePartitions, GroupError> {
    bytes.take(told.metadata.as_ref().map_or(0, String::len))?;
    Ok(told)
}

/// Whether an offset is one of this topic, not of one that had the same name before. Zero is for not knowing.
fn is_of_topic(offset: &CommittedOffset, topic_id: Uuid) -> bool {
    offset.topic_id.is_zero() || topic_id.is_zero() || offset.topic_id == topic_id
}

fn told(partition_index: i32, offset: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: offset.map_or(-1, |offset| offset.offset),
        committed_leader_epoch: offset.map_or(-1, |offset| offset.leader_epoch),
        metadata: Some(offset.map_or_else(String::new, |offset| offset.metadata.to_string())),
        error_code: ErrorCode::None.into(),
    }
}

fn refused(topic: OffsetFetchRequestTopics, error_code: ErrorCode) -> OffsetFetchResponseTopics {
    let partition =
        |partition| OffsetFetchResponsePartitions { error_code: error_code.into(), ..told(partition, None) };
    OffsetFetchResponseTopics {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.into_iter().map(partition).collect(),
    }
}

fn response(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= GROUPS_SINCE {
        if version >= TOPIC_IDS_SINCE {
            groups.iter_mut().flat_map(|group| &mut group.topics).for_each(|topic| topic.name.clear());
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let group = groups.pop().expect("an older request asks for one group");
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(topic).collect(),
        error_code: group.error_code,
        ..Default::default()
    }
}

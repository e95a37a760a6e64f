//! OffsetCommit (8), versions 2 to 10: records how far a group has read. Durable when it is answered.
//!
//! Version 3 tells the throttle time, 5 has no retention time any more (KIP-211), 6 has leader epochs (KIP-320), 7 static
//! members (KIP-345), 9 is for members of both protocols and says GROUP_ID_NOT_FOUND, 10 names topics by id (both KIP-848).
//!
//! Topics and partitions that do not exist are refused one by one; what is wrong with the group or the member is told for each
//! of the others.

use std::sync::Arc;

use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use ottla_protocol::{ErrorCode, Uuid};

use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::{Committer, GroupError, OffsetToCommit, Outcome};
use crate::metadata::{MetadataImage, TopicImage};

/// The first version for members of consumer groups, which have epochs, and that tells an unknown group from a wrong generation.
const MEMBER_EPOCHS_SINCE: i16 = 9;
/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 10;

/// Commits what can be committed; only the answer waits for the disk.
pub(super) fn dispatch(api: &Arc<Api>, request: OffsetCommitRequest, call: Call) -> Dispatched {
    let image = api.image();
    let mut offsets = Vec::new();
    let mut response = OffsetCommitResponse {
        topics: request.topics.into_iter().map(|topic| plan(&image, topic, &call, &mut offsets)).collect(),
        ..Default::default()
    };
    if offsets.is_empty() {
        return Dispatched::Ready(respond(&call, &response));
    }
    let committer = Committer {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id_or_member_epoch,
    };
    let expires_in_ms = Some(request.retention_time_ms).filter(|&ms| ms != -1);
    let unknown_group = match call.version >= MEMBER_EPOCHS_SINCE {
        true => GroupError::GroupIdNotFound,
        false => GroupError::IllegalGeneration,
    };
    let group_id = request.group_id;
    let knows_epochs = call.version >= MEMBER_EPOCHS_SINCE;
    let handled = api.groups.submit(&group_id, |shard, now| {
        if !knows_epochs && let Err(error) = shard.check_old_commit(&group_id, &committer) {
            return Outcome::of(Err(error));
        }
        shard.commit_offsets(&group_id, &committer, offsets, expires_in_ms, unknown_group, now)
    });
    handled
        .map(move |results| {
            let mut codes = match results {
                Ok(results) => {
                    results.into_iter().map(|result| result.err().map(|error| error.to_error_code())).collect()
                }
                Err(error) => vec![Some(error.to_error_code()); planned(&response)],
            }
            .into_iter();
            let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for partition in partitions.filter(|partition| partition.error_code == ErrorCode::None.code()) {
                let code = codes.next().expect("one result for each offset that was to be committed");
                partition.error_code = code.unwrap_or(ErrorCode::None).into();
            }
            respond(&call, &response)
        })
        .into()
}

/// How many partitions are not refused yet.
fn planned(response: &OffsetCommitResponse) -> usize {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.filter(|partition| partition.error_code == ErrorCode::None.code()).count()
}

/// The answer for a topic, as far as it is known; what exists is added to the offsets to commit.
fn plan(
    image: &MetadataImage,
    topic: OffsetCommitRequestTopic,
    call: &Call,
    offsets: &mut Vec<OffsetToCommit>,
) -> OffsetCommitResponseTopic {
    let (found, unknown) = match call.version >= TOPIC_IDS_SINCE {
        true => (image.topic_by_id(&topic.topic_id), ErrorCode::UnknownTopicId),
        false => (image.topic(&topic.name), ErrorCode::UnknownTopicOrPartition),
    };
    let name: Option<Arc<str>> = found.map(|found| found.name.to_shared());
    let partitions = topic.partitions.into_iter().map(|partition| {
        let error_code = match exists(found.map(|found| &**found), partition.partition_index, unknown) {
            Err(code) => code,
            Ok(topic_id) => {
                offsets.push(OffsetToCommit {
                    topic: name.clone().expect("a topic that exists has a name"),
                    topic_id,
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default(),
                });
                ErrorCode::None
            }
        };
        OffsetCommitResponsePartition { partition_index: partition.partition_index, error_code: error_code.into() }
    });
    let partitions = partitions.collect();
    OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions }
}

fn exists(topic: Option<&TopicImage>, partition: i32, unknown: ErrorCode) -> Result<Uuid, ErrorCode> {
    let topic = topic.ok_or(unknown)?;
    match topic.partition_indexes().contains(&partition) {
        true => Ok(topic.id),
        false => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

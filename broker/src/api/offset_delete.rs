//! OffsetDelete (47), version 0: forgets how far a group has read, in topics that none of its members reads (KIP-496).

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use super::context::{Api, Call};
use super::dispatch::respond;
use super::error_map::ToErrorCode;
use super::exchange::Dispatched;
use crate::coordinator::group::GroupError;
use crate::metadata::MetadataImage;

/// Forgets what may be forgotten; only the answer waits for the disk.
pub(super) fn dispatch(api: &Arc<Api>, request: OffsetDeleteRequest, call: Call) -> Dispatched {
    let image = api.image();
    let planned: Vec<(Arc<str>, Vec<i32>)> =
        request.topics.iter().filter_map(|topic| existing(&image, topic)).collect();
    let group_id = request.group_id;
    let names: Vec<Arc<str>> = planned.iter().map(|(name, _)| Arc::clone(name)).collect();
    let handled = api.groups.submit(&group_id, |shard, _now| match group_id.is_empty() {
        true => crate::coordinator::group::Outcome::of(Err(GroupError::InvalidGroupId)),
        false => shard.delete_offsets(&group_id, &planned),
    });
    handled
        .map(move |results| {
            let response = match results {
                Err(error) => OffsetDeleteResponse { error_code: error.to_error_code().into(), ..Default::default() },
                Ok(results) => {
                    let refused = |name: &str| {
                        let place = names.iter().position(|planned| &**planned == name)?;
                        results[place].err().map(|error| error.to_error_code())
                    };
                    let topics = request.topics.into_iter().map(|topic| {
                        let code = refused(&topic.name);
                        answer(&image, topic, code)
                    });
                    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
                }
            };
            respond(&call, &response)
        })
        .into()
}

/// The topic with those of its partitions that exist.
fn existing(image: &MetadataImage, topic: &OffsetDeleteRequestTopic) -> Option<(Arc<str>, Vec<i32>)> {
    let found = image.topic(&topic.name)?;
    let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
    Some((found.name.to_shared(), indexes.filter(|index| found.partition_indexes().contains(index)).collect()))
}

fn answer(
    image: &MetadataImage,
    topic: OffsetDeleteRequestTopic,
    refused: Option<ErrorCode>,
) -> OffsetDeleteResponseTopic {
    let found = image.topic(&topic.name);
    let partition = |partition: ottla_protocol::messages::offset_delete::OffsetDeleteRequestPartition| {
        let exists = found.is_some_and(|found| found.partition_indexes().contains(&partition.partition_index));
        let code = match exists {
            false => ErrorCode::UnknownTopicOrPartition,
            true => refused.unwrap_or(ErrorCode::None),
        };
        OffsetDeleteResponsePartition { partition_index: partition.partition_index, error_code: code.into() }
    };
    OffsetDeleteResponseTopic { partitions: topic.partitions.into_iter().map(partition).collect(), name: topic.name }
}

//! OffsetForLeaderEpoch (23), versions 2 to 4: where a leader epoch ended, for consumers that check for truncation (KIP-320).
//!
//! Version 3 adds the replica id, 4 is flexible.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use super::context::Api;
use crate::types::LeaderEpoch;

/// Answers each partition by itself.
pub(super) fn handle(api: &Api, request: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|wanted| {
                    let blank =
                        EpochEndOffset { partition: wanted.partition, leader_epoch: -1, end_offset: -1, error_code: 0 };
                    match look_up(api, &topic.topic, wanted) {
                        Ok(Some((epoch, end_offset))) => EpochEndOffset { leader_epoch: epoch, end_offset, ..blank },
                        Ok(None) => blank,
                        Err(code) => EpochEndOffset { error_code: code.into(), ..blank },
                    }
                })
                .collect(),
        })
        .collect();
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

fn look_up(api: &Api, topic: &str, wanted: &OffsetForLeaderPartition) -> Result<Option<(i32, i64)>, ErrorCode> {
    let partition = api.partition(topic, wanted.partition)?;
    partition.check_leader_epoch(wanted.current_leader_epoch)?;
    let found = partition.end_offset_for_epoch(LeaderEpoch(wanted.leader_epoch));
    Ok(found.map(|found| (found.epoch.0, found.end_offset.0)))
}

//! ListOffsets (2), versions 1 to 11: the offset at a time, or at one of the log's ends.
//!
//! Version 2 adds the isolation level (KIP-98), 4 the leader epoch (KIP-320), 6 is flexible, 7 asks for the maximum
//! timestamp (KIP-734), 8 for the earliest local offset (KIP-405), 9 for the latest tiered offset (KIP-1005), 10 brings a
//! timeout for remote look-ups (KIP-1075), 11 the earliest pending upload (KIP-1023). Without tiered storage the earliest
//! local offset is the earliest one, and nothing is tiered or pending, which Kafka answers with offset -1.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::context::{Api, Call};
use super::error_map::ToErrorCode;
use super::repeated::repeated;
use crate::replica::Partition;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The lowest version in which each special timestamp may be asked for.
const SPECIAL_SINCE: [(i64, i16); 6] = [
    (LATEST, 1),
    (EARLIEST, 1),
    (MAX_TIMESTAMP, 7),
    (EARLIEST_LOCAL, 8),
    (LATEST_TIERED, 9),
    (EARLIEST_PENDING_UPLOAD, 11),
];

/// True when a look-up has to read the log, which may wait for the disk.
pub(super) fn reads_log(request: &ListOffsetsRequest) -> bool {
    request
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(|partition| partition.timestamp >= 0 || partition.timestamp == MAX_TIMESTAMP)
}

/// Answers each partition by itself; a partition named twice gets INVALID_REQUEST, as in Kafka.
pub(super) fn handle(api: &Api, request: &ListOffsetsRequest, call: &Call) -> ListOffsetsResponse {
    let repeated =
        repeated(request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index))
        }));
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let answer = |wanted: &ListOffsetsPartition| {
                let looked_up = if repeated.contains(&(topic.name.as_str(), wanted.partition_index)) {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    look_up(api, &topic.name, wanted, request, call)
                };
                let blank =
                    ListOffsetsPartitionResponse { partition_index: wanted.partition_index, ..Default::default() };
                match looked_up {
                    Ok(Found { timestamp, offset, leader_epoch }) => {
                        ListOffsetsPartitionResponse { timestamp, offset, leader_epoch, ..blank }
                    }
                    Err(code) => ListOffsetsPartitionResponse { error_code: code.into(), ..blank },
                }
            };
            ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: topic.partitions.iter().map(answer).collect(),
            }
        })
        .collect();
    ListOffsetsResponse { throttle_time_ms: 0, topics }
}

struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

impl Found {
    const NOTHING: Self = Self { timestamp: -1, offset: -1, leader_epoch: -1 };
}

fn look_up(
    api: &Api,
    topic: &str,
    wanted: &ListOffsetsPartition,
    request: &ListOffsetsRequest,
    call: &Call,
) -> Result<Found, ErrorCode> {
    if wanted.timestamp < 0
        && !SPECIAL_SINCE.iter().any(|&(special, since)| special == wanted.timestamp && call.version >= since)
    {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition = api.partition(topic, wanted.partition_index)?;
    partition.check_leader_epoch(wanted.current_leader_epoch)?;
    let found = at_timestamp(&partition, wanted.timestamp, request.isolation_level == 1)?;
    Ok(if call.version >= 4 { found } else { Found { leader_epoch: -1, ..found } })
}

fn at_timestamp(partition: &Partition, timestamp: i64, committed_only: bool) -> Result<Found, ErrorCode> {
    let offsets = partition.offsets();
    let end = if committed_only { offsets.last_stable } else { offsets.high_watermark };
    let epoch = partition.leader_epoch().0;
    let at = |offset: i64| Found { timestamp: -1, offset, leader_epoch: epoch };
    let found = match timestamp {
        LATEST => return Ok(at(end.0)),
        EARLIEST | EARLIEST_LOCAL => return Ok(at(offsets.log_start.0)),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return Ok(Found::NOTHING),
        MAX_TIMESTAMP => partition.max_timestamp_offset(),
        timestamp => partition.offset_for_timestamp(timestamp),
    };
    Ok(match found.map_err(|error| error.to_error_code())? {
        Some(found) if found.offset < end => {
            Found { timestamp: found.timestamp, offset: found.offset.0, leader_epoch: epoch }
        }
        _ => Found::NOTHING,
    })
}

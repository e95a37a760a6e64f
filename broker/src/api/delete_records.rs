//! DeleteRecords (21), versions 0 to 2: moves the start of a log; what lies before it is gone (KIP-107).
//!
//! Offset -1 is the high watermark. The new start is on disk before the answer, so that a crash cannot bring records back
//! (Kafka writes it behind the answer). Deleting from a log that is only compacted is POLICY_VIOLATION, as in Kafka.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use super::context::Api;
use super::error_map::ToErrorCode;
use crate::metadata::INTERNAL_TOPICS;
use crate::types::Offset;

const HIGH_WATERMARK: i64 = -1;

/// Answers each partition by itself. Durable when it returns.
pub(super) fn handle(api: &Api, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|wanted| {
                    let (low_watermark, error) = match delete(api, &topic.name, wanted) {
                        Ok(log_start) => (log_start.0, ErrorCode::None),
                        Err(code) => (-1, code),
                    };
                    let partition_index = wanted.partition_index;
                    DeleteRecordsPartitionResult { partition_index, low_watermark, error_code: error.into() }
                })
                .collect(),
        })
        .collect();
    DeleteRecordsResponse { topics, ..Default::default() }
}

fn delete(api: &Api, topic: &str, wanted: &DeleteRecordsPartition) -> Result<Offset, ErrorCode> {
    if INTERNAL_TOPICS.contains(&topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = api.partition(topic, wanted.partition_index)?;
    if !partition.config().cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let high_watermark = partition.offsets().high_watermark;
    let before = if wanted.offset == HIGH_WATERMARK { high_watermark } else { Offset(wanted.offset) };
    if before < Offset::ZERO || before > high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    partition.delete_records(before).map_err(|error| error.to_error_code())
}
